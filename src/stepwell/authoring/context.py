"""The context: what a workflow body can do besides plain asyncio."""

from __future__ import annotations

import asyncio
import logging
from asyncio.events import _get_running_loop
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from datetime import UTC, datetime
from random import Random
from typing import Any, Generic, Literal, NoReturn, TypeVar, Unpack, overload
from uuid import UUID

import msgspec

from stepwell.authoring.hooks import Each, Hook, HookKeywords, create_hook
from stepwell.authoring.info import RunInfo, info_of
from stepwell.authoring.logs import RunLog
from stepwell.authoring.mapping import MapCall, Outcome
from stepwell.authoring.messages import Event, Signal, Stream
from stepwell.authoring.metadata import Metadata
from stepwell.authoring.registry import RecordTranslator, Registry
from stepwell.authoring.sagas import Saga
from stepwell.authoring.workflows import Workflow, WorkflowRef
from stepwell.codec import failure_of
from stepwell.engine.function import ContinueRequested, FunctionProgram
from stepwell.engine.loop import WorkflowLoop
from stepwell.engine.mailbox import Address
from stepwell.engine.mismatch import without_key
from stepwell.engine.program import Origin
from stepwell.errors import CodecError, DefinitionError, NotInWorkflowError, RunCancelledError, RunError, SealedError
from stepwell.model.durations import Duration, duration_ms
from stepwell.model.entries import Received, SendSignal, StartChild
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import CommandId, RunId
from stepwell.model.messages import ChildEnded

T = TypeVar("T")
D = TypeVar("D")
In = TypeVar("In")
Out = TypeVar("Out")

_MISSING: Any = object()


