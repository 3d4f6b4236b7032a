"""An answer that comes line by line, while the body runs: each line is a JSON object with one member. The first says
what the worker can do, the last is the outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from stepwell.formats.voyant.invocations import Outcome, WireChunk, chunk_raw, outcome_bytes, outcome_of, read_chunk
from stepwell.formats.voyant.journals import WireStep, check_step_id, read_step, step_raw
from stepwell.formats.voyant.texts import Name, Number, WireFault, checked, fitted, members, tamed, whole, wild


class Speaks(Struct, frozen=True):
    """What the worker can do beyond the first version of the protocol."""

    abilities: Sequence[str]


class StepOver(Struct, frozen=True):
    """A step is over. `entry` is what the journal of the outcome will hold for it."""

    id: str
    entry: WireStep


class ChunkSent(Struct, frozen=True):
    """A stream got a chunk."""

    chunk: WireChunk


class Beat(Struct, frozen=True):
    """The worker is alive; its clock says so many ms."""

    ms: float


class Over(Struct, frozen=True):
    """The invocation is over."""

    outcome: Outcome


Line = Speaks | StepOver | ChunkSent | Beat | Over


def write_line(line: Line) -> bytes:
    """A line, with its end."""
    match line:
        case Speaks(abilities):
            value: dict[str, Any] = {"speaks": abilities}
        case StepOver(id, entry):
            value = {"step": {"id": id, "entry": step_raw(entry)}}
        case ChunkSent(chunk):
            value = {"chunk": chunk_raw(chunk)}
        case Beat(ms):
            value = {"beat": whole(ms)}
        case Over(outcome):
            value = {"outcome": Raw(outcome_bytes(outcome))}
    data = wild(msgspec.json.encode(value))
    # A payload may have been written with line breaks between its parts; in texts these are escapes.
    return data.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"


class LineReader:
    """Bytes to lines. A line longer than `max_line` bytes, and whatever is no such line, is a `WireFault`."""

    def __init__(self, max_line: int) -> None:
        self.is_over = False
        self._max_line = max_line
        self._rest = bytearray()
        self._count = 0

    def feed(self, data: bytes) -> list[Line]:
        """The lines that end within this. Nothing comes after the outcome."""
        found: list[Line] = []
        self._rest += data
        start = 0
        # What was there before had no end of a line in it.
        end = self._rest.find(b"\n", len(self._rest) - len(data))
        while end >= 0:
            line = bytes(self._rest[start:end])
            start = end + 1
            end = self._rest.find(b"\n", start)
            self._check_length(len(line))
            if line.strip():
                found.append(self._read(line))
        del self._rest[:start]
        self._check_length(len(self._rest))
        return found

    def close(self) -> None:
        """There is no more. `WireFault` if the outcome is missing."""
        if not self.is_over:
            cut = f", in the middle of line {self._count + 1}" if self._rest else ""
            raise WireFault(f"the answer ended before its outcome{cut}")

    def _check_length(self, length: int) -> None:
        if length > self._max_line:
            raise WireFault(f"line {self._count + 1}: longer than {self._max_line} bytes")

    def _read(self, data: bytes) -> Line:
        self._count += 1
        try:
            if self.is_over:
                raise WireFault("there is one after the outcome")
            line = _line_of(data)
            if isinstance(line, Speaks) != (self._count == 1):
                raise WireFault("the first line, and no other, has `speaks`")
        except WireFault as fault:
            raise WireFault(f"line {self._count}: {fault}") from None
        self.is_over = isinstance(line, Over)
        return line


def _line_of(data: bytes) -> Line:
    data = tamed(data)
    if not isinstance(checked(data), dict):
        raise WireFault("must be an object")
    there = members(data, "")
    if len(there) != 1:
        raise WireFault(f"must have one member, not {len(there)}")
    ((kind, raw),) = there.items()
    match kind:
        case "speaks":
            abilities = fitted(_abilities, raw, "speaks")
            return Speaks(abilities)
        case "step":
            step = fitted(_step_line, raw, "step")
            check_step_id(step.id, "step")
            return StepOver(step.id, read_step(step.entry, "step.entry"))
        case "chunk":
            return ChunkSent(read_chunk(raw))
        case "beat":
            return Beat(fitted(_number, raw, "beat"))
        case "outcome":
            return Over(outcome_of(members(raw, "outcome")))
        case _:
            raise WireFault(f"has none of `speaks`, `step`, `chunk`, `beat` and `outcome`, but {kind[:100]!r}")


class _StepLine(Struct):
    id: Name
    entry: Raw


_abilities: msgspec.json.Decoder[list[str]] = msgspec.json.Decoder(list[Name])
_step_line = msgspec.json.Decoder(_StepLine)
_number: msgspec.json.Decoder[float] = msgspec.json.Decoder(Number)
