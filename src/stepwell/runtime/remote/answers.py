"""What a worker answered, checked against what it was sent: entries for the journal, chunks, and the rest.

Nothing that has been decided can be changed by an answer: what is known of a step or a wait stays as it is, and an
answer that lacks some of it is for another run, or by a worker that has lost its mind. It is refused whole; steps that
were told of before stay.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import UNSET, Raw

from stepwell.authoring.registry import Registry
from stepwell.authoring.remotes import InvocationHost
from stepwell.engine.prefix import RUN_TIMEOUT
from stepwell.engine.remote.calls import Answer, Change, ChildRequest, RemoteCall, WaitRequest
from stepwell.engine.remote.outside import SUBSCRIBE
from stepwell.engine.worker.journal import RETRY, SLEEP, TIMER
from stepwell.formats.voyant.invocations import (
    ChildMeta,
    Outcome,
    WireChange,
    WireChunk,
    WireFault,
    WireJournal,
    WireStep,
    WireWait,
    read_error,
    read_resolution,
    read_step,
)
from stepwell.formats.voyant.labels import tag_map
from stepwell.formats.voyant.texts import is_object
from stepwell.model.entries import StepCompleted, StepFailed
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import CommandId

_LONGEST_MS = 100 * 365 * 86_400_000
_OWN_TIMERS = (TIMER, SLEEP, RETRY)
"""How the waits begin that our own workers see to the end by themselves."""
_TYPES_MAX = 20
_TEXT_MAX = 8192


class Intake:
    """Takes in what one invocation brings, in the order in which it comes. `sent` is the journal that it was given."""

    def __init__(self, call: RemoteCall, sent: WireJournal, host: InvocationHost, registry: Registry) -> None:
        self._call = call
        self._sent = sent
        self._changed = call.journal.changed
        self._host = host
        self._registry = registry
        self._noted: set[str] = set()
        self._seqs: dict[tuple[str, str, int], int] = {}
        self._begun: set[str] = set()

    def step(self, id: str, step: WireStep) -> bool:
        """A step is over. What is known of it already stays. Whether it was news."""
        if id in self._sent.step_results or id in self._noted:
            return False
        self._note(self._entry(id, step))
        return True

    def chunk(self, chunk: WireChunk) -> None:
        """A stream got a chunk; one that came before is not written again. Final markers are not written: that a
        stream is complete is in the journal."""
        key = (chunk.stream_id, chunk.step, chunk.step_attempt)
        last = self._seqs.get(key, 0)
        if chunk.seq <= last:
            return
        self._seqs[key] = chunk.seq
        if not chunk.step and last == 0 and chunk.seq == 1:
            self._begun.add(chunk.stream_id)
        if chunk.final and chunk.chunk == NULL:
            return
        self._check_chunk(chunk)
        form = {} if chunk.encoding == "json" else {"encoding": chunk.encoding}
        self._host.write(
            chunk.stream_id,
            source=chunk.step or self._source(chunk.stream_id),
            attempt=max(1, chunk.step_attempt),
            k=chunk.seq - 1,
            value=self._sealed(chunk.chunk),
            record=Raw(msgspec.json.encode({**form, "at": int(chunk.at)})),
        )

    def answer(self, outcome: Outcome, speaks: Iterable[str]) -> Answer:
        """The rest, and that nothing is missing. `WireFault`."""
        journal, sent = outcome.journal, self._sent
        _check_kept("stepResults", (*sent.step_results, *self._noted), journal.step_results)
        _check_kept("waitpointsResolved", sent.waitpoints_resolved, journal.waitpoints_resolved)
        _check_kept("streamsCompleted", sent.streams_completed, journal.streams_completed)
        resolved = self._resolved(journal)
        waits = self._waits(outcome.waitpoints, resolved)
        changes = self._changes(outcome.metadata_updates)
        if outcome.output is not UNSET:
            self._check_size(outcome.output, "output")
        news = [
            self._entry(id, read_step(raw))
            for id, raw in journal.step_results.items()
            if id not in sent.step_results and id not in self._noted
        ]
        for chunk in outcome.stream_chunks:
            self._check_chunk(chunk)
        for entry in news:
            self._note(entry)
        for chunk in outcome.stream_chunks:
            self.chunk(chunk)
        return Answer(
            status=outcome.status,
            output=UNSET if outcome.output is UNSET else _own(outcome.output),
            error=_own(outcome.error),
            failure=None if outcome.error == NULL else failure_of_error(outcome.error),
            waits=waits,
            changes=changes,
            changed=len(outcome.metadata_updates),
            streams=_new(journal.streams_completed, sent.streams_completed, takes_changed=True),
            resolved=resolved,
            undone=_new(journal.compensations_run, sent.compensations_run),
            reports=_own(outcome.compensations),
            more=_new(journal.more, sent.more, takes_changed=True),
            speaks=tuple(sorted(speaks)),
            steps=len(self._noted),
        )

    # --- parts

    def _note(self, entry: StepCompleted | StepFailed) -> None:
        self._host.note(entry)
        self._noted.add(entry.id)

    def _check_chunk(self, chunk: WireChunk) -> None:
        self._check_size(chunk.chunk, f"streamChunks: chunk {chunk.seq} of {chunk.stream_id!r:.100}")

    def _entry(self, id: str, step: WireStep) -> StepCompleted | StepFailed:
        ms = max(0, math.ceil(step.finished_at - step.started_at))
        record = self._sealed(Raw(msgspec.json.encode(_record(step))))
        if step.status == "err":
            return StepFailed(
                id=CommandId(id),
                failure=failure_of_error(step.error),
                attempt=step.attempt,
                ms=ms,
                via=self._call.id,
                record=record,
            )
        output = NULL if step.output is UNSET else step.output
        self._check_size(output, f"the output of step {id!r:.100}")
        return StepCompleted(
            id=CommandId(id),
            value=NULL if output == NULL else self._sealed(output),
            attempt=step.attempt,
            ms=ms,
            via=self._call.id,
            record=record,
        )

    def _source(self, stream: str) -> str:
        """Who wrote it. What a stream had before is replaced when it begins again, and stays when it goes on."""
        return f"@stream:{stream}" if stream in self._begun else f"@stream:{stream}[{self._call.number}]"

    def _resolved(self, journal: WireJournal) -> dict[str, Raw]:
        """Waits that the worker itself saw to the end: those for times within the invocation, and no others."""
        found = _new(journal.waitpoints_resolved, self._sent.waitpoints_resolved)
        for id, raw in found.items():
            if not id.startswith(_OWN_TIMERS) or read_resolution(raw).kind != "DATETIME":
                raise WireFault(f"journal.waitpointsResolved: {id!r:.100} is over, which nobody told this worker")
        return found

    def _waits(self, waits: Iterable[WireWait], resolved: Mapping[str, Raw]) -> tuple[WaitRequest, ...]:
        for wait in waits:
            id = wait.client_waitpoint_id
            if id in self._sent.waitpoints_resolved or id in resolved:
                raise WireFault(f"waitpoints: {id!r:.100} is waited for, and over since before")
            if id == RUN_TIMEOUT or id.startswith("@") or (wait.kind == "RUN" and id.startswith(SUBSCRIBE)):
                raise WireFault(
                    f"waitpoints: {id!r:.100}: this name is the run's own; choose another clientWaitpointId"
                )
        return tuple(self._wait(wait) for wait in waits)

    def _wait(self, wait: WireWait) -> WaitRequest:
        meta = msgspec.json.decode(wait.meta, type=dict[str, Raw])
        delay, wake_at = _times(wait, meta)
        return WaitRequest(
            id=wait.client_waitpoint_id,
            kind=wait.kind,
            name=_name(meta.get(_NAMES.get(wait.kind, ""))),
            delay_ms=delay,
            wake_at=wake_at,
            where=_where(meta.get("match", NULL)),
            child=self._child(wait.meta) if wait.kind == "RUN" else None,
            meta=_own(wait.meta),
        )

    def _child(self, meta: Raw) -> ChildRequest:
        """A version that nobody here has is a label, as it is to that system; else the child would wait for ever."""
        child = msgspec.json.decode(meta, type=ChildMeta)
        version = child.lock_to_version or ""
        if child.child_input is not UNSET:
            self._check_size(child.child_input, f"the input of {child.child_workflow_id!r:.100}")
        return ChildRequest(
            workflow=child.child_workflow_id,
            version=version if self._registry.find(child.child_workflow_id, version) is not None else "",
            input=UNSET if child.child_input is UNSET else _own(child.child_input),
            tags=tag_map(child.tags),
            is_detached=child.detach,
            key=child.idempotency_key or "",
        )

    def _changes(self, found: Sequence[WireChange]) -> tuple[Change, ...]:
        """Those that are new: each answer repeats all of the run so far."""
        if len(found) < self._changed:
            raise WireFault(
                f"metadataUpdates: there were {self._changed} before, and now there are {len(found)}; each answer "
                f"repeats all of the run so far"
            )
        return tuple(_change(item) for item in found[self._changed :])

    def _sealed(self, raw: Raw) -> Raw:
        return self._registry.codec.sealed(bytes(raw))

    def _check_size(self, raw: Raw, what: str) -> None:
        size, limit = len(memoryview(raw)), self._registry.codec.max_payload
        if size > limit:
            raise WireFault(f"{what} has {size} bytes, and may have {limit}")


def failure_of_error(raw: Raw) -> Failure:
    """The record of an error in a worker's words. Our own workers say which types it has."""
    error = read_error(raw)
    types = error.data.get("types") if isinstance(error.data, dict) else None
    if not isinstance(types, list) or not all(isinstance(name, str) for name in types):
        types = []
    return Failure(
        types=tuple(name[:_TEXT_MAX] for name in types[:_TYPES_MAX]) or (error.name[:_TEXT_MAX] or "Error",),
        message=error.message[:_TEXT_MAX],
        traceback=error.stack[-_TEXT_MAX:],
        code=error.code[:100],
    )


