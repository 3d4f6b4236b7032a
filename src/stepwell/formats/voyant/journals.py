"""The journal of a run as it goes over the wire: what has been decided, as the worker sees it (five maps, and whatever
else a worker keeps there)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from stepwell.formats.voyant.texts import (
    Count,
    Number,
    WireFault,
    check_name,
    fitted,
    is_object,
    kind_of,
    members,
    named,
    readable,
    whole,
)
from stepwell.model.failures import NULL

WaitKind = Literal["DATETIME", "EVENT", "SIGNAL", "MANUAL", "RUN"]

RESERVED = ("@invocation", "@metadata.")
"""How no step of a worker may begin: the orchestrator names its own so."""


class WireJournal(Struct, frozen=True, kw_only=True):
    """What has been decided about a run. JSON by id, in order; `more` is what else there is."""

    step_results: Mapping[str, Raw] = {}
    waitpoints_resolved: Mapping[str, Raw] = {}
    compensations_run: Mapping[str, Raw] = {}
    metadata_state: Mapping[str, Raw] = {}
    streams_completed: Mapping[str, Raw] = {}
    more: Mapping[str, Raw] = {}


class WireStep(Struct, frozen=True, kw_only=True):
    """The outcome of a step. `error` NULL: there is none. `rest` is what else the worker wrote."""

    attempt: int
    status: Literal["ok", "err"]
    output: Raw | UnsetType = UNSET
    error: Raw = NULL
    started_at: float
    finished_at: float
    runtime: str = "node"
    rest: Mapping[str, Raw] = {}


class WireResolution(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How a wait was over. Without a payload: its time was, or there is nothing to say. `error` is a child's."""

    kind: WaitKind
    resolved_at: Number
    matched_event_id: str | UnsetType = UNSET
    payload: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    source: Literal["live", "replay", "inbox"]


class WireError(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong, in a worker's words. `cause` is another one, or null."""

    category: str = "USER_ERROR"
    code: str
    message: str
    name: str = ""
    stack: str = ""
    cause: Any = None
    data: Any = None


# --- reading


def read_journal(raw: Raw | bytes, path: str = "journal") -> WireJournal:
    """The five maps, and what else there is. Of entries, that they fit. `WireFault`."""
    there = members(raw, path)
    maps: dict[str, dict[str, Raw]] = {}
    for name, field in _MAPS.items():
        if name not in there:
            raise WireFault(f"{path}.{name}: missing; it must be an object")
        maps[field] = members(there.pop(name), f"{path}.{name}")
    journal = WireJournal(**maps, more=there)
    _check_entries(journal, path)
    return journal


def read_step(raw: Raw, path: str = "step") -> WireStep:
    """An entry of `stepResults`. `WireFault`."""
    entry = fitted(_step, raw, path)
    if entry.status == "err":
        read_error(entry.error, f"{path}.error")
    rest = members(raw, path)
    for name in _STEP_MEMBERS:
        rest.pop(name, None)
    if entry.status == "err":
        rest.pop("error", None)
    return WireStep(
        attempt=entry.attempt,
        status=entry.status,
        output=entry.output,
        error=entry.error if entry.status == "err" else NULL,
        started_at=whole(entry.started_at),
        finished_at=whole(entry.finished_at),
        runtime=entry.runtime,
        rest=rest,
    )


def read_resolution(raw: Raw, path: str = "resolution") -> WireResolution:
    """An entry of `waitpointsResolved`. `WireFault`."""
    found = fitted(_resolution, raw, path)
    if found.error is not UNSET and found.error != NULL:
        read_error(found.error, f"{path}.error")
    return found


def read_error(raw: Raw, path: str = "error") -> WireError:
    """An error. Its texts are for people: halves of surrogate pairs are replaced. `WireFault`."""
    if not is_object(raw):
        raise WireFault(f"{path}: must be an object with `category`, `code` and `message`, not {kind_of(raw)}")
    found = fitted(_error, raw, path)
    texts = {name: readable(getattr(found, name)) for name in ("code", "message", "name", "stack")}
    return msgspec.structs.replace(found, **texts)


def _check_entries(journal: WireJournal, path: str) -> None:
    for id, raw in journal.step_results.items():
        check_step_id(id, f"{path}.stepResults")
        entry = fitted(_step, raw, where := named(f"{path}.stepResults", id))
        if entry.status == "err":
            read_error(entry.error, f"{where}.error")
    for id, raw in journal.waitpoints_resolved.items():
        check_name(id, named(f"{path}.waitpointsResolved", id))
        read_resolution(raw, named(f"{path}.waitpointsResolved", id))
    for id, raw in journal.compensations_run.items():
        check_name(id, named(f"{path}.compensationsRun", id))
        fitted(_compensation, raw, named(f"{path}.compensationsRun", id))
    for id, raw in journal.streams_completed.items():
        check_name(id, named(f"{path}.streamsCompleted", id))
        fitted(_stream, raw, named(f"{path}.streamsCompleted", id))


def check_step_id(id: str, path: str) -> None:
    """Refuse the id of a step that a worker may not give. `path` is that of the map."""
    where = named(path, id)
    check_name(id, where)
    if id.startswith(RESERVED):
        raise WireFault(f"{where}: no step may begin with {' or '.join(RESERVED)}; rename the step")


# --- writing


def journal_members(journal: WireJournal) -> dict[str, Any]:
    """A journal to be written."""
    return {name: getattr(journal, field) for name, field in _MAPS.items()} | dict(journal.more)


def step_raw(step: WireStep) -> Raw:
    """An entry of `stepResults`."""
    entry: dict[str, Any] = {"attempt": step.attempt, "status": step.status}
    if step.output is not UNSET:
        entry["output"] = step.output
    if step.error != NULL:
        entry["error"] = step.error
    entry |= {"startedAt": whole(step.started_at), "finishedAt": whole(step.finished_at), "runtime": step.runtime}
    return Raw(msgspec.json.encode(entry | dict(step.rest)))


def resolution_raw(resolution: WireResolution) -> Raw:
    """An entry of `waitpointsResolved`."""
    return Raw(msgspec.json.encode(msgspec.structs.replace(resolution, resolved_at=whole(resolution.resolved_at))))


class _Step(Struct, frozen=True, kw_only=True, rename="camel"):
    attempt: Count
    status: Literal["ok", "err"]
    output: Raw | UnsetType = UNSET
    error: Raw = NULL
    started_at: Number
    finished_at: Number
    runtime: str = "node"


class _Compensation(Struct, frozen=True, kw_only=True, rename="camel"):
    status: Literal["ok", "err"]
    finished_at: Number


class _StreamEnd(Struct, frozen=True, kw_only=True, rename="camel"):
    chunk_count: Count


_MAPS = {
    "stepResults": "step_results",
    "waitpointsResolved": "waitpoints_resolved",
    "compensationsRun": "compensations_run",
    "metadataState": "metadata_state",
    "streamsCompleted": "streams_completed",
}
_STEP_MEMBERS = ("attempt", "status", "output", "startedAt", "finishedAt", "runtime")
_step = msgspec.json.Decoder(_Step)
_resolution = msgspec.json.Decoder(WireResolution)
_error = msgspec.json.Decoder(WireError)
_compensation = msgspec.json.Decoder(_Compensation)
_stream = msgspec.json.Decoder(_StreamEnd)
