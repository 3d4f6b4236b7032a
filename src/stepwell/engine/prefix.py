"""The part of a journal that a fork or a retry keeps: the settled commands before one step."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from stepwell.model.entries import (
    AttemptFailed,
    Confirmed,
    ContinuedAsNew,
    Created,
    Ended,
    Entry,
    Frame,
    Intended,
    OpenHook,
    Received,
    StartChild,
    StepCompleted,
    StepFailed,
    StepProgressed,
    Subscribe,
)
from stepwell.model.ids import CommandId
from stepwell.model.messages import (
    CancelRequested,
    ChildEnded,
    HookCompleted,
    PauseRequested,
    ResumeRequested,
    TerminateRequested,
)

_CONTROL = (CancelRequested, TerminateRequested, PauseRequested, ResumeRequested)


def generation_start(frame: Frame) -> Created | ContinuedAsNew:
    """The entry of a generation's first frame that begins it.

    `Created` comes first; `ContinuedAsNew` comes last, after what the old generation still had to write.
    """
    first = frame.entries[0]
    entry = first if isinstance(first, Created) else frame.entries[-1]
    assert isinstance(entry, Created | ContinuedAsNew), "the head's base names such a frame"
    return entry


def settled_prefix(frames: Sequence[Frame], from_step: CommandId | None) -> tuple[Frame, ...]:
    """What replays up to, and not including, the outcome of `from_step` (None: of the first step that failed).

    Frame times are kept, so timers fire as they did. Children that had ended are kept as values; open ones, hooks and
    subscriptions are left out, and so issued again. Messages to the body that came after the cut follow in a last
    frame, because nothing that was accepted may be lost. Control messages are dropped.
    """
    kept: list[Frame] = []
    late: list[Entry] = []
    is_cut = False
    for frame in frames:
        before: list[Entry] = []
        for entry in frame.entries:
            is_cut = is_cut or _is_cut(entry, from_step)
            if is_cut:
                if isinstance(entry, Received) and not isinstance(entry.message, _CONTROL):
                    late.append(entry)
            elif _is_kept(entry):
                before.append(entry)
        if before:
            kept.append(structs.replace(frame, entries=tuple(before)))
    if late:
        kept.append(structs.replace(frames[-1], entries=tuple(late)))
    return _without_open_acts(kept)


def rebased(frames: Sequence[Frame], base: int) -> tuple[Frame, ...]:
    """The same frames for another generation: messages that answer its commands name the new base."""
    return tuple(
        structs.replace(frame, entries=tuple(_rebased(entry, base) for entry in frame.entries)) for frame in frames
    )


def _is_cut(entry: Entry, from_step: CommandId | None) -> bool:
    if from_step is None:
        return isinstance(entry, StepFailed | AttemptFailed)
    return isinstance(entry, StepCompleted | StepFailed | AttemptFailed) and entry.id == from_step


def _is_kept(entry: Entry) -> bool:
    if isinstance(entry, Received):
        return not isinstance(entry.message, _CONTROL)
    return not isinstance(entry, Created | ContinuedAsNew | Ended | StepProgressed)


def _without_open_acts(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    entries = [entry for frame in frames for entry in frame.entries]
    ended = {
        entry.message.command
        for entry in entries
        if isinstance(entry, Received) and isinstance(entry.message, ChildEnded)
    }
    dropped = {
        entry.id
        for entry in entries
        if isinstance(entry, Intended)
        and (
            isinstance(entry.act, OpenHook | Subscribe) or (isinstance(entry.act, StartChild) and entry.id not in ended)
        )
    }
    left = (
        structs.replace(frame, entries=tuple(entry for entry in frame.entries if not _belongs_to(entry, dropped)))
        for frame in frames
    )
    return tuple(frame for frame in left if frame.entries)


def _belongs_to(entry: Entry, ids: set[CommandId]) -> bool:
    return isinstance(entry, Intended | Confirmed) and entry.id in ids


def _rebased(entry: Entry, base: int) -> Entry:
    if isinstance(entry, Received) and isinstance(entry.message, ChildEnded | HookCompleted):
        return structs.replace(entry, message=structs.replace(entry.message, base=base))
    return entry
