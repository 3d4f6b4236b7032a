"""What a body notes beside its steps: metadata, chunks, patches, logs."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw
from tests.engine.worker.driving import Wire

from stepwell import Context, Stream, step, workflow
from stepwell.formats.voyant.invocations import read_step


@step
async def load(n: int) -> int:
    return n * 10


lines = Stream("lines", str)


@workflow
async def noting(ctx: Context) -> dict[str, Any]:
    ctx.metadata["phase"] = "load"
    ctx.metadata.increment("hits")
    ctx.metadata.append("log", "a")
    ctx.metadata.parent.increment("children", 2)
    await ctx.sleep(1)
    ctx.metadata.increment("hits", 2)
    del ctx.metadata["phase"]
    ctx.metadata.root.set("seen", True)
    return dict(ctx.metadata)


def test_each_answer_has_all_changes_of_metadata() -> None:
    wire = Wire(noting)
    first = list(wire.invoke().metadata_updates)
    second = list(wire.resolve("sleep:1").invoke().metadata_updates)

    assert [(item.op, item.key, item.target) for item in second] == [
        ("set", "phase", "self"),
        ("increment", "hits", "self"),
        ("append", "log", "self"),
        ("increment", "children", "parent"),
        ("increment", "hits", "self"),
        ("remove", "phase", "self"),
        ("set", "seen", "root"),
    ]
    assert second[: len(first)] == first
    assert wire.result == {"hits": 3, "log": ["a"]}


@workflow
async def talking(ctx: Context) -> None:
    ctx.send(lines, "one")
    ctx.send(lines, "two")
    await ctx.sleep(1)
    ctx.send(lines, "three")


def test_chunks_are_sent_once_and_a_stream_ends_with_its_run() -> None:
    wire = Wire(talking)
    wire.invoke()
    assert [(chunk.seq, bytes(chunk.chunk)) for chunk in wire.chunks] == [(1, b'"one"'), (2, b'"two"')]
    assert wire.journal.streams_completed == {}
    wire.chunks.clear()
    wire.resolve("sleep:1").invoke()

    assert [(chunk.seq, bytes(chunk.chunk), chunk.final) for chunk in wire.chunks] == [
        (3, b'"three"', False),
        (4, b"null", True),
    ]
    assert wire.journal.streams_completed == {"lines": Raw(b'{"chunkCount":4}')}


@workflow
async def patching(ctx: Context) -> list[bool]:
    found = [await load(1) > 0]
    if NEW_CODE:
        found.append(ctx.patched("second"))
    await load(2)
    await ctx.sleep(1)
    return found


NEW_CODE = True


@pytest.mark.parametrize("is_new", [True, False])
def test_a_patch_is_for_runs_that_had_not_come_to_it(is_new: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.engine.worker.test_notes.NEW_CODE", is_new)
    wire = Wire(patching)
    wire.invoke()
    monkeypatch.setattr("tests.engine.worker.test_notes.NEW_CODE", True)
    wire.resolve("sleep:1").invoke()

    assert wire.result == [True, is_new]


def test_a_patch_is_kept_with_the_steps_that_came_after_it() -> None:
    wire = Wire(patching)
    session = wire.begin()
    wire.keep(wire.work(session, at_most=2))
    session.close()

    assert read_step(wire.journal.step_results["load:2"]).rest["patches"] == Raw(b'["second"]')
    wire.invoke()
    wire.resolve("sleep:1").invoke()
    assert wire.result == [True, True]


@workflow
async def logging_body(ctx: Context) -> None:
    ctx.log.warning("first")
    await load(1)
    ctx.log.warning("second")
    await ctx.sleep(1)
    ctx.log.warning("third")


def test_what_was_logged_is_not_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(logging_body)
    wire.invoke()
    wire.resolve("sleep:1").invoke()

    assert [record.getMessage().split()[-1] for record in caplog.records] == ["first", "second", "third"]
