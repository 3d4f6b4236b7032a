"""What can be started here, who does the work, what waits for it, and events for whoever listens."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

from msgspec import Meta, Struct

from stepwell.runtime.backlog import backlog
from stepwell.runtime.presence import workers as present_workers
from stepwell.server.endpoints import Answer, Call, Endpoint
from stepwell.server.problems import Problem
from stepwell.server.shapes import (
    Published,
    QueueList,
    QueueShape,
    TargetList,
    WorkerList,
    WorkflowList,
    WorkflowShape,
)

_NAME_MAX = 200


class WorkflowQuery(Struct, frozen=True, kw_only=True):
    """Without a version, the newest is shown."""

    version: Annotated[str, Meta(max_length=_NAME_MAX)] = ""


class PublishQuery(Struct, frozen=True, kw_only=True):
    """The id of the event, for those who receive it."""

    id: Annotated[str, Meta(min_length=1, max_length=_NAME_MAX)] | None = None


async def list_workflows(call: Call) -> Answer:
    """All of them, every version."""
    return Answer(body=WorkflowList(workflows=tuple(_shape(call, item) for item in call.app.registry.workflows())))


async def get_workflow(call: Call) -> Answer:
    """One of them."""
    found = call.app.registry.find(call.path["workflow"], call.query.version)
    if found is None:
        raise Problem(404, "not_found", "there is no such workflow here; GET /api/workflows lists those there are")
    return Answer(body=_shape(call, found))


def _shape(call: Call, workflow: Any) -> WorkflowShape:
    types = call.app.registry.types_of(workflow)
    return WorkflowShape(
        id=workflow.id,
        version=workflow.spec.version,
        description=_description(workflow),
        queue=workflow.spec.queue,
        is_blueprint=_is_blueprint(workflow),
        has_input=types.has_input,
        input=types.input.schema(),
        output=types.output.schema(),
    )


def _is_blueprint(workflow: Any) -> bool:
    return getattr(workflow, "graph", None) is not None


def _description(workflow: Any) -> str:
    # Its own, and not that of its class.
    return inspect.cleandoc(vars(workflow).get("__doc__") or "")


async def queues(call: Call) -> Answer:
    """Where runs wait for a worker."""
    found = await backlog(call.app.backend, now=call.app.client.clock.now())
    return Answer(
        body=QueueList(
            queues=tuple(QueueShape(queue=q.queue, due=q.due, oldest=q.oldest) for q in found.queues()),
            now=found.now,
            complete=found.is_complete,
        )
    )


async def workers(call: Call) -> Answer:
    """Who does the work."""
    return Answer(body=WorkerList(workers=tuple(await present_workers(call.app.backend))))


async def targets(call: Call) -> Answer:
    """The workers elsewhere, those of other namespaces left out."""
    namespace, states = call.app.namespace, call.app.targets.states()
    shown = (state for state in states if not (namespace and state.namespaces) or namespace in state.namespaces)
    return Answer(body=TargetList(targets=tuple(shown)))


async def publish(call: Call) -> Answer:
    """To whoever waits for the event, and whoever comes to wait for it."""
    name = call.path["event"]
    if not 1 <= len(name) <= _NAME_MAX:
        raise Problem(400, "invalid_request", f"the name of an event has 1 to {_NAME_MAX} characters")
    raw = call.app.registry.encode(call.body, what=f"event {name}")
    return Answer(body=Published(event=name, waiting=await call.app.client.publish(name, raw, id=call.query.id)))


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/api/workflows",
        handler=list_workflows,
        scope="read",
        summary="The workflows that can be started here, with the JSON Schema of what they take and give.",
        answers={200: WorkflowList},
    ),
    Endpoint(
        method="GET",
        path="/api/workflows/{workflow:path}",
        handler=get_workflow,
        scope="read",
        summary="One workflow.",
        query=WorkflowQuery,
        answers={200: WorkflowShape},
        problems=(404,),
    ),
    Endpoint(
        method="GET",
        path="/api/queues",
        handler=queues,
        scope="read",
        summary="The queues in which runs wait for a worker: how many, and since when.",
        answers={200: QueueList},
    ),
    Endpoint(
        method="GET",
        path="/api/workers",
        handler=workers,
        scope="read",
        summary="The workers that are alive.",
        answers={200: WorkerList},
    ),
    Endpoint(
        method="GET",
        path="/api/targets",
        handler=targets,
        scope="admin",
        summary="The step workers elsewhere that this process asks, and how it finds them.",
        answers={200: TargetList},
    ),
    Endpoint(
        method="POST",
        path="/api/publish/{event:path}",
        handler=publish,
        scope="signal",
        summary="Publish an event: the body is its value. `waiting` says how many runs waited for it.",
        query=PublishQuery,
        body=Any,
        body_required=False,
        answers={200: Published},
    ),
)
