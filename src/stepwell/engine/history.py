"""A journal as people read it: what happened to a run, in order, each thing once with its begin and its end.

A pure fold. The command line, the API, the dashboard and tests all read this and nothing else about journals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, assert_never

from msgspec import Raw, structs

from stepwell.engine.timeline import (
    ActItem,
    Attempt,
    ChildItem,
    ChunkItem,
    ControlItem,
    EndItem,
    GenerationItem,
    Item,
    MessageItem,
    MetadataItem,
    PatchItem,
    StartItem,
    StepItem,
    Timeline,
    TimerItem,
)
from stepwell.model.entries import (
    Act,
    AttemptFailed,
    CancelChild,
    Confirmed,
    ContinuedAsNew,
    Created,
    Dropped,
    Ended,
    Entry,
    Frame,
    Intended,
    MetadataChanged,
    OpenHook,
    Patched,
    Pinned,
    Received,
    SendMetadata,
    SendSignal,
    Sent,
    StartChild,
    Started,
    StepCompleted,
    StepFailed,
    StepProgressed,
    Subscribe,
    TimerFired,
)
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import CommandId, RunId, step_name
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


def timeline(run: RunId, frames: Sequence[tuple[int, Frame]]) -> Timeline:
    """Fold frames, from seq 1 or from the start of a generation, into a timeline."""
    fold = _Fold()
    for seq, frame in frames:
        fold.add_frame(seq, frame)
    created = fold.created
    assert created is not None, "a journal begins with a generation"
    return Timeline(
        run=run,
        workflow=created.workflow,
        version=created.version,
        created_at=frames[0][1].at,
        at=frames[-1][1].at,
        input=created.input,
        parent=None if created.parent is None else created.parent.run,
        forked_from=created.forked_from,
        deadline=created.deadline,
        not_before=created.not_before,
        tags=created.tags,
        metadata=fold.metadata,
        generations=fold.generations,
        frames=frames[-1][0],
        is_paused=fold.is_paused,
        items=tuple(fold.items),
        end=fold.end,
    )


class _Fold:
    """Items under construction. An item keeps its place; what is learned later replaces it there."""

    def __init__(self) -> None:
        self.created: Created | None = None
        self.items: list[Item] = []
        self.end: EndItem | None = None
        self.metadata: dict[str, Raw] = {}
        self.generations = 0
        self.is_paused = False
        self._base = 0
        self._seq = 0
        self._at = 0
        self._could_begin_at = 0
        self._places: dict[tuple[str, int, str], int] = {}

    def add_frame(self, seq: int, frame: Frame) -> None:
        self._seq, self._at = seq, frame.at
        self._add_all(frame.entries)

    def _add_all(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        match entry:
            case Created() | ContinuedAsNew():
                self._begin(entry)
            case StepCompleted() | StepFailed() | AttemptFailed() | StepProgressed():
                self._step(entry)
            case Intended(id=id, act=act):
                self._intended(id, act)
            case Confirmed(id=id, failure=failure):
                self._confirmed(id, failure)
            case Received():
                self._received(entry)
            case Dropped(id=id, reason=reason):
                self._change("message", 0, id, dropped=reason)
            case _:
                self._note(entry)

    def _note(self, entry: Started | Pinned | TimerFired | MetadataChanged | Sent | Patched | Ended) -> None:
        seq, at = self._seq, self._at
        match entry:
            case Started(at=began_at):
                self.items.append(StartItem(seq=seq, at=began_at, late_ms=max(0, began_at - self._could_begin_at)))
            case TimerFired(name=name, due=due):
                self.items.append(TimerItem(seq=seq, at=at, name=name, due=due))
            case MetadataChanged(values=values):
                self._change_metadata(values)
                self.items.append(MetadataItem(seq=seq, at=at, values=values))
            case Sent(stream=stream):
                self._chunk(stream)
            case Patched(id=id):
                self.items.append(PatchItem(seq=seq, at=at, id=id))
            case Pinned():
                pass
            case Ended():
                self.end = EndItem(
                    seq=seq, at=at, status=entry.status, value=entry.value, failure=entry.failure, reason=entry.reason
                )
                self.items.append(self.end)
            case _:
                assert_never(entry)

    def _change_metadata(self, values: dict[str, Raw]) -> None:
        changed = {**self.metadata, **values}
        self.metadata = {key: raw for key, raw in changed.items() if raw != NULL}

    def _begin(self, entry: Created | ContinuedAsNew) -> None:
        old_base, self._base = self._base, self._seq
        self.generations += 1
        self._could_begin_at = max(self._at, entry.not_before)
        if isinstance(entry, Created):
            self.created = entry
            self.metadata = dict(entry.metadata)
            return
        if self.created is None:
            # The frames of earlier generations are not here, so this is all that is known of their steps.
            self.created, at = entry.created, self._at
            for frame in entry.history:
                self._at = frame.at
                self._add_all(frame.entries)
            self._at = at
        else:
            self._carry(old_base, entry)
        self.metadata = dict(entry.created.metadata)
        for kept in (kept for frame in entry.history for kept in frame.entries):
            if isinstance(kept, MetadataChanged):
                self._change_metadata(kept.values)
        self.items.append(
            GenerationItem(
                seq=self._seq, at=self._at, input=entry.input, retries=entry.retries, not_before=entry.not_before
            )
        )

    def _carry(self, old_base: int, entry: ContinuedAsNew) -> None:
        """What a retried generation kept is the same thing as before, except children that it starts again."""
        acts = {}
        for kept in (kept for frame in entry.history for kept in frame.entries):
            id = getattr(kept, "id", "")
            for kind in ("step", "child", "act"):
                if (place := self._places.get((kind, old_base, id))) is not None:
                    self._places[kind, self._base, id] = place
            if isinstance(kept, Intended):
                acts[kept.id] = kept.act
            if isinstance(kept, Confirmed) and kept.redo:
                self._intended(kept.id, acts[kept.id])

    def _step(self, entry: StepCompleted | StepFailed | AttemptFailed | StepProgressed) -> None:
        known = self._find("step", self._base, entry.id)
        ms = 0 if isinstance(entry, StepProgressed) else entry.ms
        item = known if isinstance(known, StepItem) else self._new_step(entry.id, self._at - ms)
        changes: dict[str, object] = {}
        if isinstance(entry, StepProgressed):
            changes["progress"] = entry.progress
        else:
            changes["attempts"] = (*item.attempts, self._attempt(entry))
        if isinstance(entry, StepCompleted):
            changes |= {"status": "completed", "ended_at": self._at, "value": entry.value}
        elif isinstance(entry, StepFailed):
            changes |= {"status": "failed", "ended_at": self._at, "failure": entry.failure}
        elif isinstance(entry, AttemptFailed):
            changes["failure"] = entry.failure
        if isinstance(entry, StepCompleted):
            changes["failure"] = None
        self._change("step", self._base, entry.id, **changes)

    def _new_step(self, id: CommandId, started_at: int) -> StepItem:
        item = StepItem(seq=self._seq, at=self._at, id=id, name=step_name(id), base=self._base, started_at=started_at)
        self._place("step", self._base, id, item)
        return item

    def _attempt(self, entry: StepCompleted | StepFailed | AttemptFailed) -> Attempt:
        is_ok = isinstance(entry, StepCompleted)
        return Attempt(
            number=entry.attempt,
            started_at=self._at - entry.ms,
            ms=entry.ms,
            is_ok=is_ok,
            error="" if isinstance(entry, StepCompleted) else str(entry.failure),
            retry_at=entry.retry_at if isinstance(entry, AttemptFailed) else None,
        )

    def _intended(self, id: CommandId, act: Act) -> None:
        seq, at, base = self._seq, self._at, self._base
        if isinstance(act, StartChild):
            child = ChildItem(
                seq=seq,
                at=at,
                id=id,
                run=act.child,
                workflow=act.workflow,
                base=base,
                is_detached=act.on_parent_end == "abandon",
            )
            self._place("child", base, id, child)
            return
        match act:
            case CancelChild(child=target):
                what = "cancel_child"
            case SendSignal(run=run, name=name):
                what, target = "send_signal", RunId(f"{name} to {run}")
            case SendMetadata(run=run, ops=ops):
                what, target = "send_metadata", RunId(f"{', '.join(change.key for change in ops)} to {run}")
            case OpenHook(token=token):
                what, target = "open_hook", RunId(token)
            case Subscribe(event=event):
                what, target = "subscribe", RunId(event)
            case _:
                assert_never(act)
        item = ActItem(seq=seq, at=at, id=id, base=base, what=what, target=target)  # type: ignore[arg-type]
        self._place("act", base, id, item)

    def _confirmed(self, id: CommandId, failure: Failure | None) -> None:
        if isinstance(child := self._find("child", self._base, id), ChildItem):
            if child.status == "starting":
                status = "started" if failure is None else "refused"
                self._change("child", self._base, id, status=status, failure=failure)
        else:
            self._change("act", self._base, id, status="done" if failure is None else "refused", failure=failure)

    def _received(self, entry: Received) -> None:
        message = entry.message
        seq, at = self._seq, self._at
        match message:
            case Signal(name=name, value=value):
                self._message(entry, "signal", name, value)
            case Event(name=name, value=value):
                self._message(entry, "event", name, value)
            case HookCompleted(command=command, value=value):
                self._message(entry, "answer" if entry.id.startswith("resume:") else "hook", command, value)
            case ChildEnded():
                self._change(
                    "child",
                    message.base,
                    message.command,
                    status=message.status,
                    ended_at=at,
                    failure=message.failure,
                )
            case CancelRequested(reason=reason, grace_ms=grace):
                self.is_paused = False
                item = ControlItem(seq=seq, at=at, action="cancel", id=entry.id, reason=reason, grace_ms=grace)
                self.items.append(item)
            case TerminateRequested(reason=reason):
                self.items.append(ControlItem(seq=seq, at=at, action="terminate", id=entry.id, reason=reason))
            case PauseRequested(reason=reason):
                self.is_paused = True
                self.items.append(ControlItem(seq=seq, at=at, action="pause", id=entry.id, reason=reason))
            case ResumeRequested():
                self.is_paused = False
                self.items.append(ControlItem(seq=seq, at=at, action="resume", id=entry.id))
            case MetadataSent():
                pass  # what it changes is noted
            case _:
                assert_never(message)

    def _message(
        self, entry: Received, source: Literal["signal", "event", "hook", "answer"], name: str, value: Raw
    ) -> None:
        item = MessageItem(
            seq=self._seq,
            at=self._at,
            source=source,
            name=name,
            id=entry.id,
            accepted_at=entry.at,
            value=value,
        )
        self._place("message", 0, entry.id, item)

    def _chunk(self, stream: str) -> None:
        last = self.items[-1] if self.items else None
        if isinstance(last, ChunkItem) and last.seq == self._seq and last.stream == stream:
            self.items[-1] = structs.replace(last, count=last.count + 1)
        else:
            self.items.append(ChunkItem(seq=self._seq, at=self._at, stream=stream, count=1))

    # --- places

    def _place(self, kind: str, base: int, id: str, item: Item) -> None:
        self._places[kind, base, id] = len(self.items)
        self.items.append(item)

    def _find(self, kind: str, base: int, id: str) -> Item | None:
        place = self._places.get((kind, base, id))
        return None if place is None else self.items[place]

    def _change(self, kind: str, base: int, id: str, **changes: object) -> None:
        place = self._places.get((kind, base, id))
        if place is not None:
            self.items[place] = structs.replace(self.items[place], **changes)
