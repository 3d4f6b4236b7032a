"""Ctrl-C and SIGTERM: the first asks to stop, the last of a few leaves at once. On every platform."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from stepwell.cli.problems import PARKED

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While entered, SIGINT and SIGTERM set `asked`, then `hurried`; the one with number `leaves_at` ends the process
    there and then. That is safe at any moment: it is what a crash does.
    """

    def __init__(self, *, leaves_at: int = 2) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        self._leaves_at = leaves_at
        self._before: dict[int, Any] = {}
        self._count = 0

    def __enter__(self) -> Interrupts:
        loop = asyncio.get_running_loop()

        def interrupted(*_: object) -> None:
            self._count += 1
            if self._count >= self._leaves_at:
                os._exit(PARKED)
            loop.call_soon_threadsafe((self.asked if self._count == 1 else self.hurried).set)

        for number in _SIGNALS:
            self._before[number] = signal.signal(number, interrupted)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
