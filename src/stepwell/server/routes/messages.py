"""What programs elsewhere need, to use a server as they would use an app: starts, messages, and the end of a run.

Other than on the compatible routes, nothing waits for a run to pause, and a message that comes early is kept.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import RunId
from stepwell.runtime.app import OnConflict, StartOptions
from stepwell.runtime.bulk import RunResult, for_each
from stepwell.server.compat.starting import find_workflow
from stepwell.server.endpoints import Answer, Call, Endpoint
from stepwell.server.problems import Problem, problem_of
from stepwell.server.routes.filters import BulkFilter, Name, RequestId
from stepwell.server.shapes import BulkItem, BulkResults, RunName, RunSummary, run_summary
from stepwell.server.showing import opened

_WAIT_MAX = 55
_AT_ONCE = 1000
_DurationText = Annotated[str, Meta(max_length=100, description="such as `30d`")]


class ResultQuery(Struct, frozen=True, kw_only=True):
    """How long to wait for the end, in seconds."""

    wait: Annotated[float, Meta(ge=0, le=_WAIT_MAX)] = 0


class RunOutcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a run ended: its value, or why it has none. Of a run that has not ended, there is only the status."""

    status: str
    value: Raw = NULL
    failure: Failure | None = None
    reason: str = ""


class NodeEvents(Struct, frozen=True, kw_only=True):
    """What happened to the nodes of a blueprint's run."""

    events: list[Any]


class SendBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signal. Two with the same `request_id` count once."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    payload: Any = None
    request_id: RequestId | None = None


class CompleteBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value for a hook. Two with the same `id` count once."""

    token: Annotated[str, Meta(max_length=1000)]
    value: Any = None
    id: RequestId | None = None


class RunStart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One start, as `POST /api/runs` takes it, with the run's id."""

    workflow_id: Name
    workflow_version: Name = ""
    run_id: Name
    input: Raw | UnsetType = UNSET
    on_conflict: OnConflict = "attach"
    delay: _DurationText | None = None
    timeout: _DurationText | None = None
    priority: int = 0
    tags: dict[str, str] = {}
    metadata: dict[str, Any] = {}

    def options(self) -> StartOptions:
        """As the app takes them."""
        options: StartOptions = {
            "id": self.run_id,
            "on_conflict": self.on_conflict,
            "priority": self.priority,
            "tags": self.tags,
            "metadata": self.metadata,
        }
        if self.delay is not None:
            options["delay"] = self.delay
        if self.timeout is not None:
            options["timeout"] = self.timeout
        return options


class StartManyBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Starts, each for itself."""

    starts: Annotated[tuple[RunStart, ...], Meta(max_length=_AT_ONCE)]


class PurgeBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs to delete: those that ended longer ago than `older_than`. With `dry_run`, only say which."""

    older_than: _DurationText
    dry_run: bool = False
    force: bool = False
    filter: BulkFilter | None = None


async def head(call: Call) -> Answer:
    """The run, without its journal."""
    found = await call.app.runs.get(call.path["run"])
    return Answer(body=run_summary(found, call.app.registry.codec))


async def result(call: Call) -> Answer:
    """How the run ended, as soon as it has."""
    run = RunId(call.path["run"])
    call.app.ensure_worker()
    try:
        async with call.server.patience.at_most(call.query.wait):
            ended = await call.app.client.ended(run)
    except TimeoutError:
        found = await call.app.runs.get(run)
        return Answer(body=RunOutcome(status=found.status), status=202)
    ended = opened(ended, call.app.registry.codec)
    body = RunOutcome(status=ended.status, value=ended.value, failure=ended.failure, reason=ended.reason)
    return Answer(body=body)


async def node_events(call: Call) -> Answer:
    """What the app's event sinks were told."""
    return Answer(body=NodeEvents(events=list(await call.app.runs.node_events(call.path["run"]))))