class Context:
    """What a workflow body can do besides plain asyncio. One per activation; everything on it survives crashes."""

    __slots__ = ("_info", "_log", "_metadata", "_program", "_random", "_registry")

    def __init__(self, program: FunctionProgram, registry: Registry) -> None:
        self._program = program
        self._registry = registry
        # Made when they are first asked for: a parked run holds what it has.
        self._random: Random | None = None
        self._metadata: Metadata | None = None
        self._log: RunLog | None = None
        self._info: RunInfo | None = None

    # --- who and when

    @property
    def metadata(self) -> Metadata:
        """Small values that belong to the run, visible in lists and searchable."""
        if self._metadata is None:
            self._metadata = Metadata(self._program, self._registry)
        return self._metadata

    @property
    def log(self) -> RunLog:
        """A logger that knows its run, and says nothing on replay."""
        if self._log is None:
            name = f"stepwell.run.{self._program.origin.created.workflow}"
            self._log = RunLog(self._program, logging.getLogger(name))
        return self._log

    @property
    def info(self) -> RunInfo:
        """What is known of this run: its attempt, its tags, who triggered it."""
        if self._info is None:
            try:
                self._info = info_of(self._program.origin, self._registry.codec)
            except SealedError as error:
                self._program.loop.refuse(without_key(self._program.origin, error))
        return self._info

    @property
    def run_id(self) -> RunId:
        """The id of this run."""
        return self._program.origin.run

    @property
    def is_replaying(self) -> bool:
        """Whether the body runs through what it has done before. For logs and metrics; never decide on it."""
        return self._program.is_replaying

    def now(self) -> datetime:
        """The run's time, in UTC: that of the last thing that happened to it. The same on replay."""
        return datetime.fromtimestamp(self._program.now_ms / 1000, UTC)

    @property
    def random(self) -> Random:
        """The run's own random numbers: the same on replay, others in each run and generation."""
        if self._random is None:
            origin = self._program.origin
            self._random = Random(f"{origin.seed}.{origin.random_base}")
        return self._random

    def uuid4(self) -> UUID:
        """A random UUID: the same on replay."""
        return UUID(int=self.random.getrandbits(128), version=4)

    # --- time

    async def sleep(self, duration: Duration) -> None:
        """A durable timer. The run leaves memory if it is long."""
        self._program.loop.next_timer_name = "sleep"
        await asyncio.sleep(duration_ms(duration, what="ctx.sleep()") / 1000)

    async def sleep_until(self, when: datetime) -> None:
        """A durable timer until a moment, which must have a time zone. One in the past is over at once."""
        if when.tzinfo is None:
            raise DefinitionError(f"ctx.sleep_until({when!r}): give a datetime with a time zone")
        await self.sleep(max(0.0, when.timestamp() - self._program.now_ms / 1000))

    # --- messages

    @overload
    async def receive(
        self, source: Signal[T] | Event[T], *, timeout: Duration | None = None, where: dict[str, Any] | None = None
    ) -> T: ...
    @overload
    async def receive(
        self,
        source: Signal[T] | Event[T],
        *,
        timeout: Duration | None = None,
        default: D,
        where: dict[str, Any] | None = None,
    ) -> T | D: ...
    async def receive(
        self,
        source: Signal[Any] | Event[Any],
        *,
        timeout: Duration | None = None,
        default: Any = _MISSING,
        where: dict[str, Any] | None = None,
    ) -> Any:
        """The next signal or event of that name; early ones were kept. `where` names fields and their exact values.

        Past `timeout`: `TimeoutError`, or `default` if given.
        """
        address = self._address(source)
        decode = self._decoder(source.type, f"{address.kind} {source.name}")
        plain_where, detail = self._filter(where)
        until = self._until(timeout, f"the timeout of {source.name}")
        return await self._wait(address, decode, until=until, default=default, where=plain_where, detail=detail)

    def receive_all(self, source: Signal[T] | Event[T], *, where: dict[str, Any] | None = None) -> AsyncIterator[T]:
        """Every signal or event of that name, one after another, without end."""
        return Each(lambda: self.receive(source, where=where))

    async def create_hook(self, type: type[T], **options: Unpack[HookKeywords]) -> Hook[T]:
        """Something outside can complete this wait, by URL or token. `await hook` for the first value, or iterate over
        all of them. Of an HTTP request, the value is its body, decoded to `type`; with `HookRequest`, it is the request
        itself. See `HookKeywords` for the options.
        """
        return await create_hook(self, type, options)

    # --- children and other runs

    @overload
    async def start(
        self, workflow: WorkflowRef[None, Out], *, id: str | None = None, on_parent_end: ParentEnd = "cancel"
    ) -> ChildHandle[Out]: ...
    @overload
    async def start(
        self, workflow: WorkflowRef[In, Out], input: In, *, id: str | None = None, on_parent_end: ParentEnd = "cancel"
    ) -> ChildHandle[Out]: ...
    async def start(
        self,
        workflow: WorkflowRef[Any, Out],
        input: Any = None,
        *,
        id: str | None = None,
        on_parent_end: ParentEnd = "cancel",
    ) -> ChildHandle[Out]:
        """Start a child run and go on. When this run ends, the child is cancelled, or with "abandon" left alone (it is
        then independent: its end is not reported here). An `id` that another run has: `RunConflictError`.
        """
        if on_parent_end not in ("cancel", "abandon"):
            raise DefinitionError(f'ctx.start(on_parent_end={on_parent_end!r}): give "cancel" or "abandon"')
        act, command = self._child(workflow, () if input is None else (input,), id=id, on_parent_end=on_parent_end)
        await self._program.outside.act(command, act)
        return ChildHandle(self, command, act, self._child_decoder(workflow))

    async def call(self, workflow: WorkflowRef[Any, Out], *given: Any) -> Out:
        """Run a child and wait for its result; `await child(input)` does this."""
        act, command = self._child(workflow, given, id=None, on_parent_end="cancel")
        result: _ChildResult = await self._program.outside.call_child(act, command, self._child_decoder(workflow))
        return result.get()  # type: ignore[no-any-return]

    # --- fan-out, undo

    @overload
    def map(
        self,
        fn: Callable[[T], Coroutine[Any, Any, Out]],
        items: Iterable[T],
        *,
        concurrency: int | None = None,
        settle: Literal[False] = False,
        key: Callable[[T], object] | None = None,
    ) -> MapCall[Out]: ...
    @overload
    def map(
        self,
        fn: Callable[[T], Coroutine[Any, Any, Out]],
        items: Iterable[T],
        *,
        concurrency: int | None = None,
        settle: Literal[True],
        key: Callable[[T], object] | None = None,
    ) -> MapCall[Outcome[Out]]: ...
    def map(
        self,
        fn: Callable[[Any], Coroutine[Any, Any, Any]],
        items: Iterable[Any],
        *,
        concurrency: int | None = None,
        settle: bool = False,
        key: Callable[[Any], object] | None = None,
    ) -> MapCall[Any]:
        """Call a step or an async function for each item, at most `concurrency` at a time.

        Await it for a list in order; iterate over it to get results as they finish. The first failure cancels the
        rest; with `settle=True` there are `Outcome`s instead. Steps get ids by index, or by `key(item)`.
        """
        return MapCall(fn, items, concurrency=concurrency, is_settled=settle, key=key)

    def saga(self) -> Saga:
        """`async with ctx.saga()`: if the block fails or is cancelled, its completed steps are undone, newest first."""
        return Saga()

    # --- streams, changes, generations

    def send(self, stream: Stream[T], value: T) -> None:
        """Append to a stream of this run. Saved with the next frame, then readable by anybody."""
        raw = self._registry.encode(value, stream.type, what=f"a chunk of stream {stream.name}")
        self._program.notes.send(stream.name, raw)

    def patched(self, id: str) -> bool:
        """Whether this run has, or reaches for the first time now, the code that this id guards.

        Runs that passed this point with the old code get False.
        """
        return self._program.notes.patched(id)

    def continue_as_new(self, input: Any = _MISSING) -> NoReturn:
        """End this history and start the workflow again, in the same run, with a new input. For endless workflows."""
        created = self._program.origin.created
        if input is _MISSING:
            raise ContinueRequested(NULL)
        raise ContinueRequested(self._registry.encode_input(created.workflow, created.version, input))

    # --- inside

    async def _wait(
        self,
        address: Address,
        decode: Callable[[Received], Any],
        *,
        until: int | None,
        default: Any = _MISSING,
        where: dict[str, Any] | None = None,
        detail: str = "",
    ) -> Any:
        program = self._program
        if until is None:
            return await program.mailbox.receive(address, decode, where=where, detail=detail)
        try:
            program.loop.next_timer_name = address.name
            async with asyncio.timeout_at(until / 1000):
                return await program.mailbox.receive(address, decode, where=where, until=until, detail=detail)
        except TimeoutError:
            if default is not _MISSING:
                return default
            raise TimeoutError(f"no {address.kind} {address.name} came in time") from None

    def _filter(self, where: dict[str, Any] | None) -> tuple[dict[str, Any] | None, str]:
        """The JSON values to look for, and what the head may say of them."""
        if where is None:
            return None, ""
        codec = self._registry.codec
        plain: dict[str, Any] = msgspec.json.decode(codec.typed(Any).plain.encode(where, where="where="))
        return plain, str(plain) if codec.cipher is None else f"where {', '.join(plain)}"

    def _until(self, timeout: Duration | None, what: str) -> int | None:
        return None if timeout is None else self._program.now_ms + duration_ms(timeout, what=what)

    def _address(self, source: Signal[Any] | Event[Any]) -> Address:
        if isinstance(source, Event):
            self._program.outside.subscribe(source.name)
            return Address("event", source.name)
        if isinstance(source, Signal):
            return Address("signal", source.name)
        raise DefinitionError(f"ctx.receive({source!r}): give a Signal or an Event")

    def _decoder(self, type: Any, what: str) -> Callable[[Received], Any]:
        typed = self._registry.codec.typed(type)
        return lambda received: typed.decode(received.message.value, where=what)  # type: ignore[union-attr]

    def _child(
        self, workflow: WorkflowRef[Any, Any], given: tuple[Any, ...], *, id: str | None, on_parent_end: str
    ) -> tuple[StartChild, CommandId]:
        program = self._program
        command = program.new_id(workflow.id)
        child = RunId(id) if id is not None else program.outside.child_id(command)
        act = StartChild(
            child=child,
            workflow=workflow.id,
            version=workflow.spec.version,
            input=self._registry.input_of(workflow, given),
            on_parent_end=on_parent_end,
            blueprint=self._registry.snapshot_of(workflow),
            is_chosen=id is not None,
        )
        return act, command

    def _child_decoder(self, workflow: WorkflowRef[Any, Any]) -> Callable[[Received], Any]:
        typed = self._registry.output_of(workflow)

        def decode(received: Received) -> Any:
            message = received.message
            assert isinstance(message, ChildEnded), "addressed by kind"
            if message.status != "completed":
                return _ChildResult(None, child_error(message))
            try:
                return _ChildResult(typed.decode(message.value, where=f"the result of child {message.child}"), None)
            except SealedError:
                raise
            except CodecError as error:
                return _ChildResult(None, RunError(str(error), run_id=message.child, error=failure_of(error)))

        return decode


