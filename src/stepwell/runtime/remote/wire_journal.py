"""The journal of a remote run as its worker gets it, and as records show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from msgspec import UNSET, Raw

from stepwell.engine.remote.calls import RemoteJournal, Resolution, StepLine
from stepwell.formats.voyant import LABELS
from stepwell.formats.voyant.faults import child_error, step_fault
from stepwell.formats.voyant.journals import WireJournal
from stepwell.formats.voyant.plain import plain
from stepwell.formats.voyant.record import Resolution as WireResolution
from stepwell.formats.voyant.waits import marks_of, trigger_delay
from stepwell.model.entries import StepCompleted, StepFailed
from stepwell.model.failures import NULL

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode
_RUNTIME = "node"
"""Where a step ran of which nobody has said it."""


def wire_journal(journal: RemoteJournal, opened: Callable[[Raw], Raw]) -> WireJournal:
    """The whole slice, in the order in which it came to be. `opened` gives the JSON of a payload.

    What a worker wrote is given back as it came, byte by byte, but for the order of members.
    """
    return WireJournal(
        step_results={id: _step(line, opened) for id, line in journal.steps.items()},
        waitpoints_resolved=dict(_resolutions(journal, opened)),
        compensations_run=dict(journal.undone),
        metadata_state={
            key: plain(opened(raw)) for key, raw in journal.metadata.items() if key != LABELS and raw != NULL
        },
        streams_completed=dict(journal.streams),
        more=dict(journal.more),
    )


# --- steps


def _step(line: StepLine, opened: Callable[[Raw], Raw]) -> Raw:
    entry = line.entry
    if isinstance(entry, StepFailed):
        return Raw(b'{"attempt":%d,"status":"err",%b' % (entry.attempt, _rest(line, opened, {"output"})))
    if entry.value == NULL:
        return Raw(b'{"attempt":%d,"status":"ok",%b' % (entry.attempt, _rest(line, opened, {"error"})))
    value = opened(entry.value)
    if entry.record == NULL:
        value = plain(value)
    rest = _rest(line, opened, {"error", "output"})
    return Raw(b'{"attempt":%d,"status":"ok","output":%b,%b' % (entry.attempt, bytes(value), rest))


def _rest(line: StepLine, opened: Callable[[Raw], Raw], without: set[str]) -> bytes:
    """The members that the worker wrote besides, up to the closing brace. An edited result may be another than that
    which the worker wrote them for."""
    entry = line.entry
    if entry.record == NULL:
        return _made(line)
    record = bytes(opened(entry.record))
    if any(b'"%b"' % name.encode() in record for name in without):
        members = {name: raw for name, raw in _members(record).items() if name not in without}
        record = _encode(members)
    return record.lstrip()[1:] if len(record) > len(b"{}") else _made(line)


def _made(line: StepLine) -> bytes:
    """Of a step that no worker told of: a result that the run was given."""
    entry, at = line
    times = b'"startedAt":%d,"finishedAt":%d,"runtime":"%b"}' % (at - entry.ms, at, _RUNTIME.encode())
    if isinstance(entry, StepCompleted):
        return times
    return b'"error":%b,%b' % (_encode(step_fault(entry.failure)), times)


# --- waits


def _resolutions(journal: RemoteJournal, opened: Callable[[Raw], Raw]) -> Iterator[tuple[str, Raw]]:
    origin = journal.origin
    created = origin.created
    if created.not_before > origin.born_at and created.forked_from is None:
        start = WireResolution(kind="DATETIME", resolved_at=created.not_before, source="replay")
        yield trigger_delay(origin.run), Raw(_encode(start))
    for id, resolution in journal.resolved.items():
        if isinstance(resolution, Resolution):
            yield id, Raw(_encode(_resolution(resolution, opened)))
        else:
            yield id, resolution


def _resolution(resolution: Resolution, opened: Callable[[Raw], Raw]) -> WireResolution:
    value, message = resolution.value, resolution.message
    is_run = resolution.kind == "RUN"
    is_early, is_void = marks_of(message)
    return WireResolution(
        kind=resolution.kind,
        resolved_at=resolution.at,
        matched_event_id=f"evt_live_{resolution.name}" if resolution.kind == "EVENT" and message else UNSET,
        payload=UNSET if value is UNSET or is_void else plain(opened(value)),
        error=UNSET
        if resolution.status in ("", "started", "completed")
        else child_error(resolution.status, resolution.failure),
        source="replay" if is_run or not message else "inbox" if is_early else "live",
    )
