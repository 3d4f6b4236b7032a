"""What routes of ours answer, as types: the JSON, and its schema. Times are milliseconds since the Unix epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, get_type_hints

from msgspec import UNSET, Raw, Struct, UnsetType

from stepwell.codec import Codec
from stepwell.formats.voyant import LABELS
from stepwell.model.ids import RunId
from stepwell.model.runs import Head, Status
from stepwell.runtime.presence import WorkerInfo
from stepwell.runtime.remote.targets import TargetState
from stepwell.runtime.runs import Runs
from stepwell.server.showing import opened_payload


def _answer_of(method: Callable[..., Any]) -> Any:
    """The type that a method answers, by its annotation: some are the engine's, which servers do not know."""
    return get_type_hints(method)["return"]


ExplanationShape: Any = _answer_of(Runs.explain)
StateShape: Any = _answer_of(Runs.state)
TimelineShape: Any = _answer_of(Runs.timeline)


class WaitShape(Struct, frozen=True, kw_only=True):
    """What a run waits for."""

    kind: str
    name: str
    until: int | UnsetType = UNSET
    detail: str | UnsetType = UNSET


class RunSummary(Struct, frozen=True, kw_only=True, gc=False):
    """A run, without its journal. While a worker holds it, `status`, `metadata` and `waiting` may be a moment old."""

    id: RunId
    workflow: str
    version: str
    status: Status
    queue: str
    priority: int
    created_at: int
    ended_at: int | UnsetType = UNSET
    parent: RunId | UnsetType = UNSET
    tags: dict[str, str]
    metadata: dict[str, Raw]
    waiting: tuple[WaitShape, ...]
    error: str | UnsetType = UNSET


def run_summary(head: Head, codec: Codec) -> RunSummary:
    """What a head says."""
    return RunSummary(
        id=head.id,
        workflow=head.workflow,
        version=head.version,
        status=head.status,
        queue=head.queue,
        priority=head.priority,
        created_at=head.created_at,
        ended_at=UNSET if head.ended_at is None else head.ended_at,
        parent=UNSET if head.parent is None else head.parent,
        tags=head.tags,
        metadata={key: opened_payload(raw, codec) for key, raw in head.metadata.items() if key != LABELS},
        waiting=tuple(
            WaitShape(
                kind=wait.kind,
                name=wait.name,
                until=UNSET if wait.until is None else wait.until,
                detail=wait.detail or UNSET,
            )
            for wait in head.waiting
        ),
        error=head.error or UNSET,
    )


class RunPage(Struct, frozen=True, kw_only=True):
    """Runs, newest first. `cursor` leads to the next page; null: this is the last. A page may be short before that."""

    runs: tuple[RunSummary, ...]
    cursor: str | None


def run_page(heads: Iterable[Head], cursor: str | None, codec: Codec) -> RunPage:
    """A page of a listing."""
    return RunPage(runs=tuple(run_summary(head, codec) for head in heads), cursor=cursor)


class RunName(Struct, frozen=True, kw_only=True):
    """The run that was meant, or made."""

    run: RunId


class NewRunName(Struct, frozen=True, kw_only=True):
    """The run that was made, and of which."""

    run: RunId
    origin: RunId


class Accepted(Struct, frozen=True, kw_only=True):
    """False: the node had this very answer before."""

    accepted: bool


class BulkItem(Struct, frozen=True, kw_only=True):
    """What one run answered: `ok`, or why not. `new` is the run that a retry made."""

    run: RunId
    ok: bool
    new: RunId | UnsetType = UNSET
    error: str | UnsetType = UNSET
    code: str | UnsetType = UNSET


class BulkResults(Struct, frozen=True, kw_only=True):
    """A result for each run; an error of one hides no other. `cursor`: a filter found more than one request does; send
    the same again with it. null: that was all."""

    results: tuple[BulkItem, ...]
    cursor: str | None


class JournalEvents(Struct, frozen=True, kw_only=True):
    """Entries of a journal. `next` is the `after` of the next page; `done`: the run has ended, and this is the rest.

    Each entry has `seq` (its frame), `at` (ms), `type`, and what the type says. A page holds whole frames.
    """

    events: tuple[Any, ...]
    next: int
    done: bool


class StreamName(Struct, frozen=True, kw_only=True):
    """A stream of a run."""

    name: str


class StreamNames(Struct, frozen=True, kw_only=True):
    """The streams that a run has written to."""

    streams: tuple[StreamName, ...]


class ChunkShape(Struct, frozen=True, kw_only=True):
    """A chunk of a stream. `source`: the step that sent it, empty for the body. `restarts`: it is the first of a new
    attempt; forget what came from the same source before."""

    index: int
    value: Raw
    source: str
    attempt: int
    restarts: bool


class StreamPage(Struct, frozen=True, kw_only=True):
    """Chunks of a stream. `next` is the `start` of the next page; `done`: the run has ended, and this is the rest."""

    chunks: tuple[ChunkShape, ...]
    next: int
    done: bool


class StreamEnd(Struct, frozen=True, kw_only=True):
    """The data of the event `end`: the run has ended, how, and how far was read."""

    run: RunId
    status: str
    next: int


class WorkflowShape(Struct, frozen=True, kw_only=True):
    """A workflow that this server can start. The schemas are JSON Schema; `{}` means anything."""

    id: str
    version: str
    description: str
    queue: str
    is_blueprint: bool
    has_input: bool
    input: dict[str, Any]
    output: dict[str, Any]


class WorkflowList(Struct, frozen=True, kw_only=True):
    """The workflows of this server."""

    workflows: tuple[WorkflowShape, ...]


class QueueShape(Struct, frozen=True, kw_only=True):
    """How many runs of a queue wait for a worker, and since when the oldest of them does."""

    queue: str
    due: int
    oldest: int


class QueueList(Struct, frozen=True, kw_only=True):
    """The queues in which runs wait for a worker at `now`. Not `complete`: the counts are lower bounds."""

    queues: tuple[QueueShape, ...]
    now: int
    complete: bool


class WorkerList(Struct, frozen=True, kw_only=True):
    """The workers that announce themselves."""

    workers: tuple[WorkerInfo, ...]


class TargetList(Struct, frozen=True, kw_only=True):
    """The step workers elsewhere that this process asks, and how it finds them."""

    targets: tuple[TargetState, ...]


class Published(Struct, frozen=True, kw_only=True):
    """How many runs were waiting for the event."""

    event: str
    waiting: int
