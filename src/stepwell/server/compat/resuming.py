"""`POST /api/runs/{run}/resume`: a new run that goes on where another one failed, here or elsewhere."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, structs

from stepwell.errors import RunConflictError, RunNotFoundError
from stepwell.formats.voyant import LABELS, Labels, Resume, run_id, tag_map
from stepwell.formats.voyant.labels import labels_of
from stepwell.formats.voyant.record import RunRecord
from stepwell.model.failures import NULL
from stepwell.model.ids import CommandId, RunId
from stepwell.model.runs import checked_run_id
from stepwell.runtime.asking import Asked, first_entry
from stepwell.runtime.client import NewStart
from stepwell.runtime.forking import Origin
from stepwell.runtime.seeding import Beginning, Seeding, Settled, settled
from stepwell.runtime.watching import Watch
from stepwell.server.bodies import checked_json
from stepwell.server.compat.pausing import paused
from stepwell.server.compat.records import ASYNC, run_of, stored_record
from stepwell.server.compat.starting import find_workflow, input_of, labels_of_call
from stepwell.server.endpoints import Answer, Call
from stepwell.server.problems import Problem
from stepwell.server.showing import opened_payload

_RESUMED = frozenset({"failed", "cancelled", "terminated", "dead"})


class ResumeQuery(Struct, frozen=True):
    """`force`: also from a run that did not fail."""

    force: bool = False


class Resumed(Struct, frozen=True, rename="camel"):
    """The new run, of which it is, and from which step it goes on."""

    saved: RunRecord
    parent_run_id: str
    resume_from_step: str


async def resume(call: Call) -> Answer:
    """Make the run, and answer when it has paused."""
    asked = Resume.of(checked_json(call.raw_body) if call.raw_body else None)
    if isinstance(asked, str):
        raise Problem(400, "invalid_body", asked)
    app, parent = call.app, _parent(call)
    app.ensure_worker()
    seeding = Seeding(app.client, app.registry)
    clock = app.client.clock
    id = run_id(clock.now(), clock.random_bytes(10)) if asked.run is None else checked_run_id(asked.run)
    with app.hub.watch(id) as watch:
        try:
            origin = await seeding.origin(parent)
        except RunNotFoundError:
            return await _resumed_elsewhere(call, seeding, asked, parent, watch)
        return await _resumed_here(call, seeding, asked, origin, watch)


def _parent(call: Call) -> RunId:
    try:
        return run_of(call)
    except RunNotFoundError as error:
        raise Problem(404, "resume_failed", str(error)) from None


# --- from a run that is here


async def _resumed_here(call: Call, seeding: Seeding, asked: Resume, origin: Origin, watch: Watch) -> Answer:
    app, parent = call.app, origin.head.id
    _check_status(call, origin)
    steps = settled(origin)
    workflow = find_workflow(app, asked.workflow or origin.created.workflow, origin.created.version)
    step = asked.step or _first_failed(parent, steps)
    beginning = Beginning(
        id=watch.run,
        tags={**origin.created.tags, **_tags(parent, asked)},
        metadata={**origin.created.metadata, **_labels(call, asked, origin)},
        input=UNSET if asked.input is UNSET else input_of(app, workflow, Raw(msgspec.json.encode(asked.input))),
    )
    try:
        if workflow.id != origin.created.workflow:
            return await _resumed_as_another(call, seeding, asked, (origin, workflow, step), watch)
        if asked.seeds is not None:
            await seeding.resume_with(origin, asked.seeds, beginning)
        else:
            _check_prior(steps, step)
            is_known = any(item.id == step for item in steps)
            await seeding.resume(origin, CommandId(step) if is_known else None, beginning)
    except RunConflictError:
        await _check_present(call, parent, watch.run)
        return await _answer(call, parent, step, watch, is_new=False)
    return await _answer(call, parent, step, watch)


async def _resumed_as_another(
    call: Call, seeding: Seeding, asked: Resume, found: tuple[Origin, Any, str], watch: Watch
) -> Answer:
    """Another workflow cannot have this history, but it may have steps of the same names."""
    origin, workflow, step = found
    steps = settled(origin)
    codec = call.app.registry.codec
    if asked.seeds is None:
        _check_prior(steps, step)
    before = [item for item in steps if item.value is not None][: _place(steps, step)]
    results = asked.seeds
    if results is None:
        results = {item.id: msgspec.json.decode(opened_payload(item.value or NULL, codec)) for item in before}
    given = asked.input
    if given is UNSET and origin.created.input != NULL:
        given = msgspec.json.decode(opened_payload(origin.created.input, codec))
    labels = {**origin.created.metadata, **_labels(call, asked, origin)}
    tags = {**origin.created.tags, **_tags(origin.head.id, asked)}
    start = _start(call, seeding, workflow, watch.run, (given, results, tags, labels, origin.head.id))
    return await _begin(call, start, origin.head.id, step, watch)


def _check_status(call: Call, origin: Origin) -> None:
    status = origin.head.status
    if status not in _RESUMED and not call.query.force:
        text = f"run {origin.head.id} has not failed ({status}); with ?force=1 it is resumed all the same"
        raise Problem(409, "resume_failed", text)


def _first_failed(parent: RunId, steps: list[Settled]) -> str:
    failed = next((item.id for item in steps if item.value is None), None)
    if failed is None:
        text = f'run "{parent}" has no failed step; pass resumeFromStep explicitly to resume it'
        raise Problem(400, "resume_failed", text)
    return failed


def _check_prior(steps: list[Settled], step: str) -> None:
    for item in steps[: _place(steps, step)]:
        if item.value is None:
            text = f'step "{item.id}" completed before "{step}" but is not successful; cannot seed resume journal'
            raise Problem(400, "resume_failed", text)


def _place(steps: list[Settled], step: str) -> int:
    return next((index for index, item in enumerate(steps) if item.id == step), len(steps))


# --- from a run that is not


async def _resumed_elsewhere(call: Call, seeding: Seeding, asked: Resume, parent: RunId, watch: Watch) -> Answer:
    if asked.workflow is None:
        text = f'run "{parent}" is not stored by this worker; pass workflowId to resume it'
        raise Problem(404, "resume_failed", text)
    for member, value in (("resumeFromStep", asked.step), ("seedResults", asked.seeds)):
        if value is None:
            text = f"{member} is required when the parent run is not stored by this worker"
            raise Problem(400, "resume_failed", text)
    assert asked.step is not None, "just checked"
    workflow = find_workflow(call.app, asked.workflow)
    labels = _labels(call, asked, None)
    start = _start(call, seeding, workflow, watch.run, (asked.input, asked.seeds, _tags(parent, asked), labels, parent))
    return await _begin(call, start, parent, asked.step, watch)


def _start(call: Call, seeding: Seeding, workflow: Any, id: RunId, given: tuple[Any, Any, Any, Any, RunId]) -> NewStart:
    app, (input, results, tags, metadata, parent) = call.app, given
    raw = UNSET if input is UNSET else Raw(msgspec.json.encode(input))
    now = app.client.clock.now()
    asked = Asked(at=now, input=input_of(app, workflow, raw), tags=tags, metadata=metadata)
    created = structs.replace(
        first_entry(app.registry, app.client.clock, workflow, asked),
        forked_from=parent,
        seeds=seeding.seeds(workflow, results or {}),
    )
    return NewStart(id=id, created=created, queue=workflow.spec.queue)


async def _begin(call: Call, start: NewStart, parent: RunId, step: str, watch: Watch) -> Answer:
    (present,) = await call.app.client.create([start])
    if present is not None:
        await _check_present(call, parent, start.id)
    return await _answer(call, parent, step, watch, is_new=present is None)


# --- both


async def _check_present(call: Call, parent: RunId, id: RunId) -> None:
    """The run that has this id is a resume of the same run: this very one, asked for twice. `Problem` 409."""
    created = await call.app.client.created(id)
    if created is None or created.forked_from != parent:
        text = f"run {id} exists, and is no resume of run {parent}; choose another runId"
        raise Problem(409, "idempotency_conflict", text, runId=id)


async def _answer(call: Call, parent: RunId, step: str, watch: Watch, *, is_new: bool = True) -> Answer:
    status, headers = 200, {}
    if is_new and call.prefers_async:
        status, headers = 202, ASYNC
    elif is_new and not await paused(call, watch):
        status = 202
    record = await stored_record(call, watch.run, watch)
    return Answer(
        body=Resumed(saved=record, parent_run_id=parent, resume_from_step=step), status=status, headers=headers
    )


def _tags(parent: RunId, asked: Resume) -> dict[str, str]:
    return tag_map(["resume:true", f"parentRunId:{parent}", *asked.tags])


def _labels(call: Call, asked: Resume, origin: Origin | None) -> dict[str, Raw]:
    """The labels of the parent, but for who asks, and for its key."""
    codec = call.app.registry.codec
    own = labels_of_call(call, None, asked.user)
    if origin is None:
        labels = own
    else:
        payload = origin.created.metadata.get(LABELS)
        parents = labels_of(None if payload is None else opened_payload(payload, codec))
        tenant = own.tenant if call.caller.namespace and parents.tenant == NULL else parents.tenant
        is_null = parents.is_null if asked.input is UNSET else asked.input is None
        labels = structs.replace(parents, key="", triggered_by=own.triggered_by, tenant=tenant, is_null=is_null)
    return {LABELS: codec.sealed(labels.payload)} if labels != Labels() or origin is not None else {}
