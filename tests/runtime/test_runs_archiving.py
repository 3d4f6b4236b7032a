"""Starting anew under the id of a run that failed."""

from __future__ import annotations

from typing import Any

import pytest
from tests.helpers import run, until
from tests.runtime.conftest import OpenApp

from stepwell import Context, RunError, Signal, Stepwell, Stream, step, workflow
from stepwell.model.entries import Ended, Frame, FrameCodec
from stepwell.model.ids import Claim, RunId
from stepwell.ports import Append, HeadChange, Serves
from stepwell.runtime.options import WorkerOptions

broken = [True]
words = Stream("words", str)
go = Signal("go", int)


@step(retry=None)
async def may_fail() -> str:
    if broken[0]:
        raise ValueError("broken")
    return "x" * 20_000


@workflow
async def child(ctx: Context, n: int) -> int:
    return n


@workflow
async def order(ctx: Context, n: int) -> int:
    ctx.send(words, f"number {n}")
    got = await child(n)
    await may_fail()
    return got


@pytest.fixture(autouse=True)
def _broken() -> None:
    broken[0] = True


async def failed(app: Stepwell, n: int = 1) -> None:
    with pytest.raises(RunError):
        await (await app.start(order, n, id="o", on_conflict="restart_if_failed")).result(timeout=5)


def test_the_failed_run_is_kept_and_the_id_starts_anew(app_of: OpenApp) -> None:
    async def scenario() -> None:
        async with app_of(order, child) as app:
            await failed(app)
            broken[0] = False
            handle = await app.start(order, 2, id="o", on_conflict="restart_if_failed")
            assert await handle.result(timeout=5) == 2
            archived = await app.runs.get("o~1")
            assert (archived.status, archived.is_settled) == ("failed", True)
            assert [item.id for item in (await app.runs.timeline("o~1")).steps] == ["may_fail"]
            assert [word async for word in handle.stream(words)] == ["number 2"]

    run(scenario())


def test_each_failure_is_kept_under_a_number_of_its_own(app_of: OpenApp) -> None:
    async def scenario() -> None:
        async with app_of(order, child) as app:
            for n in range(3):
                await failed(app, n)
            page = await app.runs.list(workflow="order")
            assert sorted(head.id for head in page.runs) == ["o", "o~1", "o~2"]

    run(scenario())


def test_a_run_that_completed_is_not_started_anew(app_of: OpenApp) -> None:
    async def scenario() -> None:
        async with app_of(order, child) as app:
            broken[0] = False
            assert await (await app.start(order, 1, id="o")).result(timeout=5) == 1
            handle = await app.start(order, 1, id="o", on_conflict="restart_if_failed")
            assert await handle.result(timeout=5) == 1
            assert len((await app.runs.list(workflow="order")).runs) == 1

    run(scenario())


@pytest.mark.parametrize("fails_at", ["create", "streams", "delete", "create again"])
def test_a_crash_at_any_point_loses_nothing_and_is_made_good_by_repeating(fails_at: str) -> None:
    async def scenario() -> None:
        # A run whose creator died has to wait for the end of its lease.
        options = WorkerOptions(lease_ms=60, margin_ms=10, poll_ms=10)
        async with Stepwell("memory://", include=[order, child], worker_options=options) as app:
            await failed(app)
            broken[0] = False
            with pytest.MonkeyPatch.context() as patch:
                _fail_after(patch, app, fails_at)
                with pytest.raises(ConnectionError):
                    await app.start(order, 2, id="o", on_conflict="restart_if_failed")
            handle = await app.start(order, 2, id="o", on_conflict="restart_if_failed")
            assert await handle.result(timeout=5) == 2
            assert sorted(head.id for head in (await app.runs.list(workflow="order")).runs) == ["o", "o~1"]

    run(scenario())


def _fail_after(patch: pytest.MonkeyPatch, app: Stepwell, point: str) -> None:
    """The call takes effect, and the process "dies" before it hears of it."""
    port: Any = app.backend.streams if point == "streams" else app.backend.store
    name = "create" if point.startswith("create") else "delete"
    call = getattr(port, name)
    # The first create is the start that finds the run there, the second the archive, the third the new run.
    countdown = [{"create": 2, "create again": 3}.get(point, 1)]

    async def dying(*args: Any) -> Any:
        answer = await call(*args)
        countdown[0] -= 1
        if countdown[0] == 0:
            raise ConnectionError("the process died here")
        return answer

    patch.setattr(port, name, dying)


@workflow
async def waiting(ctx: Context, n: int) -> int:
    await child(n)
    return n + await ctx.receive(go)


async def end_elsewhere(app: Stepwell, run_id: str) -> None:
    """As a worker of another process would: take the parked run, and write its end."""
    store = app.backend.store
    claim = Claim("elsewhere:1")
    (head,) = (await store.take(claim, lease_ms=1_000, limit=1, serves=Serves(), runs=[RunId(run_id)])).heads
    end = FrameCodec.encode(Frame(head.created_at, claim, (Ended(status="failed"),)))
    change = HeadChange(status="failed", wake_at=None, release=True, ended_at=1)
    append = Append(run=head.id, seq=head.seq + 1, body=end, owner=claim, mail=head.mail, head=change)
    assert await store.append([append]) == ["ok"]


def test_a_worker_that_remembers_the_old_run_does_not_take_the_new_one_for_it() -> None:
    async def scenario() -> None:
        url = "memory://remembered"
        async with Stepwell(url, include=[waiting, child]) as app, Stepwell(url, worker=False) as client:
            await app.start(waiting, 1, id="w")
            await until(lambda: parked(app, "w"))
            await end_elsewhere(client, "w")
            handle = await client.start(waiting, 1, id="w", on_conflict="restart_if_failed")
            await handle.send(go, 2)
            assert await handle.result(timeout=5) == 3
            _, frames = await app.client.journal(RunId("w"))
            assert [seq for seq, _ in frames] == list(range(1, len(frames) + 1))

    run(scenario())


async def parked(app: Stepwell, run_id: str) -> bool:
    head = await app.runs.get(run_id)
    return head.owner is None and head.status == "waiting"
