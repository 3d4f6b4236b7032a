"""The blocking twin has the types of the app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_type

from stepwell import Context, Page, Signal, Stepwell, Stream, workflow
from stepwell.runtime.sync import SyncHandle

note = Signal("note", str)
lines = Stream("lines", str)


@workflow
async def lengthen(ctx: Context, text: str) -> int:
    return len(text)


@workflow
async def idle(ctx: Context) -> None: ...


with Stepwell().sync() as s:
    handle = s.start(lengthen, "abc", id="one", delay="1h")
    assert_type(handle, SyncHandle[int])
    assert_type(handle.result(timeout="1h"), int)
    assert_type(s.start(idle), SyncHandle[None])
    assert_type(s.start("lengthen", "abc"), SyncHandle[Any])
    assert_type(s.start_many(lengthen, ["a", "b"]), list[SyncHandle[int]])
    assert_type(s.handle("one", lengthen), SyncHandle[int])
    assert_type(handle.stream(lines), Iterator[str])
    assert_type(s.runs.list(workflow="lengthen"), Page)
    handle.send(note, "abc")
