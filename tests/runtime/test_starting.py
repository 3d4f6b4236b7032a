"""When a body begins: not before its time, with its own clock, and with what came before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from stepwell import Context, Retry, RunCancelledError, RunError, Signal, Stepwell, step, workflow
from stepwell.engine.timeline import StartItem, TimerItem
from stepwell.model.entries import Started
from stepwell.runtime.options import WorkerOptions
from stepwell.testing.virtual import VirtualClock, VirtualLoop

T = TypeVar("T")
HOUR = 3_600_000
MINUTE = 60_000
WORKER = WorkerOptions(poll_ms=5_000, gc_threshold=0, renewal="loop", cached_runs=0)

number = Signal("number", int)
calls: list[str] = []


@step(retry=None)
async def work(name: str) -> str:
    calls.append(name)
    if name == "fails":
        raise ValueError("no")
    if name == "slow":
        await asyncio.sleep(30)
    return name


@workflow
async def receives(ctx: Context) -> list[int]:
    first = [await ctx.receive(number, timeout=0, default=-1) for _ in range(3)]
    return [*first, round(ctx.now().timestamp() * 1000)]


@workflow
async def hurries(ctx: Context) -> list[int]:
    async with asyncio.timeout(60):
        await work("slow")
    before = ctx.now()
    await ctx.sleep("1h")
    return [round((ctx.now() - before).total_seconds() * 1000)]


@workflow
async def sleeps(ctx: Context) -> None:
    await ctx.sleep("1h")


@workflow
async def cleans_up(ctx: Context) -> None:
    try:
        await work("begun")
        await ctx.receive(number)
    finally:
        await work("cleaned")


@workflow
async def waits(ctx: Context) -> int:
    return await ctx.receive(number)


@workflow(retry=Retry(attempts=2, first_delay="1h", max_delay="1h"))
async def tries_twice(ctx: Context) -> None:
    async with asyncio.timeout(60):
        await work("fails")


@workflow(retry=Retry(attempts=2, first_delay="1h", max_delay="1h"))
async def tries_twice_after(ctx: Context, name: str) -> None:
    try:
        await work("first")
        await work("fails")
    except asyncio.CancelledError:
        await work("cleaned")
        raise


FLOWS = [receives, hurries, sleeps, cleans_up, waits, tries_twice, tries_twice_after]


class World:
    """An app without a worker, in virtual time; workers come and go."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.began_at = self.clock.now()
        self.app = Stepwell("memory://", include=FLOWS, worker=False, clock=self.clock, worker_options=WORKER)

    @property
    def passed(self) -> int:
        """Milliseconds since the test began."""
        return self.clock.now() - self.began_at

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        async with self.app.worker():
            yield

    async def started(self, run: str) -> list[int]:
        """The late starts in the run's journal, in ms since the test began."""
        entries = [event.entry async for event in self.app.runs.events(run)]
        return [entry.at - self.began_at for entry in entries if isinstance(entry, Started)]


@pytest.fixture
def world() -> World:
    calls.clear()
    return World()


def drive(world: World, coroutine: Coroutine[Any, Any, T]) -> T:
    loop = VirtualLoop(world.clock)
    loop.is_alive = lambda: True  # for a day, in which everything here is over

    async def main() -> T:
        async with asyncio.timeout(86_400), world.app:
            return await loop.drive(coroutine)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())


# --- a delay


def test_messages_do_not_end_a_delay_and_are_there_when_the_body_begins(world: World) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(receives, delay="1h")
            for value in (1, 2):
                await asyncio.sleep(600)
                await handle.send(number, value)
            assert await handle.result() == [1, 2, -1, world.began_at + HOUR]
            assert world.passed == HOUR
            assert await world.started(handle.id) == []

    drive(world, main())


def test_a_delay_is_no_part_of_the_clock_of_the_body(world: World) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(hurries, delay="1h")
            assert await handle.result() == [HOUR]
            assert world.passed == 2 * HOUR + 30_000

    drive(world, main())


def test_the_timeout_of_a_run_is_counted_from_the_end_of_its_delay(world: World) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(sleeps, delay="1h", timeout="30m")
            with pytest.raises(RunError, match="the run took longer than its timeout"):
                await handle.result()
            assert world.passed == HOUR + 30 * MINUTE
            fork = await world.app.runs.retry(handle.id)
            with pytest.raises(RunError, match="the run took longer than its timeout"):
                await world.app.handle(fork).result()
            assert world.passed == HOUR + 60 * MINUTE

    drive(world, main())


@pytest.mark.parametrize("is_there_late", [False, True])
def test_a_cancel_ends_a_delayed_run_at_once_and_its_body_never_begins(world: World, is_there_late: bool) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(cleans_up, delay="1h")
            await asyncio.sleep(600)
            if is_there_late:
                await handle.send(number, 1)
                await world.app.runs.pause(handle.id)
                await asyncio.sleep(60)
            await world.app.runs.cancel(handle.id, "not wanted")
            with pytest.raises(RunCancelledError, match="not wanted"):
                await handle.result()
            assert world.passed < HOUR
            assert (await world.app.runs.get(handle.id)).is_settled
            assert calls == []

    drive(world, main())


