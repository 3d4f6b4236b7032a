"""The answer of an invocation: the journal that was given, and all that is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, structs

from stepwell.authoring.wire.errors import serialized
from stepwell.codec import Codec
from stepwell.engine.worker.verdicts import Undone, Verdict
from stepwell.formats.voyant.invocations import (
    Outcome,
    StepRequest,
    WireChange,
    WireChunk,
    WireJournal,
    WireResolution,
    WireWait,
    resolution_raw,
)
from stepwell.model.failures import NULL

DELAYED, PATCHES, SENT = "attempts", "patches", "chunks"
"""What of ours a journal holds besides: steps between two attempts, the new parts of the code that the run has come to,
and how much was sent to streams that are not complete."""


def outcome_of(
    verdict: Verdict, request: StepRequest, steps: Mapping[str, Raw], chunks: Sequence[WireChunk], codec: Codec
) -> Outcome:
    """What to answer. `steps` are the entries of this invocation, in order, and `chunks` all that was sent in it."""
    return Outcome(
        status=verdict.status,
        output=verdict.output,
        error=NULL if verdict.failure is None else serialized(verdict.failure, codec),
        waitpoints=[
            WireWait(client_waitpoint_id=wait.id, kind=wait.kind, meta=wait.meta, timeout_ms=wait.timeout_ms)
            for wait in verdict.waits
        ],
        compensations=Raw(msgspec.json.encode([_report(undone, codec) for undone in verdict.compensations])),
        metadata_updates=[
            WireChange(op=change.op, key=change.key, value=change.value, target=change.target)
            for change in verdict.changes
        ],
        journal=journal_of(verdict, request.journal, steps),
        stream_chunks=chunks,
    )


def journal_of(verdict: Verdict, given: WireJournal, steps: Mapping[str, Raw]) -> WireJournal:
    """The journal as it is now. What was in it keeps its place."""
    resolved = {
        id: resolution_raw(WireResolution(kind=item.kind, resolved_at=item.at, source="replay"))
        for id, item in verdict.resolved.items()
    }
    streams = {id: Raw(b'{"chunkCount":%d}' % count) for id, count in verdict.streams.items()}
    more = dict(given.more)
    for name, value in ((DELAYED, verdict.delayed), (PATCHES, verdict.patches), (SENT, verdict.sent)):
        if value or name in more:
            more[name] = Raw(msgspec.json.encode(value))
    return structs.replace(
        given,
        step_results={**given.step_results, **steps},
        waitpoints_resolved={**given.waitpoints_resolved, **resolved},
        streams_completed={**given.streams_completed, **streams},
        more=more,
    )


def _report(undone: Undone, codec: Codec) -> dict[str, Any]:
    report = {"stepId": undone.step, "status": "ok" if undone.failure is None else "err", "durationMs": undone.ms}
    return report if undone.failure is None else {**report, "error": serialized(undone.failure, codec)}
