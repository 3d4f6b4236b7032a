"""The door of a step worker: whom it lets in, in which order it looks, and how it says no."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any
from urllib.parse import unquote

import msgspec

from stepwell.authoring.running import leave_step
from stepwell.authoring.wire.doors import Doors
from stepwell.authoring.wire.sessions import open_session
from stepwell.authoring.workflows import Workflow
from stepwell.errors import ActivationError, CodecError
from stepwell.formats.voyant import headers
from stepwell.formats.voyant.invocations import (
    Outcome,
    Refused,
    StepRequest,
    outcome_bytes,
    read_request,
    refusal_bytes,
)
from stepwell.formats.voyant.labels import NO_VERSION
from stepwell.model.ids import RunId
from stepwell.model.runs import Head
from stepwell.runtime.stepworker.guard import Guard
from stepwell.runtime.stepworker.invocation import Bench, DeadlinePassed, Invocation
from stepwell.runtime.stepworker.lifetime import Lifetime
from stepwell.runtime.stepworker.lines import Lines
from stepwell.runtime.stepworker.options import StepWorkerOptions
from stepwell.runtime.stepworker.replies import JSON, NDJSON, Asked, Reply
from stepwell.runtime.stepworker.sending import ABILITIES, Kept, Live, Outlet

_RETRY_AFTER = "1"
_EARLY = 2
"""So many times as many requests as may be worked on may be read at a time."""
_BODIES = 4
"""All that is being read may be so many times as large as one body may be: who sends it has not been checked yet."""
_LARGE = 2**20
"""Bodies from this size on are decoded in a thread, so that the loop goes on."""
_log = logging.getLogger("stepwell.step_worker")


class Door:
    """Answers requests of an orchestrator. `prepare` is called before the first workflow is looked for."""

    def __init__(self, bench: Bench, lifetime: Lifetime, *, prepare: Callable[[], None]) -> None:
        self.options = bench.options
        self.lifetime = lifetime
        self._bench = bench
        self._guard = Guard(bench.options, bench.clock)
        self._prepare: Callable[[], None] | None = prepare
        self._entered = 0
        self._reading = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_draining = False

    # --- life

    async def open(self) -> None:
        """Enter the app's lifespan, and find its workflows. Repeating does nothing."""
        if self._prepare is not None:
            self._prepare()
            self._prepare = None
        self._bench.runner.resources = await self.lifetime.resources()

    def drain(self) -> None:
        """Begin nothing new."""
        self._is_draining = True

    async def close(self, *, drain: bool = True) -> None:
        """Wait for what goes on, for a bounded time, or with `drain=False` not at all; then stop it, and leave the
        lifespan. It may be opened again."""
        self.drain()
        mine = {task for task in self._tasks if task.get_loop() is asyncio.get_running_loop()}
        if mine and drain:
            await asyncio.wait(mine, timeout=self.options.drain_ms / 1000)
        for task in mine:
            task.cancel()
        if mine:
            await asyncio.wait(mine)
        await self.lifetime.close()
        self._bench.runner.close()
        self._is_draining = False

    # --- requests

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Somebody is here, and may take some time to say what they want."""
        self._entered += 1
        try:
            yield
        finally:
            self._entered -= 1

    def check(self, asked: Asked) -> None:
        """What can be said before the body is read. `Refused`."""
        if asked.method != "POST":
            raise Refused(405, "method_not_allowed", f"a step worker takes POST, not {asked.method:.20}")
        self._guard.check_head(asked)
        length = asked.header("content-length")
        if length.isascii() and length.isdecimal() and int(length[:20]) > self.options.max_body:
            raise too_large(self.options)
        if self._entered > _EARLY * self.options.concurrency:
            raise self._busy()

    @contextmanager
    def reading(self) -> Iterator[Callable[[int], None]]:
        """A body comes. To be called with the size of each piece: `Refused` if all bodies that come are too much."""
        mine = 0

        def came(size: int) -> None:
            nonlocal mine
            mine += size
            self._reading += size
            if mine > self.options.max_body:
                raise too_large(self.options)
            if self._reading > _BODIES * self.options.max_body:
                raise self._busy()

        try:
            yield came
        finally:
            self._reading -= mine

    async def answer(self, asked: Asked) -> Reply:
        """The answer to a request that has been read."""
        try:
            self.check(asked)
            if len(asked.body) > self.options.max_body:
                raise too_large(self.options)
            self._guard.check(asked)
            large = len(asked.body) >= _LARGE
            request = await asyncio.to_thread(read_request, asked.body) if large else read_request(asked.body)
            await self._ready(request)
            workflow = self._workflow_of(request)
            if self._is_draining or len(self._tasks) >= self.options.concurrency or self._has_no_threads():
                raise self._busy()
            return await self._invoke(asked, request, workflow)
        except Refused as refusal:
            return reply_to(refusal)

    # --- inside

    async def _ready(self, request: StepRequest) -> None:
        try:
            await self.open()
        except Exception as error:
            raise _refusal_of(request, error) from error

    def _workflow_of(self, request: StepRequest) -> Workflow[Any, Any]:
        """`Refused` 404."""
        registry, id, version = self._bench.runner.registry, request.workflow_id, request.workflow_version
        versions = [item.spec.version for item in registry.workflows() if item.id == id and isinstance(item, Workflow)]
        if not versions:
            raise Refused(404, "workflow_not_found", f'workflow "{id}" is not registered in this bundle')
        found = registry.find(id, version if any(versions) and version != NO_VERSION else "")
        if isinstance(found, Workflow):
            return found
        known = [item for item in versions if item]
        text = f'workflow "{id}" is not registered in this bundle in version "{version}"; there are: {", ".join(known)}'
        raise Refused(404, "workflow_not_found", text, {"versions": known})

    async def _invoke(self, asked: Asked, request: StepRequest, workflow: Workflow[Any, Any]) -> Reply:
        takes_lines = "lines" in [word.strip() for word in asked.header(headers.ACCEPT).split(",")]
        if takes_lines:
            live = Live()
            task = self._begun(asked, request, workflow, live)
            return Reply(200, dict(NDJSON), Lines(live, task, lambda error: _refusal_of(request, error).message))
        kept = Kept(is_ours=any(name.startswith(headers.OURS) for name in asked.headers), counts=_counts(request))
        task = self._begun(asked, request, workflow, kept)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:  # who asked has gone
            task.cancel()
            await asyncio.wait([task])
            raise
        if task.cancelled():
            raise self._busy()
        error = task.exception()
        if error is not None:
            raise _refusal_of(request, error) from error
        return Reply(200, JSON | {headers.SPEAKS: ",".join(ABILITIES)}, outcome_bytes(task.result()))

    def _begun(
        self, asked: Asked, request: StepRequest, workflow: Workflow[Any, Any], outlet: Outlet
    ) -> asyncio.Task[Outcome]:
        # Who asks may be a step, of an orchestrator in this process: what happens here does not happen within it.
        context = copy_context()
        context.run(leave_step)
        spans, now = self._bench.spans, self._bench.clock.now
        span = spans and context.run(spans.invocation_started, asked.header("traceparent"), request, now())
        try:
            invocation = context.run(self._opened, asked, request, workflow, outlet)
        except Refused as refused:
            if span is not None:
                spans.invocation_ended(span, "", refused, now())
            raise
        invocation.span = span
        loop = asyncio.get_running_loop()
        task = loop.create_task(invocation.outcome(), name="stepwell-invocation", context=context)
        self._tasks.add(task)

        def over(task: asyncio.Task[Outcome]) -> None:
            self._tasks.discard(task)
            invocation.close()
            error = None if task.cancelled() else task.exception()  # it is told, or nobody is there to hear it
            if span is not None:
                status = "" if task.cancelled() or error else task.result().status
                spans.invocation_ended(span, status, error, now())

        task.add_done_callback(over)
        return task

    def _opened(self, asked: Asked, request: StepRequest, workflow: Workflow[Any, Any], outlet: Outlet) -> Invocation:
        """The body has begun, and has seen what the journal answers."""
        try:
            doors = Doors.of(asked.header(headers.HOOKS), asked.header(headers.HOOK_KEY))
        except ValueError as error:
            raise Refused(400, "invalid_request", f"{headers.HOOK_KEY}: {error}") from None
        cancel = asked.headers.get(headers.CANCEL)
        registry = self._bench.runner.registry
        try:
            session = open_session(
                registry,
                workflow,
                request,
                now=self._bench.clock.now(),
                cancel=None if cancel is None else unquote(cancel),
                doors=doors,
            )
        except CodecError as error:
            raise Refused(400, "invalid_request", f"the journal cannot be read: {error}") from error
        except (ActivationError, Exception) as error:
            raise _refusal_of(request, error) from error
        head = Head(
            id=RunId(request.run_id),
            workflow=request.workflow_id,
            version=request.workflow_version,
            created_at=int(request.run_meta.started_at),
            base=1 if doors is None else doors.base,
            namespace=asked.header(headers.NAMESPACE),
        )
        return Invocation(self._bench, session, request, head, outlet)

    def _has_no_threads(self) -> bool:
        runner = self._bench.runner
        return runner.leaked_threads >= runner.max_threads

    def _busy(self) -> Refused:
        if self._is_draining:
            return Refused(503, "overloaded", "this worker stops; ask another")
        if self._has_no_threads():
            return Refused(503, "overloaded", "all threads of this worker are in steps past their time limits")
        return Refused(503, "overloaded", f"this worker has {self.options.concurrency} invocations at a time, no more")


def reply_to(refused: Refused) -> Reply:
    """The answer that says no."""
    fields = dict(JSON)
    match refused.status:
        case 405:
            fields["allow"] = "POST"
        case 408 | 413:
            fields["connection"] = "close"
        case 503:
            fields["retry-after"] = _RETRY_AFTER
    return Reply(refused.status, fields, refusal_bytes(refused))


def too_large(options: StepWorkerOptions) -> Refused:
    """The body is larger than this worker takes."""
    text = f"the body is larger than {options.max_body} bytes, which step_worker(max_body=) allows"
    return Refused(413, "body_too_large", text)


def too_slow(options: StepWorkerOptions) -> Refused:
    """The body did not come in time."""
    return Refused(408, "request_timeout", f"the body did not come within {options.body_timeout_ms} ms")


def _refusal_of(request: StepRequest, error: BaseException) -> Refused:
    """What to answer if the worker itself failed, and not the body."""
    where = f"run {request.run_id} of workflow {request.workflow_id}, invocation {request.invocation_count}"
    if isinstance(error, DeadlinePassed):
        return Refused(504, "deadline_exceeded", f"{where}: {error}")
    _log.error("%s cannot be carried out", where, exc_info=error)
    text = str(error) if isinstance(error, ActivationError) else f"{type(error).__name__}: {error}"
    return Refused(500, "executor_error", text)


def _counts(request: StepRequest) -> dict[str, int]:
    """How many chunks of each stream the body has sent in all."""
    counts = {}
    for stream, raw in request.journal.streams_completed.items():
        found = msgspec.json.decode(raw)
        count = found.get("chunkCount") if isinstance(found, dict) else None
        counts[stream] = count if isinstance(count, int) else 0
    return counts
