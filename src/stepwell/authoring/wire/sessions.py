"""How an invocation of a workflow of ours begins: the request becomes a program, and a journal slice."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from stepwell.authoring.registry import RecordTranslator, Registry
from stepwell.authoring.wire.answers import DELAYED, PATCHES, SENT
from stepwell.authoring.wire.context import WireContext
from stepwell.authoring.wire.doors import Doors
from stepwell.authoring.wire.errors import restored
from stepwell.authoring.workflows import Workflow
from stepwell.codec import Codec
from stepwell.engine.function import FunctionProgram
from stepwell.engine.program import Origin
from stepwell.engine.worker.journal import Delayed, KnownStep, KnownWait, Slice
from stepwell.engine.worker.program import WireProgram
from stepwell.engine.worker.session import Session
from stepwell.errors import CodecError
from stepwell.formats.voyant.invocations import StepRequest, WireFault, WireJournal, read_resolution, read_step
from stepwell.model.entries import Created, StepCompleted, StepFailed
from stepwell.model.failures import NULL
from stepwell.model.ids import CommandId, RunId

_OURS = b'{"$'
"""How payloads begin that are not plain JSON."""
_log = logging.getLogger("stepwell.stepworker")


def open_session(
    registry: Registry,
    workflow: Workflow[Any, Any],
    request: StepRequest,
    *,
    now: int,
    cancel: str | None = None,
    doors: Doors | None = None,
) -> Session:
    """Run the body through the journal, up to where something new happens. `cancel`: then cancel it.

    `CodecError` if the journal cannot be read; `ActivationError` if the code cannot be driven.
    """
    try:
        slice = slice_of(request.journal, registry.codec)
    except WireFault as fault:
        raise CodecError(f"the journal: {fault}") from None
    started_at = int(request.run_meta.started_at)
    program = _program(registry, workflow, request, slice, doors)
    session = Session(program, slice)
    try:
        session.begin(started_at=started_at, now=now, cancel=cancel)
    except BaseException:
        session.close()
        raise
    return session


def slice_of(journal: WireJournal, codec: Codec) -> Slice:
    """What a body needs of a journal. `WireFault`."""
    steps = [_known_step(id, raw, codec) for id, raw in journal.step_results.items()]
    waits = [_known_wait(id, raw) for id, raw in journal.waitpoints_resolved.items()]
    sent: dict[str, int] = _member(journal, SENT, dict[str, int]) or {}
    ends = msgspec.json.decode(msgspec.json.encode(journal.streams_completed), type=dict[str, _StreamEnd])
    return Slice(
        steps=steps,
        waits=waits,
        chunks={**sent, **{stream: end.chunk_count - 1 for stream, end in ends.items()}},
        patches=frozenset(_member(journal, PATCHES, list[str]) or ()),
        delayed=_member(journal, DELAYED, dict[str, Delayed]) or {},
    )


class _StreamEnd(msgspec.Struct, rename="camel"):
    chunk_count: int


def _member(journal: WireJournal, name: str, type: Any) -> Any:
    raw = journal.more.get(name)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=type)
    except msgspec.DecodeError as error:
        raise WireFault(f"journal.{name}: {error}") from None


def _known_step(id: str, raw: Raw, codec: Codec) -> KnownStep:
    step = read_step(raw, f"journal.stepResults.{id}")
    command, attempt = CommandId(id), max(1, step.attempt)
    entry: StepCompleted | StepFailed
    if step.status == "ok":
        value = NULL if step.output is UNSET else _payload(step.output, codec)
        entry = StepCompleted(id=command, value=value, attempt=attempt)
    else:
        entry = StepFailed(id=command, failure=restored(step.error, step=id, attempts=attempt), attempt=attempt)
    return KnownStep(
        id=id,
        entry=entry,
        at=int(step.finished_at),
        after=_fitting(step.rest, "after", _number),
        patches=_fitting(step.rest, PATCHES, _names) or (),
    )


def _payload(output: Raw, codec: Codec) -> Raw:
    # Only what looks like a payload of ours has to be made one; a cipher takes its time.
    return codec.sealed(bytes(output)) if bytes(memoryview(output)[: len(_OURS)]) == _OURS else output


def _fitting(rest: Mapping[str, Raw], name: str, decoder: msgspec.json.Decoder[Any]) -> Any:
    """A member that only we write; of another worker, it may be anything."""
    try:
        return decoder.decode(rest[name]) if name in rest else None
    except msgspec.DecodeError:
        return None


_number = msgspec.json.Decoder(int)
_names = msgspec.json.Decoder(tuple[str, ...])


def _known_wait(id: str, raw: Raw) -> KnownWait:
    found = read_resolution(raw, f"journal.waitpointsResolved.{id}")
    failure = None if found.error is UNSET or found.error == NULL else restored(found.error)
    return KnownWait(id=id, at=int(found.resolved_at), payload=found.payload, failure=failure)


def _program(
    registry: Registry,
    workflow: Workflow[Any, Any],
    request: StepRequest,
    slice: Slice,
    doors: Doors | None,
) -> WireProgram:
    types = registry.types_of(workflow)
    given = request.input
    input = (types.default or NULL) if given is UNSET else given
    started_at = int(request.run_meta.started_at)

    def body(program: FunctionProgram) -> Coroutine[Any, Any, Any]:
        assert isinstance(program, WireProgram), "it is made below"
        context = program.context = WireContext(program, registry, request, doors)
        if not types.has_input:
            return workflow.fn(context)
        typed = types.input if given is UNSET else types.input.plain
        return workflow.fn(context, typed.decode(input, where=f"input of workflow {workflow.id}"))

    origin = Origin(
        run=RunId(request.run_id),
        base=1,
        created=Created(workflow=workflow.id, version=workflow.spec.version, input=input, seed=""),
        input=input,
        seed="",
        started_at=started_at,
        born_at=started_at,
        random_base=1,
    )
    return WireProgram(
        body, origin, RecordTranslator(registry, workflow), bind=registry.bind, slice=slice, on_log=_log.warning
    )
