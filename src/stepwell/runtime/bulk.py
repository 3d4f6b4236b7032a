"""One verb for one run or for many: what each run answered, and no error that hides another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

from msgspec import Struct, structs

from stepwell.errors import StepwellError
from stepwell.model.ids import RunId
from stepwell.model.runs import Head, RunQuery, Status
from stepwell.ports import Store

_AT_ONCE = 50
_PAGE = 1000


class RunResult(Struct, frozen=True):
    """What a bulk verb did to one run. `new` is the run that it made, for `retry`; `error` why it did nothing."""

    run: RunId
    new: RunId | None = None
    error: StepwellError | None = None

    @property
    def is_ok(self) -> bool:
        """Whether it was done."""
        return self.error is None


Verb = Callable[[RunId], Awaitable[RunId | None]]


async def for_each(runs: Sequence[RunId], verb: Verb) -> list[RunResult]:
    """Apply a verb to many runs, some at a time; results in the order of `runs`."""
    results: list[RunResult] = []

    async def one(run: RunId) -> RunResult:
        try:
            return RunResult(run, await verb(run))
        except StepwellError as error:
            return RunResult(run, None, error)

    for start in range(0, len(runs), _AT_ONCE):
        results += await asyncio.gather(*(one(run) for run in runs[start : start + _AT_ONCE]))
    return results


async def chosen(store: Store, runs: Iterable[str] | RunQuery, statuses: Iterable[Status]) -> list[RunId]:
    """The ids of many runs. A query that names no status means these `statuses`."""
    if not isinstance(runs, RunQuery):
        return [RunId(run) for run in dict.fromkeys(runs)]
    query = runs if runs.status else structs.replace(runs, status=tuple(statuses))
    return [head.id async for head in all_runs(store, query)]


async def all_runs(store: Store, query: RunQuery) -> AsyncIterator[Head]:
    """Every run that a query matches, page by page."""
    query = structs.replace(query, limit=_PAGE)
    while True:
        page = await store.search(query)
        for head in page.runs:
            yield head
        if page.cursor is None:
            return
        query = structs.replace(query, cursor=page.cursor)
