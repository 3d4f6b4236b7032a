"""The processes of a simulation: workers and one client, each life with an app of its own over one shared world."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.registry import Registry
from stepwell.authoring.workflows import WorkflowRef
from stepwell.backends.memory import MemoryBackend
from stepwell.backends.memory.world import World
from stepwell.errors import (
    BackendError,
    DefinitionError,
    HookError,
    RunClosedError,
    RunConflictError,
    RunNotFoundError,
)
from stepwell.ports import Backend, Clock
from stepwell.runtime.app import Stepwell
from stepwell.runtime.options import WorkerOptions
from stepwell.testing.faults import FaultyBackend, Policy
from stepwell.testing.simulator.dispatches import Wire
from stepwell.testing.simulator.elsewhere import Elsewhere
from stepwell.testing.simulator.journals import IGNORANT, REGISTRY
from stepwell.testing.simulator.ledger import Ledger, forever
from stepwell.testing.simulator.network import Network
from stepwell.testing.simulator.processes import Process, SimLoop, SkewedClock
from stepwell.testing.simulator.scenarios import Settings
from stepwell.testing.virtual import VirtualClock

T = TypeVar("T")
Call = Callable[[Stepwell], Coroutine[Any, Any, T]]

CLIENT = -1
REFUSALS = (RunClosedError, RunNotFoundError, RunConflictError, HookError, DefinitionError)
"""What a client may be told, and has to live with."""
MAX_TAKES = 12
_AGAIN_S = 1.0


class SimBackend(FaultyBackend):
    """A backend behind a network, seen from a machine whose clock is its own."""

    is_embedded = False

    def __init__(self, inner: Backend, policy: Policy, clock: Clock) -> None:
        super().__init__(inner, policy)
        self._clock = clock

    @property
    def clock(self) -> Clock:
        """The machine's."""
        return self._clock


class SimApp(Stepwell):
    """An app of a simulated process."""

    def __init__(
        self,
        backend: SimBackend,
        shared: tuple[Ledger, Elsewhere],
        registry: Registry,
        options: WorkerOptions,
        *,
        is_wired: bool,
    ) -> None:
        @contextlib.asynccontextmanager
        async def lifespan() -> AsyncIterator[tuple[Ledger, Elsewhere, Wire]]:
            yield *shared, Wire(self, shared[1], is_on=is_wired)

        super().__init__("memory://", worker=False, worker_options=options, lifespan=lifespan)
        self.registry = registry
        self.elsewhere = shared[1]
        self._given = backend

    def forget(self) -> None:
        """Let go of the runs in memory, which nobody will ever move again."""
        if self._worker is not None:
            for activation in self._worker.active.values():
                activation.driver.evict()
            self._worker._parked.clear()

    def _find(self, workflow: WorkflowRef[Any, Any] | str, version: str) -> WorkflowRef[Any, Any]:
        """A blueprint that is started is not registered: all apps of a simulation share their registry."""
        return workflow if isinstance(workflow, Blueprint) else super()._find(workflow, version)

    async def _open_backend(self) -> Backend:
        return self._given


class Slot:
    """One place of a worker (or the client), and its present life."""

    def __init__(self, number: int, skew_ms: int) -> None:
        self.number = number
        self.skew_ms = skew_ms
        self.down_ms = 1_000
        self.lives = 0
        self.process: Process | None = None
        self.app: SimApp | None = None


class Fleet:
    """All processes. They come back when they die, until `stop`. `registries` are theirs, and the ignorant worker's."""

    def __init__(
        self,
        settings: Settings,
        *,
        world: World,
        clock: VirtualClock,
        network: Network,
        shared: tuple[Ledger, Elsewhere],
        choice: Random,
    ) -> None:
        self.slots = [Slot(number, settings.skews_ms[number]) for number in range(settings.workers)]
        self.slots.append(Slot(CLIENT, 0))
        self.processes: list[Process] = []
        self._apps: list[SimApp] = []
        self._world = world
        self._clock = clock
        self._network = network
        self._shared = shared
        self._choice = choice
        self.has_repeated = False
        self.registries = (REGISTRY, IGNORANT)
        self._ignorant = settings.ignorant
        self._is_wired = settings.wired
        self._options = WorkerOptions(
            concurrency=settings.concurrency,
            lease_ms=settings.lease_ms,
            margin_ms=settings.lease_ms // 6,
            poll_ms=settings.poll_ms,
            cached_runs=settings.cached_runs,
            max_takes=MAX_TAKES,
            is_announced=False,
            grace_ms=1_000,
            renewal="loop",
            gc_threshold=0,
        )
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop), "simulations run on no other"
        self._loop = loop
        self._keepers = [loop.create_task(self._keep(slot)) for slot in self.slots]

    def slot(self, number: int) -> Slot:
        """The slot of worker `number`."""
        return self.slots[number]

    async def ask(self, call: Call[T]) -> T | Exception:
        """Let some process make a call, another one if it dies or its backend fails, until there is an answer."""
        while True:
            slots = [slot for slot in self.slots if slot.app is not None]
            if slots:
                slot = self._choice.choice(slots)
                process, app = slot.process, slot.app
                assert process is not None and app is not None, "chosen so"  # noqa: PT018
                task = process.spawn(call(app), "client call")
                either: list[asyncio.Future[Any]] = [task, process.death]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if task.done() and not task.cancelled():
                    error = task.exception()
                    if error is None:
                        return task.result()
                    if isinstance(error, REFUSALS):
                        return error
                    if not isinstance(error, BackendError | TimeoutError):
                        raise error
            self.has_repeated = True
            await asyncio.sleep(_AGAIN_S)

    async def drain(self, slot: Slot) -> None:
        """A worker stops by itself, as for a deploy; a new one is started."""
        process, app = slot.process, slot.app
        if process is not None and app is not None:
            slot.app = None
            task = process.spawn(app.__aexit__(), "drain")
            await asyncio.wait([task, process.death], return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled():
                task.result()
            process.kill()

    def stop(self) -> None:
        """Kill everybody."""
        for keeper in self._keepers:
            keeper.cancel()
        for process in self.processes:
            process.kill()

    def bury(self) -> None:
        """Let go of what the dead held."""
        self._loop.bury()
        for app in self._apps:
            app.forget()

    async def _keep(self, slot: Slot) -> None:
        while True:
            slot.lives += 1
            name = "client" if slot.number == CLIENT else f"worker {slot.number}"
            process = Process(f"{name}, life {slot.lives}", self._loop, SkewedClock(self._clock, slot.skew_ms))
            self.processes.append(process)
            slot.process = process
            process.spawn(self._live(slot, process), "main")
            await process.death
            slot.app = slot.process = None
            await asyncio.sleep(slot.down_ms / 1000)

    async def _live(self, slot: Slot, process: Process) -> None:
        inner = MemoryBackend("memory://", self._world, self._clock)
        process.identity = inner.store.identity
        backend = SimBackend(inner, self._network.policy(process, slot.number), process.clock)
        registry = self.registries[slot.number == self._ignorant >= 0]
        app = SimApp(backend, self._shared, registry, self._options, is_wired=self._is_wired)
        self._apps.append(app)
        await app.__aenter__()
        if slot.number != CLIENT:
            app._start_worker(self._options)
        slot.app = app
        await forever()
