"""The client and its blocking twin have the types of the app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

from stepwell import Context, Event, Head, Page, RunQuery, Signal, Stream, WorkflowRef, workflow
from stepwell.client import AccessToken, Client, ClientHandle, SyncClient, SyncClientHandle
from stepwell.model.ids import RunId
from stepwell.runtime.bulk import RunResult
from stepwell.runtime.explaining import Explanation
from stepwell.runtime.following import RunEvent

note = Signal("note", str)
paid = Event("paid", int)
lines = Stream("lines", str)
elsewhere = WorkflowRef[str, int]("lengthen", input=str, output=int)


@workflow
async def lengthen(ctx: Context, text: str) -> int:
    return len(text)


@workflow
async def idle(ctx: Context) -> None: ...


async def use() -> None:
    async with Client("https://flows.example.com", key="sw_1_2", timeout="5s", include=[lengthen]) as app:
        handle = await app.start(lengthen, "abc", id="one", delay="1h")
        assert_type(handle, ClientHandle[int])
        assert_type(await handle.result(timeout="1h"), int)
        assert_type(await app.start(idle), ClientHandle[None])
        assert_type(await app.start(elsewhere, "abc"), ClientHandle[int])
        assert_type(await app.start("lengthen", "abc"), ClientHandle[Any])
        assert_type(await app.start_many(lengthen, ["a", "b"]), list[ClientHandle[int]])
        assert_type(app.handle("one", lengthen), ClientHandle[int])
        assert_type(app.handle("one"), ClientHandle[Any])
        assert_type(handle.stream(lines), AsyncIterator[str])
        assert_type(await app.publish(paid, 7), int)
        assert_type(await app.complete("token", True), RunId)
        assert_type(await app.runs.list(workflow="lengthen"), Page)
        assert_type(await app.runs.get("one"), Head)
        assert_type(app.runs.events("one", follow=True), AsyncIterator[RunEvent])
        assert_type(await app.runs.explain("one"), Explanation)
        assert_type(await app.runs.retry("one"), RunId)
        assert_type(await app.runs.retry(["one"]), list[RunResult])
        assert_type(await app.runs.cancel(RunQuery(workflow="lengthen")), list[RunResult])
        assert_type(await app.tokens.create(run="one", stream=lines, ttl="10m"), AccessToken)
        await app.runs.cancel("one")
        await handle.send(note, "abc")


with SyncClient() as s:
    blocking = s.start(lengthen, "abc", id="one", delay="1h")
    assert_type(blocking, SyncClientHandle[int])
    assert_type(blocking.result(timeout="1h"), int)
    assert_type(s.start(idle), SyncClientHandle[None])
    assert_type(s.start_many(lengthen, ["a", "b"]), list[SyncClientHandle[int]])
    assert_type(s.handle("one", lengthen), SyncClientHandle[int])
    assert_type(blocking.stream(lines), Iterator[str])
    assert_type(s.runs.list(workflow="lengthen"), Page)
    assert_type(s.runs.events("one"), Iterator[RunEvent])
    assert_type(s.runs.retry("one"), RunId)
    blocking.send(note, "abc")