async def send(call: Call) -> Answer:
    """A signal, kept until the run comes to wait for it."""
    body: SendBody = call.body
    run, app = RunId(call.path["run"]), call.app
    app.ensure_worker()
    raw = app.registry.encode(body.payload, what=f"signal {body.name}")
    await app.client.send(run, body.name, raw, id=body.request_id)
    return Answer(body=RunName(run=run), status=202)


async def complete(call: Call) -> Answer:
    """A value for a hook. The token is in the body, because URLs end in logs."""
    body: CompleteBody = call.body
    call.app.ensure_worker()
    return Answer(body=RunName(run=await call.app.complete(body.token, body.value, id=body.id)))


async def start_many(call: Call) -> Answer:
    """Start runs."""
    starts = {RunId(item.run_id): item for item in call.body.starts}
    if len(starts) < len(call.body.starts):
        raise Problem(400, "invalid_body", "the body does not fit: two starts have the same `runId` - at `$.starts`")

    async def start(run: RunId) -> None:
        item = starts[run]
        workflow = find_workflow(call.app, item.workflow_id, item.workflow_version)
        await call.app.start(workflow, *_given(call, workflow, item.input), **item.options())

    results = await for_each([*starts], start)
    return Answer(body=BulkResults(results=tuple(_item(found) for found in results), cursor=None))


def _given(call: Call, workflow: Any, raw: Raw | UnsetType) -> tuple[Any, ...]:
    if isinstance(raw, UnsetType):
        return ()
    types = call.app.registry.types_of(workflow)
    return (types.input.plain.decode(raw, where=f"the input of workflow {workflow.id}"),)


async def purge(call: Call) -> Answer:
    """Delete what is old."""
    body: PurgeBody = call.body
    filters = {} if body.filter is None else body.filter.filters()
    found = await call.app.runs.purge(body.older_than, dry_run=body.dry_run, force=body.force, **filters)
    return Answer(body=BulkResults(results=tuple(_item(item) for item in found), cursor=None))


def _item(found: RunResult) -> BulkItem:
    if found.error is None:
        return BulkItem(run=found.run, ok=True)
    problem = problem_of(found.error)
    return BulkItem(run=found.run, ok=False, error=problem.message, code=problem.code)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/api/runs/{run}/head",
        handler=head,
        scope="read",
        summary="A run without its journal: status, tags, metadata, what it waits for.",
        answers={200: RunSummary},
    ),
    Endpoint(
        method="GET",
        path="/api/runs/{run}/result",
        handler=result,
        scope="read",
        summary="How a run ended; 202 if it has not, even after `wait` seconds.",
        query=ResultQuery,
        answers={200: RunOutcome, 202: RunOutcome},
    ),
    Endpoint(
        method="GET",
        path="/api/runs/{run}/node-events",
        handler=node_events,
        scope="read",
        summary="What happened to the nodes of a blueprint's run, in order.",
        answers={200: NodeEvents},
    ),
    Endpoint(
        method="POST",
        path="/api/runs/{run}/send",
        handler=send,
        scope="signal",
        summary="Send a signal, which is kept until the run comes to wait for it.",
        body=SendBody,
        answers={202: RunName},
        problems=(409,),
    ),
    Endpoint(
        method="POST",
        path="/api/complete",
        handler=complete,
        scope="signal",
        summary="Complete a hook by its token, with a value.",
        body=CompleteBody,
        answers={200: RunName},
        problems=(404,),
    ),
    Endpoint(
        method="POST",
        path="/api/bulk/start",
        handler=start_many,
        scope="trigger",
        summary="Start many runs.",
        body=StartManyBody,
        answers={200: BulkResults},
    ),
    Endpoint(
        method="POST",
        path="/api/bulk/purge",
        handler=purge,
        scope="admin",
        summary="Delete the runs that ended longer ago than that; parents before children.",
        body=PurgeBody,
        answers={200: BulkResults},
    ),
)
