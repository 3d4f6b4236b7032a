"""The app of a test, and what can go wrong with all the apps of one test at once."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sys
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, Self, TypeVar, get_args

from msgspec import Struct

from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.workflows import Definition, Workflow, WorkflowRef
from stepwell.codec import Codec
from stepwell.engine.purity import cure_of
from stepwell.errors import NotDurableError
from stepwell.model.ids import RunId
from stepwell.model.runs import Head, LiveStatus, RunQuery
from stepwell.ports import MAX_SEQ, Backend, Store, Wanted
from stepwell.runtime.app import AppKeywords, Stepwell
from stepwell.runtime.options import WorkerOptions
from stepwell.testing.fakes import Effects, Fakes, FakingRegistry
from stepwell.testing.faults import FaultyBackend, Policy
from stepwell.testing.virtual import RewoundClock, VirtualClock, VirtualLoop

T = TypeVar("T")
_DAY_MS = 86_400_000
_LIVE = get_args(LiveStatus)

# Notices of the memory backend are never lost, so the safety nets may be wide: they cost wake-ups, and in virtual time
# those are all that a day costs. The poll must not be longer than what a worker holds in memory, half a lease. Nothing
# is cached, so that a body that waits for longer is replayed each time, and shows whether it can be.
WORKER = WorkerOptions(
    lease_ms=2 * _DAY_MS,
    poll_ms=_DAY_MS,
    grace_ms=0,
    cached_runs=0,
    renewal="loop",
    gc_threshold=0,
    impure_check=True,
    is_announced=False,
)


class AppOptions(Struct, frozen=True, kw_only=True):
    """What the apps of one test have in common."""

    codec: Codec
    clock: VirtualClock | RewoundClock
    include: tuple[object, ...] = ()
    keywords: AppKeywords = {}


class World:
    """What may end a test from outside of its code: a body that cannot be driven, a fake that does not fit, a deadlock.

    Who runs a workflow puts up a guard and gets the error; without one, it ends the test.
    """

    def __init__(self) -> None:
        self.apps: list[TestApp] = []
        self._guards: list[asyncio.Future[Any]] = []
        self._loop: VirtualLoop | None = None

    def attach(self, loop: VirtualLoop) -> None:
        """Watch over this loop."""
        self._loop = loop
        loop.is_alive = self._is_alive
        loop.describe = self._waits
        loop.on_failure = self._tell

    @contextlib.contextmanager
    def guard(self) -> Iterator[asyncio.Future[Any]]:
        """A future that fails with what goes wrong."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._guards.append(future)
        try:
            yield future
        finally:
            self._guards.remove(future)
            if future.done():
                future.exception()

    def fail(self, error: BaseException) -> None:
        """Something went wrong."""
        if not self._tell(error) and self._loop is not None:
            self._loop.fail(error)

    def _tell(self, error: BaseException) -> bool:
        waiting = [guard for guard in self._guards if not guard.done()]
        for guard in waiting:
            guard.set_exception(error)
        return bool(waiting)

    def _is_alive(self) -> bool:
        return any(app.is_alive() for app in self.apps)

    def _waits(self) -> list[str]:
        # Several apps of one world have the same runs.
        return list(dict.fromkeys(_waiting(head) for app in self.apps for head in app.live()))


class TestApp(Stepwell):
    """An app with a faking registry. With a `policy`, its backend goes wrong on purpose."""

    __test__ = False

    def __init__(
        self,
        url: str,
        options: AppOptions,
        effects: Effects,
        world: World,
        *,
        worker: bool = True,
        policy: Policy | None = None,
    ) -> None:
        keywords: AppKeywords = {**options.keywords, "clock": options.clock, "worker": worker, "worker_options": WORKER}
        super().__init__(url, **keywords)
        self._include = list(options.include)
        known = self.registry
        self._faking = self.registry = FakingRegistry(options.codec, effects)
        self.registry.public_url, self.registry.middleware = known.public_url, known.middleware
        self._world = world
        self._policy = policy
        self._store: Store | None = None
        self._faking.on_problem = world.fail
        self.hub.on_activation_failed = lambda _, error: world.fail(error)
        self.hub.on_impure = self._found_impure

    def prepare(self, workflow: WorkflowRef[Any, Any], run: RunId, fakes: Fakes) -> None:
        """Register what the workflow's code can see, as `include=[__name__]` would, and the fakes of a run."""
        if isinstance(workflow, Definition):
            for found in _within_reach(workflow):
                if self.registry.find(found.id, found.spec.version) is not found:
                    self.registry.add(found)
        self._faking.fake(run, fakes)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.client.look_seconds = _DAY_MS / 1000
        return self

    def is_alive(self) -> bool:
        """Whether there is something that the worker, or who waits for a run, will come upon by just looking."""
        if self._store is None:
            return False
        if at_once(self._store.peek_due(2**62, 1)):
            return True
        loaded = at_once(self._store.load([Wanted(run, MAX_SEQ, MAX_SEQ) for run in self.hub.awaited()]))
        return any(run is not None and run.head.is_terminal for run in loaded)

    def live(self) -> tuple[Head, ...]:
        """The runs that have not ended."""
        return () if self._store is None else at_once(self._store.search(RunQuery(status=_LIVE))).runs

    async def _open_backend(self) -> Backend:
        backend = await super()._open_backend()
        self._store = backend.store
        self._world.apps.append(self)
        return backend if self._policy is None else FaultyBackend(backend, self._policy)

    def _found_impure(self, run: RunId, call: str) -> None:
        cure = f"replay would see something else. Use {cure_of(call)}"
        self._world.fail(NotDurableError(f"run {run} calls {call}: {cure}"))


def _within_reach(workflow: Definition[Any, Any]) -> list[Definition[Any, Any]]:
    found = [workflow]
    for each in found:
        inner = _enclosed(each)
        outer = vars(sys.modules[each.__module__]).values() if each.__module__ in sys.modules else ()
        found.extend(item for item in (*inner, *outer) if isinstance(item, Definition) and item not in found)
    return found


def _enclosed(workflow: Definition[Any, Any]) -> Iterable[object]:
    if isinstance(workflow, Workflow):
        return inspect.getclosurevars(inspect.unwrap(workflow.fn)).nonlocals.values()
    return workflow.subflows.values() if isinstance(workflow, Blueprint) else ()


def _waiting(head: Head) -> str:
    if not head.waiting:
        return f"run {head.id} is {head.status}"
    waits = ", ".join(f"{wait.kind} {wait.name!r}" for wait in head.waiting)
    return f"run {head.id} waits for {waits}; the test sends nothing more"


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The answer of a port in memory, which never waits; so this works where nothing can be awaited."""
    try:
        coroutine.send(None)
    except StopIteration as answer:
        return answer.value  # type: ignore[no-any-return]
    raise AssertionError("a memory backend answers at once")
