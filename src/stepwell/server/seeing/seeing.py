"""What a server knows of itself: its metrics, its apps and their workers, and its health."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stepwell.errors import BackendError, StepwellError
from stepwell.runtime.app import Stepwell
from stepwell.runtime.backlog import Backlog, backlog
from stepwell.runtime.health import Facts, Health, HealthLimits, judged, probe, worker_facts
from stepwell.runtime.metrics import Metrics
from stepwell.runtime.worker import Worker

if TYPE_CHECKING:
    from stepwell.server.application import Server

NAMESPACES_MAX = 100
"""So many namespaces are looked at; the default one first."""
_FRESH_S = 1.0
"""Anybody may ask for health; the backend is asked once a second at most."""


class Seeing:
    """One for each server. `limits` is when something counts as wrong."""

    def __init__(self, server: Server, *, limits: HealthLimits | None = None) -> None:
        self.metrics = Metrics()
        self.limits = limits or HealthLimits()
        self.server = server
        self._apps: dict[str, Stepwell] = {}
        self._asking: asyncio.Task[Health] | None = None
        self._health: Health | None = None
        self._asked_at = 0.0
        self._began_at: float | None = None

    def begin(self) -> None:
        """The server begins to answer."""
        self._began_at = asyncio.get_running_loop().time()

    def uptime(self) -> float:
        """How long (s) it has answered."""
        return 0.0 if self._began_at is None else asyncio.get_running_loop().time() - self._began_at

    def watch(self, app: Stepwell) -> None:
        """Count what the worker of this app does, and answer for its health. Repeating does nothing."""
        if self._apps.get(app.namespace) is not app:
            self._apps[app.namespace] = app
            app.hub.telemetry.add(self.metrics)

    def apps(self) -> Iterator[Stepwell]:
        """Those that are open, the server's own first. One may close while another is asked."""
        self.watch(self.server.app)
        for _, app in sorted(self._apps.items())[:NAMESPACES_MAX]:
            if app.is_open:
                yield app

    def workers(self) -> Iterator[tuple[Stepwell, Worker]]:
        """The workers in this process that belong to this server."""
        for app in self.apps():
            if (worker := app.client.worker) is not None:
                yield app, worker

    async def health(self) -> Health:
        """Whether this process can do its work. The answer may be a second old."""
        now = asyncio.get_running_loop().time
        if self._health is not None and now() - self._asked_at < _FRESH_S:
            return self._health
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._look(), name="stepwell health")
        try:
            self._health = await asyncio.shield(self._asking)
            self._asked_at = now()
        finally:
            if self._asking is not None and self._asking.done():
                self._asking = None
        return self._health

    async def backlogs(self) -> list[Backlog]:
        """What is due in each namespace, as far as the backend says so in time."""
        found: list[Backlog] = []
        try:
            async with asyncio.timeout(self.limits.probe):
                for app in self.apps():
                    found += [await backlog(app.client.backend)]
        except (BackendError, TimeoutError):
            pass  # what counts the backend's errors shows that
        return found

    async def _look(self) -> Health:
        wrong, workers = "", []
        try:
            async with asyncio.timeout(self.limits.probe + 1):
                for app in self.apps():
                    worker = app.client.worker
                    now = None if worker is None else worker.clock.now()
                    due = "" if wrong else await probe(app.client.backend, self.limits, now=now)
                    if isinstance(due, str):
                        wrong = wrong or due
                    if worker is not None:
                        known = due if isinstance(due, Backlog) else None
                        workers.append(worker_facts(worker, known, name=app.namespace))
        except TimeoutError:
            wrong = f"the backend has not answered for all namespaces within {self.limits.probe + 1:g} s"
        keys = await self._keys()
        return judged(
            Facts(is_draining=self.server.is_draining, backend=wrong, keys=keys, workers=tuple(workers)), self.limits
        )

    async def _keys(self) -> str:
        try:
            async with asyncio.timeout(self.limits.probe):
                await self.server.access.be_fresh()
        except TimeoutError:
            return f"API keys could not be read within {self.limits.probe:g} s"
        except StepwellError as error:
            return str(error)
        return ""
