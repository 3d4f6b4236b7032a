"""One invocation as it goes over the wire: the request to a step worker, what that refuses, and what it answers.

All `Raw` is JSON as it came. Reading and writing again gives the same members in the same order. Times are in ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from stepwell.errors import StepwellError
from stepwell.formats.voyant.bodies import NO_OBJECT
from stepwell.formats.voyant.journals import (
    WaitKind,
    WireError,
    WireJournal,
    WireResolution,
    WireStep,
    check_step_id,
    journal_members,
    read_error,
    read_journal,
    read_resolution,
    read_step,
    resolution_raw,
    step_raw,
)
from stepwell.formats.voyant.labels import BY_API
from stepwell.formats.voyant.texts import (
    EXACT_MAX,
    Count,
    Name,
    Number,
    WireFault,
    checked,
    fitted,
    is_object,
    items,
    kind_of,
    members,
    tamed,
    whole,
    wild,
)
from stepwell.model.failures import NULL

__all__ = [
    "DEADLINE_NONE",
    "PROTOCOL",
    "Outcome",
    "OutcomeStatus",
    "Refused",
    "RunMetaIn",
    "StepRequest",
    "WaitKind",
    "WireChange",
    "WireChunk",
    "WireError",
    "WireFault",
    "WireJournal",
    "WireResolution",
    "WireStep",
    "WireWait",
    "check_step_id",
    "chunk_raw",
    "outcome_bytes",
    "read_chunk",
    "read_error",
    "read_journal",
    "read_outcome",
    "read_request",
    "read_resolution",
    "read_step",
    "refusal_bytes",
    "request_bytes",
    "resolution_raw",
    "step_raw",
]

PROTOCOL = 1
DEADLINE_NONE = EXACT_MAX
"""The deadline of a run that has none."""

Environment = Literal["production", "preview", "development"]
OutcomeStatus = Literal["completed", "waiting", "failed", "cancelled", "compensated", "compensation_failed"]
EMPTY = Raw(b"{}")
LIST = Raw(b"[]")


# --- the request


class RunMetaIn(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a worker gets to know about a run beside its journal."""

    number: int = 1
    attempt: int = 1
    triggered_by: Raw = BY_API
    tags: Sequence[str] = ()
    started_at: Number


class StepRequest(Struct, frozen=True, kw_only=True):
    """Run the body of a workflow, from the top. `input` UNSET: there is none."""

    protocol_version: int = PROTOCOL
    run_id: str
    workflow_id: str
    workflow_version: str = ""
    invocation_count: int = 1
    input: Raw | UnsetType = UNSET
    journal: WireJournal = WireJournal()
    environment: Environment = "production"
    deadline: float = DEADLINE_NONE
    tenant_meta: Raw = EMPTY
    run_meta: RunMetaIn


def request_bytes(request: StepRequest) -> bytes:
    """The body of a request: the members of the first version of the protocol, and no more."""
    body: dict[str, Any] = {
        "protocolVersion": request.protocol_version,
        "runId": request.run_id,
        "workflowId": request.workflow_id,
        "workflowVersion": request.workflow_version,
        "invocationCount": request.invocation_count,
    }
    if request.input is not UNSET:
        body["input"] = request.input
    meta = request.run_meta
    body |= {
        "journal": journal_members(request.journal),
        "environment": request.environment,
        "deadline": whole(request.deadline),
        "tenantMeta": request.tenant_meta,
        "runMeta": {
            "number": meta.number,
            "attempt": meta.attempt,
            "triggeredBy": meta.triggered_by,
            "tags": meta.tags,
            "startedAt": whole(meta.started_at),
        },
    }
    return wild(msgspec.json.encode(body))


def read_request(body: bytes) -> StepRequest:
    """The request in a body. `Refused`, in the order and the words that the protocol asks for: first that it is JSON,
    then that nothing is missing, then types, then the version. What only we ask for comes after that."""
    body = tamed(body)
    try:
        value = checked(body)
    except WireFault as fault:
        raise Refused(400, "invalid_json", f"request body is not valid JSON: {fault}") from None
    if not isinstance(value, dict):
        raise _invalid(NO_OBJECT)
    for name in _REQUIRED:
        if name not in value:
            raise _invalid(f'missing required field "{name}"', name)
    for name, (is_right, text) in _TYPES.items():
        if not is_right(value[name]):
            raise _invalid(f'field "{name}" must be {text}', name)
    version = value["protocolVersion"]
    if version != PROTOCOL:
        text = f"protocol version {whole(version)} is not supported; this worker speaks version {PROTOCOL}"
        raise Refused(426, "protocol_version_mismatch", text, {"supported": [PROTOCOL]})
    try:
        return _request_of(members(body, ""), value)
    except WireFault as fault:
        raise _invalid(str(fault)) from None


