"""Workers: bounds, draining, leases, takeover, other processes, a store that fails for a while."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import run, until

from stepwell import BackendError, Context, DefinitionError, Signal, Stepwell, step, workflow
from stepwell.runtime.options import WorkerOptions
from stepwell.testing import StepwellTest

go_on = Signal("go_on", int)
begun: list[str] = []
stopped: list[str] = []
SLOW = 3.0
QUICK = WorkerOptions(lease_ms=2000, margin_ms=800, poll_ms=50)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    begun.clear()
    stopped.clear()


@step
async def slow(name: str) -> str:
    begun.append(name)
    try:
        await asyncio.sleep(SLOW if len(begun) == 1 else 0)
    except asyncio.CancelledError:
        stopped.append(name)
        raise
    return name


@step
async def quick(n: int) -> int:
    begun.append(str(n))
    await asyncio.sleep(0.005)
    return n


@step
async def block() -> int:
    time.sleep(0.7)
    return 1


@workflow
async def one_slow(ctx: Context, name: str) -> str:
    return await slow(name)


@workflow
async def one_quick(ctx: Context, n: int) -> int:
    return await quick(n)


@workflow
async def blocking(ctx: Context) -> int:
    return await block()


@workflow
async def waiting(ctx: Context) -> int:
    return await ctx.receive(go_on)


WORKFLOWS = [one_slow, one_quick, blocking, waiting]


def app_on(url: str, options: WorkerOptions = QUICK, *, worker: bool | None = None) -> Stepwell:
    return Stepwell(url, include=WORKFLOWS, worker_options=options, worker=worker)


def test_a_worker_holds_no_more_runs_than_it_may() -> None:
    async def go() -> int:
        most = 0
        async with app_on("memory://", WorkerOptions(concurrency=5, poll_ms=50)) as app:
            handles = await app.start_many(one_quick, range(40))
            while not all([(await handle.head()).is_terminal for handle in handles]):
                assert app.client.worker is not None
                most = max(most, len(app.client.worker.active))
                await asyncio.sleep(0.002)
        return most

    assert 1 <= run(go()) <= 5


def test_leaving_the_app_parks_what_is_not_done(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"

    async def go() -> tuple[str, int]:
        async with app_on(url) as app:
            handle = await app.start(one_slow, "x")
            await asyncio.sleep(0.05)
            assert app.client.worker is not None
            await app.client.worker.stop(grace_ms=0)
        async with app_on(url) as app:
            return await app.handle(handle.id, one_slow).result(timeout=5), len(begun)

    assert run(go()) == ("x", 2)
    assert stopped == ["x"]


def test_a_step_may_finish_within_the_grace(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"

    async def go() -> str:
        async with app_on(url) as app:
            handle = await app.start(one_slow, "x")
            await asyncio.sleep(0.05)
        async with app_on(url, worker=False) as app:
            return (await app.runs.get(handle.id)).status

    assert run(go()) == "completed"
    assert begun == ["x"]


def test_another_worker_takes_over_when_the_lease_ends() -> None:
    async def go() -> tuple[str, list[str]]:
        async with app_on("memory://takeover") as first, app_on("memory://takeover", worker=False) as second:
            handle = await first.start(one_slow, "x")
            await until(lambda: _has_begun(1))
            assert first.client.worker is not None
            await first.client.worker.renewer.stop()  # this worker can no longer renew
            async with second.worker(lease="2s"):
                result = await second.handle(handle.id, one_slow).result(timeout=20)
            return result, begun

    result, executions = run(go())
    assert result == "x"
    assert len(executions) == 2


async def _has_begun(n: int) -> bool:
    return len(begun) >= n


def test_a_blocked_loop_keeps_its_runs(tmp_path: Path) -> None:
    async def go() -> int:
        async with app_on(f"sqlite:///{tmp_path / 'b.db'}") as app:
            handle = await app.start(blocking)
            result = await handle.result(timeout=5)
            assert (await handle.head()).takes == 0
            return result

    assert run(go()) == 1


def test_a_message_from_elsewhere_wakes_a_held_run(tmp_path: Path) -> None:
    """The other app has its own connections to the same file, as another process would."""
    url = f"sqlite:///{tmp_path / 'c.db'}"

    async def go() -> int:
        async with app_on(url, WorkerOptions()) as app, app_on(url, worker=False) as other:
            handle = await app.start(waiting)
            await other.handle(handle.id).send(go_on, 3)
            return await handle.result(timeout=2)

    assert run(go()) == 3


def test_a_run_started_elsewhere_is_noticed_soon(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'd.db'}"

    async def go() -> float:
        options = WorkerOptions(poll_ms=60_000)
        async with app_on(url, options) as app, app_on(url, worker=False) as other, app.worker():
            await asyncio.sleep(0.05)
            begin = time.monotonic()
            handle = await other.start(one_quick, 1)
            await handle.result(timeout=30)
            return time.monotonic() - begin

    assert run(go()) < 30  # far less than the poll interval: it was told


def test_a_full_disk_stops_runs_and_room_lets_them_go_on(tmp_path: Path) -> None:
    path = tmp_path / "full.db"

    async def fill(app: Stepwell, started: list[str]) -> None:
        for n in range(2000):
            handle = await app.start(one_quick, n, metadata={"filler": "x" * 2000})
            started.append(handle.id)

    async def go() -> tuple[int, str]:
        started: list[str] = []
        async with app_on(f"sqlite:///{path}?max_pages=60", WorkerOptions()) as app:
            with pytest.raises(BackendError, match="full"):
                await fill(app, started)
            await asyncio.sleep(0.1)
        async with app_on(f"sqlite:///{path}", WorkerOptions()) as app:
            await handle_result(app, started[-1])
            return len(started), (await app.runs.get(started[-1])).status

    completed, status = run(go())
    assert completed > 3
    assert status == "completed"


async def handle_result(app: Stepwell, id: str) -> None:
    await app.handle(id, one_quick).result(timeout=10)


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"lease": "-1s"}, {"colour": "red"}])
def test_wrong_worker_options_are_named(options: dict[str, object]) -> None:
    with pytest.raises(DefinitionError, match=next(iter(options))):
        app_on("memory://").worker(**options)  # type: ignore[arg-type]


@step(lease="5s")
async def patient() -> int:
    await asyncio.sleep(0.8)
    return 1


@workflow
async def with_a_long_lease(ctx: Context) -> int:
    return await patient()


def test_a_step_may_ask_for_a_longer_lease() -> None:
    async def go() -> tuple[int, int]:
        options = WorkerOptions(lease_ms=300, margin_ms=100, renewal="loop")
        app = Stepwell("memory://", include=[with_a_long_lease], worker_options=options)
        async with app:
            handle = await app.start(with_a_long_lease)
            await asyncio.sleep(0.1)
            head = await handle.head()
            assert head.wake_at is not None
            return await handle.result(timeout=5), head.wake_at - head.created_at

    result, lease = run(go())
    assert result == 1
    assert lease > 4000


@workflow
async def napping(ctx: Context) -> int:
    await ctx.sleep("2s")
    return 1


def test_runs_that_nap_give_way_to_runs_that_are_due() -> None:
    async def go() -> int:
        app = Stepwell(
            "memory://", include=[napping, one_quick], worker_options=WorkerOptions(concurrency=2, poll_ms=20)
        )
        async with app:
            for _ in range(2):
                await app.start(napping)
            handle = await app.start(one_quick, 7)
            return await handle.result(timeout=1)

    assert run(go()) == 7


@step(timeout="10ms", retry=None)
def stuck() -> None:
    time.sleep(0.6)


@workflow
async def leaking(ctx: Context) -> None:
    await stuck()


def test_a_worker_whose_threads_all_hang_drains_and_stops() -> None:
    async def go() -> bool:
        app = Stepwell("memory://", include=[leaking], worker_options=WorkerOptions(threads=2))
        async with app, app.worker() as worker:
            for _ in range(2):
                await app.start(leaking)
            async with asyncio.timeout(5):
                await worker.has_stopped.wait()
            return worker.is_running

    assert not run(go())


def test_a_run_that_was_created_later_than_its_lease_ended_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with app_on("memory://", WorkerOptions(lease_ms=1_000, margin_ms=400, poll_ms=20)) as app:
            create = app.backend.store.create

            async def slowly(*args: Any) -> Any:
                await asyncio.sleep(0.7)
                return await create(*args)

            monkeypatch.setattr(app.backend.store, "create", slowly)
            handle = await app.start(one_quick, 1)
            assert await handle.result(timeout=5) == 1
            _, frames = await app.client.journal(handle.id)
            assert all(frame.by != frames[0][1].by for _, frame in frames[1:])
            assert begun == ["1"]

    run(scenario())


@workflow
async def naps(ctx: Context) -> list[int]:
    nap = asyncio.create_task(ctx.sleep("1h"))
    value = await ctx.receive(go_on)
    hours = int(ctx.now().timestamp()) % 86_400 // 3600
    await nap
    return [value, hours]


def test_a_worker_listens_from_the_moment_it_is_started() -> None:
    async def body(test: StepwellTest) -> list[int]:
        handle = await test.start(naps)  # this is what starts the worker
        await handle.send(go_on, 7)
        return await handle.result()

    with StepwellTest() as test:
        assert test.drive(body(test)) == [7, 0]
