"""The record of a run of ours: a view of its head and its journal. Nothing of it is stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct

from stepwell.formats.voyant.faults import end_fault, run_fault, step_fault, worker_fault
from stepwell.formats.voyant.journals import WireJournal, journal_members
from stepwell.formats.voyant.labels import LABELS, NO_VERSION, Labels, labels_of, tag_list, tenant_of, trigger_of
from stepwell.formats.voyant.plain import plain
from stepwell.formats.voyant.record import (
    CompensationResult,
    JournalSlice,
    ParentLink,
    RecordError,
    RecordStatus,
    RunMeta,
    RunRecord,
    StepResult,
    StreamChunk,
    StreamEnd,
    Waitpoint,
)
from stepwell.formats.voyant.waits import Waits, waitpoint_of
from stepwell.model.entries import (
    AttemptFailed,
    Confirmed,
    ContinuedAsNew,
    Created,
    Ended,
    Entry,
    Frame,
    Intended,
    MetadataChanged,
    Pinned,
    Received,
    Sent,
    StepCompleted,
    StepFailed,
    TimerFired,
)
from stepwell.model.failures import NULL
from stepwell.model.ids import is_invocation, step_name
from stepwell.model.runs import TERMINAL, Head

"""How the ids of steps begin that are invocations of a body elsewhere."""
_STATUSES: Mapping[str, RecordStatus] = {
    "queued": "running",
    "running": "running",
    "waiting": "waiting",
    "paused": "waiting",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "terminated": "cancelled",
    "dead": "failed",
}
_UNDOING: Mapping[str, RecordStatus] = {"compensated": "compensated", "compensation_failed": "compensation_failed"}


class StreamItem(Struct, frozen=True):
    """One chunk: its payload, the step that sent it ("" is the body), and when, as far as that is known."""

    value: Raw
    source: str = ""
    at: int = 0
    encoding: str = "json"


class RemoteView(Struct, frozen=True, kw_only=True):
    """What a worker elsewhere made of a run: what only who follows its program knows.

    `journal` is the slice that it gets and gave. `status` and `error` are those of its last answer.
    """

    journal: WireJournal
    pending: Sequence[Waitpoint]
    invocations: int
    changes: int
    status: str = ""
    error: Raw = NULL


class _Envelope(Struct, frozen=True):
    """What a blueprint's node gave, as the journal has it."""

    output: Raw = NULL


_envelope = msgspec.json.Decoder(_Envelope).decode


class RunView(Struct, frozen=True, kw_only=True):
    """What is known of a run. `frames` are at least those of its last generation, payloads loaded.

    `opened` gives the JSON of a payload. `streams` are all chunks by name; without it, those that the journal holds.
    `undoing` are the names of the steps that undo others. `inherited` are the labels of the run that started it.
    Custom hook tokens are shown if `shows_tokens`: who knows one can complete it. `remote`: its body lives elsewhere.
    So does that of the run that started it, if `has_remote_parent`.
    """

    head: Head
    frames: Sequence[tuple[int, Frame]]
    opened: Callable[[Raw], Raw] = Raw
    streams: Mapping[str, Sequence[StreamItem]] | None = None
    undoing: Collection[str] = ()
    inherited: Labels | None = None
    tenant: str = ""
    shows_tokens: bool = True
    remote: RemoteView | None = None
    has_remote_parent: bool = False
    ext: Any = UNSET


def run_record(view: RunView) -> RunRecord:
    """The record, as of the head and the frames."""
    return _Record(view).record()