def _request_of(raw: Mapping[str, Raw], value: Mapping[str, Any]) -> StepRequest:
    return StepRequest(
        run_id=value["runId"],
        workflow_id=value["workflowId"],
        workflow_version=value["workflowVersion"],
        invocation_count=int(value["invocationCount"]),
        input=raw.get("input", UNSET),
        journal=read_journal(raw["journal"]),
        environment=value["environment"],
        deadline=value["deadline"],
        tenant_meta=raw["tenantMeta"],
        run_meta=fitted(_run_meta, raw["runMeta"], "runMeta"),
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and 1 <= value <= EXACT_MAX and value == int(value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


_TYPES = {
    "protocolVersion": (_is_number, "a number"),
    "runId": (_is_name, "a non-empty string"),
    "workflowId": (_is_name, "a non-empty string"),
    "workflowVersion": (_is_text, "a string"),
    "invocationCount": (_is_count, "a whole number, 1 or more"),
    "journal": (_is_object, "an object"),
    "environment": (
        lambda value: value in ("production", "preview", "development"),
        "production, preview or development",
    ),
    "deadline": (_is_number, "a number"),
    "tenantMeta": (_is_object, "an object"),
    "runMeta": (_is_object, "an object"),
}
_REQUIRED = tuple(_TYPES)


# --- refusals


class Refused(StepwellError):
    """A worker did not run the body. `error` is the code, `details` anything that JSON has, or None."""

    def __init__(self, status: int, error: str, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.details = details


def refusal_bytes(refused: Refused) -> bytes:
    """The body of a refusal."""
    body = {"error": refused.error, "message": refused.message}
    return wild(msgspec.json.encode(body if refused.details is None else body | {"details": refused.details}))


def _invalid(message: str, field: str | None = None) -> Refused:
    return Refused(400, "invalid_request", message, None if field is None else {"field": field})


# --- the answer


class WireWait(Struct, frozen=True, kw_only=True, rename="camel"):
    """Something that the body waits for. `meta` is an object."""

    client_waitpoint_id: Name
    kind: WaitKind
    meta: Raw
    timeout_ms: Number | None = None


class WireChange(Struct, frozen=True, kw_only=True):
    """A change of metadata."""

    op: Literal["set", "increment", "append", "remove"]
    key: str
    value: Raw | UnsetType = UNSET
    target: Literal["self", "parent", "root"] = "self"


class WireChunk(Struct, frozen=True, kw_only=True, rename="camel"):
    """A chunk of a stream; `seq` counts from 1, and the last is a marker without data. `step` and `step_attempt` are
    ours: which attempt of which step wrote it."""

    stream_id: Name
    seq: Count
    encoding: Literal["text", "json", "base64"] = "json"
    chunk: Raw = NULL
    final: bool = False
    at: Number
    step: str = ""
    step_attempt: Count = 0


class Outcome(Struct, frozen=True, kw_only=True):
    """What an invocation came to. `error` is an object, `compensations` an array; NULL: there are none."""

    status: OutcomeStatus
    output: Raw | UnsetType = UNSET
    error: Raw = NULL
    waitpoints: Sequence[WireWait] = ()
    compensations: Raw = NULL
    metadata_updates: Sequence[WireChange] = ()
    journal: WireJournal = WireJournal()
    stream_chunks: Sequence[WireChunk] = ()


def outcome_bytes(outcome: Outcome) -> bytes:
    """The body of an answer."""
    body: dict[str, Any] = {"status": outcome.status}
    if outcome.output is not UNSET:
        body["output"] = outcome.output
    if outcome.error != NULL:
        body["error"] = outcome.error
    if outcome.status == "waiting":
        body["waitpoints"] = [_wait_members(wait) for wait in outcome.waitpoints]
    if outcome.compensations != NULL or outcome.status in _UNDOING:
        body["compensations"] = LIST if outcome.compensations == NULL else outcome.compensations
    body["metadataUpdates"] = [_change_members(change) for change in outcome.metadata_updates]
    body["journal"] = journal_members(outcome.journal)
    body["streamChunks"] = [chunk_raw(chunk) for chunk in outcome.stream_chunks]
    return wild(msgspec.json.encode(body))


def chunk_raw(chunk: WireChunk) -> Raw:
    """A chunk to be written."""
    value: dict[str, Any] = {
        "streamId": chunk.stream_id,
        "seq": chunk.seq,
        "encoding": chunk.encoding,
        "chunk": chunk.chunk,
        "final": chunk.final,
        "at": whole(chunk.at),
    }
    if chunk.step:
        value |= {"step": chunk.step, "stepAttempt": chunk.step_attempt}
    return Raw(msgspec.json.encode(value))


def _wait_members(wait: WireWait) -> dict[str, Any]:
    value: dict[str, Any] = {"clientWaitpointId": wait.client_waitpoint_id, "kind": wait.kind, "meta": wait.meta}
    return value if wait.timeout_ms is None else value | {"timeoutMs": whole(wait.timeout_ms)}


def _change_members(change: WireChange) -> dict[str, Any]:
    value: dict[str, Any] = {"op": change.op, "key": change.key}
    if change.value is not UNSET:
        value["value"] = change.value
    return value if change.target == "self" else value | {"target": change.target}


def read_outcome(body: bytes) -> Outcome:
    """The answer in a body of status 200. `WireFault` for all that is not as the protocol has it."""
    body = tamed(body)
    if not isinstance(checked(body), dict):
        raise WireFault("the answer must be an object")
    return outcome_of(members(body, ""))


def outcome_of(raw: Mapping[str, Raw]) -> Outcome:
    """The answer that has these members, which are checked JSON. `WireFault`."""
    status = fitted(_status, _needed(raw, "status"), "status")
    error = raw.get("error", NULL)
    if status == "failed":
        _needed(raw, "error")
    if status == "failed" or (error != NULL and status in _UNDOING):
        read_error(error)
    reports = _needed(raw, "compensations") if status in _UNDOING else NULL
    if reports != NULL or status in _UNDOING:
        for n, item in enumerate(items(reports, "compensations")):
            _check_report(item, f"compensations[{n}]")
    waits = items(_needed(raw, "waitpoints"), "waitpoints") if status == "waiting" else []
    changes = items(_needed(raw, "metadataUpdates"), "metadataUpdates")
    journal = read_journal(_needed(raw, "journal"))
    chunks = items(_needed(raw, "streamChunks"), "streamChunks")
    return Outcome(
        status=status,
        output=raw.get("output", UNSET) if status == "completed" else UNSET,
        error=error if status in _FAILING else NULL,
        waitpoints=_waits(waits),
        compensations=reports,
        metadata_updates=[fitted(_change, item, f"metadataUpdates[{n}]") for n, item in enumerate(changes)],
        journal=journal,
        stream_chunks=[read_chunk(item, f"streamChunks[{n}]") for n, item in enumerate(chunks)],
    )


def read_chunk(raw: Raw, path: str = "chunk") -> WireChunk:
    """A chunk. `WireFault`."""
    chunk = fitted(_chunk, raw, path)
    if chunk.seq < 1:
        raise WireFault(f"{path}.seq: chunks are counted from 1")
    is_text = chunk.encoding == "json" or chunk.chunk == NULL or bytes(memoryview(chunk.chunk)[:1]) == b'"'
    if not is_text:
        raise WireFault(f"{path}.chunk: a chunk of encoding {chunk.encoding} is text, not {kind_of(chunk.chunk)}")
    return chunk


def _waits(raws: Sequence[Raw]) -> list[WireWait]:
    found: dict[str, WireWait] = {}
    for n, raw in enumerate(raws):
        path = f"waitpoints[{n}]"
        wait = fitted(_wait, raw, path)
        _check_meta(wait, f"{path}.meta")
        other = found.setdefault(wait.client_waitpoint_id, wait)
        if other.kind != wait.kind:
            raise WireFault(f"{path}: {wait.client_waitpoint_id!r} is the id of a wait of kind {other.kind}, too")
    return list(found.values())


def _check_meta(wait: WireWait, path: str) -> None:
    """The least that a wait of its kind must say."""
    if not is_object(wait.meta):
        raise WireFault(f"{path}: must be an object, not {kind_of(wait.meta)}")
    fitted(_METAS[wait.kind], wait.meta, path)


def _check_report(raw: Raw, path: str) -> None:
    report = fitted(_report, raw, path)
    if report.error != NULL:
        read_error(report.error, f"{path}.error")


def _needed(raw: Mapping[str, Raw], name: str) -> Raw:
    if name not in raw:
        raise WireFault(f"{name}: missing")
    return raw[name]


class _SleepMeta(Struct, rename="camel"):
    duration_ms: Number | None = None
    wake_at: Number | None = None


class _EventMeta(Struct, rename="camel"):
    event_type: Name


class _SignalMeta(Struct, rename="camel"):
    signal_name: Name


class _TokenMeta(Struct, rename="camel"):
    token_id: Name


class ChildMeta(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a wait of kind RUN says of the run. `child_input` UNSET: there is none."""

    child_workflow_id: Name
    child_input: Raw | UnsetType = UNSET
    detach: bool = False
    tags: list[str] = []
    lock_to_version: str | None = None
    idempotency_key: str | None = None


class _Report(Struct, frozen=True, kw_only=True, rename="camel"):
    step_id: Name
    status: Literal["ok", "err"]
    error: Raw = NULL
    duration_ms: Number


_UNDOING = ("cancelled", "compensated", "compensation_failed")
_FAILING = ("failed", "compensated", "compensation_failed")
_METAS: dict[str, msgspec.json.Decoder[Any]] = {
    "DATETIME": msgspec.json.Decoder(_SleepMeta),
    "EVENT": msgspec.json.Decoder(_EventMeta),
    "SIGNAL": msgspec.json.Decoder(_SignalMeta),
    "MANUAL": msgspec.json.Decoder(_TokenMeta),
    "RUN": msgspec.json.Decoder(ChildMeta),
}
_status: msgspec.json.Decoder[OutcomeStatus] = msgspec.json.Decoder(OutcomeStatus)
_run_meta = msgspec.json.Decoder(RunMetaIn)
_wait = msgspec.json.Decoder(WireWait)
_change = msgspec.json.Decoder(WireChange)
_chunk = msgspec.json.Decoder(WireChunk)
_report = msgspec.json.Decoder(_Report)
