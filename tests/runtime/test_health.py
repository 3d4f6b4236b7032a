"""Workers that are broken in earnest, and what their health says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.helpers import run, until

from stepwell import BackendError, Context, Stepwell, WorkflowRef, step, workflow
from stepwell.ports import Backend
from stepwell.runtime.backlog import Backlog
from stepwell.runtime.health import Facts, Health, HealthLimits, WorkerFacts, judged, probe, worker_facts
from stepwell.runtime.options import WorkerOptions
from stepwell.runtime.worker import Worker
from stepwell.testing import VirtualClock
from stepwell.testing.faults import Call, FaultyBackend

LIMITS = HealthLimits()
SHORT = WorkerOptions(lease_ms=150, margin_ms=10, poll_ms=20)


@step
async def nothing() -> None: ...


@workflow
async def short(ctx: Context) -> None:
    await nothing()


class Weather:
    """A policy: calls fail, or hang, while it is bad."""

    def __init__(self) -> None:
        self.bad: frozenset[str] = frozenset()
        self.hangs = False
        self.is_over = asyncio.Event()
        self.caught = asyncio.Event()

    async def __call__(self, call: Call) -> Any:
        if call.name in self.bad or "all" in self.bad:
            self.caught.set()
            if self.hangs:
                await self.is_over.wait()
            raise BackendError("the network is down")
        return await call.apply()


class Tried:
    """An app with a worker on a backend that can be broken, and a clock that is moved by hand."""

    def __init__(self, app: Stepwell, worker: Worker, weather: Weather, clock: VirtualClock) -> None:
        self.app, self.worker, self.weather, self.clock = app, worker, weather, clock

    async def health(self, limits: HealthLimits = LIMITS) -> Health:
        due = await probe(self.app.backend, limits, now=self.worker.clock.now())
        known, wrong = (due, "") if isinstance(due, Backlog) else (None, due)
        return judged(Facts(backend=wrong, workers=(worker_facts(self.worker, known),)), limits)

    async def wrong(self) -> dict[str, str]:
        return {check.name: check.detail for check in (await self.health()).failed()}


class FaultyApp(Stepwell):
    weather: Weather

    async def _open_backend(self) -> Backend:
        return FaultyBackend(await super()._open_backend(), self.weather)


@asynccontextmanager
async def tried(options: WorkerOptions = SHORT) -> AsyncIterator[Tried]:
    clock, weather = VirtualClock(), Weather()
    app = FaultyApp("memory://", include=[short], clock=clock, worker_options=options)
    app.weather = weather
    async with app, app.worker() as worker:
        yield Tried(app, worker, weather, clock)
        weather.bad = frozenset()
        weather.is_over.set()


def test_a_worker_that_works_is_healthy() -> None:
    async def go() -> Health:
        async with tried() as it:
            await (await it.app.start(short)).result()
            return await it.health()

    health = run(go())

    assert health.ok
    assert {check.name for check in health.checks} >= {"backend", "worker", "polling", "leases", "loop", "due runs"}
    assert all(not check.detail and not check.cure for check in health.checks)


def test_a_worker_whose_main_task_has_died_is_not() -> None:
    async def go() -> dict[str, str]:
        async with tried() as it:
            assert it.worker.main is not None
            it.worker.main.cancel()
            await asyncio.wait([it.worker.main])
            return await it.wrong()

    assert run(go()) == {"worker": "the task that takes runs has ended"}


def test_a_worker_whose_renewer_has_ended_is_not() -> None:
    async def go() -> dict[str, str]:
        async with tried() as it:
            await it.worker.renewer.stop()
            return await it.wrong()

    assert run(go()) == {"worker": "what renews leases has ended"}


def test_a_worker_that_hears_no_notices_is_not() -> None:
    async def go() -> dict[str, str]:
        async with tried() as it:
            it.worker.listeners[0].cancel()
            await asyncio.wait([it.worker.listeners[0]])
            return await it.wrong()

    assert run(go()) == {"worker": "1 listeners have ended: runs that become due are found late"}


def test_a_backend_that_is_gone_shows_at_once_and_in_the_worker_soon() -> None:
    async def go() -> tuple[dict[str, str], dict[str, str]]:
        async with tried() as it:
            it.weather.bad = frozenset({"all"})
            first = await it.wrong()
            it.clock.advance("30s")
            return first, await it.wrong()

    first, later = run(go())

    assert first == {"backend": "the backend fails: the network is down"}
    assert later["backend"] == first["backend"]
    assert later["polling"].startswith("the worker has not heard from the store for 30 s")


def test_a_backend_that_never_answers_is_not_waited_for() -> None:
    async def go() -> Health:
        async with tried() as it:
            it.weather.hangs, it.weather.bad = True, frozenset({"store.peek_due"})
            return await it.health(HealthLimits(probe=0.01))

    assert [check.detail for check in run(go()).failed()] == ["the backend has not answered within 0.01 s"]


def test_a_worker_that_hangs_in_a_call_is_found_though_the_backend_answers_others() -> None:
    async def go() -> dict[str, str]:
        async with tried() as it:
            it.weather.hangs, it.weather.bad = True, frozenset({"store.take"})
            await it.weather.caught.wait()
            it.clock.advance("1m")
            return await it.wrong()

    assert list(run(go())) == ["polling"]


def test_a_worker_that_hangs_in_a_call_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.runtime.worker._LAST_WORDS_S", 0.01)

    async def go() -> bool:
        async with tried() as it:
            it.weather.hangs, it.weather.bad = True, frozenset({"store.take"})
            await it.weather.caught.wait()
            await asyncio.wait_for(it.worker.stop(), 5)
            return it.worker.has_stopped.is_set()

    assert run(go())


@workflow
async def waits_for_me(ctx: Context) -> None:
    await slow()


@step
async def slow() -> None:
    await asyncio.Event().wait()


def test_renewals_that_fail_show_before_the_leases_end() -> None:
    async def go() -> dict[str, str]:
        async with tried(WorkerOptions(lease_ms=30_000, margin_ms=5000, renewal="loop")) as it:
            await it.app.start(waits_for_me)
            await until(lambda: _true(it.worker.active))
            it.weather.bad = frozenset({"store.renew"})
            it.clock.advance("10s")
            await it.worker.renewer._renew(lambda call: call())
            it.clock.advance("16s")
            return {name: text for name, text in (await it.wrong()).items() if name == "leases"}

    assert run(go()) == {"leases": "no lease could be renewed for 16 s; they last 30 s"}


async def _true(value: object) -> bool:
    return bool(value)


def test_a_blocked_event_loop_shows_to_another_thread_while_it_lasts_and_here_after() -> None:
    seen: list[WorkerFacts] = []

    def look(it: Tried, done: threading.Event) -> None:
        while it.worker.renewer._asked_at is None:
            pass  # the renewer has not asked the loop to move yet
        it.clock.advance("20s")
        seen.append(worker_facts(it.worker, None))
        done.set()

    async def go() -> tuple[Health, Health, Health]:
        async with tried() as it:
            done = threading.Event()
            threading.Thread(target=look, args=(it, done)).start()
            done.wait(10)  # the loop stands still
            await until(lambda: _true(it.worker.renewer.block))
            during = judged(Facts(workers=(seen[0],)), LIMITS)
            after = await it.health()
            it.clock.advance("1m")
            await until(lambda: _fresh(it))
            return during, after, await it.health()

    async def _fresh(it: Tried) -> bool:
        return it.worker.looked_at == it.clock.monotonic()

    during, after, later = run(go())

    loops = [{check.name: check.detail for check in health.failed()}.get("loop") for health in (during, after, later)]
    assert loops == [*["the event loop did not move for 20 s, 0 s ago"] * 2, None]


def test_a_run_that_is_due_for_long_while_there_is_room_is_wrong() -> None:
    async def go() -> dict[str, str]:
        async with tried() as it:
            it.weather.hangs, it.weather.bad = True, frozenset({"store.take"})
            await it.weather.caught.wait()
            sleeping, it.app.client.worker = it.app.client.worker, None
            await it.app.start(short, id="r1")
            it.app.client.worker = sleeping
            it.clock.advance("90s")
            return await it.wrong()

    assert run(go())["due runs"] == (
        "run r1 has been due for 90 s, and the worker, which could take it, has room for 200 runs"
    )


def test_a_run_that_this_worker_does_not_serve_is_not_its_fault() -> None:
    async def go() -> dict[str, str]:
        async with tried() as it:
            await it.app.start(WorkflowRef[None, None]("elsewhere"), id="r1")
            it.clock.advance("9s")
            return await it.wrong()

    assert run(go()) == {}


def test_a_worker_that_stops_says_so() -> None:
    async def go() -> dict[str, str]:
        async with tried() as it:
            await it.worker.stop()
            return await it.wrong()

    assert list(run(go())) == ["worker"]


# --- what follows from facts


@pytest.mark.parametrize(
    ("facts", "failed"),
    [
        (WorkerFacts(), []),
        (WorkerFacts(silent=13.0), []),
        (WorkerFacts(silent=13.1), ["polling"]),
        (WorkerFacts(unanswered=15.0), []),
        (WorkerFacts(unanswered=15.1), ["leases"]),
        (WorkerFacts(blocked=4.9), []),
        (WorkerFacts(blocked=5.0, blocked_ago=30.0), ["loop"]),
        (WorkerFacts(blocked=5.0, blocked_ago=30.1), []),
        (WorkerFacts(overdue=60.0), []),
        (WorkerFacts(overdue=60.1), ["due runs"]),
        (WorkerFacts(overdue=60.1, free=0), []),
        (WorkerFacts(is_stopping=True, is_main_alive=False, silent=99.0), ["worker"]),
        (WorkerFacts(name="acme", dead_listeners=2), ["worker"]),
    ],
)
def test_each_fact_has_its_bound(facts: WorkerFacts, failed: list[str]) -> None:
    health = judged(Facts(workers=(facts,)), LIMITS)

    assert [check.name for check in health.failed()] == failed
    assert health.ok is (not failed)
    assert all(check.detail and check.cure for check in health.failed())


def test_a_process_without_a_worker_needs_only_its_backend() -> None:
    assert judged(Facts(), LIMITS).ok
    wrong = judged(Facts(is_draining=True, backend="gone", keys="unreadable"), LIMITS)
    assert [check.name for check in wrong.failed()] == ["draining", "backend", "keys"]


def test_what_is_wrong_with_the_worker_of_a_namespace_names_it() -> None:
    health = judged(Facts(workers=(WorkerFacts(name="acme", is_main_alive=False),)), LIMITS)

    assert [check.detail for check in health.failed()] == ["the task that takes runs of namespace acme has ended"]