def test_a_terminate_ends_a_delayed_run_at_once(world: World) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(cleans_up, delay="1h")
            await world.app.runs.terminate(handle.id)
            with pytest.raises(RunCancelledError):
                await handle.result()
            assert (world.passed < HOUR, calls) == (True, [])

    drive(world, main())


def test_a_run_that_is_paused_during_its_delay_begins_when_it_is_resumed(world: World) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(hurries, delay="1h")
            await asyncio.sleep(600)
            await world.app.runs.pause(handle.id)
            await asyncio.sleep(7200 - 600)
            assert calls == []
            await world.app.runs.resume(handle.id)
            assert await handle.result() == [HOUR]
            assert await world.started(handle.id) == [2 * HOUR]

    drive(world, main())


def test_a_run_that_is_paused_and_resumed_during_its_delay_begins_in_time(world: World) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(receives, delay="1h")
            await world.app.runs.pause(handle.id)
            await handle.send(number, 7)
            await asyncio.sleep(600)
            await world.app.runs.resume(handle.id)
            assert await handle.result() == [7, -1, -1, world.began_at + HOUR]

    drive(world, main())


@pytest.mark.parametrize("has_mail", [False, True])
def test_a_delayed_run_says_when_it_starts(world: World, has_mail: bool) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(sleeps, delay="1h")
            if has_mail:
                await handle.send(number, 1)
                await asyncio.sleep(1)
            head = await world.app.runs.get(handle.id)
            assert head.wake_at == world.began_at + HOUR
            assert [(wait.kind, wait.until) for wait in head.waiting] == [("start", world.began_at + HOUR)]
            explanation = await world.app.runs.explain(handle.id)
            assert explanation.headline.startswith("starts in ")
            assert explanation.facts == ("it starts at 2026-01-01 01:00:00 UTC",)
            assert (await world.app.runs.replay(handle.id)).is_ok
            assert (await world.app.runs.timeline(handle.id)).not_before == world.began_at + HOUR

    drive(world, main())


def test_a_start_without_a_delay_has_nothing_to_say_about_it(world: World) -> None:
    async def main() -> None:
        handle = await world.app.start(sleeps)
        head = await world.app.runs.get(handle.id)
        assert head.waiting == ()
        async with world.worker():
            await handle.result()
        assert await world.started(handle.id) == []

    drive(world, main())


# --- a queue


def test_time_in_the_queue_is_no_part_of_the_clock_of_the_body(world: World) -> None:
    async def main() -> None:
        handle = await world.app.start(hurries)
        await asyncio.sleep(600)
        async with world.worker():
            assert await handle.result() == [HOUR]
        assert await world.started(handle.id) == [10 * MINUTE]
        story = await world.app.runs.timeline(handle.id)
        (item,) = story.of(StartItem)
        assert (item, story.items[0]) == (StartItem(seq=2, at=world.began_at + 600_000, late_ms=600_000), item)
        assert (await world.app.runs.replay(handle.id)).is_ok

    drive(world, main())


def test_a_late_body_that_only_waits_keeps_its_time_when_others_take_it_over(world: World) -> None:
    async def main() -> None:
        handle = await world.app.start(sleeps)
        await asyncio.sleep(600)
        async with world.worker():
            await asyncio.sleep(600)
        assert await world.started(handle.id) == [10 * MINUTE]
        async with world.worker():
            await handle.result()
        assert world.passed == HOUR + 10 * MINUTE

    drive(world, main())


def test_a_body_that_began_in_time_keeps_its_time_though_no_frame_tells_of_it(world: World) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(sleeps)
            await asyncio.sleep(600)
        async with world.worker():
            await handle.result()
        assert (await world.started(handle.id), world.passed) == ([], HOUR)

    drive(world, main())


def test_a_run_that_is_past_its_timeout_when_it_begins_fails(world: World) -> None:
    async def main() -> None:
        handle = await world.app.start(sleeps, timeout="5m")
        await asyncio.sleep(600)
        async with world.worker():
            with pytest.raises(RunError, match="the run took longer than its timeout"):
                await handle.result()
            fork = await world.app.runs.retry(handle.id)
            with pytest.raises(RunError, match="the run took longer than its timeout"):
                await world.app.handle(fork).result()
        assert world.passed == 15 * MINUTE

    drive(world, main())


def test_messages_that_came_while_a_run_was_in_the_queue_are_there(world: World) -> None:
    async def main() -> None:
        handle = await world.app.start(waits)
        await handle.send(number, 3)
        await asyncio.sleep(600)
        async with world.worker():
            assert await handle.result() == 3

    drive(world, main())


# --- retries, forks, imports


