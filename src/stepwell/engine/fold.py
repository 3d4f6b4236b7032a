"""A run's journal, folded: everything about the run that its program does not know.

The program sees only what concerns its body. Attempts, acts and their confirmations, children, pauses, mail counts and
the end are folded here, the same way on replay and live.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from msgspec import structs

from stepwell.engine.prefix import generation_start
from stepwell.engine.program import ActCommand, Line, Origin
from stepwell.model.entries import (
    Act,
    AttemptFailed,
    CancelChild,
    Confirmed,
    Created,
    Dropped,
    Ended,
    Frame,
    Intended,
    MetadataChanged,
    OpenHook,
    Patched,
    Pinned,
    Received,
    Sent,
    StartChild,
    Started,
    StepCompleted,
    StepFailed,
    StepProgressed,
)
from stepwell.model.failures import Failure
from stepwell.model.ids import CommandId, MessageId, RunId, child_ended_id
from stepwell.model.messages import (
    CancelRequested,
    ChildEnded,
    Event,
    HookCompleted,
    MetadataSent,
    PauseRequested,
    ResumeRequested,
    TerminateRequested,
)
from stepwell.model.runs import Head, Wait

_LATE_MS = 1000
"""A body that begins later than this after it could has begun late, which is written down."""


def start_wait(at: int) -> Wait:
    """What a run waits for whose body is not to begin before `at`."""
    return Wait(kind="start", name="run", until=at)


class NotifyParent(NamedTuple):
    """Tell the parent that this child has ended."""

    parent: RunId
    id: MessageId
    message: ChildEnded


class ReleaseName(NamedTuple):
    """Free a hook token."""

    name: str


Obligation = ActCommand | NotifyParent | ReleaseName
"""What a run that has ended still owes to others. All are idempotent."""


class Fold:
    """The state of one generation of a run, as its frames say.

    `lines` is what the program is to be fed; while the run is paused, that gathers in `held`. `mail` is the number of
    the last message journaled. `kill_at` (ms) is when the grace of a cancel ends. `has_begun`: the body has begun
    before, at `origin.started_at`.
    """

    __slots__ = (
        "_events",
        "_held_names",
        "_previous",
        "_refused",
        "acts",
        "attempts",
        "cancel_reason",
        "children",
        "created",
        "ended",
        "has_begun",
        "held",
        "is_paused",
        "kept",
        "kill_at",
        "lines",
        "mail",
        "not_before",
        "open_acts",
        "origin",
        "progress",
        "retries",
        "sends",
    )
    origin: Origin

    def __init__(self, run: RunId, frames: Sequence[tuple[int, Frame]]) -> None:
        self.mail = 0
        self.ended: Ended | None = None
        self.is_paused = False
        self.kill_at: int | None = None
        self.cancel_reason = ""
        self.lines: list[Line] = []
        self.held: list[Line] = []
        self.attempts: dict[CommandId, AttemptFailed] = {}
        self.progress: dict[CommandId, StepProgressed] = {}
        self.acts: dict[CommandId, Act] = {}
        self.open_acts: dict[CommandId, Act] = {}
        self.children: dict[CommandId, StartChild] = {}
        self.sends: list[tuple[int, Sent]] = []
        self._refused: frozenset[CommandId] = frozenset()
        self._events: dict[MessageId, None] = {}
        self._read_origin(run, *frames[0])
        self._read(frames)

    # --- what an entry changes, live and on replay

    def intended(self, id: CommandId, act: Act) -> None:
        """The run is about to do this."""
        self.acts[id] = act
        self.open_acts[id] = act
        if isinstance(act, StartChild):
            self.children[id] = act

    def confirmed(self, id: CommandId, failure: Failure | None) -> None:
        """It was done, or refused."""
        self.open_acts.pop(id, None)
        if failure is not None:
            self._refused |= {id}
            self.children.pop(id, None)

    def cancelled(self, request: CancelRequested, at: int) -> None:
        """A cancel was asked for: the first reason counts, and the earliest end of a grace. No body waits any longer to
        begin."""
        self.not_before = 0
        self.cancel_reason = self.cancel_reason or request.reason
        if request.grace_ms is not None:
            end = at + request.grace_ms
            self.kill_at = end if self.kill_at is None else min(self.kill_at, end)

    def is_stale(self, received: Received) -> bool:
        """Whether a message is not for the body: an answer to another generation, or an event that it has had.

        Asked once per message. A store takes each message id once; but what a fork got under its origin's id comes
        again when it subscribes for itself.
        """
        match received.message:
            case ChildEnded(base=base, command=command, child=child):
                act = self.acts.get(command)
                return base != self.origin.base or not isinstance(act, StartChild) or act.child != child
            case HookCompleted(base=base):
                return base != self.origin.base
            case Event():
                if received.id in self._events:
                    return True
                self._events[received.id] = None
        return False

    # --- what follows from it

    def begin(self, at: int | None = None) -> list[Line]:
        """The body begins, at `at` if it does so for the first time. Answers what it is to be fed; the messages that
        came before are the origin's `early` ones.

        A cancel that came before reaches it as soon as it has begun.
        """
        if at is not None and not self.has_begun and at - self.origin.started_at > _LATE_MS:
            self.origin = structs.replace(self.origin, started_at=at, is_late=True)
        started_at = self.origin.started_at
        lines, self.lines = self.lines, []
        if not lines or lines[0].at >= started_at:
            return lines
        early = [*takewhile(lambda line: line.at < started_at, lines)]
        messages = [line.entry for line in early if _is_for_mailbox(line)]
        self.origin = structs.replace(self.origin, early=tuple(messages))
        late = [Line(line.seq, started_at, line.entry) for line in early if not _is_for_mailbox(line)]
        return late + lines[len(early) :]

    def was_parked(self, head: Head) -> bool:
        """Whether the body has waited for something in a run that was let go. There may be no frame of it."""
        if not head.waiting or [*head.waiting] == self.start_waits():
            return False
        self.has_begun = True
        return True

    def start_waits(self) -> list[Wait]:
        """What the run waits for while its body has not begun."""
        if self.retries:
            return [Wait(kind="retry", name="run", until=self.not_before)]
        return [start_wait(self.not_before)]

    def take_sends(self) -> list[tuple[int, Sent]]:
        """Chunks of the body that were in the journal when it was loaded, each with the base of the generation that
        sent it. Their streams may lack the last of them."""
        sends, self.sends = self.sends, []
        return sends

    def lacks(self, command: ActCommand) -> bool:
        """Whether the journal does not hold this intention. The token of a fork's hook may contain the fork's id."""
        known = self.acts.get(command.id)
        return known is None or (isinstance(known, OpenHook) and known != command.act)

    def holds_outcome(self, id: CommandId) -> bool:
        """Whether the step ended while the run was paused, so that its body has not heard of it yet."""
        return any(isinstance(line.entry, StepCompleted | StepFailed) and line.entry.id == id for line in self.held)

    def names(self) -> set[str]:
        """The hook tokens that the run holds."""
        held = {act.token for id, act in self.acts.items() if isinstance(act, OpenHook) and id not in self._refused}
        return held | set(self._held_names)

    def children_to_cancel(self) -> list[tuple[CommandId, StartChild]]:
        """Open children that do not outlive their parent, by the id of the act that cancels them."""
        return [
            (CommandId(f"{id}/cancel"), child) for id, child in self.children.items() if child.on_parent_end == "cancel"
        ]

    def obligations(self, end_seq: int) -> list[Obligation]:
        """What the ended run owes: acts that are not confirmed, children to stop, a parent to tell, names to free."""
        owed: list[Obligation] = [ActCommand(id, act) for id, act in self.open_acts.items()]
        if self.ended is None:
            return owed
        for id, child in self.children_to_cancel():
            if id not in self.open_acts:
                owed.append(ActCommand(id, CancelChild(child=child.child, reason="the parent run ended")))
        parent = self.created.parent
        if parent is not None and parent.on_parent_end != "abandon":
            message = ChildEnded(
                child=self.origin.run,
                base=parent.base,
                command=parent.command,
                status=self.ended.status,
                value=self.ended.value,
                failure=self.ended.failure,
            )
            owed.append(NotifyParent(parent.run, child_ended_id(self.origin.run, end_seq), message))
        owed.extend(ReleaseName(name) for name in sorted(self.names()))
        return owed

    # --- reading frames

    def _read_origin(self, run: RunId, seq: int, frame: Frame) -> None:
        entry = generation_start(frame)
        self.kept: tuple[Frame, ...] = ()
        self._held_names: tuple[str, ...] = ()
        self._previous = 0
        unread: tuple[Received, ...] = ()
        self.not_before = entry.not_before
        started_at, born_at, random_base = max(frame.at, entry.not_before), frame.at, seq
        self.has_begun = False
        if isinstance(entry, Created):
            self.created, self.retries = entry, 0
        else:
            self.created, self.retries = entry.created, entry.retries
            self.has_begun = bool(entry.started_at)
            self.kept, self._held_names, self.mail, unread = entry.history, entry.names, entry.mail, entry.unread
            self._previous = entry.previous
            started_at, random_base = entry.started_at or started_at, entry.random_base or seq
            born_at = entry.born_at or born_at
        self.origin = Origin(
            run=run,
            base=seq,
            created=self.created,
            input=entry.input,
            blueprint=self.created.blueprint,
            seed=self.created.seed,
            started_at=started_at,
            born_at=born_at,
            random_base=random_base,
            retries=self.retries,
            unread=tuple(item for item in unread if not isinstance(item.message, ChildEnded | HookCompleted)),
        )

    def _read(self, frames: Sequence[tuple[int, Frame]]) -> None:
        base, first = frames[0]
        # A worker begins the body before it applies what has come; so each frame after that time tells that it began.
        self.has_begun = self.has_begun or (len(frames) > 1 and frames[-1][1].at >= self.not_before)
        for frame in self.kept:
            for entry in frame.entries:
                self._read_line(Line(base, frame.at, entry))
        # The streams have the chunks of what was kept. They may lack those of the frame that ended that generation.
        self.sends = [(self._previous, entry) for entry in first.entries if type(entry) is Sent and self._previous]
        if type(first.entries[0]) is Created:
            for entry in first.entries[1:]:
                self._read_line(Line(base, first.at, entry))
        lines = self.lines
        for seq, frame in frames[1:]:
            at = frame.at
            for entry in frame.entries:
                if type(entry) is StepCompleted and not self.is_paused:
                    lines.append(Line(seq, at, entry))
                else:
                    self._read_line(Line(seq, at, entry))

    def _read_line(self, line: Line) -> None:
        entry = line.entry
        match entry:
            case AttemptFailed() | StepProgressed() | Started() | Pinned() | Ended():
                self._learn(entry)
            case Intended(id=id, act=act):
                self.intended(id, act)
                self.lines.append(line)
            case Confirmed(id=id, failure=failure, redo=redo):
                if not redo:
                    self.confirmed(id, failure)
                self.lines.append(line)
            case Received(no=no):
                self.mail = max(self.mail, no)
                self._read_received(line, entry)
            case Sent():
                self.sends.append((self.origin.base, entry))
                self.lines.append(line)
            case MetadataChanged() | Patched() | Dropped():
                self.lines.append(line)  # the body did this; a pause holds back only what comes to it
            case _:
                self._keep(line)

    def _learn(self, entry: AttemptFailed | StepProgressed | Started | Pinned | Ended) -> None:
        """What is not for the program."""
        match entry:
            case AttemptFailed(id=id):
                self.attempts[id] = entry
            case StepProgressed(id=id):
                self.progress[id] = entry
            case Started(at=at):
                self.origin = structs.replace(self.origin, started_at=at)
            case Pinned(blueprint=blueprint):
                self.origin = structs.replace(self.origin, blueprint=blueprint)
            case _:
                self.ended = entry

    def _read_received(self, line: Line, entry: Received) -> None:
        match entry.message:
            case PauseRequested():
                self.is_paused = True
            case ResumeRequested():
                self._read_resume(line)
            case CancelRequested() as request:
                self._read_resume(line)
                self.cancelled(request, line.at)
                self.lines.append(line)
            case TerminateRequested():
                pass
            case message:
                if self.is_stale(entry):
                    return
                if isinstance(message, ChildEnded):
                    self.children.pop(message.command, None)
                self._keep(line)

    def _read_resume(self, line: Line) -> None:
        self.is_paused = False
        self.lines.extend(Line(held.seq, line.at, held.entry) for held in self.held)
        self.held = []

    def _keep(self, line: Line) -> None:
        (self.held if self.is_paused else self.lines).append(line)


def _is_for_mailbox(line: Line) -> bool:
    entry = line.entry
    return isinstance(entry, Received) and not isinstance(entry.message, CancelRequested | MetadataSent)
