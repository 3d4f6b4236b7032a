"""Running steps: on the real loop, in threads, with attempts, time limits, heartbeats and streams.

A step ends in one journal entry, handed to its activation: completed, failed for good, or failed with a time for the
next attempt. A long back-off therefore holds no task and no worker.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio.events import _get_running_loop
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, TypeVar

from msgspec import NODEFAULT, Raw

from stepwell.authoring.bound import BoundStep
from stepwell.authoring.messages import Stream
from stepwell.authoring.registry import Registry
from stepwell.authoring.running import StepContext, enter_step, leave_step
from stepwell.codec import decrypt, failure_of
from stepwell.engine.program import StepCommand
from stepwell.engine.retry import next_delay_ms
from stepwell.errors import BackendError, DefinitionError
from stepwell.model.entries import AttemptFailed, Entry, StepCompleted, StepFailed, StepProgressed
from stepwell.model.failures import NULL
from stepwell.model.ids import CommandId, RunId, idempotency_key
from stepwell.model.runs import Head
from stepwell.model.values import Blob, provide_secrets
from stepwell.ports import Blobs, Clock
from stepwell.runtime.chunks import Chunk, StreamWriter
from stepwell.runtime.telemetry import Telemetry

T = TypeVar("T")

_PROGRESS_EVERY_MS = 5000
_HANG_SECONDS = 30.0
SEALED_FILE = ".sealed"
"""How the keys of files end that are encrypted. Those that were stored without a cipher are read as they are."""


class StepOwner(Protocol):
    """The activation, as a running step sees it."""

    run: RunId

    @property
    def base(self) -> int: ...
    @property
    def head(self) -> Head | None: ...
    def arrive(self, entry: Entry, time: int, *, before: Iterable[Entry] = ()) -> None: ...
    def step_ended(self, step: RunningStep) -> None: ...
    def writer(self, stream: str) -> StreamWriter: ...


class StepRunner:
    """Runs the steps of one worker."""

    def __init__(
        self,
        registry: Registry,
        blobs: Blobs,
        clock: Clock,
        *,
        threads: int,
        resources: Mapping[type, Any],
        secrets: Callable[[str], str] | None,
    ) -> None:
        self.registry = registry
        self.blobs = blobs
        self.clock = clock
        self.resources = resources
        self.secrets = secrets
        self.on_exhausted: Callable[[], None] | None = None
        self.telemetry = Telemetry()
        self.leaked_threads = 0
        self.max_threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._hanging: asyncio.TimerHandle | None = None

    def start(self, owner: StepOwner, command: StepCommand) -> RunningStep:
        """Begin an attempt."""
        return RunningStep(self, owner, command)

    @property
    def pool(self) -> ThreadPoolExecutor:
        """The threads for sync steps, made when the first one runs."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.max_threads, thread_name_prefix="stepwell-step")
        return self._pool

    def leaked(self, loop: asyncio.AbstractEventLoop, *, is_overdue: bool) -> None:
        """A thread works for nobody. All of them may, for a moment, when many runs are lost at once: only threads past
        their time limits are a reason to give up at once."""
        self.leaked_threads += 1
        if self.leaked_threads < self.max_threads or self.on_exhausted is None:
            return
        if is_overdue:
            self.on_exhausted()
        elif self._hanging is None:
            self._hanging = loop.call_later(_HANG_SECONDS, self.on_exhausted)

    def returned(self) -> None:
        """It has come back."""
        self.leaked_threads -= 1
        if self.leaked_threads < self.max_threads and self._hanging is not None:
            self._hanging.cancel()
            self._hanging = None

    def fraction(self) -> float:
        """A number in [0, 1) for jitter."""
        return int.from_bytes(self.clock.random_bytes(4)) / 2**32

    def close(self) -> None:
        """Let threads end; those that hang are left behind."""
        if self._hanging is not None:
            self._hanging.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