_NAMES = {"EVENT": "eventType", "SIGNAL": "signalName", "MANUAL": "tokenId"}


def _record(step: WireStep) -> dict[str, object]:
    """What the worker wrote of a step beside its result."""
    record: dict[str, object] = {}
    if step.output is not UNSET and step.output == NULL:
        record["output"] = None
    if step.error != NULL:
        record["error"] = step.error
    times = {"startedAt": step.started_at, "finishedAt": step.finished_at, "runtime": step.runtime}
    return record | times | dict(step.rest)


def _times(wait: WireWait, meta: Mapping[str, Raw]) -> tuple[int | None, int | None]:
    """How long from now it lasts at most, and until when; of times, exactly."""
    given = wait.timeout_ms
    if wait.kind != "DATETIME":
        return (None if not given else _bounded(given)), None
    if (wake_at := _number(meta.get("wakeAt"))) is not None:
        return None, math.ceil(wake_at)
    if given is None:
        given = _number(meta.get("durationMs"))
    return _bounded(given or 0), None


def _bounded(ms: float) -> int:
    return min(_LONGEST_MS, math.ceil(ms))


def _number(raw: Raw | None) -> float | None:
    value = None if raw is None else msgspec.json.decode(raw)
    return value if isinstance(value, int | float) else None


