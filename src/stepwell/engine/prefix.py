"""The part of a journal that a fork or a retry keeps: what is settled before a cut.

Any beginning of a journal is a valid history: the body replays it and stands where it stood. What does not carry over
to another run, or to another generation, is what others know under the old name: children that are still open, and
custom hook tokens. The body went past their confirmations, and what it did then may be in the history, so they stay
confirmed to the body and are done again (`Confirmed.redo`). Everything else that was open is simply asked for again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from msgspec import Raw, structs

from stepwell.model.entries import (
    Act,
    AttemptFailed,
    CancelChild,
    Confirmed,
    ContinuedAsNew,
    Created,
    Ended,
    Entry,
    Frame,
    Intended,
    MetadataChanged,
    OpenHook,
    Patched,
    Pinned,
    Received,
    SendSignal,
    StartChild,
    Started,
    StepCompleted,
    StepFailed,
    StepProgressed,
    Subscribe,
    TimerFired,
)
from stepwell.model.ids import CommandId, MessageId, RunId, child_run_id, is_invocation
from stepwell.model.messages import (
    CancelRequested,
    ChildEnded,
    Event,
    HookCompleted,
    MetadataSent,
    PauseRequested,
    ResumeRequested,
    Signal,
    TerminateRequested,
)

RUN_TIMEOUT = "run timeout"
"""The name of the timer that bounds a whole run."""


class Where(Enum):
    """Where to cut, other than at a step."""

    FAILURE = "failure"
    END = "end"


class Generation(NamedTuple):
    """Under which names a generation's commands are known."""

    run: RunId
    base: int
    seed: str

    def child(self, command: CommandId) -> RunId:
        """The id of the child that this command starts, unless its author chose one."""
        return child_run_id(self.run, self.base, command, self.seed)


def generation_start(frame: Frame) -> Created | ContinuedAsNew:
    """The entry of a generation's first frame that begins it.

    `Created` comes first; `ContinuedAsNew` comes last, after what the old generation still had to write.
    """
    first = frame.entries[0]
    entry = first if isinstance(first, Created) else frame.entries[-1]
    assert isinstance(entry, Created | ContinuedAsNew), "the head's base names such a frame"
    return entry


def settled_prefix(
    frames: Sequence[Frame], cut: CommandId | Where, *, base: int, edits: Mapping[CommandId, Raw] | None = None
) -> tuple[Frame, ...]:
    """What replays up to, and not including, the cut: the outcome of a step, or a place.

    `frames` are those of one generation, `base`, with or without its first. `FAILURE` is the first step or child that
    failed, or the cancel that ended the run; else the last invocation of a body elsewhere, which is to be asked again.
    If there is none, and with `END`, nothing is cut but the end.

    Times are kept, so timers fire as they did. Messages to the body that came after the cut follow in a last frame,
    because nothing that was accepted may be lost; so do the results of children that were started before it, unless
    the body sent them something after it. `edits` are new results of steps before the cut, or of the step to cut at,
    which then stays and ends the prefix.
    """
    kept, late = _divided(frames, _cut(frames, cut, base, edits or {}))
    entries = [entry for frame in kept for entry in frame.entries] + late
    rule = _Rule(entries, base, edits or {})
    result = [structs.replace(frame, entries=rule.applied(frame.entries)) for frame in kept]
    last = (*rule.applied(late), *rule.implied)
    if rule.is_paused:
        last = (_resume(frames[-1].at), *last)
    if last:
        result.append(structs.replace(frames[-1], entries=last))
    return tuple(frame for frame in result if frame.entries)


def rebased(frames: Sequence[Frame], new: Generation) -> tuple[Frame, ...]:
    """The same frames for another generation: messages that answer its commands name the new base, and children that
    are to be started again get the ids that they have there."""
    open_children = {
        entry.id for frame in frames for entry in frame.entries if isinstance(entry, Confirmed) and entry.redo
    }

    def convert(entry: Entry) -> Entry:
        if isinstance(entry, Received) and isinstance(entry.message, ChildEnded | HookCompleted):
            return structs.replace(entry, message=structs.replace(entry.message, base=new.base))
        if isinstance(entry, Intended) and entry.id in open_children:
            name = entry.act.name if isinstance(entry.act, StartChild) and entry.act.name else entry.id
            return structs.replace(entry, act=_renamed(entry.act, new.child(name)))
        return entry

    return tuple(structs.replace(frame, entries=tuple(map(convert, frame.entries))) for frame in frames)


def has_only_messages(frames: Sequence[Frame]) -> bool:
    """Whether a prefix holds nothing that a body did, so that a body may as well begin after all of it."""
    return all(_is_no_act(entry) for frame in frames for entry in frame.entries)


