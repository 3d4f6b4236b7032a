"""Whether a failed attempt is tried again, and after how long. Pure: chance and time are arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stepwell.errors import DefinitionError, FatalError, RetryableError
from stepwell.model.durations import duration_ms
from stepwell.model.failures import Failure
from stepwell.model.policies import Retry


def next_delay_ms(
    retry: Retry,
    *,
    attempt: int,
    exception: BaseException,
    rng_fraction: float,
    raises: Sequence[type[BaseException]] = (),
    remaining_ms: int | None = None,
) -> int | None:
    """How long to wait after attempt number `attempt` (from 1) failed; None: do not try again.

    `rng_fraction` in [0, 1) chooses within the jitter. `remaining_ms` is what is left until the step's deadline: an
    attempt that could not start before it is not made.
    """
    if attempt >= retry.attempts or not is_retried(retry, exception, raises):
        return None
    delay = _asked_for_ms(exception)
    if delay is None:
        delay = _backed_off_ms(retry, attempt, rng_fraction)
    return None if remaining_ms is not None and delay >= remaining_ms else delay


def is_retried(retry: Retry, exception: BaseException, raises: Sequence[type[BaseException]] = ()) -> bool:
    """Whether this kind of failure is tried again at all.

    Never are: `FatalError`, what the step lists in `raises`, a `DefinitionError` (the next attempt would only repeat
    the effects of this one), and what is no `Exception` (such as `SystemExit`), unless `on` names it.
    """
    if isinstance(exception, (FatalError, DefinitionError, *raises)):
        return False
    if isinstance(exception, RetryableError):
        return True
    return isinstance(exception, retry.on or Exception)


def _asked_for_ms(exception: BaseException) -> int | None:
    """The delay that the step asked for; one that is not a duration is as good as none."""
    if not isinstance(exception, RetryableError) or exception.retry_after is None:
        return None
    try:
        return duration_ms(exception.retry_after, what="RetryableError(retry_after)")
    except (DefinitionError, TypeError):
        return None


def _backed_off_ms(retry: Retry, attempt: int, fraction: float) -> int:
    """The policy's wait, limited by `max_delay` and then spread: many runs that wait the maximum stay spread, too."""
    first, longest = duration_ms(retry.first_delay), duration_ms(retry.max_delay)
    try:
        delay = min(longest, first * retry.backoff ** (attempt - 1)) if first else 0
    except OverflowError:
        delay = longest
    return math.ceil(delay * (1 + retry.jitter * (2 * fraction - 1)))


def next_run_delay_ms(retry: Retry, failure: Failure, retries: int) -> int | None:
    """How long until a failed run starts again from its first failed step; None: it has failed for good.

    `retries` counts how often it did so before. Matching goes by recorded names, since the exception is gone. No
    jitter: runs fail at different times anyway.
    """
    if retries + 1 >= retry.attempts or failure.is_(FatalError) or failure.is_(DefinitionError):
        return None
    if retry.on and not any(failure.is_(kind) for kind in retry.on):
        return None
    return _backed_off_ms(retry, retries + 1, 0.5)
