"""Runs that continue as new, when they come back from the store."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from tests.helpers import run, until

from stepwell import (
    BackendError,
    Context,
    Handle,
    Retry,
    Signal,
    Stepwell,
    Stream,
    Workflow,
    current_step,
    step,
    workflow,
)
from stepwell.runtime.options import WorkerOptions

go = Signal("go", str)
lines = Stream("lines", str)


@step
async def add_one(n: int) -> int:
    return n + 1


@workflow
async def thrice(ctx: Context, n: int) -> int:
    n = await add_one(n)
    if n < 3:
        ctx.continue_as_new(n)
    await ctx.receive(go)
    return n


def test_a_generation_that_began_together_with_the_last_result_is_read_back() -> None:
    async def scenario() -> None:
        app = Stepwell("memory://", include=[thrice], worker_options=WorkerOptions(cached_runs=0))
        async with app:
            handle = await app.start(thrice, 0, id="a")

            async def is_waiting() -> bool:
                return await handle.status() == "waiting"

            await until(is_waiting)
            await handle.send(go, "on")
            assert await handle.result(timeout=5) == 3

    run(scenario())


@step(retry=None)
async def refuse(n: int) -> None:
    if not refusals:
        refusals.append(n)
        raise ValueError("not yet")


refusals: list[int] = []


@workflow
async def talkative(ctx: Context, turn: int) -> int:
    ctx.send(lines, f"{turn} begins")
    await add_one(turn)
    ctx.send(lines, f"{turn} ends")
    if turn < 3:
        ctx.continue_as_new(turn + 1)
    await ctx.receive(go)
    return turn


@workflow(retry=Retry(attempts=2, first_delay="1ms"))
async def persistent(ctx: Context, turn: int) -> int:
    ctx.send(lines, f"{turn} begins")
    await add_one(turn)
    await refuse(turn)
    await ctx.receive(go)
    ctx.send(lines, f"{turn} ends")
    return turn


@pytest.mark.parametrize("fails", [True, False], ids=["late", "at once"])
@pytest.mark.parametrize(
    ("flow", "chunks"),
    [
        (talkative, ["1 begins", "1 ends", "2 begins", "2 ends", "3 begins", "3 ends"]),
        (persistent, ["1 begins", "1 ends"]),
    ],
)
def test_another_worker_finds_each_chunk_of_each_generation_once(
    monkeypatch: pytest.MonkeyPatch, flow: Workflow[int, int], chunks: list[str], fails: bool
) -> None:
    async def scenario() -> None:
        refusals.clear()
        async with Stepwell("memory://generations", include=[flow], worker=False) as app:
            handle = await app.start(flow, 1)
            async with Stepwell("memory://generations", include=[flow]) as first, first.worker(grace=0):
                if fails:
                    monkeypatch.setattr(first.backend.streams, "append", _unanswered)
                    await until(lambda: _has_sent(handle))
                else:
                    await until(lambda: _is_last(handle))
            async with app.worker():
                await handle.send(go, "on")
                await handle.result(timeout="5s")
                assert [chunk async for chunk in handle.stream(lines)] == chunks

    run(scenario())


async def _unanswered(*_: Any) -> bool:
    raise BackendError("it fails on purpose")


async def _has_sent(handle: Handle[Any]) -> bool:
    """The first chunks are in the journal."""
    return (await handle.head()).seq > 1 or (await handle._client.journal(handle.id))[1][-1][0] > 1


async def _is_last(handle: Handle[Any]) -> bool:
    head = await handle.head()
    return head.status == "waiting" and head.base > 1


attempts: list[int] = []


@workflow(retry=Retry(attempts=3, first_delay="1ms"))
async def fails_before_its_first_step(ctx: Context) -> int:
    attempts.append(1)
    if len(attempts) < 3:
        raise RuntimeError("not yet")
    return len(attempts)


def test_a_run_that_fails_before_anything_was_journaled_starts_over() -> None:
    async def scenario() -> None:
        attempts.clear()
        async with Stepwell("memory://", include=[fails_before_its_first_step]) as app:
            handle = await app.start(fails_before_its_first_step)
            assert await handle.result(timeout="5s") == 3

    run(scenario())


@step(retry=None)
async def linger(turn: int) -> str:
    if turn == 0:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)  # what a step does when it is told to stop
    await asyncio.sleep(0.05)
    current_step().heartbeat("alive")  # which is journaled, and then the run may come to rest
    await asyncio.sleep(0.05)
    return f"turn {turn}"


@workflow
async def cut_short(ctx: Context, turn: int) -> str:
    if turn == 0:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                await linger(turn)
        ctx.continue_as_new(1)
    return await linger(turn)


def test_a_step_that_is_told_to_stop_is_not_taken_for_its_namesake_in_the_next_generation() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[cut_short]) as app:
            handle = await app.start(cut_short, 0)
            assert await handle.result(timeout=5) == "turn 1"

    run(scenario())


@workflow
async def left_behind(ctx: Context, turn: int) -> str:
    if turn == 0:
        left = asyncio.create_task(slowly(turn))
        await add_one(await add_one(1))  # the first may be over before the task's step begins
        assert not left.done()
        ctx.continue_as_new(1)
    return await slowly(turn)


@step(retry=None)
async def slowly(turn: int) -> str:
    seen.append(f"{turn} begins")
    await asyncio.sleep(0.05)
    seen.append(f"{turn} ends")
    return f"turn {turn}"


seen: list[str] = []


def test_a_step_that_a_generation_left_behind_is_stopped_and_answers_for_no_other() -> None:
    async def scenario() -> None:
        seen.clear()
        async with Stepwell("memory://", include=[left_behind]) as app:
            handle = await app.start(left_behind, 0)
            assert await handle.result(timeout=5) == "turn 1"
        assert seen == ["0 begins", "1 begins", "1 ends"]

    run(scenario())
