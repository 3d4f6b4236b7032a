"""The machine's time and chance."""

from __future__ import annotations

import os
import time

_SUSPEND_AWARE: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """The wall clock, a monotonic clock that counts suspension where the machine has one, and `os.urandom`."""

    def now(self) -> int:
        """Wall-clock milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic() if _SUSPEND_AWARE is None else time.clock_gettime(_SUSPEND_AWARE)

    def random_bytes(self, n: int) -> bytes:
        """Unpredictable bytes."""
        return os.urandom(n)