class RunningStep:
    """One attempt of one step. Also what `current_step()` asks."""

    __slots__ = (
        "_last_progress_at",
        "_noted",
        "_progress",
        "_saving",
        "_sent",
        "_streams",
        "_unsaved",
        "command",
        "is_cancelled",
        "loop",
        "owner",
        "runner",
        "started_at",
        "task",
    )

    def __init__(self, runner: StepRunner, owner: StepOwner, command: StepCommand) -> None:
        self.runner = runner
        self.owner = owner
        self.command = command
        self.started_at = runner.clock.now()
        self._progress: Raw = command.progress
        self._last_progress_at = 0
        self._streams: dict[str, StreamWriter] = {}
        self._sent: dict[str, int] = {}
        self._noted: list[Entry] = []
        self._unsaved = 0
        self._saving: asyncio.Task[None] | None = None
        self.is_cancelled = False
        self.loop = asyncio.get_running_loop()
        # Not loop.create_task(), which costs as much again.
        self.task: asyncio.Task[None] | None = asyncio.Task(self._run(), loop=self.loop, context=command.context)

    def stop(self) -> None:
        """Nobody wants the result any more."""
        self.is_cancelled = True
        if self.task is not None:
            self.task.cancel()

    # --- what current_step() offers

    @property
    def id(self) -> CommandId:
        """The command's id."""
        return self.command.id

    @property
    def run_id(self) -> RunId:
        """The run's id."""
        return self.owner.run

    @property
    def workflow(self) -> str:
        """What the run is a run of."""
        return "" if self.owner.head is None else self.owner.head.workflow

    @property
    def namespace(self) -> str:
        """Where the run belongs."""
        return "" if self.owner.head is None else self.owner.head.namespace

    @property
    def idempotency_key(self) -> str:
        """The same over all attempts."""
        return idempotency_key(self.owner.run, self.owner.base, self.command.id)

    @property
    def log(self) -> logging.Logger:
        """A logger named after the step."""
        return logging.getLogger(f"stepwell.step.{self.command.definition.options.name}")

    @property
    def last_progress(self) -> Any:
        """Of this or an earlier attempt."""
        return None if self._progress == NULL else self.runner.registry.decode(self._progress)

    def heartbeat(self, progress: Any) -> None:
        """Journal progress, at most every few seconds; the last one also goes with a failed attempt."""
        if progress is None:
            return
        self._progress = self.runner.registry.encode(progress, what=f"the progress of step {self.id}")
        now = self.runner.clock.now()
        if now - self._last_progress_at >= _PROGRESS_EVERY_MS:
            self._last_progress_at = now
            entry = StepProgressed(id=self.id, progress=self._progress, attempt=self.command.attempt)
            self._on_loop(self._report, entry, now)

    def send(self, stream: Stream[Any], value: Any) -> None:
        """Queue a chunk; all are written before the result is."""
        raw = self.runner.registry.encode(value, stream.type, what=f"a chunk of stream {stream.name}")
        k = self._sent.get(stream.name, 0)
        self._sent[stream.name] = k + 1
        self._on_loop(self._send, stream.name, k, raw)

    def resource(self, type: type[T]) -> T:
        """By type, from the app's lifespan."""
        found = self.runner.resources.get(type, NODEFAULT)
        if found is NODEFAULT:
            known = ", ".join(_resource_name(kind) for kind in self.runner.resources) or "nothing"
            raise DefinitionError(f"current_step().get({_resource_name(type)}): the app's lifespan yielded {known}")
        return found  # type: ignore[no-any-return]

    async def put_blob(self, path: str | PathLike[str]) -> Blob:
        """Store a file under its checksum; of an encrypted one, that of what is stored, or who knows a file could ask
        whether it is there. Each attempt then stores it anew."""
        data = await asyncio.to_thread(Path(path).read_bytes)
        digest = name = sha256(data).hexdigest()
        stored = data
        if (cipher := self.runner.registry.codec.cipher) is not None:
            stored = await asyncio.to_thread(cipher.encrypt, data)
            name = sha256(stored).hexdigest()
        key = f"{self.owner.run}/{name[:40]}{SEALED_FILE if cipher else ''}"
        await self.runner.blobs.put(key, stored)
        return Blob(key=key, size=len(data), name=Path(path).name, sha256=digest)

    async def get_blob(self, blob: Blob) -> bytes:
        """Read it back, whole."""
        data = await self.runner.blobs.get(blob.key)
        if data is None:
            owner = blob.key.partition("/")[0]
            raise BackendError(
                f"the blob {blob.key} is missing: run {owner}, which stored it, was deleted. A file goes with the run "
                f"that stored it; fork from before the step that did, so that it is stored again"
            )
        if not blob.key.endswith(SEALED_FILE):
            return data
        where = f"the file {blob.name or blob.key}"
        return await asyncio.to_thread(decrypt, data, self.runner.registry.codec.cipher, where=where)

    # --- what an invocation of a body elsewhere needs

    def note(self, entry: StepCompleted | StepFailed) -> None:
        """Journal this with the step's own outcome, or before."""
        if self.task is not None:
            self._noted.append(entry)

    def save_notes(self) -> None:
        """Journal what has been noted so far, when the chunks that were written before are in their streams. Of an
        attempt that is over, this does nothing, nor do the others."""
        if not self._streams:
            self._save(len(self._noted))
        else:
            self._unsaved = len(self._noted)
            if self._saving is None and self._unsaved and self.task is not None:
                self._saving = self.loop.create_task(self._save_flushed())

    def write(self, stream: str, *, source: str, attempt: int, k: int, value: Raw, record: Raw = NULL) -> None:
        """Queue a chunk of which the caller knows who sent it; all are written before the result is.

        Each attempt of this step is an era: what a source sends in another one replaces what it sent before.
        """
        if not self.is_cancelled and self.task is not None:
            era, base = f"{self.id}.{self.command.attempt}", self.owner.base
            chunk = Chunk(value=value, source=source, attempt=attempt, era=era, k=k, base=base, record=record)
            self._writer(stream).put(chunk)

    def _save(self, count: int) -> None:
        """Journal the first so many notes."""
        if count and not self.is_cancelled and self.task is not None:
            *before, last = self._noted[:count]
            del self._noted[:count]
            self._unsaved -= min(count, self._unsaved)
            self.owner.arrive(last, self.runner.clock.now(), before=before)

    async def _save_flushed(self) -> None:
        try:
            while count := self._unsaved:
                self._unsaved = 0
                await self._flush()
                self._save(count)
        except BackendError:
            pass  # who saves next, or the end of the attempt, tries again
        finally:
            self._saving = None

    # --- the attempt

    async def _run(self) -> None:
        command = self.command
        clock = self.runner.clock
        enter_step(StepContext(self, command.attempt))
        if self.runner.telemetry.is_on:
            self.runner.telemetry.attempt_started(self.owner.run, self.owner.base, command, self.started_at)
        if self.runner.secrets is not None:
            provide_secrets(self.runner.secrets)
        bound: BoundStep = command.definition  # type: ignore[assignment]
        entry: Entry | None = None
        try:
            if bound.is_plain:
                value = await bound.fn(*command.args, **command.kwargs)
            else:
                value = await self._call(bound)
            raw, command.answer = bound.isolate_result(value)
            if self._streams:
                await self._flush()
            now = clock.now()
            ms = now - self.started_at
            entry = StepCompleted(id=command.id, value=raw, attempt=command.attempt, ms=ms, args=command.args_sum)
        except (asyncio.CancelledError, Exception) as error:
            now = clock.now()
            if not self.is_cancelled or isinstance(error, _Overdue):
                entry = self._failed(error, now)
                await self._flush_noted()
        finally:
            self._over(entry)
        if entry is not None and not self.is_cancelled:
            self.owner.arrive(entry, now, before=self._noted)

    def _over(self, outcome: Entry | None) -> None:
        """The attempt has ended. Cuts the circles that it is part of, so that it is freed without the collector."""
        if self.runner.telemetry.is_on:
            heard, owner = None if self.is_cancelled else outcome, self.owner
            now = self.runner.clock.now()
            self.runner.telemetry.attempt_ended(owner.run, owner.base, self.command, heard, now)
        leave_step()
        self.task = None
        if self._saving is not None:
            self._saving.cancel()
        self.owner.step_ended(self)

    async def _call(self, bound: BoundStep) -> Any:
        command = self.command
        step = bound.step
        limit = self._time_limit(bound)
        if step.is_async:
            timer = asyncio.timeout(limit)
            try:
                async with timer:
                    return await step.__wrapped__(*command.args, **command.kwargs)
            except TimeoutError:
                if timer.expired():
                    raise TimeoutError(f"the attempt took longer than its {limit:g} s") from None
                raise
        return await self._call_in_thread(step.__wrapped__, limit)

    async def _call_in_thread(self, fn: Callable[..., Any], limit: float | None) -> Any:
        command = self.command
        context = command.context.copy()

        def work() -> Any:
            # It may have waited for a thread until nobody wants it any more.
            return None if self.is_cancelled else context.run(fn, *command.args, **command.kwargs)

        future = self.loop.run_in_executor(self.runner.pool, work)
        try:
            async with asyncio.timeout(limit):
                return await asyncio.shield(future)
        except TimeoutError:
            if future.done():
                raise
            self._leak(future, is_overdue=True)
            self.is_cancelled = True
            raise _Overdue(f"the attempt took longer than its {limit:g} s; its thread goes on") from None
        except asyncio.CancelledError:
            self._leak(future, is_overdue=False)
            raise

    def _leak(self, future: asyncio.Future[Any], *, is_overdue: bool) -> None:
        """A thread cannot be stopped: its slot stays taken until it returns, and its late result is dropped."""
        runner = self.runner
        if future.done():
            return
        runner.leaked(self.loop, is_overdue=is_overdue)

        def returned(future: asyncio.Future[Any]) -> None:
            runner.returned()
            if not future.cancelled():
                future.exception()

        future.add_done_callback(returned)

    def _time_limit(self, bound: BoundStep) -> float | None:
        options = bound.options
        limits = [] if options.timeout_ms is None else [options.timeout_ms]
        if options.deadline_ms is not None:
            limits.append(max(0, self.command.issued_at + options.deadline_ms - self.started_at))
        return min(limits) / 1000 if limits else None

    def _failed(self, error: BaseException, now: int) -> Entry:
        command = self.command
        options = command.definition.options
        if isinstance(error, _Overdue):
            error = TimeoutError(str(error))
            self.is_cancelled = False
        failure = failure_of(
            error, raises=options.raises, codec=self.runner.registry.codec, step=command.id, attempts=command.attempt
        )
        remaining = None if options.deadline_ms is None else command.issued_at + options.deadline_ms - now
        delay = next_delay_ms(
            options.retry,
            attempt=command.attempt,
            exception=error,
            rng_fraction=self.runner.fraction(),
            raises=options.raises,
            remaining_ms=remaining,
        )
        ms = now - self.started_at
        if delay is None:
            return StepFailed(id=command.id, failure=failure, attempt=command.attempt, ms=ms)
        return AttemptFailed(
            id=command.id,
            failure=failure,
            attempt=command.attempt,
            retry_at=now + delay,
            ms=ms,
            progress=self._progress,
        )

    def _on_loop(self, call: Callable[..., object], *args: Any) -> None:
        loop = self.loop
        if _get_running_loop() is loop:
            call(*args)
        else:
            loop.call_soon_threadsafe(call, *args)

    def _send(self, stream: str, k: int, raw: Raw) -> None:
        if self.is_cancelled or self.task is None:
            return
        writer = self._writer(stream)
        writer.write(source=self.id, attempt=self.command.attempt, k=k, value=raw, base=self.owner.base)

    def _writer(self, stream: str) -> StreamWriter:
        writer = self._streams.get(stream)
        if writer is None:
            writer = self._streams[stream] = self.owner.writer(stream)
        return writer

    def _report(self, entry: Entry, now: int) -> None:
        if not self.is_cancelled:
            self.owner.arrive(entry, now)

    async def _flush_noted(self) -> None:
        """What an attempt that failed has noted is journaled, so its chunks must be durable, too."""
        if self._noted and self._streams:
            try:
                await self._flush()
            except BackendError:
                self._noted.clear()

    async def _flush(self) -> None:
        for writer in self._streams.values():
            await writer.flush()


class _Overdue(Exception):
    """A sync step past its time limit. Its context says `cancelled`, for the thread to see."""


def _resource_name(key: Any) -> str:
    """Resources go by their type, or by the name that the lifespan gave."""
    return key.__name__ if isinstance(key, type) else repr(key)
