"""`POST /api/runs`: a run of a workflow that is here, once for each key."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, structs

from stepwell.errors import CodecError, DefinitionError
from stepwell.formats.voyant import LABELS, Labels, Trigger, run_id, tag_map
from stepwell.formats.voyant.bodies import deadline_ms, is_name
from stepwell.formats.voyant.labels import DEFAULT_ENVIRONMENT
from stepwell.model.entries import Created
from stepwell.model.failures import NULL
from stepwell.model.ids import RunId, keyed_run_id
from stepwell.model.runs import TERMINAL, Head, checked_run_id
from stepwell.model.traceparents import tags_of as traceparent_tags
from stepwell.runtime.app import Stepwell
from stepwell.runtime.archiving import restart
from stepwell.runtime.asking import Asked, first_entry
from stepwell.runtime.client import NewStart
from stepwell.runtime.watching import Watch
from stepwell.server.compat.pausing import paused
from stepwell.server.compat.records import ASYNC, stored_record, watched_record
from stepwell.server.endpoints import Answer, Call
from stepwell.server.problems import Problem


async def trigger(call: Call) -> Answer:
    """Start a run, or find the one that was started with the same key or id."""
    body: Trigger = call.body
    key = _key(call, body)
    if (mistake := body.mistake()) is not None:
        raise Problem(400, "invalid_body", mistake)
    start = await _start_of(call, body, key)
    app = call.app
    app.ensure_worker()
    with app.hub.watch(start.id) as watch:
        (present,) = await app.client.create([start])
        if present is not None and not await _is_restarted(call, body, start, present):
            return Answer(body=await stored_record(call, start.id))
        return await started(call, start, watch)


async def started(call: Call, start: NewStart, watch: Watch) -> Answer:
    """The answer when the run has paused; 202 if it goes on for longer than anybody waits, or nobody wants to wait."""
    is_async, is_later = call.prefers_async, start.created.not_before > 0
    is_done = is_later or (not is_async and await paused(call, watch))
    # Of a run that another process drives, only its beginning was seen.
    is_seen = is_async or is_later or watch.is_over or watch.is_resting
    record = watched_record(call, start, watch) if is_seen else None
    if record is None:
        record = await stored_record(call, start.id, watch)
    if is_async:
        return Answer(body=record, status=202, headers=ASYNC)
    return Answer(body=record, status=200 if is_done else 202)


# --- which run


def _key(call: Call, body: Trigger) -> str | None:
    """The idempotency key: of the header, which may be in quotes, or of the body."""
    header = call.header("idempotency-key")
    if header is None:
        return body.idempotency_key
    key = header[1:-1] if len(header) > 2 and header[0] == header[-1] == '"' else header
    if not is_name(key):
        raise Problem(400, "invalid_idempotency_key", "the header Idempotency-Key must have 1 to 200 characters")
    if body.idempotency_key not in (None, key):
        text = "the header Idempotency-Key and `idempotencyKey` differ; give one of them"
        raise Problem(400, "invalid_idempotency_key", text)
    return key


async def _run_id(call: Call, body: Trigger, key: str | None) -> RunId:
    clock = call.app.client.clock
    if body.run_id is None and key is None:
        return run_id(clock.now(), clock.random_bytes(10))
    chosen = None if body.run_id is None else checked_run_id(body.run_id)
    if key is None:
        assert chosen is not None, "one of them is given"
        return chosen
    environment = body.environment or DEFAULT_ENVIRONMENT
    # No part can hold a NUL, so no two of these are the same text; and a start in process has the same id.
    scoped = key if environment == DEFAULT_ENVIRONMENT else f"{environment}\0{key}"
    keyed = keyed_run_id(body.workflow_id, scoped)
    store = call.app.backend.store
    if chosen is None:
        return RunId(await store.resolve(_name(keyed)) or keyed)
    # The run has an id of its own, so the key is a name that leads to it.
    return RunId(await store.reserve(_name(keyed), chosen))


def _name(keyed: RunId) -> str:
    return f"idempotency key {keyed}"


async def _is_restarted(call: Call, body: Trigger, start: NewStart, present: Head) -> bool:
    """Whether the run that was there made room. `Problem` 409 if it is another one than was asked for."""
    if body.on_conflict == "fail":
        raise Problem(409, "run_exists", f"run {start.id} exists ({present.status})", runId=start.id)
    if body.on_conflict == "restart_if_failed" and present.status in TERMINAL and present.status != "completed":
        await restart(call.app.client, start)
        return True
    created = await call.app.client.created(start.id)
    if created is not None and (what := _difference(call.app, created, start.created)) is not None:
        text = f"run {start.id} was started with another {what}; give another run id or idempotency key"
        raise Problem(409, "idempotency_conflict", text, runId=start.id)
    return False


def _difference(app: Stepwell, there: Created, asked: Created) -> str | None:
    """How two starts differ. The order of members in an input is no difference."""
    if there.workflow != asked.workflow:
        return "workflow"
    codec = app.registry.codec
    one, other = (codec.opened(item.input, where="the input") for item in (there, asked))
    return None if one == other or msgspec.json.decode(one) == msgspec.json.decode(other) else "input"


# --- what is started


async def _start_of(call: Call, body: Trigger, key: str | None) -> NewStart:
    app, now = call.app, call.app.client.clock.now()
    workflow = find_workflow(app, body.workflow_id, body.workflow_version or "")
    asked = Asked(
        at=now,
        delay_ms=body.delay_ms(now),
        timeout_ms=deadline_ms(body),
        input=input_of(app, workflow, body.input),
        tags=_tags(call, body),
        metadata=_metadata(call, body, key),
    )
    created = first_entry(app.registry, app.client.clock, workflow, asked)
    return NewStart(
        id=await _run_id(call, body, key),
        created=created,
        queue=workflow.spec.queue,
        priority=body.priority or 0,
    )


def find_workflow(app: Stepwell, id: str, version: str = "") -> Any:
    """The code of that version, else the newest: a version is a label to that system. `Problem` 400."""
    found = app.registry.find(id, version) or app.registry.find(id)
    if found is None:
        known = sorted({item.id for item in app.registry.workflows()})
        text = f"there is no workflow {id[:200]!r} here; there are: {', '.join(known[:50]) or 'none'}"
        raise Problem(400, "unknown_workflow", text)
    return found


def input_of(app: Stepwell, workflow: Any, raw: Any) -> Raw:
    """The payload of an input that came as JSON, or of none (UNSET). `Problem` 400 names the field."""
    types = app.registry.types_of(workflow)
    try:
        if raw is UNSET:
            if types.has_input and types.default is None:
                return app.registry.input_of(workflow, (None,))  # absent is null, where that fits
            return app.registry.input_of(workflow, ())
        if not types.has_input:
            return app.registry.input_of(workflow, (msgspec.json.decode(raw),))
        value = types.input.plain.decode(raw, where="`input`")
        return app.registry.input_of(workflow, (value,))
    except CodecError as error:
        if raw is UNSET:
            raise Problem(400, "invalid_input", f"workflow {workflow.id} needs its `input`") from None
        raise Problem(400, "invalid_input", str(error)) from None
    except DefinitionError as error:
        raise Problem(400, "invalid_input", str(error)) from None


def _tags(call: Call, body: Trigger) -> dict[str, str]:
    """Those given, and the trace that asks, if runs are traced."""
    tags = tag_map(body.tags) if isinstance(body.tags, list) else body.tags or {}
    if call.app.is_traced and (asking := traceparent_tags(call.header("traceparent"))):
        return {**tags, **asking}
    return tags


def _metadata(call: Call, body: Trigger, key: str | None) -> dict[str, Raw]:
    given = body.metadata or {}
    if LABELS in given:
        raise Problem(
            400, "invalid_body", f"`metadata` holds {LABELS!r}, which is the server's own; choose another key"
        )
    registry = call.app.registry
    metadata = {name: registry.encode(value, what=f"`metadata`.{name}") for name, value in given.items()}
    labels = labels_of_call(call, body.tenant_meta)
    labels = structs.replace(
        labels,
        version=body.workflow_version or "",
        environment=body.environment or DEFAULT_ENVIRONMENT,
        key=key or "",
        is_null=body.input == NULL,
    )
    if labels != Labels():
        metadata[LABELS] = registry.codec.sealed(labels.payload)
    return metadata


def labels_of_call(call: Call, tenant: dict[str, Any] | None, actor: str | None = None) -> Labels:
    """Who asks, and for which tenant: a key says so, whatever the body says."""
    caller = call.caller
    if caller.namespace:
        tenant = {"projectId": "default", "organizationId": "default", **(tenant or {}), "tenantId": caller.namespace}
    who = actor or (caller.name or caller.id if caller.kind == "key" else "")
    by: dict[str, str] = {"kind": "api"}
    if who:
        by["actor"] = who
    if caller.kind == "token":
        by["accessTokenId"] = caller.id
    return Labels(
        tenant=NULL if tenant is None else Raw(msgspec.json.encode(tenant)),
        triggered_by=NULL if len(by) == 1 else Raw(msgspec.json.encode(by)),
    )
