"""The circuit of a target: after some failures in a row nobody calls it for a while, then one call tries.

Pure: time and chance are arguments. Times in ms.
"""

from __future__ import annotations

from typing import Literal

CircuitState = Literal["closed", "open", "half open"]

FAILURES_MAX = 5
"""So many failures in a row open it."""
FIRST_PAUSE_MS = 5_000
LONGEST_PAUSE_MS = 300_000
BURST_MS = 1_000
"""Calls that end so soon after one that failed, and began before it did, are more of the same failure: one process that
dies breaks all that it was asked."""
TRIAL_MS = 30_000
"""A trial that has not told after this long keeps nobody else from trying."""
_JITTER = 0.2


class Circuit:
    """Whether a target may be called. Only what says that it is down counts: it was not reached, or answered 5xx."""

    __slots__ = ("_counted_at", "_pause_ms", "_trial_until", "failures", "last_error", "last_ok_at", "retry_at")

    def __init__(self) -> None:
        self.failures = 0
        self.last_error = ""
        self.last_ok_at: int | None = None
        self.retry_at: int | None = None
        self._counted_at: int | None = None
        self._pause_ms = 0
        self._trial_until = 0

    def state(self, now: int) -> CircuitState:
        """As of now."""
        if self.retry_at is None:
            return "closed"
        return "open" if now < self.retry_at else "half open"

    def wait_ms(self, now: int) -> int:
        """How long not to call yet; 0: this call may go, and if the circuit was open, it is the one that tries."""
        if self.retry_at is None:
            return 0
        if now < self.retry_at:
            return self.retry_at - now
        if now < self._trial_until:
            return self._trial_until - now
        self._trial_until = now + TRIAL_MS
        return 0

    def succeeded(self, now: int) -> None:
        """It answered."""
        self.failures = 0
        self.last_ok_at = now
        self.retry_at = None
        self._pause_ms = self._trial_until = 0

    def failed(self, error: str, now: int, fraction: float, *, began: int | None = None) -> bool:
        """It did not. `fraction` in [0, 1) spreads the pause. `began` is when the call did; None: just now. Whether
        that opened a closed circuit."""
        self.last_error = error
        if began is not None and self._counted_at is not None and began < self._counted_at > now - BURST_MS:
            return False
        self.failures += 1
        self._counted_at = now
        was_trial = self.retry_at is not None and now >= self.retry_at
        if self.retry_at is not None and not was_trial:
            return False  # a call that began before it opened
        if self.failures < FAILURES_MAX and not was_trial:
            return False
        self._pause_ms = min(LONGEST_PAUSE_MS, self._pause_ms * 2) if self._pause_ms else FIRST_PAUSE_MS
        self.retry_at = now + round(self._pause_ms * (1 + _JITTER * (2 * fraction - 1)))
        self._trial_until = 0
        return not was_trial

    def given_up(self) -> None:
        """A call ended without telling anything, as when its run was cancelled: another may try."""
        self._trial_until = 0
