"""The loop's time and its timers."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Any

import pytest
from tests.engine.loops import EPOCH, Run, forever

from stepwell.engine.loop import WorkflowLoop


def test_time_is_that_of_the_last_entry() -> None:
    loop = WorkflowLoop()
    loop.now_ms = 1500
    assert loop.time() == 1.5


@pytest.mark.parametrize("delay", [0.001, 0.1, 0.57, 1.0, 1.1, 4.35, 3600.7, 86400 * 365.0])
@pytest.mark.parametrize("now", [EPOCH, EPOCH + 1, EPOCH + 876, 2_100_000_000_999])
def test_a_timer_is_due_on_the_millisecond(delay: float, now: int) -> None:
    loop = WorkflowLoop()
    loop.now_ms = now
    loop.call_later(delay, print)
    timer = loop.next_timer()
    assert timer is not None
    assert timer.due - now == round(delay * 1000)


def test_a_fraction_of_a_millisecond_is_rounded_up() -> None:
    loop = WorkflowLoop()
    loop.call_later(0.0011, print)
    assert [timer.due for timer in loop.pending_timers()] == [2]


@pytest.mark.parametrize("k", range(200))
def test_time_is_never_before_a_timer_that_has_fired(k: int) -> None:
    loop = WorkflowLoop()
    loop.now_ms = EPOCH + k
    when = loop.time() + 0.1 + k / 7
    loop.call_at(when, print, "")
    timer = loop.next_timer()
    assert timer is not None
    loop.now_ms = timer.due
    loop.fire(timer.n, timer.due)
    assert loop.time() >= when


def test_timers_count_in_order_of_creation_and_fire_in_order_of_time() -> None:
    loop, seen = WorkflowLoop(), []
    loop.call_later(3, seen.append, "c")
    loop.call_later(1, seen.append, "a")
    loop.call_later(1, seen.append, "b")
    assert [(timer.n, timer.due) for timer in loop.pending_timers()] == [(2, 1000), (3, 1000), (1, 3000)]
    loop.now_ms = 3000
    for timer in loop.due_timers(loop.now_ms):
        loop.fire(timer.n, timer.due)
    loop.pump()
    assert seen == ["a", "b", "c"]


def test_due_timers_stay_pending() -> None:
    loop = WorkflowLoop()
    loop.call_later(1, print)
    loop.call_later(2, print)
    assert [timer.n for timer in loop.due_timers(1999)] == [1]
    assert [timer.n for timer in loop.due_timers(1999)] == [1]
    assert [timer.n for timer in loop.pending_timers()] == [1, 2]


def test_a_timer_that_is_due_already_has_no_number() -> None:
    loop, seen = WorkflowLoop(), []
    loop.now_ms = 1000
    loop.call_at(1.0, seen.append, "now")
    loop.call_later(-5, seen.append, "past")
    loop.call_later(1, seen.append, "later")
    assert [timer.n for timer in loop.pending_timers()] == [1]
    loop.pump()
    assert seen == ["now", "past"]


@pytest.mark.parametrize("delay", [math.inf, math.nan, 1e300])
def test_a_timer_beyond_all_time_is_none(delay: float) -> None:
    loop = WorkflowLoop()
    assert not loop.call_later(delay, print).cancelled()
    assert loop.next_timer() is None


def test_a_cancelled_timer_is_not_pending() -> None:
    loop = WorkflowLoop()
    handle = loop.call_later(1, print)
    assert handle.when() == 1.0
    assert "'timer' due 1000" in repr(handle)
    handle.cancel()
    handle.cancel()
    assert handle.cancelled()
    assert loop.next_timer() is None
    assert loop.due_timers(5000) == []


def test_cancelled_timers_do_not_pile_up() -> None:
    loop = WorkflowLoop()
    for _ in range(10_000):
        loop.call_later(1000, print).cancel()
    assert len(loop._timers._heap) < 200


def test_only_the_timer_that_is_pending_can_fire() -> None:
    loop = WorkflowLoop()
    loop.call_later(1, print)
    with pytest.raises(LookupError):
        loop.fire(2, 1000)
    with pytest.raises(LookupError):
        loop.fire(1, 999)
    loop.fire(1, 1000)
    with pytest.raises(LookupError):
        loop.fire(1, 1000)


def test_a_timer_cancelled_between_firing_and_its_turn_does_not_run() -> None:
    loop, seen = WorkflowLoop(), []
    handle = loop.call_later(1, seen.append, 1)
    loop.fire(1, 1000)
    handle.cancel()
    loop.pump()
    assert seen == []


def test_timers_say_what_they_are_for() -> None:
    async def body() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.call_later(9, print)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(forever(), 1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.wait([asyncio.ensure_future(asyncio.sleep(3))], timeout=2)
        loop.next_timer_name = "approval"
        await asyncio.sleep(1)
        await asyncio.sleep(1)

    run = Run(body)
    run.finish()
    names = {n: name for n, _, name in run.fired}
    assert names == {1: "timer", 2: "timeout", 3: "timeout", 5: "sleep", 6: "approval", 7: "sleep"}


def test_a_name_given_to_a_timer_that_never_came_is_forgotten() -> None:
    loop = WorkflowLoop()
    loop.next_timer_name = "approval"
    loop.pump()
    loop.call_later(1, print)
    assert [timer.name for timer in loop.pending_timers()] == ["timer"]
