"""Policies: frozen values that say how a step is tried and how it is told apart."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from stepwell.errors import DefinitionError
from stepwell.model.durations import Duration, duration_ms


class Retry(Struct, frozen=True, kw_only=True):
    """How often a step is tried, and how long to wait in between.

    `attempts` counts all tries, the first included. The n-th wait is `first_delay * backoff ** (n - 1)`, at most
    `max_delay`, and spread by `jitter` (0.1 = up to 10 % more or less). `on` limits retries to these exception types;
    empty means all. `FatalError` and the types in the step's `raises` are never retried.
    """

    attempts: int = 3
    first_delay: Duration = "1s"
    backoff: float = 2.0
    max_delay: Duration = "1m"
    jitter: float = 0.1
    on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise DefinitionError(f"Retry(attempts={self.attempts}): a step is tried at least once")
        if self.backoff < 1:
            raise DefinitionError(f"Retry(backoff={self.backoff}): waits cannot shrink; give 1 or more")
        if not 0 <= self.jitter <= 1:
            raise DefinitionError(f"Retry(jitter={self.jitter}): give a share between 0 and 1")
        duration_ms(self.first_delay, what="Retry(first_delay)")
        duration_ms(self.max_delay, what="Retry(max_delay)")


NO_RETRY = Retry(attempts=1)


class StepOptions(Struct, frozen=True, kw_only=True):
    """The options of a step, validated and in milliseconds. Authors write them as keywords of `@step`."""

    name: str
    key: str | None = None
    retry: Retry = Retry()
    timeout_ms: int | None = None
    deadline_ms: int | None = None
    lease_ms: int | None = None
    raises: tuple[type[BaseException], ...] = ()
    queue: str | None = None
    limit: Any = None
    transaction: bool = False
