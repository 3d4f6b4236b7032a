"""The machine's time and chance."""

from __future__ import annotations

import os
import time

_BLOCK = 16
_BLOCKS = 256
_SUSPEND_AWARE: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """The wall clock, a monotonic clock that counts suspension where the machine has one, and `os.urandom`.

    Chance is drawn in advance: each call of the operating system lets go of the interpreter, and beside a busy thread
    that costs ten times what the bytes do.
    """

    def now(self) -> int:
        """Wall-clock milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic() if _SUSPEND_AWARE is None else time.clock_gettime(_SUSPEND_AWARE)

    def random_bytes(self, n: int) -> bytes:
        """Unpredictable bytes. Any thread may ask."""
        if n > _BLOCK:
            return os.urandom(n)
        try:
            return _blocks.pop()[:n]
        except IndexError:
            drawn = os.urandom(_BLOCK * _BLOCKS)
            _blocks.extend(drawn[at : at + _BLOCK] for at in range(_BLOCK, len(drawn), _BLOCK))
            return drawn[:n]


_blocks: list[bytes] = []
"""Drawn and not used. One that was taken is nobody else's, for `pop` is atomic."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_blocks.clear)  # else parent and child would draw the same
