"""The function program: an `async def` body on the deterministic loop, driven by journal entries.

Live, an entry resolves the future that the body awaits, and the loop is pumped until nothing can move. On replay the
same happens, with one shortcut: when the body asks for a step, nothing else is ready to run, and the next line of the
history is that step's completion, then live execution would have suspended and come straight back to this point.
So the answer is given on the spot, which makes replay several times faster and changes nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, assert_never
from zlib import crc32

from msgspec import Raw, structs

from stepwell.engine.loop import WorkflowFuture, WorkflowLoop, WorkflowTask
from stepwell.engine.mailbox import Mailbox
from stepwell.engine.mismatch import FAILED, mismatch, unreadable, without_key
from stepwell.engine.notes import Notes
from stepwell.engine.outside import Outside
from stepwell.engine.program import (
    UNANSWERED,
    Abandon,
    Cancelled,
    Command,
    Completed,
    Continue,
    Failed,
    Line,
    Origin,
    Outcome,
    StepCommand,
    StepDefinition,
)
from stepwell.errors import CodecError, NonDeterminismError, SealedError
from stepwell.model.entries import (
    Act,
    AttemptFailed,
    Confirmed,
    ContinuedAsNew,
    Created,
    Dropped,
    Ended,
    Entry,
    Intended,
    MetadataChanged,
    Patched,
    Pinned,
    Received,
    Sent,
    Started,
    StepCompleted,
    StepFailed,
    StepProgressed,
    TimerFired,
)
from stepwell.model.failures import Failure
from stepwell.model.ids import CommandId
from stepwell.model.messages import CancelRequested, MetadataSent
from stepwell.model.runs import Wait


class CommandFuture(WorkflowFuture):
    """What the body awaits for a step. Cancelling it abandons the step."""

    __slots__ = ("command",)
    command: StepCommand

    def cancel(self, msg: Any | None = None) -> bool:
        """As any future's; the program is told."""
        if not super().cancel(msg):
            return False
        self.get_loop().program.abandon(self.command.id)  # type: ignore[attr-defined]
        return True


class ContinueRequested(BaseException):
    """Thrown by `ctx.continue_as_new` through the body. Control flow, not an error."""

    def __init__(self, input: Raw) -> None:
        super().__init__()
        self.input = input


class Translator(Protocol):
    """How a body's values and exceptions become records and come back; given by the layer that knows types."""

    def encode_result(self, value: Any) -> Raw:
        """The run's result."""

    def plain(self, raw: Raw) -> Raw:
        """The JSON of a payload."""

    def is_same(self, one: Raw, other: Raw) -> bool:
        """Whether two payloads hold the same value."""

    def sealed(self, raw: Raw) -> Raw:
        """The payload of a JSON text."""

    def failure_of(self, error: BaseException) -> Failure:
        """The record of an exception that left the body."""

    def step_error(self, definition: StepDefinition, failure: Failure) -> BaseException:
        """What the body sees when a step failed."""

    def act_error(self, act: Act, failure: Failure) -> BaseException:
        """What the body sees when an act could not be done."""


