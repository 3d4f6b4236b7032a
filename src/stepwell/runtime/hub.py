"""Who waits for which run in this process: for its end, or for whatever happens to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from stepwell.engine.purity import cure_of
from stepwell.model.entries import Ended, Frame
from stepwell.model.ids import RunId
from stepwell.model.runs import Wait
from stepwell.runtime.telemetry import Telemetry
from stepwell.runtime.watching import Watch, Watches

_log = logging.getLogger("stepwell")


class Hub:
    """Futures by run. Ends that happen here resolve them at once; ends elsewhere are looked up when something rings."""

    def __init__(self) -> None:
        self._impure: set[tuple[str, str]] = set()
        self._waiting: dict[RunId, list[asyncio.Future[Ended]]] = {}
        self.watches = Watches()
        self.telemetry = Telemetry()
        self.on_ended: Callable[[RunId, Ended], None] | None = None
        self.on_activation_failed: Callable[[RunId, BaseException], None] | None = None
        self.on_impure: Callable[[RunId, str], None] | None = None

    def wait(self, run: RunId) -> asyncio.Future[Ended]:
        """A future of the run's end."""
        future: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(run, []).append(future)
        return future

    def forget(self, run: RunId, future: asyncio.Future[Ended]) -> None:
        """The waiter has gone."""
        futures = self._waiting.get(run)
        if futures is not None and future in futures:
            futures.remove(future)
            if not futures:
                del self._waiting[run]

    def awaited(self) -> list[RunId]:
        """The runs that somebody waits for."""
        return list(self._waiting)

    def watch(self, run: RunId) -> AbstractContextManager[Watch]:
        """Be told of what this process's worker does with a run, from now on."""
        return self.watches.watch(run)

    def committed(self, run: RunId, seq: int, frame: Frame) -> None:
        """A frame is durable. Called only if there are watches."""
        for watch in self.watches.of(run):
            watch.add(seq, frame)
        teller = self.watches.teller
        if teller is not None and teller.is_wanted:
            teller.tell(run)

    def rested(self, run: RunId, waits: Sequence[Wait]) -> None:
        """Nothing is under way in a run that goes on later. Called only if there are watches."""
        for watch in self.watches.of(run):
            watch.rest(waits)

    def sending(self, run: RunId) -> None:
        """A step of a run sends to a stream. Called only if there are watches."""
        for watch in self.watches.of(run):
            watch.has_streams = True

    def lost(self, run: RunId) -> None:
        """The worker here has let go of a run that goes on elsewhere, or later."""
        for watch in self.watches.of(run):
            watch.lose()

    def ended(self, run: RunId, ended: Ended) -> None:
        """A run has ended and is settled."""
        for watch in self.watches.of(run):
            watch.end(ended)
        for future in self._waiting.pop(run, ()):
            if not future.done():
                future.set_result(ended)
        if self.on_ended is not None:
            self.on_ended(run, ended)

    def activation_failed(self, run: RunId, error: BaseException) -> None:
        """Code could not drive a run."""
        self.lost(run)
        if self.on_activation_failed is not None:
            self.on_activation_failed(run, error)

    def impure(self, workflow: str, run: RunId, calls: Sequence[str]) -> None:
        """A body made calls that replay cannot repeat; each place in a workflow is told once."""
        for call in calls:
            if (workflow, call) not in self._impure:
                self._impure.add((workflow, call))
                _log.warning(
                    "workflow %s calls %s: replay would see something else. Use %s (seen in run %s)",
                    workflow,
                    call,
                    cure_of(call),
                    run,
                )
                if self.on_impure is not None:
                    self.on_impure(run, call)