class _Record:
    """One record in the making."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self.remote = view.remote
        self.head = view.head
        start, frames = _generation(view.frames)
        self.created = start if isinstance(start, Created) else start.created
        self.retries = 0 if isinstance(start, Created) else start.retries
        self.waits = Waits(view.head.id, view.opened, shows_tokens=view.shows_tokens)
        self.is_graph = self.created.blueprint != NULL
        self.steps: dict[str, StepResult] = {}
        self.undone: dict[str, CompensationResult] = {}
        self.metadata = dict(self.created.metadata)
        self.sent: dict[str, list[StreamItem]] = {}
        self.changes = self.compute_ms = self.wakes = 0
        self.invoked: set[str] = set()
        self.ended: Ended | None = None
        self.at = view.frames[-1][1].at
        for frame in frames:
            self._read(frame)
        if self.is_delayed and self._has_begun:
            self.waits.begun(self.created.not_before)
        labels = labels_of(self._opened_label())
        self.labels = labels if view.inherited is None else _inherited(labels, view.inherited)

    # --- reading

    def _read(self, frame: Frame) -> None:
        has_woken = False
        for entry in frame.entries:
            has_woken = self._take(entry, frame.at) or has_woken
        self.wakes += has_woken

    def _take(self, entry: Entry, at: int) -> bool:
        """What the entry changes. Whether it came from outside, and the body went on with it."""
        match entry:
            case StepCompleted() | StepFailed():
                self._take_step(entry, at)
            case AttemptFailed(id=id, ms=ms):
                self._invoked(id)
                self.compute_ms += ms
            case Received():
                return self.waits.received(entry, at)
            case TimerFired():
                self.waits.fired(entry, at)
                return True
            case Intended():
                self.waits.intended(entry)
            case Confirmed():
                self.waits.confirmed(entry, at)
            case _:
                self._note(entry, at)
        return False

    def _note(self, entry: Entry, at: int) -> None:
        if isinstance(entry, MetadataChanged):
            self.changes += len(entry.values)
            self.metadata.update(entry.values)
        elif isinstance(entry, Sent):
            self.sent.setdefault(entry.stream, []).append(StreamItem(entry.value, at=at))
        elif isinstance(entry, Pinned):
            self.is_graph = True
        elif isinstance(entry, Ended):
            self.ended = entry

    def _invoked(self, id: str) -> bool:
        """Whether the step is an invocation of a body elsewhere, which is no step to that system."""
        if not is_invocation(id):
            return False
        self.invoked.add(id)
        return True

    def _take_step(self, entry: StepCompleted | StepFailed, at: int) -> None:
        if not entry.via:  # or its time is a part of the invocation's
            self.compute_ms += entry.ms
        if self._invoked(entry.id):
            return
        is_ok = isinstance(entry, StepCompleted)
        self.steps[entry.id] = StepResult(
            attempt=entry.attempt,
            status="ok" if is_ok else "err",
            output=self._output(entry.value) if isinstance(entry, StepCompleted) else UNSET,
            error=UNSET if isinstance(entry, StepCompleted) else step_fault(entry.failure),
            started_at=at - entry.ms,
            finished_at=at,
        )
        if self.view.undoing and not entry.via and step_name(entry.id) in self.view.undoing:
            self.undone[entry.id] = CompensationResult(
                status="ok" if is_ok else "err",
                finished_at=at,
                error=UNSET if isinstance(entry, StepCompleted) else run_fault(entry.failure),
            )

    def _output(self, raw: Raw) -> Any:
        if not self.is_graph or raw == NULL:
            return self._value(raw)
        try:
            output = _envelope(self.view.opened(raw)).output
        except msgspec.DecodeError:  # what stands for a payload that cannot be opened
            return self._value(raw)
        return UNSET if output == NULL else plain(output)

    def _value(self, raw: Raw) -> Any:
        """A result: nothing and null are the same in Python, and nothing is what a function without one gives."""
        return UNSET if raw == NULL else plain(self.view.opened(raw))

    def _opened_label(self) -> Raw | None:
        payload = self.metadata.pop(LABELS, None)
        return None if payload is None else self.view.opened(payload)

    # --- writing

    def record(self) -> RunRecord:
        """All of it."""
        head, labels, created = self.head, self.labels, self.created
        status = self.status
        pending = self._pending() if status == "waiting" else []
        if status == "waiting" and not pending and head.status != "paused":
            status = "running"  # it waits for the next attempt of a step, which nobody outside can end
        fault = None if self.ended is None else self._fault(self.ended)
        is_over = self.ended is not None
        streams = self._streams(is_over)
        return RunRecord(
            id=head.id,
            workflow_id=head.workflow,
            workflow_version=labels.version or created.version or NO_VERSION,
            status=status,
            input=self._input(),
            output=self._value(self.ended.value) if self.ended is not None and status == "completed" else UNSET,
            error=UNSET if fault is None else fault,
            journal=self._journal(streams, is_over),
            invocation_count=self._invocations() if self._has_begun else 0,
            metadata_applied_count=self.changes if self.remote is None else self.remote.changes,
            compute_time_ms=self.compute_ms,
            timeout_ms=UNSET if created.deadline is None else created.deadline - self.started_at,
            priority=head.priority or UNSET,
            parent=self._parent(),
            pending_waitpoints=pending,
            streams=streams,
            started_at=self.started_at,
            completed_at=UNSET if not is_over else head.ended_at or self.at,
            triggered_by=trigger_of(labels, created.parent),
            tags=tag_list(created.tags),
            environment=labels.environment,
            tenant_meta=tenant_of(labels, self.view.tenant),
            run_meta=RunMeta(attempt=1 + self.retries),
            idempotency_key=labels.key or UNSET,
            ext=self.view.ext,
        )

    @property
    def status(self) -> RecordStatus:
        """How it stands."""
        ended = self.ended
        if ended is None:
            is_delayed = self.head.status == "queued" and any(wait.kind == "start" for wait in self.head.waiting)
            status = "waiting" if is_delayed else self.head.status
            return _STATUSES["running" if status in TERMINAL else status]
        if ended.status == "failed" and self.remote is not None and self.remote.status in _UNDOING:
            return _UNDOING[self.remote.status]
        if ended.status == "failed" and self.undone:
            is_done = all(item.status == "ok" for item in self.undone.values())
            return "compensated" if is_done else "compensation_failed"
        return _STATUSES[ended.status]

    @property
    def is_delayed(self) -> bool:
        """Whether it was triggered for later."""
        return self.created.not_before > self.head.created_at

    @property
    def started_at(self) -> int:
        """When it could begin."""
        return max(self.head.created_at, self.created.not_before)

    @property
    def _has_begun(self) -> bool:
        if self.ended is not None or self.steps:
            return True
        return self.head.status != "queued" and not any(wait.kind == "start" for wait in self.head.waiting)

    def _invocations(self) -> int:
        if self.remote is not None:
            return self.remote.invocations
        return len(self.invoked) or 1 + self.wakes

    def _pending(self) -> Sequence[Waitpoint]:
        has_begun = not any(wait.kind == "start" for wait in self.head.waiting)
        if self.remote is not None and has_begun:
            return self.remote.pending
        return self.waits.pending(self.head.waiting, self.head.created_at)

    def _fault(self, ended: Ended) -> RecordError | None:
        if self.remote is not None and ended.status == "failed":
            if self.remote.error != NULL:
                return worker_fault(self.remote.error)
            if self.remote.status in _UNDOING:
                return None  # its body asked for it
        return end_fault(ended, is_timeout=self.waits.is_timed_out)

    def _input(self) -> Any:
        raw = self.created.input
        if raw == NULL:
            return NULL if self.labels.is_null else UNSET
        return plain(self.view.opened(raw))

    def _journal(self, streams: Mapping[str, Sequence[StreamChunk]], is_over: bool) -> JournalSlice:
        if self.remote is not None:
            # The same shape, in the words of the worker, and with what else that keeps there.
            return journal_members(self.remote.journal)  # type: ignore[return-value]
        opened = self.view.opened
        return JournalSlice(
            step_results=self.steps,
            waitpoints_resolved=self.waits.resolved,
            compensations_run=self.undone,
            metadata_state={key: plain(opened(raw)) for key, raw in self.metadata.items() if raw != NULL},
            streams_completed={name: StreamEnd(chunk_count=len(chunks)) for name, chunks in streams.items()}
            if is_over
            else {},
        )

    def _streams(self, is_over: bool) -> dict[str, list[StreamChunk]]:
        found: Mapping[str, Sequence[StreamItem]] = self.sent if self.view.streams is None else self.view.streams
        complete = {} if self.remote is None else self.remote.journal.streams_completed
        found = {**dict.fromkeys(complete, ()), **found}
        streams = {}
        for name, items in found.items():
            own = iter(self.sent.get(name, ()))
            chunks = [
                StreamChunk(
                    stream_id=name,
                    seq=seq,
                    encoding=item.encoding,
                    chunk=plain(self.view.opened(item.value)),
                    at=self._sent_at(item, own),
                )
                for seq, item in enumerate(items, 1)
            ]
            if is_over or name in complete:
                chunks.append(self._end_of(name, chunks))
            streams[name] = chunks
        return streams

    def _end_of(self, name: str, chunks: Sequence[StreamChunk]) -> StreamChunk:
        """The marker after the last chunk."""
        last = chunks[-1] if chunks and self.remote is not None else None
        return StreamChunk(
            stream_id=name,
            seq=len(chunks) + 1,
            encoding="json" if last is None else last.encoding,
            chunk=NULL,
            final=True,
            at=self.at if last is None else last.at,
        )

    def _sent_at(self, item: StreamItem, own: Iterator[StreamItem]) -> int:
        """When a chunk was sent: the stream does not say, the journal does."""
        if item.at:
            return item.at
        if item.source:
            step = self.steps.get(item.source)
            return self.at if step is None else step.finished_at
        return next(own, StreamItem(NULL, at=self.at)).at

    def _parent(self) -> Any:
        parent = self.created.parent
        if parent is None or parent.on_parent_end == "abandon":
            return UNSET
        command = parent.command
        id = command if self.view.has_remote_parent else waitpoint_of(command, self.created.workflow)
        return ParentLink(run_id=parent.run, waitpoint_id=id)


def _generation(frames: Sequence[tuple[int, Frame]]) -> tuple[Created | ContinuedAsNew, Sequence[Frame]]:
    """The last generation: what began it, and its frames."""
    for index in range(len(frames) - 1, -1, -1):
        entries = frames[index][1].entries
        last, first = entries[-1], entries[0]
        if isinstance(last, ContinuedAsNew):
            return last, [*last.history, *(frame for _, frame in frames[index + 1 :])]
        if isinstance(first, Created):
            return first, [frame for _, frame in frames[index:]]
    raise AssertionError("the frames of a generation begin with what began it")


def _inherited(own: Labels, parents: Labels) -> Labels:
    return Labels(
        version=own.version or parents.version,
        environment=parents.environment if own == Labels() else own.environment,
        tenant=own.tenant if own.tenant != NULL else parents.tenant,
        triggered_by=own.triggered_by,
        key=own.key,
        is_null=own.is_null,
    )