class FunctionProgram:
    """One generation of a run whose workflow is an `async def`."""

    __slots__ = (
        "_abandoned",
        "_asked",
        "_body",
        "_commands",
        "_counts",
        "_cursor",
        "_is_repeat",
        "_main",
        "_pending",
        "answer",
        "bind",
        "cancelling",
        "context",
        "history",
        "loop",
        "mailbox",
        "notes",
        "origin",
        "outcome",
        "outside",
        "translator",
    )

    def __init__(
        self,
        body: Callable[[FunctionProgram], Coroutine[Any, Any, Any]],
        origin: Origin,
        translator: Translator,
        *,
        bind: Callable[[Any], StepDefinition],
        on_log: Callable[[str], None] | None = None,
        impure_check: bool = False,
    ) -> None:
        self.origin = origin
        self.loop = WorkflowLoop(
            name=origin.run, on_log=on_log, impure_check=impure_check, salt=crc32(origin.seed.encode())
        )
        self.loop.program = self
        self.translator = translator
        self.bind = bind
        self.context: Any = None
        self.outcome: Outcome | None = None
        self.answer: Any = None
        self.notes = Notes(
            origin.created.metadata, lambda: self._cursor < len(self.history), is_same=translator.is_same
        )
        self.mailbox = Mailbox(
            self.loop.create_future, self.notes.drop, plain=translator.plain, refuse=self.loop.refuse
        )
        self.cancelling = False
        self._body = body
        self._main: WorkflowTask | None = None
        self._pending: dict[CommandId, CommandFuture] = {}
        self._abandoned: dict[CommandId, None] = {}
        self._asked: dict[CommandId, int] | None = None
        self.outside = Outside(self)
        self._counts: dict[str, int] = {}
        self._commands: list[Command] = []
        self.history: Sequence[Line] = ()
        self._cursor = 0
        self._is_repeat = False

    # --- the Program interface

    @property
    def now_ms(self) -> int:
        """The run's time."""
        return self.loop.now_ms

    def begin(self, history: Sequence[Line], *, at: int, is_repeat: bool) -> None:
        """Start the body and replay the history."""
        self.notes.read(history)
        self.history = history
        self._is_repeat = is_repeat
        loop = self.loop
        loop.now_ms = at
        for received in (*self.origin.unread, *self.origin.early):
            self.mailbox.put(received)
        if self.origin.is_late:
            self.notes.started(at)
        self._main = loop.spawn(self._run(), name="main")
        self._pump()
        while self._cursor < len(history):
            line = history[self._cursor]
            self._cursor += 1
            loop.now_ms = line.at
            self._feed(line)
            if loop.ready:
                self._pump()
        self._is_repeat = False
        self._commands = [
            command for command in self._commands if type(command) is not StepCommand or command.id in self._pending
        ]

    def apply(self, entry: Entry, at: int) -> None:
        """Feed one live entry."""
        loop = self.loop
        loop.now_ms = at
        line = Line(0, at, entry)
        if type(entry) is StepCompleted:
            self._feed_step(line, entry)
        else:
            self._feed(line)
        if loop.ready:
            self._pump()

    def take_commands(self) -> list[Command]:
        """The commands issued since last asked."""
        commands = self._commands
        if commands:
            self._commands = []
        return commands

    def take_notes(self) -> list[Entry]:
        """Metadata, chunks, patches, dropped messages: what the next frame shall also hold."""
        return self.notes.take()

    @property
    def has_urgent_notes(self) -> bool:
        """Whether there are chunks for a stream, which somebody may be reading."""
        return self.notes.is_urgent

    @property
    def metadata(self) -> dict[str, Raw]:
        """The run's metadata as of now."""
        return self.notes.metadata

    def next_due(self) -> int | None:
        """When the earliest timer is due."""
        loop = self.loop
        if not loop.timers_by_number:
            return None
        timer = loop.next_timer()
        return None if timer is None else timer.due

    def is_racing(self, until: int) -> bool:
        """Whether a timer is due by `until`, and the body waits for messages, too."""
        due = self.next_due()
        return due is not None and due <= until and bool(self.mailbox.waits())

    def due_timers(self, until: int) -> list[tuple[int, int, str]]:
        """Pending timers due by `until`, in firing order."""
        return [(timer.n, timer.due, timer.name) for timer in self.loop.due_timers(until)]

    def waits(self) -> list[Wait]:
        """What the body waits for, except steps."""
        waits = self.mailbox.waits()
        timers = {(timer.name, timer.due): timer for timer in self.loop.pending_timers()}
        for index, wait in enumerate(waits):
            if wait.until is not None and (timer := timers.get((wait.name, wait.until))) is not None:
                waits[index] = structs.replace(wait, n=timer.n, since=timer.since)
        named = {wait.name for wait in waits}
        for timer in self.loop.pending_timers():
            if timer.name not in named:
                waits.append(Wait(kind="timer", name=timer.name, until=timer.due, n=timer.n, since=timer.since))
        return waits

    @property
    def impure(self) -> list[str]:
        """Calls that replay cannot repeat, with their places; found only with `impure_check`."""
        return self.loop.impure

    def stuck_at(self) -> str | None:
        """Where the body's tasks wait, if nothing that a journal can hold would ever move them again."""
        if self.outcome or self._pending or self._commands or self.outside.asks():
            return None
        if self.loop.next_timer() or self.mailbox.waits():
            return None
        return "; ".join(self.loop.where(task) for task in self.loop.live_tasks()) or "nowhere"

    def evict(self) -> None:
        """Unwind the body's coroutines; nothing that they do now counts."""
        self.notes.mute()
        self.loop.evict()
        # Cut the circles, so that all of this is freed now and not by the collector.
        self.outside.close()
        self.context = self._main = self.loop.program = None

    # --- what the body calls, through the authoring layer

    @property
    def is_replaying(self) -> bool:
        """Whether the body runs through what it has already done."""
        return self._is_repeat or self._cursor < len(self.history) or self.loop.evicting

    def run_step(
        self, definition: StepDefinition, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CommandFuture | None:
        """Ask for a step. None: the answer is in `self.answer` already."""
        loop = self.loop
        options = definition.options
        id = self.new_id(options.name, options.key)
        cursor = self._cursor
        if cursor < len(self.history) and loop.fast and not loop.ready:
            line = self.history[cursor]
            entry = line.entry
            if type(entry) is StepCompleted and entry.id == id:
                if self.outside.changes is not None:
                    self.outside.send_changes()
                self._cursor = cursor + 1
                loop.now_ms = line.at
                self.answer = self._decoded(definition, line, entry)
                return None
        args, kwargs, args_sum = definition.isolate_args(args, kwargs)
        command = StepCommand(id, definition, args, kwargs, loop.now_ms, args_sum)
        if self._asked is not None:
            self._asked[id] = args_sum
        future = CommandFuture(loop=loop)
        future.command = command
        if not loop.evicting:
            self._pending[id] = future
            self._commands.append(command)
        return future

    def record_arguments(self) -> dict[CommandId, int]:
        """From now on, keep the checksum of each step's arguments, as the code asks for it."""
        self._asked = {}
        self.loop.fast = False
        return self._asked

    def issue(self, command: Command) -> None:
        """Add a command to those that are to be taken."""
        self._commands.append(command)

    def new_id(self, name: str, key: str | None = None) -> CommandId:
        """The next id of that name: `charge`, `charge:2`; with a key `charge[7]`."""
        if key is not None:
            name = f"{name}[{key}]"
        counts = self._counts
        n = counts.get(name, 0) + 1
        counts[name] = n
        return CommandId(name if n == 1 else f"{name}:{n}")

    def abandon(self, id: CommandId) -> None:
        """The body no longer waits for this step."""
        if not self.loop.evicting and self._pending.pop(id, None) is not None:
            self._abandoned[id] = None
            self._commands.append(Abandon(id))

    def _cancel(self, reason: str) -> None:
        """`CancelledError` at the body's await."""
        self.cancelling = True
        if self._main is not None and self.outcome is None:
            self._main.cancel(reason or None)

    # --- inside

    def _pump(self) -> None:
        self.loop.pump()
        if self.outside.changes is not None:
            self.outside.send_changes()

    async def _run(self) -> None:
        # Every resumption of the body passes through the frames above it; so there is one, and with a deadline two.
        outcome: Outcome
        try:
            body, deadline = self._body(self), self.origin.created.deadline
            result = await (body if deadline is None else self._deadlined(body, deadline))
            outcome = Completed(self.translator.encode_result(result))
        except ContinueRequested as request:
            outcome = Continue(request.input, self.mailbox.unread())
        except asyncio.CancelledError as error:
            outcome = Cancelled() if self.cancelling else Failed(self.translator.failure_of(error))
        except SealedError as error:
            self.loop.refuse(without_key(self.origin, error))
        except Exception as error:
            outcome = Failed(self.translator.failure_of(error))
        await self._cancel_others()
        if not self.loop.evicting:
            self.outcome = outcome

    async def _cancel_others(self) -> None:
        """Tasks that are left when the body returns are cancelled, as by `asyncio.run`."""
        others = [task for task in self.loop.live_tasks() if task is not self._main]
        for task in others:
            if not task.is_kept:
                task.cancel()
        while others:
            try:
                _, rest = await asyncio.wait(others)
            except asyncio.CancelledError:
                # The outcome stands; a cancel that comes after it is too late.
                continue
            others = list(rest)

    async def _deadlined(self, body: Awaitable[Any], deadline: int) -> Any:
        self.loop.next_timer_name = "run timeout"
        timer = asyncio.timeout_at(deadline / 1000)
        try:
            async with timer:
                self.loop.next_timer_name = ""  # a body that begins after its deadline needs no timer for it
                return await body
        except TimeoutError:
            if timer.expired():
                raise TimeoutError("the run took longer than its timeout") from None
            raise

    def _feed(self, line: Line) -> None:
        entry = line.entry
        match entry:
            case StepCompleted() | StepFailed():
                self._feed_step(line, entry)
            case TimerFired():
                self._feed_timer(line, entry)
            case Received():
                self._feed_received(entry)
            case Intended() | Confirmed():
                # Once the program has finished, acts are what the driver does to end this generation.
                if self.outcome is None and not self.outside.feed(entry):
                    raise self._mismatch(line)
            case MetadataChanged() | Sent() | Patched() | Dropped() | AttemptFailed() | StepProgressed():
                pass
            case Ended() | ContinuedAsNew() | Created() | Started() | Pinned():
                raise AssertionError(f"{type(entry).__name__} is the driver's business")
            case _:
                assert_never(entry)

    def _feed_timer(self, line: Line, entry: TimerFired) -> None:
        try:
            self.loop.fire(entry.n, entry.due)
        except LookupError:
            raise self._mismatch(line) from None

    def _feed_received(self, entry: Received) -> None:
        match entry.message:
            case CancelRequested(reason=reason):
                self._cancel(reason)
            case MetadataSent(ops=ops):
                for change in ops:
                    self.notes.change_metadata(change, self.translator.plain, self.translator.sealed)
            case _:
                self.mailbox.put(entry)

    def _feed_step(self, line: Line, entry: StepCompleted | StepFailed) -> None:
        future = self._pending.pop(entry.id, None)
        if future is None:
            # A result that was journaled while the run was paused may belong to a step that an earlier entry of the
            # same batch made the body give up.
            if entry.id in self._abandoned:
                return
            raise self._mismatch(line)
        definition = future.command.definition
        if isinstance(entry, StepFailed):
            try:
                future.set_exception(self.translator.step_error(definition, entry.failure))
            except SealedError as error:
                self.loop.refuse(unreadable(self.origin, line, error))
            return
        answer = future.command.answer
        if answer is UNANSWERED:
            answer = self._decoded(definition, line, entry)
        future.set_result(answer)

    def _decoded(self, definition: StepDefinition, line: Line, entry: StepCompleted) -> Any:
        try:
            return definition.decode_result(entry.value)
        except CodecError as error:
            self.loop.refuse(unreadable(self.origin, line, error))

    def _mismatch(self, line: Line) -> NonDeterminismError:
        asks: list[tuple[str, str]] = [(id, "step") for id in self._pending]
        asks += self.outside.asks()
        asks += [(wait.name, wait.kind) for wait in self.waits()]
        places = [self.loop.where(task) for task in self.loop.live_tasks()]
        return mismatch(self.origin, line, asks, places, finished=self._finished())

    def _finished(self) -> str:
        if isinstance(self.outcome, Failed):
            return f"{FAILED}: {self.outcome.failure}"
        return "" if self.outcome is None else "has finished"
