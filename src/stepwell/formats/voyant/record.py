"""The record of a run as that system's clients read it. A member that is UNSET is not in the JSON; null is a value.

Times are milliseconds since the Unix epoch. The names of the members are the wire's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import UNSET, Raw, Struct, UnsetType

RecordStatus = Literal["running", "waiting", "completed", "failed", "cancelled", "compensated", "compensation_failed"]


class _Wire(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """What all parts share."""


class RecordError(_Wire, frozen=True, kw_only=True, rename="camel", gc=False):
    """Why a run did not complete."""

    category: str
    code: str
    message: str


class StepFault(_Wire, frozen=True, kw_only=True, rename="camel", gc=False):
    """Why a step failed, with all that is known: its class, and where it was raised."""

    category: str
    code: str
    message: str
    name: str | UnsetType = UNSET
    stack: str | UnsetType = UNSET


class StepResult(_Wire, frozen=True, kw_only=True, rename="camel", gc=False):
    """The last outcome of a step."""

    attempt: int
    status: Literal["ok", "err"]
    output: Raw | UnsetType = UNSET
    error: StepFault | UnsetType = UNSET
    started_at: int
    finished_at: int
    runtime: str = "edge"


class Resolution(_Wire, frozen=True, kw_only=True, rename="camel", gc=False):
    """How a wait was over. Without a payload: its time was."""

    kind: str
    resolved_at: int
    matched_event_id: str | UnsetType = UNSET
    payload: Raw | UnsetType = UNSET
    error: RecordError | UnsetType = UNSET
    source: Literal["live", "replay", "inbox"]


class CompensationResult(_Wire, frozen=True, kw_only=True, rename="camel", gc=False):
    """A step that undid another."""

    status: Literal["ok", "err"]
    finished_at: int
    error: RecordError | UnsetType = UNSET


class StreamEnd(_Wire, frozen=True, kw_only=True, rename="camel", gc=False):
    """A stream that gets no more: how many chunks it has, the final marker included."""

    chunk_count: int


class JournalSlice(_Wire, frozen=True, kw_only=True, rename="camel", gc=False):
    """What has been decided about a run."""

    step_results: Mapping[str, StepResult]
    waitpoints_resolved: Mapping[str, Resolution]
    compensations_run: Mapping[str, CompensationResult]
    metadata_state: Mapping[str, Raw]
    streams_completed: Mapping[str, StreamEnd]


class Waitpoint(_Wire, frozen=True, kw_only=True, rename="camel", gc=False):
    """What a run waits for."""

    client_waitpoint_id: str
    kind: Literal["DATETIME", "EVENT", "SIGNAL", "MANUAL", "RUN"]
    meta: Mapping[str, Any]
    timeout_ms: int | UnsetType = UNSET


class StreamChunk(_Wire, frozen=True, kw_only=True, rename="camel", gc=False):
    """One chunk of a stream; `seq` counts from 1. The last one of a stream that is complete is a marker."""

    stream_id: str
    seq: int
    encoding: str = "json"
    chunk: Raw
    final: bool = False
    at: int


class ParentLink(_Wire, frozen=True, kw_only=True, rename="camel", gc=False):
    """Which wait of which run ends with this one."""

    run_id: str
    waitpoint_id: str


class RunMeta(_Wire, frozen=True, kw_only=True, rename="camel", gc=False):
    """Which run of its workflow, and the how manieth try."""

    number: int = 1
    attempt: int = 1


class RunRecord(_Wire, frozen=True, kw_only=True, rename="camel", gc=False):
    """One run. `ext` is ours: what the rest has no word for."""

    id: str
    workflow_id: str
    workflow_version: str
    status: RecordStatus
    input: Raw | UnsetType = UNSET
    output: Raw | UnsetType = UNSET
    error: RecordError | UnsetType = UNSET
    journal: JournalSlice
    invocation_count: int
    metadata_applied_count: int
    compute_time_ms: int
    timeout_ms: int | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    parent: ParentLink | UnsetType = UNSET
    pending_waitpoints: Sequence[Waitpoint]
    streams: Mapping[str, Sequence[StreamChunk]]
    started_at: int
    completed_at: int | UnsetType = UNSET
    triggered_by: Any
    tags: Sequence[str]
    environment: str
    tenant_meta: Any
    run_meta: RunMeta
    idempotency_key: str | UnsetType = UNSET
    ext: Any | UnsetType = UNSET
