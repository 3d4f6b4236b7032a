"""What a worker's observer counts, and that an observer can do no harm."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.helpers import run

from stepwell import Context, Retry, Signal, Stepwell, step, workflow
from stepwell.runtime.backlog import backlog
from stepwell.runtime.metrics import OTHER, STEPS_MAX, Counter, Gauge, Histogram, Metrics, Names
from stepwell.runtime.telemetry import Telemetry
from stepwell.testing import StepwellTest, VirtualClock

go_on = Signal("go on", int)


@step(retry=Retry(attempts=3, first_delay="1s"))
async def second_time_lucky(name: str) -> str:
    if name not in _tried:
        _tried.append(name)
        raise ValueError("not yet")
    return name


@step(retry=None)
async def fails() -> None:
    raise ValueError("never")


@step
async def fine() -> None: ...


_tried: list[str] = []


@workflow(id="all-sorts")
async def all_sorts(ctx: Context) -> int:
    await second_time_lucky(ctx.run_id)
    await ctx.sleep("40d")
    return await ctx.receive(go_on)


@workflow(id="doomed")
async def doomed(ctx: Context) -> None:
    await fails()


@pytest.fixture
def metrics(stepwell: StepwellTest) -> Metrics:
    metrics = Metrics()
    stepwell.app.hub.telemetry.add(metrics)
    _tried.clear()
    return metrics


def counts(family: Histogram, *labels: str) -> tuple[int, float]:
    found = family.values[labels]
    return sum(found.counts), found.sum


def test_attempts_are_counted_by_what_came_of_them(stepwell: StepwellTest, metrics: Metrics) -> None:
    stepwell.run_sync(all_sorts, messages=[(go_on, "50d", 1)])
    stepwell.run_sync(doomed)

    assert metrics.steps.values == {
        ("all-sorts", "second_time_lucky", "retried"): 1,
        ("all-sorts", "second_time_lucky", "completed"): 1,
        ("doomed", "fails", "failed"): 1,
    }
    assert counts(metrics.step_seconds, "all-sorts", "second_time_lucky")[0] == 2
    assert metrics.steps_running.values == {(): 0}


def test_runs_are_counted_once_at_their_start_and_once_at_their_end(stepwell: StepwellTest, metrics: Metrics) -> None:
    stepwell.run_sync(all_sorts, messages=[(go_on, "50d", 1)])
    stepwell.run_sync(doomed)

    assert metrics.runs_started.values == {("all-sorts",): 1, ("doomed",): 1}
    assert metrics.runs_ended.values == {("all-sorts", "completed"): 1, ("doomed", "failed"): 1}
    count, seconds = counts(metrics.run_seconds, "all-sorts", "completed")
    assert (count, seconds // 86_400) == (1, 50)


def test_what_comes_in_and_how_runs_are_let_go_is_counted(stepwell: StepwellTest, metrics: Metrics) -> None:
    stepwell.run_sync(all_sorts, messages=[(go_on, "50d", 1)])

    assert metrics.messages.values == {("signal",): 1}
    assert metrics.timers.values == {(): 1}
    assert metrics.activations.values == {("parked",): 2, ("ended",): 1}
    assert metrics.frames.values[()] >= 3
    assert counts(metrics.batch_size, "append")[1] == metrics.frames.values[()]
    assert counts(metrics.batch_size, "park")[1] == 2


def test_how_late_runs_are_is_known_by_why_they_were_due(stepwell: StepwellTest, metrics: Metrics) -> None:
    stepwell.run_sync(all_sorts, messages=[(go_on, "50d", 1)])

    assert {labels: sum(found.counts) for labels, found in metrics.late_seconds.values.items()} == {
        ("start",): 1,
        ("timer",): 1,
        ("message",): 1,
    }
    assert sum(found.sum for found in metrics.late_seconds.values.values()) < 1


@workflow(id="broken")
async def broken(ctx: Context) -> None:
    await asyncio.to_thread(print)


def test_code_that_cannot_drive_a_run_is_counted() -> None:
    async def go() -> Metrics:
        metrics, failed = Metrics(), asyncio.Event()
        async with Stepwell("memory://", include=[broken]) as app:
            app.hub.telemetry.add(metrics)
            app.hub.on_activation_failed = lambda *_: failed.set()
            await app.start(broken)
            await failed.wait()
            await asyncio.sleep(0)
        return metrics

    metrics = run(go())

    assert metrics.failures.values == {("broken",): 1}
    assert metrics.activations.values == {("failed",): 1}
    assert metrics.leases_lost.values == {}


@step
async def hangs() -> None:
    await asyncio.Event().wait()


@workflow(id="stuck")
async def stuck(ctx: Context) -> None:
    await hangs()


def test_runs_that_are_lost_are_counted_and_their_steps_as_stopped() -> None:
    async def go() -> Metrics:
        metrics = Metrics()
        async with Stepwell("memory://", include=[stuck]) as app, app.worker() as worker:
            app.hub.telemetry.add(metrics)
            handle = await app.start(stuck)
            while not metrics.steps_running.values:
                await asyncio.sleep(0)
            claim = worker.active[handle.id].driver.claim
            worker.leases.renewed([(handle.id, claim, None)], 0.0)
            while metrics.steps_running.values[()]:
                await asyncio.sleep(0)
        return metrics

    metrics = run(go())

    assert metrics.leases_lost.values == {("taken",): 1}
    assert metrics.steps_stopped.values == {(): 1}
    assert metrics.steps_running.values == {(): 0}


# --- bounds


def test_names_after_the_limit_are_counted_together(stepwell: StepwellTest, metrics: Metrics) -> None:
    @workflow(id="many")
    async def many(ctx: Context) -> None:
        for n in range(STEPS_MAX + 5):
            await step(fine.fn, name=f"step-{n}")()

    stepwell.run_sync(many)

    assert len({labels[:2] for labels in metrics.steps.values}) == STEPS_MAX + 1
    assert metrics.steps.values["many", OTHER, "completed"] == 5


def test_a_name_that_is_known_stays_known() -> None:
    names = Names(2)

    assert [names.has(name) for name in ("a", "b", "c", "a", "c")] == [True, True, False, True, False]


@pytest.mark.parametrize(("value", "bucket"), [(0.0, 0), (1.0, 0), (1.001, 1), (2.0, 1), (2.5, 2)])
def test_bounds_of_buckets_are_inclusive(value: float, bucket: int) -> None:
    histogram = Histogram("h", "?", (1.0, 2.0))
    histogram.observe(value)

    assert histogram.values[()].counts == [int(n == bucket) for n in range(3)]


def test_every_family_has_a_help_and_a_name_of_ours() -> None:
    families = Metrics().families()

    assert all(family.name.startswith("stepwell_") and family.help.endswith(".") for family in families)
    assert len({family.name for family in families}) == len(families) > 15
    assert {type(family) for family in families} == {Counter, Gauge, Histogram}


# --- observers


class Falls:
    """Fails at everything."""

    def __getattr__(self, event: str) -> Any:
        raise RuntimeError(f"cannot {event}")


def test_an_observer_that_fails_is_said_once_and_hurts_nothing(
    stepwell: StepwellTest, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    stepwell.app.hub.telemetry.add(Falls())
    stepwell.app.hub.telemetry.add(metrics)

    result = stepwell.run_sync(doomed)

    assert result.status == "failed"
    assert metrics.runs_ended.values == {("doomed", "failed"): 1}
    said = [record.getMessage() for record in caplog.records if "observer" in record.getMessage()]
    assert said == ["observer Falls failed at begun; this is said once"]


def test_an_observer_is_told_once_however_often_it_is_added() -> None:
    telemetry, metrics = Telemetry(), Metrics()
    assert not telemetry.is_on

    telemetry.add(metrics)
    telemetry.add(metrics)
    telemetry.batch("append", 3, 0.1)
    is_on = telemetry.is_on
    telemetry.remove(metrics)
    telemetry.batch("append", 3, 0.1)

    assert (is_on, telemetry.is_on) == (True, False)
    assert counts(metrics.batch_size, "append") == (1, 3.0)


# --- what is due


def test_what_is_due_is_counted_by_queue_the_oldest_first() -> None:
    async def go() -> list[tuple[str, int, int]]:
        async with Stepwell("memory://", include=[doomed, stuck], worker=False, clock=VirtualClock()) as app:
            first = await app.start(doomed)
            await app.start(doomed)
            await app.start(stuck, delay="1h")
            found = await backlog(app.backend)
            born = (await app.runs.get(first.id)).created_at
            return [(queue.queue, queue.due, queue.oldest - born) for queue in found.queues()]

    assert run(go()) == [("default", 2, 0)]


def test_more_than_was_asked_for_is_at_least_so_much() -> None:
    async def go() -> tuple[int, bool, bool]:
        async with Stepwell("memory://", include=[doomed], worker=False) as app:
            for _ in range(5):
                await app.start(doomed)
            few, all = await backlog(app.backend, limit=3), await backlog(app.backend, limit=6)
            return sum(queue.due for queue in few.queues()), few.is_complete, all.is_complete

    assert run(go()) == (3, False, True)
