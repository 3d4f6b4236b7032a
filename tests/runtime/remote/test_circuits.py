"""The circuit of a target, as a pure machine."""

from __future__ import annotations

import pytest

from stepwell.runtime.remote.circuits import (
    BURST_MS,
    FAILURES_MAX,
    FIRST_PAUSE_MS,
    LONGEST_PAUSE_MS,
    TRIAL_MS,
    Circuit,
)

MIDDLE = 0.5


def opened() -> Circuit:
    circuit = Circuit()
    for _ in range(FAILURES_MAX):
        circuit.failed("down", 0, MIDDLE)
    return circuit


def test_it_opens_after_some_failures_in_a_row() -> None:
    circuit = Circuit()
    told = [circuit.failed("down", 0, MIDDLE) for _ in range(FAILURES_MAX)]

    assert told == [*[False] * (FAILURES_MAX - 1), True]
    assert (circuit.state(0), circuit.wait_ms(0), circuit.last_error) == ("open", FIRST_PAUSE_MS, "down")


def test_calls_that_one_death_broke_count_once() -> None:
    circuit = Circuit()
    told = [circuit.failed("cut", 1000 + n, MIDDLE, began=n) for n in range(FAILURES_MAX * 10)]

    assert (any(told), circuit.failures, circuit.state(2000)) == (False, 1, "closed")


def test_calls_that_time_out_one_after_another_count_each() -> None:
    circuit = Circuit()
    told = [circuit.failed("late", 100_000 + n * BURST_MS, MIDDLE, began=n) for n in range(FAILURES_MAX)]

    assert told[-1]


def test_a_call_that_began_after_the_last_failure_counts() -> None:
    circuit = Circuit()
    told = [circuit.failed("refused", n + 1, MIDDLE, began=n) for n in range(FAILURES_MAX)]

    assert told[-1]


def test_a_success_between_failures_counts_from_the_beginning() -> None:
    circuit = Circuit()
    for _ in range(FAILURES_MAX - 1):
        circuit.failed("down", 0, MIDDLE)
    circuit.succeeded(1)
    circuit.failed("down", 2, MIDDLE)

    assert (circuit.state(2), circuit.failures, circuit.last_ok_at) == ("closed", 1, 1)


def test_after_the_pause_one_call_tries() -> None:
    circuit = opened()

    assert circuit.state(FIRST_PAUSE_MS) == "half open"
    assert circuit.wait_ms(FIRST_PAUSE_MS) == 0
    assert circuit.wait_ms(FIRST_PAUSE_MS) == TRIAL_MS
    circuit.succeeded(FIRST_PAUSE_MS + 1)
    assert (circuit.state(FIRST_PAUSE_MS + 1), circuit.wait_ms(FIRST_PAUSE_MS + 1)) == ("closed", 0)


def test_a_trial_that_hangs_does_not_keep_others_out() -> None:
    circuit = opened()
    circuit.wait_ms(FIRST_PAUSE_MS)

    assert circuit.wait_ms(FIRST_PAUSE_MS + TRIAL_MS) == 0


def test_a_trial_that_is_given_up_leaves_its_place_to_the_next() -> None:
    circuit = opened()
    circuit.wait_ms(FIRST_PAUSE_MS)
    circuit.given_up()

    assert circuit.wait_ms(FIRST_PAUSE_MS) == 0


def test_pauses_double_up_to_a_limit() -> None:
    circuit, now, pauses = opened(), 0, []
    for _ in range(8):
        assert circuit.retry_at is not None
        pauses.append(circuit.retry_at - now)
        now = circuit.retry_at
        circuit.wait_ms(now)
        circuit.failed("down", now, MIDDLE)

    assert pauses == [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, LONGEST_PAUSE_MS, LONGEST_PAUSE_MS]


@pytest.mark.parametrize(("fraction", "pause"), [(0.0, 4_000), (0.5, 5_000), (1.0, 6_000)])
def test_pauses_are_spread(fraction: float, pause: int) -> None:
    circuit = Circuit()
    for _ in range(FAILURES_MAX):
        circuit.failed("down", 0, fraction)

    assert circuit.retry_at == pause


def test_calls_that_began_before_it_opened_do_not_make_the_pause_longer() -> None:
    circuit = opened()
    circuit.failed("down, too", 10, MIDDLE)

    assert (circuit.retry_at, circuit.failures) == (FIRST_PAUSE_MS, FAILURES_MAX + 1)
