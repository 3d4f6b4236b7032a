"""Store calls that were applied although they failed: what is repeated counts once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers import run, until

from stepwell import (
    BackendError,
    Context,
    Event,
    Handle,
    RunCancelledError,
    RunConflictError,
    Signal,
    Stepwell,
    step,
    workflow,
)

go = Signal("go", int)
news = Event("news", int)


@step
async def work() -> int:
    return 1


@workflow
async def waiting(ctx: Context) -> int:
    return await work() + await ctx.receive(go)


@workflow
async def hearing(ctx: Context) -> list[int]:
    return [await ctx.receive(news), await ctx.receive(news)]


@workflow
async def impatient(ctx: Context) -> None:
    child = asyncio.create_task(waiting())
    await ctx.sleep("1ms")
    child.cancel()
    await asyncio.wait([child])


def unanswered(patch: pytest.MonkeyPatch, port: Any, name: str) -> list[int]:
    """The first call to `name` is applied, and fails; how often it was called."""
    call: Callable[..., Any] = getattr(port, name)
    count = [0]

    async def once(*args: Any, **kwargs: Any) -> Any:
        answer = await call(*args, **kwargs)
        count[0] += 1
        if count[0] == 1:
            raise BackendError("the answer was lost")
        return answer

    patch.setattr(port, name, once)
    return count


def test_a_request_whose_answer_was_lost_is_repeated_and_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[waiting], worker=False) as app:
            await app.start(waiting, id="w")
            count = unanswered(monkeypatch, app.backend.store, "deliver")
            await app.runs.cancel("w")
            assert (await app.runs.get("w")).mail == 1
            assert count == [2]

    run(scenario())


def test_a_fork_whose_answer_was_lost_is_one_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[waiting]) as app:
            handle = await app.start(waiting, id="w")
            await handle.send(go, 2)
            await handle.result(timeout=5)
            unanswered(monkeypatch, app.backend.store, "create")
            assert await app.runs.fork("w", id="mine") == "mine"
            assert await app.runs.fork("w", from_step="work") == "w-fork"
            assert len((await app.runs.list()).runs) == 3

    run(scenario())


def test_a_delete_whose_answer_was_lost_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[waiting]) as app:
            handle = await app.start(waiting, id="w")
            await handle.send(go, 2)
            await handle.result(timeout=5)
            unanswered(monkeypatch, app.backend.store, "delete")
            await app.runs.delete("w")
            assert (await app.runs.list()).runs == ()

    run(scenario())


def test_a_cancel_that_overtakes_the_start_of_its_child_still_lands(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[impatient, waiting]) as app:
            store = app.backend.store
            create = store.create
            calls = [0]

            async def slow(runs: Any) -> Any:
                calls[0] += 1
                if calls[0] == 2:  # the child's, by the act that starts it
                    await asyncio.sleep(0.02)
                return await create(runs)

            monkeypatch.setattr(store, "create", slow)
            await (await app.start(impatient, id="p")).result(timeout=5)
            children = (await app.runs.list(parent="p")).runs
            assert len(children) == 1
            with pytest.raises(RunCancelledError):
                await app.handle(children[0].id).result(timeout=5)

            async def settled() -> bool:
                return (await app.runs.get("p")).is_settled

            await until(settled)

    run(scenario())


def test_many_starts_whose_answer_was_lost_make_each_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[waiting], worker=False) as app:
            count = unanswered(monkeypatch, app.backend.store, "create")
            handles = await app.start_many(waiting, [None, None])  # type: ignore[arg-type]
            assert count == [2]
            assert {handle.id for handle in handles} == {head.id for head in (await app.runs.list()).runs}

    run(scenario())


def test_a_start_whose_answer_was_lost_is_no_conflict_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[waiting]) as app:
            count = unanswered(monkeypatch, app.backend.store, "create")
            handle = await app.start(waiting, id="w", on_conflict="fail")
            assert count == [2]
            await handle.send(go, 1)
            assert await handle.result(timeout="5s") == 2
            with pytest.raises(RunConflictError):
                await app.start(waiting, id="w", on_conflict="fail")

    run(scenario())


@pytest.mark.parametrize("port", ["streams.append", "store.search", "store.deliver"])
def test_an_event_whose_publishing_was_interrupted_happens_once(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[hearing]) as app:
            handle = await app.start(hearing)
            await until(lambda: _waits(handle))
            of, _, name = port.partition(".")
            count = unanswered(monkeypatch, getattr(app.backend, of), name)
            assert await app.publish(news, 1) == 1
            assert count[0] >= 2
            await app.publish(news, 2)
            assert await handle.result(timeout="5s") == [1, 2]

    run(scenario())


async def _waits(handle: Handle[Any]) -> object:
    return (await handle.head()).waiting
