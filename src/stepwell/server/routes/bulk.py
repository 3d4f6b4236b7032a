"""One verb for many runs: for those that are named, or those that a filter finds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, get_args

from msgspec import UNSET, Meta, Struct

from stepwell.model.runs import EndStatus, LiveStatus, Status
from stepwell.runtime.bulk import RunResult
from stepwell.runtime.querying import RunFilters
from stepwell.runtime.runs import Runs
from stepwell.server.access.scopes import Scope
from stepwell.server.endpoints import Answer, Call, Endpoint
from stepwell.server.problems import Problem, problem_of
from stepwell.server.routes.filters import BulkFilter, Name, Reason, RequestId
from stepwell.server.shapes import BulkItem, BulkResults

_AT_ONCE = 1000
_LIVE: tuple[Status, ...] = get_args(LiveStatus)


class BulkBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either `runs` or a `filter`. A filter without a status means the runs that the verb is for. At most 1,000 runs
    are done by one request; with a filter, the answer's `cursor` leads on."""

    runs: Annotated[tuple[Name, ...], Meta(max_length=_AT_ONCE)] | None = None
    filter: BulkFilter | None = None
    cursor: Annotated[str, Meta(max_length=2000)] | None = None
    reason: Reason = ""
    request_id: RequestId | None = None
    grace: (
        Annotated[str, Meta(max_length=100, description="`cancel`: after this, such as `30s`, terminate.")] | None
    ) = None
    force: bool = False


class BulkVerb(Struct, frozen=True, kw_only=True):
    """A verb, what it needs, and which runs it is for."""

    name: str
    scope: Scope
    statuses: tuple[Status, ...]
    summary: str
    act: Callable[[Runs, Sequence[str], BulkBody], Awaitable[list[RunResult]]]


async def _cancel(runs: Runs, ids: Sequence[str], body: BulkBody) -> list[RunResult]:
    return await runs.cancel(ids, body.reason, grace=body.grace, request_id=body.request_id)


async def _terminate(runs: Runs, ids: Sequence[str], body: BulkBody) -> list[RunResult]:
    return await runs.terminate(ids, body.reason, request_id=body.request_id)


async def _pause(runs: Runs, ids: Sequence[str], body: BulkBody) -> list[RunResult]:
    return await runs.pause(ids, body.reason, request_id=body.request_id)


async def _unpause(runs: Runs, ids: Sequence[str], body: BulkBody) -> list[RunResult]:
    return await runs.resume(ids, request_id=body.request_id)


async def _retry(runs: Runs, ids: Sequence[str], _: BulkBody) -> list[RunResult]:
    return await runs.retry(ids)


async def _delete(runs: Runs, ids: Sequence[str], body: BulkBody) -> list[RunResult]:
    return await runs.delete(ids, force=body.force)


_ENDED: tuple[Status, ...] = get_args(EndStatus)
_VERBS = (
    BulkVerb(name="cancel", scope="signal", statuses=_LIVE, summary="Ask many runs to stop.", act=_cancel),
    BulkVerb(name="pause", scope="signal", statuses=_LIVE, summary="Pause many runs.", act=_pause),
    BulkVerb(name="unpause", scope="signal", statuses=("paused",), summary="Let many runs go on.", act=_unpause),
    BulkVerb(
        name="retry",
        scope="trigger",
        statuses=tuple(status for status in _ENDED if status != "completed"),
        summary="Start many runs that did not complete again.",
        act=_retry,
    ),
    BulkVerb(
        name="terminate",
        scope="admin",
        statuses=_LIVE,
        summary="End many runs at once, without cleanup.",
        act=_terminate,
    ),
    BulkVerb(name="delete", scope="admin", statuses=_ENDED, summary="Delete many runs that have ended.", act=_delete),
)


def _handler(verb: BulkVerb) -> Callable[[Call], Awaitable[Answer]]:
    async def bulk(call: Call) -> Answer:
        body: BulkBody = call.body
        ids, cursor = await _chosen(call, body, verb)
        results = await verb.act(call.app.runs, ids, body)
        return Answer(body=BulkResults(results=tuple(_item(result) for result in results), cursor=cursor))

    return bulk


async def _chosen(call: Call, body: BulkBody, verb: BulkVerb) -> tuple[Sequence[str], str | None]:
    if (body.runs is None) == (body.filter is None):
        raise Problem(400, "invalid_body", "the body does not fit: give either `runs` or `filter` - at `$`")
    if body.filter is None:
        return body.runs or (), None
    filters: RunFilters = {**body.filter.filters(), "limit": _AT_ONCE, "cursor": body.cursor}
    filters["status"] = filters.get("status") or verb.statuses
    page = await call.app.runs.list(**filters)
    return [head.id for head in page.runs], page.cursor


def _item(result: RunResult) -> BulkItem:
    problem = None if result.error is None else problem_of(result.error)
    return BulkItem(
        run=result.run,
        ok=result.is_ok,
        new=UNSET if result.new is None else result.new,
        error=UNSET if problem is None else problem.message,
        code=UNSET if problem is None else problem.code,
    )


_COMMON: dict[str, Any] = {"body": BulkBody, "answers": {200: BulkResults}}

ENDPOINTS: tuple[Endpoint, ...] = tuple(
    Endpoint(
        method="POST",
        path=f"/api/bulk/{verb.name}",
        handler=_handler(verb),
        scope=verb.scope,
        summary=verb.summary,
        **_COMMON,
    )
    for verb in _VERBS
)
