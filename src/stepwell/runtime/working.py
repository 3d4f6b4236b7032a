"""An app's worker: its options, what its steps share, and how long it runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from msgspec import structs

from stepwell.errors import DefinitionError
from stepwell.model.durations import Duration, duration_ms
from stepwell.runtime.options import WorkerOptions
from stepwell.runtime.worker import Worker

if TYPE_CHECKING:
    from stepwell.runtime.app import AppKeywords, Stepwell


class WorkerKeywords(TypedDict, total=False):
    """The options of a worker. `grace` is how long steps may go on after SIGTERM. `impure_check` warns of calls of
    clocks, chance and the like in bodies, which makes these several times slower: for development. The environment
    variable STEPWELL_DEBUG=1 does so too."""

    queues: Sequence[str]
    concurrency: int
    threads: int
    lease: Duration
    grace: Duration
    cached_runs: int
    max_takes: int
    impure_check: bool


class WorkerHandle:
    """A worker that is not running yet: enter it, or run it until SIGTERM or Ctrl-C."""

    def __init__(self, app: Stepwell, options: WorkerOptions) -> None:
        self._app = app
        self._options = options
        self._worker: Worker | None = None

    async def __aenter__(self) -> Worker:
        await self._app.__aenter__()
        try:
            self._worker = self._app._start_worker(self._options)
        except BaseException:
            await self._app.__aexit__()
            raise
        return self._worker

    async def __aexit__(self, *exc: object) -> None:
        if self._worker is not None:
            await self._app._stop_worker(self._worker)
        await self._app.__aexit__(*exc)

    async def run(self) -> None:
        """Work until SIGTERM or Ctrl-C, then drain: every run is parked, nothing is lost. A second signal stops the
        grace."""
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        hurry = asyncio.Event()

        def stop() -> None:
            (hurry if stopping.is_set() else stopping).set()

        with _signals(loop, stop):
            async with self as worker:
                asked = loop.create_task(stopping.wait())
                gone = loop.create_task(worker.has_stopped.wait())
                await asyncio.wait([asked, gone], return_when=asyncio.FIRST_COMPLETED)
                asked.cancel()
                gone.cancel()
                drained = loop.create_task(worker.stop())
                hurried = loop.create_task(hurry.wait())
                await asyncio.wait([drained, hurried], return_when=asyncio.FIRST_COMPLETED)
                hurried.cancel()
                if not drained.done():
                    worker.hurry()
                    await drained


@contextlib.contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Any:
    """Call `stop` on SIGTERM and SIGINT, on every platform."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def worker_options(base: WorkerOptions, options: WorkerKeywords) -> WorkerOptions:
    """The app's own options with what was given here. `DefinitionError` for an unknown one."""
    changes: dict[str, Any] = {}
    for keyword, value in options.items():
        if keyword in ("lease", "grace"):
            changes[f"{keyword}_ms"] = duration_ms(value, what=f"worker({keyword})")  # type: ignore[arg-type]
        elif keyword == "queues":
            changes["queues"] = tuple(value)  # type: ignore[arg-type]
        elif keyword in WorkerKeywords.__annotations__:
            changes[keyword] = value
        else:
            known = ", ".join(sorted(WorkerKeywords.__annotations__))
            raise DefinitionError(f"worker() has no option {keyword!r}; there are: {known}")
    if "lease_ms" in changes:
        changes["margin_ms"] = min(base.margin_ms, changes["lease_ms"] // 4)
    return structs.replace(base, **changes)


def configure_worker(app: Stepwell, wants: bool, options: WorkerKeywords) -> None:
    """Before the app is opened: whether it has a worker, and how that works. Its namespaces have the same."""
    changed = worker_options(app._worker_options, options)
    app._wants_worker, app._worker_options = wants, changed
    app._options = {**app._options, "worker": wants, "worker_options": changed}


def moved(app: Stepwell, namespace: str) -> Stepwell:
    """Before the app is opened: one like it, in this namespace."""
    options: AppKeywords = {**app._options, "namespace": namespace}
    return type(app)(app.url, **options)


def configure_url(app: Stepwell, url: str, *, given: bool) -> None:
    """Before the app is opened: what hook URLs begin with. If that was not `given`, the app's own goes before."""
    if given or "public_url" not in app._options:
        app._options = {**app._options, "public_url": url}
        app.registry.public_url = app._public_url(app.namespace)


def hurry_workers(app: Stepwell) -> None:
    """The workers of the app and of its namespaces, if they are stopping: wait for no step any longer."""
    for one in (app, *(() if app._siblings is None else app._siblings.apps())):
        if one._worker is not None and one._worker.is_stopping:
            one._worker.hurry()


def by_type(resources: Any) -> dict[type, Any]:
    """What a lifespan yields, as steps ask for it."""
    if resources is None:
        return {}
    if isinstance(resources, Mapping):
        return dict(resources)
    items = resources if isinstance(resources, tuple) else (resources,)
    return {type(item): item for item in items}


def secret_provider(secrets: Callable[[str], str] | Mapping[str, str] | None) -> Callable[[str], str]:
    """What looks up secrets by name."""

    def look_up(name: str) -> str:
        if isinstance(secrets, Mapping):
            value = secrets.get(name)
        else:
            variable = "STEPWELL_SECRET_" + name.upper().replace("-", "_")
            value = os.environ.get(variable)
        if value is None:
            where = "secrets=" if isinstance(secrets, Mapping) else f"the environment variable {variable}"
            raise DefinitionError(f"there is no secret {name!r} in {where}")
        return value

    return secrets if callable(secrets) else look_up
