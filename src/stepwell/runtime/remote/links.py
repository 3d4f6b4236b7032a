"""The link to one target: the way there, its circuit, and how many calls go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from stepwell.runtime.remote.circuits import Circuit
from stepwell.runtime.remote.sending import Sender

if TYPE_CHECKING:
    from stepwell.runtime.remote.targets import Target


class Link:
    """Made with the target, opened at its first call, and again after the app was closed."""

    __slots__ = ("_sender", "_slots", "_target", "circuit", "in_flight")

    def __init__(self, target: Target) -> None:
        self.circuit = Circuit()
        self.in_flight = 0
        self._target = target
        self._sender: Sender | None = None
        self._slots: asyncio.Semaphore | None = None

    @property
    def sender(self) -> Sender:
        """The way there."""
        if self._sender is None:
            self._sender = self._target.place.open(self._target)
        return self._sender

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait until there is room for one more call, and take it."""
        if self._slots is None:
            self._slots = asyncio.Semaphore(self._target.concurrency)
        async with self._slots:
            self.in_flight += 1
            try:
                yield
            finally:
                self.in_flight -= 1

    async def close(self) -> None:
        """Let go of connections."""
        sender, self._sender, self._slots = self._sender, None, None
        if sender is not None:
            await sender.close()