def _is_no_act(entry: Entry) -> bool:
    if isinstance(entry, Received):
        return isinstance(entry.message, Signal | Event)
    return isinstance(entry, Pinned)


def unbegun(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """A prefix without the start of its body, if all the rest of it are messages."""
    kept = [tuple(entry for entry in frame.entries if not isinstance(entry, Started)) for frame in frames]
    rest = tuple(structs.replace(frame, entries=own) for frame, own in zip(frames, kept, strict=True) if own)
    return rest if has_only_messages(rest) else frames


def settled_steps(frames: Sequence[Frame]) -> list[CommandId]:
    """The steps of a generation that a prefix can be cut at, in order."""
    found: dict[CommandId, None] = {}
    for frame in frames:
        for entry in _own(frame):
            if isinstance(entry, StepCompleted | StepFailed):
                found[entry.id] = None
    return list(found)


# --- where to cut


class _Cut(NamedTuple):
    """Entry number `entry` of frame number `frame` is the first that is not kept."""

    frame: int
    entry: int


def _cut(frames: Sequence[Frame], cut: CommandId | Where, base: int, edits: Mapping[CommandId, Raw]) -> _Cut:
    if cut is Where.END:
        return _Cut(len(frames), 0)
    is_stopped = _is_stopped(frames)
    otherwise = _Cut(len(frames), 0)
    for number, frame in enumerate(frames):
        for index, entry in enumerate(_own(frame)):
            if cut is Where.FAILURE:
                is_here = _is_stop(entry) if is_stopped else _is_failure(entry, base)
            else:
                is_here = isinstance(entry, StepCompleted | StepFailed) and entry.id == cut
            if is_here:
                return _Cut(number, index + (cut in edits))
            if cut is Where.FAILURE and not is_stopped and _is_invocation(entry):
                otherwise = _Cut(number, index)
    return otherwise


def _is_stopped(frames: Sequence[Frame]) -> bool:
    last = frames[-1].entries[-1] if frames else None
    return isinstance(last, Ended) and last.status in ("cancelled", "terminated")


def _is_stop(entry: Entry) -> bool:
    return isinstance(entry, Received) and isinstance(entry.message, CancelRequested)


def _is_failure(entry: Entry, base: int) -> bool:
    if isinstance(entry, Received):
        message = entry.message
        return isinstance(message, ChildEnded) and message.base == base and message.status != "completed"
    return isinstance(entry, StepFailed) or (isinstance(entry, TimerFired) and entry.name == RUN_TIMEOUT)


def _is_invocation(entry: Entry) -> bool:
    return isinstance(entry, StepCompleted) and is_invocation(entry.id)


def _own(frame: Frame) -> tuple[Entry, ...]:
    """The entries that belong to the generation: of its first frame, none."""
    if isinstance(frame.entries[-1], ContinuedAsNew):
        return ()
    return frame.entries[1:] if isinstance(frame.entries[0], Created) else frame.entries


def _divided(frames: Sequence[Frame], cut: _Cut) -> tuple[list[Frame], list[Entry]]:
    """The frames before the cut, and what is kept of those after it."""
    kept: list[Frame] = []
    late: list[Entry] = []
    for number, frame in enumerate(frames):
        entries = _own(frame)
        if number < cut.frame:
            kept.append(structs.replace(frame, entries=entries))
            continue
        if number == cut.frame:
            # Patches are noted at the end of a frame, for calls that may have come before the cut.
            rest = [entry for entry in entries[cut.entry :] if isinstance(entry, Patched | Pinned)]
            kept.append(structs.replace(frame, entries=(*entries[: cut.entry], *rest)))
            entries = entries[cut.entry :]
        late.extend(entries)
    touched = {child for entry in late if isinstance(entry, Intended) and (child := _touched(entry)) is not None}
    started = {item.act.child for item in late if isinstance(item, Intended) and isinstance(item.act, StartChild)}
    return kept, [entry for entry in late if _may_be_late(entry, touched) and not _is_from(entry, started)]


def _is_from(entry: Entry, children: Collection[RunId]) -> bool:
    """Whether it is a change of metadata that one of these children asked for, or a run below it. They are to be
    started again, and will ask again."""
    return isinstance(entry, Received) and isinstance(entry.message, MetadataSent) and entry.message.child in children


def _may_be_late(entry: Entry, touched: set[RunId]) -> bool:
    if not isinstance(entry, Received):
        return isinstance(entry, Confirmed)
    message = entry.message
    if isinstance(message, ChildEnded):
        return message.status == "completed" and message.child not in touched
    return isinstance(message, Signal | Event | HookCompleted | MetadataSent)


def _touched(entry: Intended) -> RunId | None:
    """The run that the body sent something to: if it is a child, that is to happen again, and needs it alive."""
    match entry.act:
        case SendSignal(run=run) | CancelChild(child=run):
            return run
        case _:
            return None


# --- what to keep


class _Rule:
    """What becomes of each kept entry, which depends on all of them."""

    def __init__(self, entries: Sequence[Entry], base: int, edits: Mapping[CommandId, Raw]) -> None:
        self._base = base
        self._edits = edits
        self.is_paused = False
        confirmed: dict[CommandId, Confirmed] = {}
        intended: dict[CommandId, Intended] = {}
        ended: set[CommandId] = set()
        self._steps: set[CommandId] = set()
        for entry in entries:
            match entry:
                case Intended(id=id):
                    intended[id] = entry
                case Confirmed(id=id):
                    confirmed[id] = entry
                case Received(message=ChildEnded(command=id, base=of)) if of == base:
                    ended.add(id)
                case StepCompleted(id=id) | StepFailed(id=id):
                    self._steps.add(id)
                case _:
                    pass
        # A child that has ended was started, although nobody lived to note it; the body may still wait for that.
        self.implied = tuple(Confirmed(id=id) for id in intended if id in ended and id not in confirmed)
        known = {*confirmed, *(entry.id for entry in self.implied)}
        self._acts = {id for id, entry in intended.items() if id in known and _is_done(entry)}
        refused = {id for id, entry in confirmed.items() if entry.failure is not None}
        self._redone = {id for id in self._acts if id not in refused and id not in ended and _is_bound(intended[id])}
        acts = (intended[id].act for id in self._redone)
        self._renewed = {act.child for act in acts if isinstance(act, StartChild)}
        self._undone: set[str] = set()
        # A cancel that went to a child which is started again must go to the new one.
        self._acts -= {CommandId(f"{id}/cancel") for id in self._redone}

    def applied(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """The entries that stay, as they shall be."""
        return tuple(kept for entry in entries if (kept := self._kept(entry)) is not None)

    def _kept(self, entry: Entry) -> Entry | None:
        match entry:
            case Intended(id=id):
                return entry if id in self._acts else None
            case Confirmed(id=id):
                if id not in self._acts:
                    return None
                return structs.replace(entry, redo=id in self._redone)
            case Received():
                return self._kept_message(entry)
            case StepCompleted(id=id) | StepFailed(id=id) if id in self._edits:
                return StepCompleted(
                    id=id,
                    value=self._edits[id],
                    attempt=entry.attempt,
                    ms=entry.ms,
                    via=entry.via,
                    record=entry.record,
                )
            case AttemptFailed(id=id):
                # Of a step that goes on, attempts are counted anew.
                return entry if id in self._steps else None
            case MetadataChanged(values=values):
                # What the body itself changed there it will change again, and note then.
                values = {key: raw for key, raw in values.items() if key not in self._undone}
                return MetadataChanged(values=values) if values else None
            case StepProgressed() | Ended():
                return None
            case _:
                return entry

    def _kept_message(self, entry: Received) -> Received | None:
        if isinstance(entry.message, MetadataSent) and _is_from(entry, self._renewed):
            self._undone.update(change.key for change in entry.message.ops)
            return None
        match entry.message:
            case ChildEnded(command=id, base=base):
                return entry if base == self._base and id in self._acts else None
            case HookCompleted(base=base) if base != self._base:
                return None
            case CancelRequested(reason=reason):
                # What came after it is cleanup, which replays only after it. Its grace ended with the old run.
                self.is_paused = False
                return structs.replace(entry, message=CancelRequested(reason=reason))
            case PauseRequested():
                self.is_paused = True
            case ResumeRequested():
                self.is_paused = False
            case TerminateRequested():
                return None
            case _:
                pass
        return entry


def _is_done(entry: Intended) -> bool:
    """Whether a confirmed act of this kind is settled or done again. A subscription is asked for again: nothing waits
    for its confirmation, and it changes the head."""
    return not isinstance(entry.act, Subscribe)


def _is_bound(entry: Intended) -> bool:
    """Whether what this act made belongs to the old run alone."""
    act = entry.act
    return isinstance(act, OpenHook) or (isinstance(act, StartChild) and act.on_parent_end != "abandon")


def _renamed(act: Act, new: RunId) -> Act:
    """A child with an id that the author chose keeps it. The id of another may be that of any run that this one was
    made of."""
    return structs.replace(act, child=new) if isinstance(act, StartChild) and not act.is_chosen else act


def _resume(at: int) -> Received:
    return Received(no=0, id=MessageId("resume:fork"), at=at, message=ResumeRequested())
