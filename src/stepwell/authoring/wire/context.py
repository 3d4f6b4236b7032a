"""The context of a body that a step worker runs: the same verbs, and waits that are the orchestrator's.

What blocks is registered under the name that the wire has for it, with one counter for all; so the names are the same
at each invocation, as long as the code asks in the same order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from random import Random
from typing import Any, NoReturn, TypeVar, Unpack

import msgspec
from msgspec import UNSET, Raw

from stepwell.authoring.context import _MISSING, ChildHandle, Context, ParentEnd
from stepwell.authoring.hooks import Each, Hook, HookKeywords
from stepwell.authoring.info import RunInfo, members, moment
from stepwell.authoring.messages import Event, Signal
from stepwell.authoring.metadata import Metadata
from stepwell.authoring.registry import Registry
from stepwell.authoring.sagas import Saga, Undo
from stepwell.authoring.wire.children import WireChild, check_parent_end, child_meta, result_of
from stepwell.authoring.wire.doors import Doors
from stepwell.authoring.wire.hooks import wire_hook
from stepwell.authoring.workflows import WorkflowRef
from stepwell.codec import Typed, failure_of
from stepwell.engine.remote.calls import WaitKind
from stepwell.engine.worker.journal import SLEEP, KnownWait
from stepwell.engine.worker.program import WireProgram
from stepwell.engine.worker.random import WireRandom
from stepwell.engine.worker.verdicts import Undone
from stepwell.errors import CodecError, DefinitionError
from stepwell.formats.voyant.invocations import StepRequest
from stepwell.formats.voyant.labels import tag_map
from stepwell.model.durations import Duration, duration_ms
from stepwell.model.failures import NULL
from stepwell.model.ids import RunId
from stepwell.model.metadata import MetadataOp

T = TypeVar("T")
Out = TypeVar("Out")

_END = b"__voyantStreamEnd"


class WireContext(Context):
    """The context of one invocation."""

    __slots__ = ("doors", "program", "request")

    def __init__(self, program: WireProgram, registry: Registry, request: StepRequest, doors: Doors | None) -> None:
        super().__init__(program, registry)
        self.program = program
        self.request = request
        self.doors = doors

    @property
    def info(self) -> RunInfo:
        """What the orchestrator says of the run. Of those above, it says which one started this one, or nothing."""
        if self._info is None:
            request, meta = self.request, self.request.run_meta
            trigger = members(meta.triggered_by)
            parent = trigger.get("parentRunId") if trigger.get("kind") == "parent" else None
            self._info = RunInfo(
                id=self.run_id,
                workflow=request.workflow_id,
                version=request.workflow_version,
                started_at=moment(int(meta.started_at)),
                attempt=meta.attempt,
                number=meta.number,
                tags=tag_map(meta.tags),
                environment=request.environment,
                tenant=members(request.tenant_meta),
                triggered_by=trigger,
                parent=RunId(parent) if isinstance(parent, str) else None,
            )
        return self._info

    @property
    def metadata(self) -> Metadata:
        """As anywhere. What the body reads of it is what it wrote itself."""
        if self._metadata is None:
            self._metadata = _WireMetadata(self._program, self._registry)
        return self._metadata

    @property
    def random(self) -> Random:
        """The numbers that the wire prescribes for a run."""
        if self._random is None:
            self._random = WireRandom(self.run_id)
        return self._random

    # --- time

    async def sleep(self, duration: Duration) -> None:
        """As anywhere."""
        lasts = duration_ms(duration, what="ctx.sleep()")
        desk = self.program.desk
        await desk.open(f"{SLEEP}{desk.number()}", "DATETIME", {"durationMs": lasts}, lasts_ms=lasts)

    async def sleep_until(self, when: datetime) -> None:
        """As anywhere; the orchestrator gets the moment itself."""
        if when.tzinfo is None:
            raise DefinitionError(f"ctx.sleep_until({when!r}): give a datetime with a time zone")
        at = round(when.astimezone(UTC).timestamp() * 1000)
        lasts = at - self.program.now_ms
        if lasts > 0:
            desk = self.program.desk
            meta = {"durationMs": lasts, "wakeAt": at}
            await desk.open(f"{SLEEP}{desk.number()}", "DATETIME", meta, lasts_ms=lasts, wake_at=at)

    # --- messages

    async def receive(
        self,
        source: Signal[Any] | Event[Any],
        *,
        timeout: Duration | None = None,
        default: Any = _MISSING,
        where: dict[str, Any] | None = None,
    ) -> Any:
        """As anywhere. A time limit that passes while steps run is noticed when they have ended."""
        kind, meta = _source(source)
        until = self._until(timeout, f"the timeout of {source.name}")
        typed = self._registry.codec.typed(source.type).plain
        desk, where = self.program.desk, self._filter(where)[0]
        prefix = f"{kind.lower()}:{source.name}"

        def begin() -> Any:
            return desk.open(f"{prefix}:{desk.number()}", kind, meta, lasts_ms=self._left(until), where=where)

        try:
            return await self.answered(begin, typed, until=until, what=f"{kind.lower()} {source.name}")
        except TimeoutError:
            if default is not _MISSING:
                return default
            raise

    def receive_all(self, source: Signal[T] | Event[T], *, where: dict[str, Any] | None = None) -> AsyncIterator[T]:
        """As anywhere. The iteration ends when the orchestrator says so."""
        kind, meta = _source(source)
        typed = self._registry.codec.typed(source.type).plain
        desk, plain_where = self.program.desk, self._filter(where)[0]
        desk.number()  # the call itself counts, as in other languages

        def begin() -> Any:
            id = f"{kind.lower()}:{source.name}:iter:{desk.number()}"
            return desk.open(id, kind, {**meta, "iter": True}, where=plain_where)

        what = f"{kind.lower()} {source.name}"
        return Each(lambda: self.answered(begin, typed, until=None, what=what, ends=True))

    async def create_hook(self, type: type[T], **options: Unpack[HookKeywords]) -> Hook[T]:
        """As anywhere, but for `respond`: a worker has no way to answer a request."""
        return wire_hook(self, type, options)

    async def answered(
        self, begin: Callable[[], Any], typed: Typed[Any], *, until: int | None, what: str, ends: bool = False
    ) -> Any:
        """What comes of a wait. `begin` begins it, and again after a message that does not fit its type.
        `ends`: a message may say that it is the last one."""
        while True:
            known: KnownWait = await begin()
            payload = known.payload
            if payload is UNSET:
                if until is not None:
                    raise TimeoutError(f"no {what} came in time")
                payload = NULL
            if ends and _is_end(payload):
                raise TimeoutError("there are no more")
            try:
                return typed.decode(payload, where=what)
            except CodecError as error:
                self.log.warning("a message was dropped: %s", error)

    # --- children

    async def start(
        self,
        workflow: WorkflowRef[Any, Out],
        input: Any = None,
        *,
        id: str | None = None,
        on_parent_end: ParentEnd = "cancel",
    ) -> ChildHandle[Out]:
        """As anywhere, but the id of the child is the orchestrator's business. This run does not end before a child
        that it waits for has."""
        check_parent_end(on_parent_end)
        if id is not None:
            raise DefinitionError(
                f"ctx.start(id={id!r:.100}): over the wire of step workers, the orchestrator names children; leave it"
            )
        is_detached = on_parent_end == "abandon"
        future = self._invoke(workflow, () if input is None else (input,), is_detached=is_detached)
        if is_detached:
            result_of(await future, workflow, None)
        return WireChild(self, workflow, future, is_detached=is_detached)

    async def call(self, workflow: WorkflowRef[Any, Out], *given: Any) -> Out:
        """Run a child and wait for its result."""
        known = await self._invoke(workflow, given, is_detached=False)
        return result_of(known, workflow, self._registry.output_of(workflow))  # type: ignore[no-any-return]

    def _invoke(self, workflow: WorkflowRef[Any, Any], given: tuple[Any, ...], *, is_detached: bool) -> Any:
        desk = self.program.desk
        meta = child_meta(self._registry, workflow, given, is_detached=is_detached)
        return desk.open(f"invoke:{workflow.id}:{desk.number()}", "RUN", meta)

    # --- the rest

    def saga(self) -> Saga:
        """As anywhere. What is undone goes into the answer."""
        return _WireSaga(self)

    def continue_as_new(self, input: Any = _MISSING) -> NoReturn:  # noqa: ARG002 - the signature is the base's
        """Not over the wire."""
        raise DefinitionError(
            "ctx.continue_as_new(): the wire of step workers has no word for it; let the body end, and start a run"
        )

    def _left(self, until: int | None) -> int | None:
        return None if until is None else max(0, until - self.program.now_ms)


class _WireMetadata(Metadata):
    """Metadata whose changes are told as what they are: others may change the same keys."""

    def increment(self, key: str, by: float = 1) -> None:
        """Add to a number; absent is 0."""
        self._change("increment", key, UNSET if by == 1 else by)

    def append(self, key: str, value: Any) -> None:
        """Add to the end of a list; absent is empty."""
        self._change("append", key, value)

    def _change(self, op: Any, key: str, value: Any) -> None:
        raw = value if value is UNSET else self._registry.encode(value, what=f"metadata {key!r}")
        notes: Any = self._program.notes
        notes.change(MetadataOp(op=op, key=key, value=raw))


class _WireSaga(Saga):
    """A saga that reports what it undid."""

    def __init__(self, context: WireContext) -> None:
        super().__init__()
        self._context = context

    async def _run_one(self, undo: Undo) -> Any:
        program = self._context.program
        began = program.now_ms
        failure, cancelled = await super()._run_one(undo)
        record = None if failure is None else failure_of(failure, codec=self._context._registry.codec)
        program.undone.append(Undone(step=undo.id, failure=record, ms=program.now_ms - began))
        return failure, cancelled


def _source(source: Any) -> tuple[WaitKind, dict[str, Any]]:
    if isinstance(source, Event):
        return "EVENT", {"eventType": source.name}
    if isinstance(source, Signal):
        return "SIGNAL", {"signalName": source.name}
    raise DefinitionError(f"ctx.receive({source!r}): give a Signal or an Event")


def _is_end(payload: Raw) -> bool:
    if _END not in bytes(payload):
        return False
    value = msgspec.json.decode(payload)
    return isinstance(value, dict) and value.get(_END.decode()) is True
