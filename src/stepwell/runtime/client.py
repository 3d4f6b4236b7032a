"""What one does to runs from outside: start them, send to them, wait for them. No worker needed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

from stepwell.codec import Codec
from stepwell.engine.fold import start_wait
from stepwell.errors import (
    BackendError,
    RunCancelledError,
    RunClosedError,
    RunConflictError,
    RunError,
    RunNotFoundError,
)
from stepwell.model.entries import Created, Ended, Frame
from stepwell.model.failures import Failure
from stepwell.model.ids import MessageId, RunId
from stepwell.model.messages import Event, Message, Signal
from stepwell.model.runs import Head, RunQuery
from stepwell.ports import MAX_SEQ, Backend, Clock, Delivered, Loaded, NewRun, Wanted
from stepwell.runtime import hooks
from stepwell.runtime.acts import Acts, LoggedEvent, due_topic, encode_event, event_log, subscription_tag
from stepwell.runtime.bells import ring
from stepwell.runtime.hub import Hub
from stepwell.runtime.patience import delays
from stepwell.runtime.payloads import loaded_frames, spilled_frame
from stepwell.runtime.worker import Worker

T = TypeVar("T")

_LOOK_EVERY = 0.1
_ANSWER_WITHIN = 30.0


class NewStart(Struct, frozen=True, kw_only=True):
    """A run to start. `created` is its first entry."""

    id: RunId
    created: Created
    queue: str = "default"
    priority: int = 0


class Client:
    """The operations of one opened backend."""

    def __init__(self, backend: Backend, hub: Hub, codec: Codec, *, namespace: str = "") -> None:
        self.backend = backend
        self.namespace = namespace
        self.codec = codec
        self.hub = hub
        self.acts = Acts(backend)
        self.worker: Worker | None = None
        self.look_seconds = 5.0
        self._watchers: list[asyncio.Task[None]] = []

    @property
    def clock(self) -> Clock:
        """This machine's, corrected to the store's time where a worker is here to know it."""
        return self.backend.clock if self.worker is None else self.worker.clock

    async def close(self) -> None:
        """Stop watching."""
        for watcher in self._watchers:
            watcher.cancel()
        if self._watchers:
            await asyncio.wait(self._watchers)
        self._watchers.clear()

    # --- starting

    async def create(self, starts: Sequence[NewStart]) -> list[Head | None]:
        """Create runs; a head where one was there already. If a worker with room is here, it holds them at once."""
        created: list[tuple[NewRun, Frame, float | None]] = []
        try:
            for start in starts:
                created.append(await self._new_run(start))  # noqa: PERF401 - what was reserved so far must be known
            answers = await self._put([run for run, _, _ in created])
        except BaseException:
            # It may have been created all the same; then its lease ends.
            self._unreserve(run.head for run, _, _ in created)
            raise
        due: set[str] = set()
        for (run, frame, lease_ends), present in zip(created, answers, strict=True):
            if present is not None:
                self._unreserve([run.head])
                continue
            if self.hub.watches:
                self.hub.committed(run.head.id, 1, frame)
            if run.head.owner is None:
                due.add(due_topic(run.head.queue))
            elif self.worker is not None and lease_ends is not None:
                self.worker.adopt(run.head, [(1, frame)], lease_ends)
        if due:
            await ring(self.backend.queue, sorted(due))
        return answers

    async def _put(self, runs: Sequence[NewRun]) -> list[Head | None]:
        """Create until answered. A run that is there with the very frame that was sent is this one."""
        store = self.backend.store
        answers = await self.repeated(lambda: store.create(runs))
        doubtful = [
            index
            for index, (run, present) in enumerate(zip(runs, answers, strict=True))
            if present is not None and present.created_at == run.head.created_at
        ]
        wanted = [Wanted(runs[index].head.id, -1, MAX_SEQ, until=1) for index in doubtful]
        loaded = await self.repeated(lambda: store.load(wanted)) if doubtful else []
        for index, there in zip(doubtful, loaded, strict=True):
            if there is not None and there.frames[0][1] == runs[index].frames[0]:
                answers[index] = None
        return answers

    def _unreserve(self, heads: Iterable[Head]) -> None:
        for head in heads:
            if head.owner is not None and self.worker is not None:
                self.worker.unreserve()

    async def _new_run(self, start: NewStart) -> tuple[NewRun, Frame, float | None]:
        now = self.clock.now()
        created = start.created
        head = Head(
            id=start.id,
            namespace=self.namespace,  # the backend knows it, but not a worker that takes the run over from here
            workflow=created.workflow,
            version=created.version,
            created_at=now,
            queue=start.queue,
            priority=start.priority,
            tags=created.tags,
            metadata=created.metadata,
            parent=None if created.parent is None else created.parent.run,
            waiting=(start_wait(created.not_before),) if created.not_before else (),
        )
        worker = self.worker
        by = self.backend.store.identity
        wake_in_ms = max(0, created.not_before - now)
        lease_ends = None if worker is None or created.not_before else worker.reserve(head)
        if worker is not None and lease_ends is not None:
            claim = worker.new_claim()
            head = msgspec.structs.replace(head, owner=claim, status="running", takes=1)
            wake_in_ms = worker.options.lease_ms
            by = claim
        frame = Frame(now, by, (created,))  # type: ignore[arg-type]
        try:
            body = await self.repeated(lambda: spilled_frame(self.backend.blobs, start.id, frame))
        except BaseException:
            self._unreserve([head])
            raise
        return NewRun(head=head, frames=(body,), wake_in_ms=wake_in_ms), frame, lease_ends

    async def check_same(self, start: NewStart) -> None:
        """The run that is there was started in the same way; else `RunConflictError`."""
        created = await self.created(start.id)
        if created is None:
            return
        if created.workflow != start.created.workflow:
            raise RunConflictError(
                f"run {start.id} exists, of workflow {created.workflow}, not {start.created.workflow}; "
                "choose another id"
            )
        if not self.codec.same(created.input, start.created.input, where=f"the input of run {start.id}"):
            raise RunConflictError(f"run {start.id} exists with another input; choose another id")

    async def create_run(self, run: NewRun) -> Head | None:
        """Create a run as it shall be, un-owned; a head if its id is taken. Repeats itself until answered."""
        (present,) = await self.repeated(lambda: self.backend.store.create([run]))
        if present is None:
            await ring(self.backend.queue, [due_topic(run.head.queue)])
        return present

    # --- reading

    async def find(self, run: RunId) -> Head | None:
        """The run's head, if there is such a run."""
        (loaded,) = await self.backend.store.load([Wanted(run, MAX_SEQ, MAX_SEQ)])
        return None if loaded is None else loaded.head

    async def head(self, run: RunId) -> Head:
        """The run's head; `RunNotFoundError`."""
        head = await self.find(run)
        if head is None:
            raise RunNotFoundError(f"there is no run {run} in {self.backend.url}")
        return head

    async def journal(self, run: RunId, *, after: int = -1) -> tuple[Loaded, list[tuple[int, Frame]]]:
        """The run with its frames, payloads included; by default all generations."""
        (loaded,) = await self.backend.store.load([Wanted(run, after)])
        if loaded is None:
            raise RunNotFoundError(f"there is no run {run} in {self.backend.url}")
        return loaded, await loaded_frames(self.backend.blobs, loaded.frames)

    async def created(self, run: RunId) -> Created | None:
        """The run's first entry."""
        (loaded,) = await self.backend.store.load([Wanted(run, -1, MAX_SEQ, until=1)])
        if loaded is None:
            return None
        frames = await loaded_frames(self.backend.blobs, loaded.frames)
        entry = frames[0][1].entries[0]
        assert isinstance(entry, Created), "frame 1 holds it"
        return entry

    # --- sending

    async def deliver(self, run: RunId, message: Message, *, id: str) -> Delivered:
        """Deliver until answered. `RunNotFoundError`, `RunClosedError`."""
        answer = await self._answered(run, MessageId(id), message)
        if answer.answer == "missing":
            raise RunNotFoundError(f"there is no run {run} in {self.backend.url}")
        if answer.answer == "closed":
            raise RunClosedError(f"run {run} has ended and takes no more messages")
        return answer

    async def send(self, run: RunId, name: str, value: Raw, *, id: str | None = None) -> bool:
        """Send a signal. False: this id was sent before."""
        answer = await self.deliver(run, Signal(name=name, value=value), id=f"signal:{id or self._fresh()}")
        return answer.answer == "ok"

    async def publish(self, name: str, value: Raw, *, id: str | None = None) -> int:
        """Log the event, then hand it to every run that waits for it. Answers to how many."""
        backend = self.backend
        index = await self._log_event(name, LoggedEvent(id=id or self._fresh(), at=backend.clock.now(), value=value))
        count, cursor = 0, None
        tag = ((subscription_tag(name), "1"),)
        while True:
            query = RunQuery(tag=tag, limit=1000, cursor=cursor, status=("queued", "running", "waiting", "paused"))
            page = await self.repeated(lambda query=query: backend.store.search(query))  # type: ignore[misc]
            message = Event(name=name, index=index, value=value)
            for head in page.runs:
                answer = await self._answered(head.id, MessageId(f"event:{name}:{index}"), message)
                count += answer.answer in ("ok", "duplicate")  # by this very call, or by its own look into the log
            cursor = page.cursor
            if cursor is None:
                return count

    async def complete(self, token: str, value: Raw, *, id: str | None = None) -> RunId:
        """Complete a hook. `HookError` if there is no such hook, or its run has ended."""
        return await hooks.complete(self, token, value, id=id or self._fresh())

    # --- waiting

    async def ended(self, run: RunId, timeout: float | None = None) -> Ended:
        """Wait for the run's end. `TimeoutError` leaves it running."""
        future = self.hub.wait(run)
        if not self._watchers:
            loop = asyncio.get_running_loop()
            self._watchers = [
                loop.create_task(self._watch(), name="stepwell watcher"),
                loop.create_task(self._look_again(), name="stepwell lookout"),
            ]
        try:
            if self.worker is None or run not in self.worker.active:
                await self._look([run], must_exist=True)
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise TimeoutError(f"run {run} has not ended within {timeout:g} s; it goes on") from None
        finally:
            self.hub.forget(run, future)

    async def _watch(self) -> None:
        async for _ in self.backend.queue.listen("runs"):
            await self._look_for_awaited()
            await asyncio.sleep(_LOOK_EVERY)

    async def _look_again(self) -> None:
        """Notices may be lost: who wrote the end may have died before telling."""
        while True:
            await asyncio.sleep(self.look_seconds)
            await self._look_for_awaited()

    async def _look_for_awaited(self) -> None:
        worker = self.worker
        active = worker.active if worker is not None else {}
        with contextlib.suppress(BackendError):
            await self._look([run for run in self.hub.awaited() if run not in active])

    async def _look(self, runs: list[RunId], *, must_exist: bool = False) -> None:
        if not runs:
            return
        for run, loaded in zip(
            runs, await self.backend.store.load([Wanted(run, MAX_SEQ, MAX_SEQ) for run in runs]), strict=True
        ):
            if loaded is None:
                if must_exist:
                    raise RunNotFoundError(f"there is no run {run} in {self.backend.url}")
            elif loaded.head.is_terminal:
                self.hub.ended(run, await self.last_entry(loaded.head))

    async def last_entry(self, head: Head) -> Ended:
        """The end of a run that has ended."""
        _, frames = await self.journal(head.id, after=max(0, head.seq - 1))
        entry = frames[-1][1].entries[-1]
        assert isinstance(entry, Ended), f"run {head.id} is terminal"
        return entry

    # --- inside

    async def _answered(self, run: RunId, id: MessageId, message: Message) -> Delivered:
        """Deliver again and again with the same id: an ambiguous outcome cannot double it."""
        return await self.repeated(lambda: self.acts.deliver(run, id, message))

    async def repeated(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it is answered, for a while: only what is idempotent."""
        try:
            return await call()
        except BackendError as error:
            return await self._repeated(call, error)

    async def _repeated(self, call: Callable[[], Awaitable[T]], error: BackendError) -> T:
        loop = asyncio.get_running_loop()
        until = loop.time() + _ANSWER_WITHIN
        for delay in delays():
            if error.is_final or loop.time() + delay > until:
                raise error
            await asyncio.sleep(delay)
            try:
                return await call()
            except BackendError as again:
                error = again
        raise AssertionError("the delays have no end")

    async def _log_event(self, name: str, event: LoggedEvent) -> int:
        """Answers its place. An event that is there already is this one: each is unlike any other."""
        streams = self.backend.streams
        log, body = event_log(name), encode_event(event)
        while True:
            index = (await self.repeated(lambda: streams.read(log, -1, 1))).next
            if await self._is_logged(log, index, body):
                return index

    async def _is_logged(self, log: str, index: int, body: bytes) -> bool:
        streams = self.backend.streams

        async def append() -> bool:
            return await streams.append(log, index, [body]) or (await streams.read(log, index, 1)).items == (body,)

        return await self.repeated(append)

    def _fresh(self) -> str:
        return self.backend.clock.random_bytes(12).hex()


def outcome_error(run: RunId, ended: Ended) -> RunError:
    """What `handle.result()` raises for a run that did not complete."""
    failure = ended.failure or Failure(types=(f"stepwell.{ended.status}",), message=ended.reason or ended.status)
    if ended.status in ("cancelled", "terminated"):
        reason = f": {ended.reason}" if ended.reason else ""
        return RunCancelledError(f"run {run} was {ended.status}{reason}", run_id=run, error=failure)
    error = RunError(f"run {run} {ended.status}: {failure}", run_id=run, error=failure)
    if failure.traceback:
        error.add_note(failure.traceback.rstrip())
    return error
