"""Runs: list them, steer them, make new ones of them, delete them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from stepwell.runtime.graph_edits import node_result
from stepwell.server.endpoints import Answer, Call, Endpoint
from stepwell.server.routes.filters import NewId, Reason, RequestId, RunsQuery
from stepwell.server.shapes import Accepted, NewRunName, RunName, RunPage, run_page


class SteerBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, and which request this is."""

    reason: Reason = ""
    request_id: RequestId | None = None


class RetryBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The id of the new run; by default that of the old one with `-retry`."""

    id: NewId | None = None


class ForkBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the new run parts from the old one, and what is different: `edit` holds results of steps and outputs of a
    blueprint's nodes, `actions` which edges such nodes go on along."""

    from_step: Annotated[str, Meta(max_length=1000)] | None = None
    edit: dict[str, Any] = {}
    actions: dict[str, str | None] = {}
    input: Raw | UnsetType = UNSET
    id: NewId | None = None


class NodeBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer to a node that waits."""

    action: Annotated[str, Meta(max_length=1000)] | None = None
    output: Any = None


class DeleteQuery(Struct, frozen=True, kw_only=True):
    """`force` waives the day that a child is kept."""

    force: bool = False


class ImportQuery(Struct, frozen=True, kw_only=True):
    """The id of the new run; by default that of the exported one with `-import`."""

    id: NewId | None = None


async def list_runs(call: Call) -> Answer:
    """One page of runs."""
    page = await call.app.runs.list(**call.query.filters())
    return Answer(body=run_page(page.runs, page.cursor, call.app.registry.codec))


async def pause(call: Call) -> Answer:
    """Start nothing new in the run."""
    body = call.body or SteerBody()
    await call.app.runs.pause(call.path["run"], body.reason, request_id=body.request_id)
    return _accepted(call)


async def unpause(call: Call) -> Answer:
    """Let the run go on."""
    body = call.body or SteerBody()
    await call.app.runs.resume(call.path["run"], request_id=body.request_id)
    return _accepted(call)


async def terminate(call: Call) -> Answer:
    """End the run without cleanup."""
    body = call.body or SteerBody()
    await call.app.runs.terminate(call.path["run"], body.reason, request_id=body.request_id)
    return _accepted(call)


async def retry(call: Call) -> Answer:
    """Start a run that did not complete again."""
    body = call.body or RetryBody()
    return _made(call, await call.app.runs.retry(call.path["run"], id=body.id))


async def fork(call: Call) -> Answer:
    """A new run with this one's history up to a step."""
    body, run = call.body or ForkBody(), call.path["run"]
    edit = {**body.edit, **{node: node_result(body.edit.get(node), action) for node, action in body.actions.items()}}
    given = UNSET if isinstance(body.input, UnsetType) else await _typed_input(call, run, body.input)
    new = await call.app.runs.fork(run, from_step=body.from_step, edit=edit, input=given, id=body.id)
    return _made(call, new)


async def _typed_input(call: Call, run: str, raw: Raw) -> Any:
    """The input as the workflow of the run takes it, if its code is here. `CodecError`."""
    head, registry = await call.app.runs.get(run), call.app.registry
    workflow = registry.find(head.workflow, head.version)
    if workflow is None or not registry.types_of(workflow).has_input:
        return msgspec.json.decode(raw)
    return registry.types_of(workflow).input.plain.decode(raw, where=f"input of workflow {workflow.id}")


async def answer_node(call: Call) -> Answer:
    """Let a node that waits go on."""
    body = call.body or NodeBody()
    is_new = await call.app.runs.answer(call.path["run"], call.path["node"], action=body.action, output=body.output)
    return Answer(body=Accepted(accepted=is_new))


async def delete(call: Call) -> Answer:
    """Remove a run that has ended."""
    await call.app.runs.delete(call.path["run"], force=call.query.force)
    return Answer(status=204)


async def import_run(call: Call) -> Answer:
    """A run from an exported document."""
    run = await call.app.runs.import_(call.raw_body, id=call.query.id)
    return Answer(body=RunName(run=run), status=201, headers=_location(run))


def _accepted(call: Call) -> Answer:
    return Answer(body={"run": call.path["run"]}, status=202)


def _made(call: Call, run: str) -> Answer:
    return Answer(body={"run": run, "origin": call.path["run"]}, status=201, headers=_location(run))


def _location(run: str) -> Mapping[str, str]:
    # Header values are ASCII here; ids of another kind are in the body.
    return {"location": f"/api/runs/{run}"} if run.isascii() else {}


_STEERED: dict[str, Any] = {"body": SteerBody, "body_required": False, "answers": {202: RunName}, "problems": (409,)}

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/api/runs",
        handler=list_runs,
        scope="read",
        summary="Runs, newest first.",
        query=RunsQuery,
        answers={200: RunPage},
    ),
    Endpoint(
        method="POST",
        path="/api/runs/{run}/pause",
        handler=pause,
        scope="signal",
        summary="Start nothing new in a run until it is let go on; running steps finish.",
        **_STEERED,
    ),
    Endpoint(
        method="POST",
        path="/api/runs/{run}/unpause",
        handler=unpause,
        scope="signal",
        summary="Let a paused run go on.",
        **_STEERED,
    ),
    Endpoint(
        method="POST",
        path="/api/runs/{run}/terminate",
        handler=terminate,
        scope="admin",
        summary="End a run at once, without cleanup.",
        **_STEERED,
    ),
    Endpoint(
        method="POST",
        path="/api/runs/{run}/retry",
        handler=retry,
        scope="trigger",
        summary="Start a run that failed or was stopped again, as a new run that keeps what was settled.",
        body=RetryBody,
        body_required=False,
        answers={201: NewRunName},
        problems=(409,),
    ),
    Endpoint(
        method="POST",
        path="/api/runs/{run}/fork",
        handler=fork,
        scope="trigger",
        summary="Make a new run with this one's history up to a step, and other results where you say so.",
        body=ForkBody,
        body_required=False,
        answers={201: NewRunName},
        problems=(404, 409),
    ),
    Endpoint(
        method="POST",
        path="/api/runs/{run}/nodes/{node:path}",
        handler=answer_node,
        scope="signal",
        summary="Answer a node of a blueprint that waits; `accepted` is false if it had this very answer.",
        body=NodeBody,
        body_required=False,
        answers={200: Accepted},
        problems=(409,),
    ),
    Endpoint(
        method="DELETE",
        path="/api/runs/{run}",
        handler=delete,
        scope="admin",
        summary="Delete a run that has ended, with all that is its own.",
        query=DeleteQuery,
        answers={204: None},
        problems=(409,),
    ),
    Endpoint(
        method="POST",
        path="/api/import",
        handler=import_run,
        scope="admin",
        summary="Create a run from an exported document; it never starts by itself.",
        query=ImportQuery,
        body=bytes,
        answers={201: RunName},
        problems=(409,),
    ),
)
