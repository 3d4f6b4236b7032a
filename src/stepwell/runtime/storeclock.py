"""The time by which a store judges what is due, as far as a worker can tell.

A store that has a clock of its own says that a run is due; a worker whose clock is behind would find nothing to do, let
the run go, and be given it again, for as long as its clock is behind. So what a worker does to runs happens at the
store's time, which it learns each time it takes something.
"""

from __future__ import annotations

from collections.abc import Callable

from stepwell.ports import Clock

_TOLERANCE_MS = 1_000
"""Less than this is not worth a correction: a wait that is so short stays in memory."""


class StoreClock:
    """A machine's clock, corrected when the store's is another."""

    __slots__ = ("_inner", "ahead_ms", "monotonic", "now", "random_bytes")

    def __init__(self, inner: Clock) -> None:
        self._inner = inner
        self.ahead_ms = 0
        self.now: Callable[[], int] = inner.now
        self.monotonic: Callable[[], float] = inner.monotonic
        self.random_bytes: Callable[[int], bytes] = inner.random_bytes

    def heard(self, store_now: int, since: int) -> None:
        """The store said that it is `store_now`, some time after this machine said that it was `since`, and before
        now. `ahead_ms` becomes what the store's clock is ahead."""
        until = self._inner.now()
        if since - _TOLERANCE_MS <= store_now <= until + _TOLERANCE_MS:
            self.ahead_ms, self.now = 0, self._inner.now
        else:
            self.ahead_ms, self.now = store_now - (since + until) // 2, self._corrected

    def machine_now(self) -> int:
        """What this machine says."""
        return self._inner.now()

    def _corrected(self) -> int:
        return self._inner.now() + self.ahead_ms
