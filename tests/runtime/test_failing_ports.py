"""Ports that fail for a moment: what was done is done, what was not is repeated, and nothing hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import run, until

from stepwell import (
    BackendError,
    Context,
    Handle,
    RunCancelledError,
    Signal,
    Stepwell,
    Stream,
    current_step,
    step,
    workflow,
)

LARGE = 20_000
texts = Signal("texts", str)
lines = Stream("lines", str)
ran: list[str] = []


@step(retry=None)
async def say() -> int:
    ran.append("say")
    current_step().send(lines, "from the step")
    return 1


@step(retry=None)
async def last() -> None:
    ran.append("last")
    await asyncio.sleep(60)


@workflow
async def lasting(ctx: Context) -> None:
    await last()


@workflow
async def talking(ctx: Context) -> int:
    ctx.send(lines, "from the body")
    return await say()


@workflow
async def saying_more(ctx: Context) -> None:
    ctx.send(lines, "first")
    await ctx.receive(texts)
    ctx.send(lines, "second")
    await ctx.sleep("1h")


@workflow
async def hearing(ctx: Context) -> int:
    return len(await ctx.receive(texts))


def failing(patch: pytest.MonkeyPatch, port: Any, name: str, times: int = 1) -> list[int]:
    """The first calls to `name` fail, and have no effect; how often it was called."""
    call: Callable[..., Any] = getattr(port, name)
    count = [0]

    async def fails(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        if count[0] <= times:
            raise BackendError("it fails on purpose")
        return await call(*args, **kwargs)

    patch.setattr(port, name, fails)
    return count


def test_a_doorbell_that_fails_fails_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[talking], worker=False) as app:
            count = failing(monkeypatch, app.backend.queue, "notify")
            await app.start(talking)
            assert count == [1]
            assert len((await app.runs.list()).runs) == 1

    run(scenario())


def test_a_doorbell_that_fails_fails_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        ran.clear()
        async with Stepwell("memory://", include=[talking], worker=False) as app:
            handle = await app.start(talking)
            failing(monkeypatch, app.backend.queue, "notify", times=1000)
            async with app.worker():
                assert await handle.result(timeout="5s") == 1
            assert [chunk async for chunk in handle.stream(lines)] == ["from the body", "from the step"]
            assert ran == ["say"]
            assert (await handle.head()).is_settled

    run(scenario())


def test_a_message_whose_payload_cannot_be_read_at_once_is_read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[hearing], worker=False) as app:
            handle = await app.start(hearing)
            await handle.send(texts, "x" * LARGE)
            count = failing(monkeypatch, app.backend.blobs, "get")
            async with app.worker():
                assert await handle.result(timeout="10s") == LARGE
            assert count[0] > 1

    run(scenario())


def test_a_run_that_cannot_be_read_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[hearing, talking], worker=False) as app:
            deaf = await app.start(hearing)
            await deaf.send(texts, "x" * LARGE)
            failing(monkeypatch, app.backend.blobs, "get", times=1000)
            async with app.worker():
                await until(lambda: _error_of(deaf))
                assert await (await app.start(talking)).result(timeout="5s") == 1

    run(scenario())


async def _error_of(handle: Handle[Any]) -> str:
    return (await handle.head()).error


def test_mail_for_a_run_that_is_held_is_looked_for_until_there_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[lasting]) as app:
            handle = await app.start(lasting)
            await until(_lasts)
            count = failing(monkeypatch, app.backend.store, "load")
            await app.runs.cancel(handle.id)
            with pytest.raises(RunCancelledError):
                await handle.result(timeout="5s")
            assert count[0] > 1

    run(scenario())


async def _lasts() -> bool:
    return "last" in ran


def test_a_reader_of_a_stream_who_is_not_told_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[saying_more]) as app:
            app.client.look_seconds = 0.05
            failing(monkeypatch, app.backend.queue, "notify", times=1000)
            handle = await app.start(saying_more)
            stream = handle.stream(lines)
            async with asyncio.timeout(5):
                assert await anext(stream) == "first"
                await handle.send(texts, "go on")
                assert await anext(stream) == "second"
            await stream.aclose()  # type: ignore[attr-defined]

    run(scenario())


def test_a_start_that_can_never_be_done_fails_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        url = f"sqlite:///{tmp_path / 'runs.db'}"
        async with Stepwell(url, include=[talking], worker=False) as app:
            await app.start(talking)
        async with Stepwell(f"{url}?read_only=true", include=[talking], worker=False) as app:
            async with asyncio.timeout(5):
                with pytest.raises(BackendError, match="read-only"):
                    await app.start(talking)

    run(scenario())