def test_a_retry_with_nothing_settled_has_a_clock_of_its_own(world: World) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(tries_twice)
            with pytest.raises(RunError, match="no"):
                await handle.result()
        assert calls == ["fails", "fails"]
        assert (await world.app.runs.replay(handle.id)).is_ok

    drive(world, main())


def test_a_cancel_does_not_wait_for_a_retry(world: World) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(tries_twice_after, "x")
            await asyncio.sleep(600)
            await world.app.runs.cancel(handle.id)
            with pytest.raises(RunCancelledError):
                await handle.result()
        assert world.passed < HOUR
        assert calls == ["first", "fails", "cleaned"]

    drive(world, main())


def test_a_fork_from_the_first_step_has_a_clock_of_its_own(world: World) -> None:
    async def main() -> None:
        handle = await world.app.start(hurries)
        await handle.send(number, 3)
        await asyncio.sleep(600)
        async with world.worker():
            await handle.result()
            await asyncio.sleep(600)
            fork = await world.app.runs.fork(handle.id, from_step="work")
            assert await world.app.handle(fork).result() == [HOUR]
            again = await world.app.runs.fork(handle.id, input=None)
            assert await world.app.handle(again).result() == [HOUR]

    drive(world, main())


@pytest.mark.parametrize("late", [0, 600])
def test_a_fork_of_all_there_is_waits_no_longer_than_its_origin(world: World, late: int) -> None:
    async def main() -> None:
        handle = await world.app.start(sleeps)
        await asyncio.sleep(late)
        async with world.worker():
            await asyncio.sleep(1200)
            fork = await world.app.runs.fork(handle.id)
            await world.app.handle(fork).result()
            assert world.passed == HOUR + late * 1000

    drive(world, main())


def test_a_fork_of_a_delayed_run_begins_at_once_with_the_messages_of_its_origin(world: World) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(receives, delay="1h")
            await asyncio.sleep(60)
            await handle.send(number, 5)
            await asyncio.sleep(60)
            fork = await world.app.runs.fork(handle.id)
            assert (await world.app.handle(fork).result())[:2] == [5, -1]
            assert world.passed < HOUR

    drive(world, main())


def test_a_run_that_was_cancelled_before_it_began_is_retried(world: World) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(hurries, delay="1d")
            await world.app.runs.cancel(handle.id)
            with pytest.raises(RunCancelledError):
                await handle.result()
            retry = await world.app.runs.retry(handle.id)
            assert await world.app.handle(retry).result() == [HOUR]

    drive(world, main())


@pytest.mark.parametrize("delay", ["0s", "30m", "5h"])
def test_an_imported_run_that_had_not_begun_has_its_whole_time_when_it_is_resumed(world: World, delay: str) -> None:
    async def main() -> None:
        handle = await world.app.start(hurries, delay=delay)
        await asyncio.sleep(600)
        data = await world.app.runs.export(handle.id)
        await world.app.runs.terminate(handle.id)
        async with world.worker():
            imported = await world.app.runs.import_(data)
            await asyncio.sleep(7200)
            assert calls == []
            await world.app.runs.resume(imported)
            assert await world.app.handle(imported).result() == [HOUR]

    drive(world, main())


def test_an_imported_run_that_slept_goes_on_where_it_was(world: World) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(sleeps)
            await asyncio.sleep(1200)
            imported = await world.app.runs.import_(await world.app.runs.export(handle.id))
            await world.app.runs.resume(imported)
            await world.app.handle(imported).result()
            assert world.passed == HOUR

    drive(world, main())


@workflow(timeout="5m")
async def goes_on_past_its_timeout(ctx: Context) -> None:
    pause = asyncio.create_task(asyncio.sleep(60))
    try:
        await asyncio.shield(pause)
    finally:
        await pause


def test_only_the_timer_of_the_run_has_its_name_when_that_is_over_at_the_begin(world: World) -> None:
    async def main() -> None:
        handle = await world.app.start(goes_on_past_its_timeout)
        await asyncio.sleep(600)
        async with world.worker():
            with pytest.raises(RunError, match="the run took longer than its timeout"):
                await handle.result()
        timers = (await world.app.runs.timeline(handle.id)).of(TimerItem)
        assert [timer.name for timer in timers] == ["sleep"]

    drive(world, main())


@workflow
async def hurries_again(ctx: Context, turn: int) -> int:
    if turn == 0:
        await ctx.sleep("1h")
        ctx.continue_as_new(1)
    async with asyncio.timeout(60):
        await work("slow")
    return turn


def test_a_fork_from_the_first_step_of_a_later_generation_has_a_clock_of_its_own(world: World) -> None:
    async def main() -> None:
        async with world.worker():
            handle = await world.app.start(hurries_again, 0)
            assert await handle.result() == 1
            await asyncio.sleep(600)
            fork = await world.app.runs.fork(handle.id, from_step="work")
            assert await world.app.handle(fork).result() == 1
            again = await world.app.runs.fork(handle.id)
            assert await world.app.handle(again).result() == 1
        assert calls == ["slow", "slow"]
        assert await world.started(handle.id) == []

    drive(world, main())