ParentEnd = Literal["cancel", "abandon"]


class _ChildResult(msgspec.Struct):
    value: Any
    error: RunError | None

    def get(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


def child_error(message: ChildEnded) -> RunError:
    """What a parent sees of a child that did not complete."""
    failure = message.failure or Failure(types=(f"stepwell.{message.status}",), message=f"the run was {message.status}")
    text = f"child run {message.child} {message.status}: {failure.opened()}"
    kind = RunCancelledError if message.status in ("cancelled", "terminated") else RunError
    return kind(text, run_id=message.child, error=failure)


class ChildHandle(Generic[Out]):
    """A child run that was started with `ctx.start`."""

    def __init__(
        self, context: Context, command: CommandId, act: StartChild, decode: Callable[[Received], Any]
    ) -> None:
        self._context = context
        self._command = command
        self._act = act
        self._decode = decode
        self._result: _ChildResult | None = None

    @property
    def id(self) -> RunId:
        """The child's run id."""
        return self._act.child

    async def result(self, *, timeout: Duration | None = None) -> Out:
        """Wait for the child's end. `RunError` if it did not complete; `TimeoutError` leaves it running."""
        if self._act.on_parent_end == "abandon":
            raise DefinitionError(f"child {self.id} was started with on_parent_end='abandon': its end is not reported")
        if self._result is None:
            address = Address("child", self._command)
            until = self._context._until(timeout, f"the timeout of {self.id}")
            self._result = await self._context._wait(address, self._decode, until=until, detail=self._act.child)
        return self._result.get()  # type: ignore[no-any-return]

    async def send(self, signal: Signal[T], value: T) -> None:
        """Send a signal to the child. `RunClosedError` if it has ended."""
        program = self._context._program
        raw = self._context._registry.encode(value, signal.type, what=f"signal {signal.name}")
        await program.outside.act(
            program.new_id(f"send.{signal.name}"), SendSignal(run=self.id, name=signal.name, value=raw)
        )

    async def cancel(self) -> None:
        """Ask the child to stop; `result()` tells when it has."""
        self._context._program.outside.cancel_child(self._command, self.id)


def current_run() -> Context:
    """The context of the workflow that is running here, at any depth. `NotInWorkflowError` elsewhere."""
    loop = _get_running_loop()
    if loop.__class__ is not WorkflowLoop:
        raise NotInWorkflowError("current_run() was called outside of a workflow body")
    return loop.program.context  # type: ignore[no-any-return]


def function_program(
    workflow: Workflow[Any, Any],
    registry: Registry,
    origin: Origin,
    *,
    on_log: Callable[[str], None] | None = None,
    impure_check: bool = False,
) -> FunctionProgram:
    """The program of one generation of a run of `workflow`."""
    types = registry.types_of(workflow)

    def body(program: FunctionProgram) -> Coroutine[Any, Any, Any]:
        context = program.context = Context(program, registry)
        if not types.has_input:
            return workflow.fn(context)
        where = f"input of workflow {workflow.id}"
        return workflow.fn(context, types.input.decode(origin.input, where=where))

    translator = RecordTranslator(registry, workflow)
    return FunctionProgram(body, origin, translator, bind=registry.bind, on_log=on_log, impure_check=impure_check)
