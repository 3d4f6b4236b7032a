"""When an attempt is repeated, and how long it waits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.engine.retry import is_retried, next_delay_ms, next_run_delay_ms
from stepwell.errors import CodecError, FatalError, RetryableError
from stepwell.model.durations import duration_ms
from stepwell.model.failures import Failure
from stepwell.model.policies import NO_RETRY, Retry

EXACT = Retry(attempts=10, first_delay="1s", backoff=2.0, max_delay="1m", jitter=0)

policies = st.builds(
    Retry,
    attempts=st.integers(1, 10**9),
    first_delay=st.integers(0, 10_000) | st.just("1h30m"),
    backoff=st.floats(1, 1e300) | st.just(float("inf")),
    max_delay=st.integers(0, 10_000),
    jitter=st.floats(0, 1),
)
fractions = st.floats(0, 1, exclude_max=True)


def delay(retry: Retry, attempt: int = 1, exception: BaseException | None = None, **options: Any) -> int | None:
    options.setdefault("rng_fraction", 0.5)
    return next_delay_ms(retry, attempt=attempt, exception=exception or ValueError(), **options)


def test_waits_grow_by_the_factor_up_to_the_longest() -> None:
    waits = [delay(EXACT, attempt) for attempt in range(1, 10)]

    assert waits == [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]


def test_the_last_attempt_is_not_followed_by_another() -> None:
    assert delay(EXACT, 9) is not None
    assert delay(EXACT, 10) is None
    assert delay(NO_RETRY) is None


def test_jitter_spreads_to_both_sides() -> None:
    spread = Retry(attempts=2, first_delay="1s", jitter=0.1)

    assert delay(spread, rng_fraction=0.0) == 900
    assert delay(spread, rng_fraction=0.5) == 1000
    assert delay(spread, rng_fraction=0.999999999) == 1100


def test_an_attempt_number_without_bounds_waits_the_longest() -> None:
    assert delay(Retry(attempts=10**9, jitter=0), 10**9 - 1) == 60_000


@given(policies, st.integers(1, 10**9), fractions)
def test_a_wait_stays_within_the_policy(retry: Retry, attempt: int, fraction: float) -> None:
    wait = delay(retry, attempt, rng_fraction=fraction)

    if attempt >= retry.attempts:
        assert wait is None
    else:
        assert wait is not None
        assert 0 <= wait <= duration_ms(retry.max_delay) * (1 + retry.jitter) + 1


@given(policies, st.integers(1, 100), fractions)
def test_waits_do_not_shrink(retry: Retry, attempt: int, fraction: float) -> None:
    earlier, later = (delay(retry, n, rng_fraction=fraction) for n in (attempt, attempt + 1))

    assert later is None or (earlier is not None and earlier <= later)


@given(policies, st.integers(1, 100), fractions, st.integers(-1000, 20_000))
def test_no_attempt_starts_at_or_after_the_deadline(retry: Retry, attempt: int, fraction: float, left: int) -> None:
    free = delay(retry, attempt, rng_fraction=fraction)

    assert delay(retry, attempt, rng_fraction=fraction, remaining_ms=left) == (
        free if free is not None and free < left else None
    )


def test_a_step_may_ask_for_its_own_delay() -> None:
    assert delay(EXACT, exception=RetryableError(retry_after="5m")) == 300_000
    assert delay(EXACT, exception=RetryableError(retry_after=0)) == 0
    assert delay(EXACT, exception=RetryableError()) == 1000
    assert delay(EXACT, 10, RetryableError(retry_after="5m")) is None


@pytest.mark.parametrize("nonsense", ["soon", -1, float("nan"), object()])
def test_a_delay_that_is_none_leaves_it_to_the_policy(nonsense: Any) -> None:
    assert delay(EXACT, exception=RetryableError(retry_after=nonsense)) == 1000


@pytest.mark.parametrize("exception", [FatalError(), CodecError(), SystemExit(), KeyboardInterrupt()], ids=repr)
def test_some_failures_are_never_repeated(exception: BaseException) -> None:
    assert delay(EXACT, exception=exception) is None


def test_what_the_step_lists_in_raises_is_an_answer_and_not_repeated() -> None:
    assert delay(EXACT, exception=KeyError(), raises=(LookupError,)) is None
    assert delay(EXACT, exception=ValueError(), raises=(LookupError,)) == 1000


def test_only_the_types_that_the_policy_names_are_repeated() -> None:
    picky = Retry(on=(LookupError,))

    assert is_retried(picky, KeyError())
    assert is_retried(picky, RetryableError())
    assert not is_retried(picky, ValueError())
    assert not is_retried(Retry(on=(FatalError,)), FatalError())


@pytest.mark.parametrize(
    ("retry", "types", "retries", "expected"),
    [
        (EXACT, ["builtins.ValueError"], 0, 1000),
        (EXACT, ["builtins.ValueError"], 3, 8000),
        (EXACT, ["builtins.ValueError"], 9, None),
        (EXACT, ["stepwell.errors.FatalError"], 0, None),
        (EXACT, ["stepwell.errors.CodecError", "stepwell.errors.DefinitionError"], 0, None),
        (Retry(on=(OSError,), jitter=0), ["builtins.ValueError"], 0, None),
        (Retry(on=(OSError,), jitter=0), ["builtins.TimeoutError", "builtins.OSError"], 0, 1000),
    ],
)
def test_a_failed_run_is_judged_by_recorded_names(
    retry: Retry, types: list[str], retries: int, expected: int | None
) -> None:
    assert next_run_delay_ms(retry, Failure(types=tuple(types), message=""), retries) == expected
