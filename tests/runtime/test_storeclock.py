"""A worker whose clock is not the store's."""

from __future__ import annotations

from stepwell.runtime.storeclock import StoreClock
from stepwell.testing import VirtualClock


def test_a_clock_that_agrees_with_the_store_is_left_alone() -> None:
    machine = VirtualClock()
    clock = StoreClock(machine)
    asked_at = clock.machine_now()
    clock.heard(asked_at + 400, asked_at)
    assert clock.now() == machine.now()


def test_a_clock_that_is_behind_is_put_right_by_the_store() -> None:
    machine = VirtualClock()
    clock = StoreClock(machine)
    asked_at = clock.machine_now()
    machine.advance("2s")
    clock.heard(asked_at + 60_000, asked_at)
    assert clock.now() == asked_at + 61_000


def test_a_clock_that_was_set_meanwhile_needs_no_correction_any_more() -> None:
    machine = VirtualClock()
    clock = StoreClock(machine)
    clock.heard(machine.now() + 3_600_000, machine.now())
    machine.advance("1h")
    clock.heard(machine.now(), machine.now())
    assert clock.now() == machine.now()