def _name(raw: Raw | None) -> str:
    return "" if raw is None else msgspec.json.decode(raw, type=str)


def _where(raw: Raw) -> Raw:
    """The fields that an event must have. `WireFault` if that is no object."""
    if raw == NULL:
        return NULL
    if not is_object(raw):
        raise WireFault("waitpoints: `match` must be an object of fields that the event must have")
    return _own(raw)


def _change(change: WireChange) -> Change:
    value = UNSET if change.value is UNSET else _own(change.value)
    return Change(op=change.op, key=change.key, value=value, target=change.target)


def _check_kept(name: str, before: Iterable[str], now: Mapping[str, Raw]) -> None:
    """What was in the journal is in the journal."""
    gone = next((id for id in before if id not in now), None)
    if gone is not None:
        raise WireFault(f"journal.{name}: {gone!r:.100} was in it, and is not any more: is this another run's journal?")


def _new(now: Mapping[str, Raw], before: Mapping[str, Raw], *, takes_changed: bool = False) -> dict[str, Raw]:
    """Of a map, what was not in it before; if it may change, that too."""
    return {
        id: _own(raw)
        for id, raw in now.items()
        if id not in before or (takes_changed and not _is_same(raw, before[id]))
    }


def _is_same(one: Raw, other: Raw) -> bool:
    return bytes(one) == bytes(other) or msgspec.json.decode(one) == msgspec.json.decode(other)


def _own(raw: Raw) -> Raw:
    """Bytes of its own: else the whole answer would stay in memory with each part of it."""
    return raw if raw is NULL else Raw(bytes(raw))
