"""The worker: takes due runs, holds them while they move, lets them go.

It never scans: it asks the store for what is due, when something rings, when the next timer is near, and once per poll
interval as the safety net. How many runs it holds is bounded; parked runs are not held.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import UNSET, UnsetType, structs

from stepwell.authoring.programs import make_program
from stepwell.authoring.registry import Registry
from stepwell.codec import failure_of
from stepwell.engine.driver import Driver
from stepwell.engine.graph.program import Watches
from stepwell.engine.program import Origin, Program
from stepwell.engine.retry import next_run_delay_ms
from stepwell.errors import BackendError, StepwellError
from stepwell.model.entries import Ended, Frame, Received
from stepwell.model.ids import Claim, RunId
from stepwell.model.runs import Head
from stepwell.ports import Append, Appended, Backend, Loaded, Park, Parked, Serves, Wanted
from stepwell.runtime.activation import Activation
from stepwell.runtime.acts import Acts, due_topic
from stepwell.runtime.batching import Batcher
from stepwell.runtime.eventbus import EventBus
from stepwell.runtime.hub import Hub
from stepwell.runtime.leases import Leases
from stepwell.runtime.mail import fetch_all_mail
from stepwell.runtime.observe import is_debugging, patient_gc, quiet_replay
from stepwell.runtime.options import WorkerOptions
from stepwell.runtime.parked import ParkedDrivers
from stepwell.runtime.patience import Trouble
from stepwell.runtime.payloads import loaded_frames, loaded_mail
from stepwell.runtime.presence import keep_presence
from stepwell.runtime.renewal import Renewer
from stepwell.runtime.steps import StepRunner
from stepwell.runtime.storeclock import StoreClock
from stepwell.runtime.suspects import split
from stepwell.runtime.telemetry import LetGo
from stepwell.runtime.watching import WATCHERS, Teller

_log = logging.getLogger("stepwell")
_DEBUG_LEASE_MS = 86_400_000
_ERROR_MAX = 4_000
_LAST_WORDS_S = 5.0


class WorkerLostError(StepwellError):
    """The run was claimed again and again without progress: it kills its workers."""


class Worker:
    """Drives runs of one app. Enter it, or `await worker.run()` until it is told to stop."""

    def __init__(
        self,
        backend: Backend,
        registry: Registry,
        hub: Hub,
        options: WorkerOptions,
        *,
        resources: Mapping[type, Any] | None = None,
        secrets: Callable[[str], str] | None = None,
    ) -> None:
        if is_debugging():
            options = structs.replace(options, lease_ms=_DEBUG_LEASE_MS)
        self.backend = backend
        self.registry = registry
        self.options = options
        self.clock = StoreClock(backend.clock)
        self.acts = Acts(backend, self.clock, codec=registry.codec)
        store = backend.store
        group = store.limits.group
        self.appends: Batcher[Append, Appended] = Batcher(
            "append", store.append, group, is_immediate=store.limits.is_immediate
        )
        self.parks: Batcher[Park, Parked] = Batcher("park", store.park, group)
        self.steps = StepRunner(
            registry,
            backend.blobs,
            self.clock,
            threads=options.threads,
            resources=resources or {},
            secrets=secrets,
        )
        self.steps.on_exhausted = self._threads_exhausted
        self.steps.telemetry = self.appends.telemetry = self.parks.telemetry = hub.telemetry
        self.active: dict[RunId, Activation] = {}
        self.has_stopped = asyncio.Event()
        self.hub = hub
        self._teller = hub.watches.teller = Teller(backend.queue)
        self.events: EventBus | None = None
        self._parked = ParkedDrivers(options.cached_runs)
        self._failures: dict[RunId, int] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.leases = Leases(self)
        self.renewer = Renewer(store, self.clock, self.leases, options)
        self._bell = asyncio.Event()
        self._reserved = 0
        self._conditions = contextlib.ExitStack()
        self._is_stopping = False
        self._is_running = False
        self._suspect: RunId | None = None
        self.main: asyncio.Task[None] | None = None
        self.looked_at: float | None = None
        """When (monotonic s) the store last answered what is due."""
        self.listeners: list[asyncio.Task[Any]] = []

    # --- life

    async def __aenter__(self) -> Worker:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def start(self) -> None:
        """Begin to take runs."""
        self._is_running = True
        self._conditions.enter_context(quiet_replay())
        self._conditions.enter_context(patient_gc(self.options.gc_threshold))
        self.renewer.start()
        identity, listen = self.backend.store.identity, self.backend.queue.listen
        topics = {due_topic(queue): self._bell.set for queue in self.options.queues}
        topics |= {f"worker:{identity}": self._look_for_mail, WATCHERS: self._teller.wanted}
        self.listeners = [self.spawn(self._listen(listen(topic), ring)) for topic, ring in topics.items()]
        self.looked_at = self.clock.monotonic()
        if self.options.is_announced:
            self.spawn(keep_presence(self))
        self.main = asyncio.get_running_loop().create_task(self._work(), name="stepwell worker")

    async def stop(self, *, grace_ms: int | None = None) -> None:
        """Take nothing more, let running steps finish within the grace, park every run so that others may take it."""
        if self._is_stopping:
            await self.has_stopped.wait()
            return
        self._is_stopping = True
        self._bell.set()
        if self.main is not None:
            # A store that does not answer is not waited for: what it may still hand out, leases end.
            _, late = await asyncio.wait([self.main], timeout=_LAST_WORDS_S)
            if late:
                self.main.cancel()
        for activation in list(self.active.values()):
            activation.drain()
        grace = (self.options.grace_ms if grace_ms is None else grace_ms) / 1000
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self.active:
                    await asyncio.sleep(0.005)
        for activation in list(self.active.values()):
            self._release(activation, self.clock.now())
        if not await self.parks.drain(_LAST_WORDS_S):
            _log.warning("the backend cannot be told that this worker lets its runs go; their leases have to end first")
        await self.renewer.stop()
        others = self._tasks - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=5)
        self._parked.clear()
        await self._teller.close()
        self.steps.close()
        self._conditions.close()
        self.has_stopped.set()

    def _threads_exhausted(self) -> None:
        _log.error("all threads for sync steps hang past their time limits; this worker drains and stops")
        self.spawn(self.stop())

    def hurry(self) -> None:
        """While stopping: wait for no step any longer."""
        for activation in list(self.active.values()):
            self._release(activation, self.clock.now())

    @property
    def is_running(self) -> bool:
        """Whether it takes runs."""
        return self._is_running and not self._is_stopping

    @property
    def is_stopping(self) -> bool:
        """Whether it lets its runs go."""
        return self._is_stopping

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of this worker; a failure in it is logged."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    # --- taking

    def ring(self) -> None:
        """Something may be due."""
        self._bell.set()

    @property
    def free(self) -> int:
        """How many more runs may be held now."""
        return self.options.concurrency - len(self.active) - self._reserved

    def reserve(self, head: Head) -> float | None:
        """Promise a place for a run that is about to be created with a claim of this worker. None: no room.

        Answers when the lease of that claim ends, counted from now, which is before the request.
        """
        if not self.is_running or self.free <= 0 or head.queue not in self.options.queues:
            return None
        if self.registry.find(head.workflow, head.version) is None:
            return None
        self._reserved += 1
        return self._lease_ends()

    def unreserve(self) -> None:
        """The run was not created after all."""
        self._reserved -= 1

    def adopt(self, head: Head, frames: Sequence[tuple[int, Frame]], lease_ends: float) -> None:
        """Hold a run that this process just created with a claim of its own."""
        self._reserved -= 1
        if not self.is_running or lease_ends <= self.clock.monotonic():
            self._give_back(head.id, head.owner)  # in the second case, creating it took longer than its lease
            return
        activation = self._prepare(head, list(frames), lease_ends)
        if activation is not None:
            self._begin(activation)

    def new_claim(self) -> Claim:
        """A fresh token, by which this worker can be told."""
        return Claim(f"{self.backend.store.identity}:{self.clock.random_bytes(6).hex()}")

    async def _work(self) -> None:
        has_failed = False
        while not self._is_stopping:
            self._bell.clear()
            wait_ms = self.options.poll_ms
            try:
                if self.free <= 0:
                    await self._make_room()
                if self.free > 0:
                    wait_ms = await self._take()
                if has_failed:
                    Trouble.here().over()
                has_failed = False
                self.looked_at = self.clock.monotonic()
            except BackendError as error:
                has_failed = True
                Trouble.here().met("taking runs", error)
            except Exception:
                _log.exception("taking runs failed; again in %d ms", wait_ms)
            if wait_ms > 0 and not self._is_stopping:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_ms / 1000):
                        await self._bell.wait()

    async def _make_room(self) -> None:
        """Runs that are held through a short wait give way to runs that are due."""
        now = self.clock.now()
        due = await self.backend.store.peek_due(now, self.options.concurrency)
        waiting = sum(hint.run not in self.active for hint in due)
        for activation in list(self.active.values()):
            if waiting <= 0:
                return
            waiting -= activation.make_room()

    async def _take(self) -> int:
        """Take what is due. Answers how long (ms) to wait before the next look; 0: there may be more."""
        store = self.backend.store
        limit = min(self.free, store.limits.group)
        serves = Serves(queues=self.options.queues, kinds=self.registry.kinds())
        ends = self._lease_ends()
        asked_at = self.clock.machine_now()
        taken = await store.take(self.new_claim(), lease_ms=self.options.lease_ms, limit=limit, serves=serves)
        self.clock.heard(taken.now, asked_at)
        if taken.heads:
            await self._load(taken.heads, ends)
        if len(taken.heads) == limit:
            return 0 if self.free > 0 else self.options.poll_ms
        due = await store.peek_due(taken.now + self.options.poll_ms, 1)
        if not due:
            return self.options.poll_ms
        # Something that nobody serves, or that is leased, may stay due: never spin on it.
        ahead = due[0].wake_at - taken.now
        return ahead if ahead > 0 else self.options.poll_ms

    async def _load(self, heads: Sequence[Head], lease_ends: float) -> None:
        if any(head.takes >= self.options.suspect_takes for head in heads):
            heads = await self._without_suspects(heads)
        wanted = []
        for head in heads:
            driver = self._parked.get(head)
            wanted.append(Wanted(head.id) if driver is None else Wanted(head.id, driver.seq, driver.mail))
        read_at = self.clock.now()
        for head, loaded in zip(heads, await self.backend.store.load(wanted), strict=True):
            if loaded is not None and head.id not in self.active:
                try:
                    await self._load_one(head, loaded, lease_ends, read_at)
                except BackendError as error:
                    self._unreadable(head.id, head.owner, error)

    async def _load_one(self, head: Head, loaded: Loaded, lease_ends: float, read_at: int) -> None:
        # Everything is read before the run counts as held: what is held is renewed, begun or not.
        mail = await loaded_mail(self.backend.blobs, loaded.mail)
        if lease_ends <= self.clock.monotonic():
            return  # loading took longer than the lease
        driver = self._parked.pop(head)
        if driver is not None:
            if not loaded.frames and head.owner is not None:
                driver.claim = head.owner
                self._resume(head, driver, mail, lease_ends, read_at)
                return
            driver.evict()
            read_at = self.clock.now()
            (reloaded,) = await self.backend.store.load([Wanted(head.id)])
            if reloaded is None:
                return
            loaded = reloaded
        await self._activate_loaded(head, loaded, lease_ends, read_at)

    async def _activate_loaded(self, head: Head, loaded: Loaded, lease_ends: float, read_at: int) -> None:
        mail = await loaded_mail(self.backend.blobs, loaded.mail)
        frames = await loaded_frames(self.backend.blobs, loaded.frames)
        activation = self._prepare(head, frames, lease_ends)
        if activation is not None:
            activation.put_mail(mail)
            self._begin(activation, read_at)

    def _resume(self, head: Head, driver: Driver, mail: list[Received], lease_ends: float, read_at: int) -> None:
        activation = Activation(self, driver, head, lease_ends)
        self.active[head.id] = activation
        activation.put_mail(mail)
        self._begin(activation, read_at)

    def _prepare(self, head: Head, frames: list[tuple[int, Frame]], lease_ends: float) -> Activation | None:
        assert head.owner is not None, "only claimed runs are activated"
        workflow = self.registry.find(head.workflow, head.version)
        if workflow is None and not head.is_terminal:
            self._give_back(head.id, head.owner, delay_ms=5 * self.options.poll_ms)
            return None
        retry = None if workflow is None else workflow.spec.retry
        policy = None if retry is None else lambda failure, count: next_run_delay_ms(retry, failure, count)
        driver = Driver(head, frames, head.owner, self._make_program, retry=policy)
        activation = Activation(self, driver, head, lease_ends)
        self.active[head.id] = activation
        return activation

    def _begin(self, activation: Activation, read_at: int | None = None) -> None:
        if activation.head.takes > self.options.max_takes and activation.driver.ended is None:
            takes = activation.head.takes - 1
            error = WorkerLostError(
                f"claimed {takes} times without progress: its workers died or lost it each time. "
                f"Look at their logs, then: stepwell runs retry {activation.run}"
            )
            activation.bury(failure_of(error))
        else:
            activation.begin(read_at)

    def _make_program(self, origin: Origin) -> Program:
        make = partial(make_program, self.registry, origin, on_log=_log.warning)
        return make(impure_check=self.options.impure_check, watches=Watches.NEWS if self.events else Watches.NOTHING)

    async def _without_suspects(self, heads: Sequence[Head]) -> Sequence[Head]:
        """The others are back in the store, with the count that they had, before the one that is tried begins."""
        is_one_active = self._suspect is not None and self._suspect in self.active
        kept, chosen, suspects = split(heads, self.options.suspect_takes, is_one_active=is_one_active)
        if chosen is not None:
            self._suspect = chosen.id
            kept.append(chosen)
        later = self.clock.now() + self.options.poll_ms // 4
        parks = [
            Park(run=head.id, owner=head.owner, wake_at=later, takes=head.takes - 1)
            for head in suspects
            if head.owner is not None
        ]
        await asyncio.gather(*(self.parks.ask(park) for park in parks))
        return kept

    def _give_back(self, run: RunId, claim: Claim | None, *, delay_ms: int = 0, error: str | UnsetType = UNSET) -> None:
        if claim is not None:
            park = Park(run=run, owner=claim, wake_at=self.clock.now() + delay_ms, error=error)
            self.parks.submit(park, lambda _: None)

    # --- letting go

    def let_go(self, activation: Activation, how: LetGo, error: str = "") -> None:
        """Tell observers that a run is not held any more."""
        if self.hub.telemetry.is_on:
            self.hub.telemetry.let_go(activation, how, self.clock.now(), error)

    def parked(self, activation: Activation) -> None:
        """The store has let the run go; keep its driver, it may come back."""
        self.let_go(activation, "parked")
        self._remove(activation)
        activation.forget()
        self._failures.pop(activation.run, None)
        if activation.is_draining or self.options.cached_runs == 0:
            activation.driver.evict()
        else:
            self._parked.keep(activation.head, activation.driver)

    def finished(self, activation: Activation, ended: Ended) -> None:
        """The run has ended and owes nothing."""
        self.let_go(activation, "ended")
        self._remove(activation)
        activation.forget()
        self._failures.pop(activation.run, None)
        activation.driver.evict()
        self.hub.ended(activation.run, ended)
        self._teller.ring("runs")

    def lost(self, activation: Activation) -> None:
        """Another worker has the run."""
        self.let_go(activation, "taken")
        _log.warning("run %s was taken by another worker; its steps here are stopped", activation.run)
        self.drop(activation)

    def drop(self, activation: Activation) -> None:
        """Stop driving the run, without a word to the store."""
        self._remove(activation)
        activation.abandon()

    def reload(self, activation: Activation) -> None:
        """The journal has a frame that this activation does not know: start over from the store."""
        self.let_go(activation, "reloaded")
        self.drop(activation)
        self.spawn(self._reload(activation))

    def activation_failed(self, activation: Activation, error: BaseException) -> None:
        """The code (or ours) cannot drive the run. It stays open, and is tried again later, ever more seldom."""
        run = activation.run
        delay_ms = self._failed_again(run)
        _log.error("%s\n(run %s stays open; next try in %d s)", error, run, delay_ms // 1000)
        self.hub.activation_failed(run, error)
        self._release(activation, self.clock.now() + delay_ms, error=str(error)[:_ERROR_MAX])

    def _unreadable(self, run: RunId, claim: Claim | None, error: BackendError) -> None:
        """A claimed run could not be loaded: let it go until later, so that it is in nobody's way."""
        delay_ms = self._failed_again(run)
        _log.warning("run %s cannot be read: %s; next try in %d s", run, error, delay_ms // 1000)
        self._give_back(run, claim, delay_ms=delay_ms, error=str(error)[:_ERROR_MAX])

    def _failed_again(self, run: RunId) -> int:
        """How long (ms) to leave the run alone."""
        count = self._failures[run] = self._failures.get(run, 0) + 1
        return min(30_000, 1000 << min(count, 5))

    # --- inside

    def _lease_ends(self) -> float:
        return self.clock.monotonic() + (self.options.lease_ms - self.options.margin_ms) / 1000

    def _remove(self, activation: Activation) -> None:
        if self.active.get(activation.run) is activation:
            del self.active[activation.run]
            if self.free <= 1:
                self._bell.set()  # there was no room; now there is

    def _release(self, activation: Activation, wake_at: int, *, error: str | UnsetType = UNSET) -> None:
        claim = activation.driver.claim
        if error is UNSET:
            self.let_go(activation, "released")
        else:
            self.let_go(activation, "failed", error)
        self._remove(activation)
        activation.abandon()
        self.parks.submit(Park(run=activation.run, owner=claim, wake_at=wake_at, error=error), lambda _: None)

    async def _reload(self, activation: Activation) -> None:
        claim = activation.driver.claim
        try:
            read_at = self.clock.now()
            (loaded,) = await self.backend.store.load([Wanted(activation.run)])
            if loaded is not None and loaded.head.owner == claim and activation.run not in self.active:
                await self._activate_loaded(loaded.head, loaded, activation.lease_ends, read_at)
        except BackendError as error:
            self._unreadable(activation.run, claim, error)

    def _look_for_mail(self) -> None:
        self.spawn(fetch_all_mail(self))

    async def _listen(self, notices: AsyncIterator[None], ring: Callable[[], None]) -> None:
        async for _ in notices:
            ring()

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of the worker failed", exc_info=error)
