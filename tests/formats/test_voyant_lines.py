"""Answers that come line by line."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from stepwell.formats.voyant.invocations import Outcome, WireChunk, WireFault, WireStep, read_outcome
from stepwell.formats.voyant.lines import Beat, ChunkSent, Line, LineReader, Over, Speaks, StepOver, write_line
from tests.formats.voyant_wire import COMPLETED, chunk, entry, outcome

SPEAKS = Speaks(["cancel", "lines"])
STEP = StepOver("load", WireStep(attempt=1, status="ok", output=Raw(b'{"a":1}'), started_at=1, finished_at=2))
CHUNK = ChunkSent(WireChunk(stream_id="log", seq=1, chunk=Raw(b"1"), at=5, step="load", step_attempt=1))
OVER = Over(read_outcome(json.dumps(json.loads(COMPLETED), separators=(",", ":")).encode()))
ALL: list[Line] = [SPEAKS, STEP, CHUNK, Beat(1770000000000), OVER]
TEXT = b"".join(map(write_line, ALL))


def fault(data: bytes, *, max_line: int = 10_000) -> str:
    reader = LineReader(max_line)
    with pytest.raises(WireFault) as caught:
        reader.feed(write_line(SPEAKS) + data)
    return str(caught.value)


def line(**members: object) -> bytes:
    return json.dumps(members).encode() + b"\n"


@given(st.lists(st.integers(0, len(TEXT)), max_size=20))
def test_lines_come_back_however_they_are_cut(cuts: list[int]) -> None:
    reader = LineReader(10_000)
    places = [0, *sorted(cuts), len(TEXT)]
    found = [item for start, end in pairwise(places) for item in reader.feed(TEXT[start:end])]
    assert found == ALL
    assert reader.is_over
    reader.close()


def test_a_payload_with_line_breaks_between_its_parts_is_one_line() -> None:
    output = Raw(b'{\r\n "a": "b\\nc"\n}')
    data = write_line(Over(Outcome(status="completed", output=output)))
    assert data.count(b"\n") == 1
    reader = LineReader(10_000)
    *_, over = reader.feed(write_line(SPEAKS) + data)
    assert isinstance(over, Over)
    assert json.loads(bytes(over.outcome.output)) == {"a": "b\nc"}  # type: ignore[arg-type]


def test_an_empty_line_means_nothing() -> None:
    assert LineReader(100).feed(b"\n\r\n" + write_line(SPEAKS)) == [SPEAKS]


def test_the_end_before_the_outcome_is_a_fault() -> None:
    reader = LineReader(10_000)
    assert reader.feed(TEXT[: len(TEXT) - 5]) == ALL[:-1]
    with pytest.raises(WireFault, match="ended before its outcome, in the middle of line 5"):
        reader.close()
    with pytest.raises(WireFault, match=r"ended before its outcome$"):
        LineReader(10).close()


def test_a_line_that_is_too_long_is_a_fault_before_its_end() -> None:
    assert fault(b'{"beat":' + b" " * 200, max_line=100) == "line 2: longer than 100 bytes"
    assert fault(b'{"beat":' + b" " * 200 + b"1}\n", max_line=100) == "line 2: longer than 100 bytes"


def test_lines_before_the_fault_were_read() -> None:
    reader = LineReader(10_000)
    assert reader.feed(write_line(SPEAKS) + write_line(STEP)) == [SPEAKS, STEP]
    with pytest.raises(WireFault, match=r"^line 3: not JSON"):
        reader.feed(b"rubbish\n")


def test_what_a_worker_speaks_comes_first_and_once() -> None:
    with pytest.raises(WireFault, match=r"^line 1: the first line, and no other, has `speaks`"):
        LineReader(100).feed(write_line(Beat(1)))
    assert fault(write_line(SPEAKS)).startswith("line 2: the first line, and no other")


def test_nothing_comes_after_the_outcome() -> None:
    assert fault(write_line(OVER) + write_line(Beat(1))) == "line 3: there is one after the outcome"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"[]\n", "must be an object"),
        (b"{}\n", "must have one member, not 0"),
        (line(beat=1, speaks=[]), "must have one member, not 2"),
        (line(other=1), "has none of `speaks`, `step`, `chunk`, `beat` and `outcome`, but 'other'"),
        (b'{"beat":1,"beat":2}\n', "the name 'beat' is twice"),
        (line(beat=-1), "beat: "),
        (line(beat=True), "beat: "),
        (line(step={"id": "a"}), "step: object missing required field `entry`"),
        (line(step={"id": "", "entry": entry()}), "step.id: "),
        (line(step={"id": "@invocation[1]", "entry": entry()}), 'step["@invocation[1]"]: no step may begin'),
        (line(step={"id": "a", "entry": entry(attempt=-1)}), "step.entry.attempt: "),
        (line(chunk=chunk(seq=0)), "chunk.seq: "),
        (line(outcome=[]), "outcome: expected `object`"),
        (line(outcome=outcome(journal=None)), "journal: missing"),
    ],
)
def test_a_line_that_is_none_is_named(data: bytes, text: str) -> None:
    assert fault(data).startswith("line 2: ")
    assert text in fault(data)
