"""Everything about runs that are there: list, look into, steer, fork, explain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Unpack, get_args, overload

from msgspec import UNSET

from stepwell.authoring.registry import Registry
from stepwell.engine.history import timeline
from stepwell.engine.timeline import Timeline
from stepwell.errors import DefinitionError
from stepwell.model.durations import Duration
from stepwell.model.ids import RunId
from stepwell.model.runs import Head, LiveStatus, Page, RunQuery, Status
from stepwell.runtime.bulk import RunResult, Verb, all_runs, chosen, for_each
from stepwell.runtime.client import Client, NewStart
from stepwell.runtime.following import RunEvent, run_events
from stepwell.runtime.forking import Forking
from stepwell.runtime.querying import RunFilters, run_query
from stepwell.runtime.steering import Steering

_LIVE: tuple[Status, ...] = get_args(LiveStatus)
_RETRIED: tuple[Status, ...] = ("failed", "cancelled", "terminated", "dead")


class Runs:
    """The runs of an app's backend.

    A verb takes one id, and raises; or several ids, or a `RunQuery`, and then answers a `RunResult` for each run: an
    error of one hides no other. A query without a status means the runs that the verb is for: steering, live ones.
    """

    def __init__(self, client: Client, registry: Registry) -> None:
        self._client = client
        self._registry = registry
        self._steering = Steering(client)
        self._forking = Forking(client, registry)

    # --- looking

    async def list(self, query: RunQuery | None = None, /, **filters: Unpack[RunFilters]) -> Page:
        """One page of runs, newest first: of a query, or of what `filters` make of one."""
        return await self._client.backend.store.search(run_query(self._registry, query, filters))

    def iterate(self, query: RunQuery | None = None, /, **filters: Unpack[RunFilters]) -> AsyncIterator[Head]:
        """Every run that matches, newest first, over all pages from the query's cursor on."""
        return all_runs(self._client.backend.store, run_query(self._registry, query, filters))

    async def get(self, run: str) -> Head:
        """The head of a run. `RunNotFoundError`."""
        return await self._client.head(RunId(run))

    async def timeline(self, run: str) -> Timeline:
        """What happened to a run, over all its generations. `RunNotFoundError`."""
        _, frames = await self._client.journal(RunId(run))
        return timeline(RunId(run), frames)

    def events(self, run: str, *, follow: bool = False, after: int = 0) -> AsyncIterator[RunEvent]:
        """The entries of a run's journal, from the frame after seq `after` on; with `follow`, until the run ends.

        `RunNotFoundError` at the first step of the iteration.
        """
        return run_events(self._client, RunId(run), follow=follow, after=after)

    # --- steering

    @overload
    async def cancel(  # type: ignore[overload-overlap]
        self, runs: str, reason: str = "", *, grace: Duration | None = None, request_id: str | None = None
    ) -> None: ...
    @overload
    async def cancel(
        self,
        runs: Iterable[str] | RunQuery,
        reason: str = "",
        *,
        grace: Duration | None = None,
        request_id: str | None = None,
    ) -> _Results: ...
    async def cancel(
        self,
        runs: str | Iterable[str] | RunQuery,
        reason: str = "",
        *,
        grace: Duration | None = None,
        request_id: str | None = None,
    ) -> _Results | None:
        """Ask runs to stop: `CancelledError` at the awaits of their bodies; after `grace` they are terminated.

        `RunClosedError` if a run has ended. Requests with the same `request_id` count once.
        """
        return await self._live(
            runs, lambda run: self._steering.cancel(run, reason, grace=grace, request_id=request_id)
        )

    @overload
    async def terminate(self, runs: str, reason: str = "", *, request_id: str | None = None) -> None: ...  # type: ignore[overload-overlap]
    @overload
    async def terminate(
        self, runs: Iterable[str] | RunQuery, reason: str = "", *, request_id: str | None = None
    ) -> _Results: ...
    async def terminate(
        self, runs: str | Iterable[str] | RunQuery, reason: str = "", *, request_id: str | None = None
    ) -> _Results | None:
        """End runs at once, without cleanup. `RunClosedError` if a run has ended."""
        return await self._live(runs, lambda run: self._steering.terminate(run, reason, request_id=request_id))

    @overload
    async def pause(self, runs: str, reason: str = "", *, request_id: str | None = None) -> None: ...  # type: ignore[overload-overlap]
    @overload
    async def pause(
        self, runs: Iterable[str] | RunQuery, reason: str = "", *, request_id: str | None = None
    ) -> _Results: ...
    async def pause(
        self, runs: str | Iterable[str] | RunQuery, reason: str = "", *, request_id: str | None = None
    ) -> _Results | None:
        """Start nothing new in these runs until they are resumed; running steps finish. `RunClosedError`."""
        return await self._live(runs, lambda run: self._steering.pause(run, reason, request_id=request_id))

    @overload
    async def resume(self, runs: str, *, request_id: str | None = None) -> None: ...  # type: ignore[overload-overlap]
    @overload
    async def resume(self, runs: Iterable[str] | RunQuery, *, request_id: str | None = None) -> _Results: ...
    async def resume(self, runs: str | Iterable[str] | RunQuery, *, request_id: str | None = None) -> _Results | None:
        """Let paused runs go on. `RunClosedError`; a run that is not paused goes on as it did."""
        return await self._live(runs, lambda run: self._steering.resume(run, request_id=request_id))

    # --- starting over

    @overload
    async def retry(self, runs: str, *, id: str | None = None) -> RunId: ...  # type: ignore[overload-overlap]
    @overload
    async def retry(self, runs: Iterable[str] | RunQuery) -> _Results: ...
    async def retry(self, runs: str | Iterable[str] | RunQuery, *, id: str | None = None) -> RunId | _Results:
        """Start runs that failed or were stopped again, each as a new run (`<id>-retry`, `<id>-retry2`, or `id`).

        It begins with everything that was settled before the first step or child that failed, or before the cancel; so
        what a saga undid after that counts as done. `RunConflictError` if a run is open or completed.
        """
        if isinstance(runs, str):
            return await self._forking.retry(RunId(runs), id=id)
        return await self._many(runs, lambda run: self._forking.retry(run, id=None), _RETRIED)

    async def fork(
        self,
        run: str,
        *,
        from_step: str | None = None,
        edit: Mapping[str, Any] | None = None,
        input: Any = UNSET,
        id: str | None = None,
    ) -> RunId:
        """Make a new run that begins with this one's history up to `from_step`, and runs from there.

        `edit` gives steps other results; without `from_step` the history ends with the last step edited, and without
        both it is all there is. A new `input` alone starts from the beginning. Children that are open, hooks and
        subscriptions are made anew; messages that came later are kept. `DefinitionError` names the steps there are.
        """
        return await self._forking.fork(RunId(run), from_step=from_step, edit=edit or {}, input=input, id=id)

    # --- inside

    async def restart(self, start: NewStart) -> None:
        """placeholder, see the next commit"""
        raise NotImplementedError

    async def _live(self, runs: str | Iterable[str] | RunQuery, verb: Verb) -> _Results | None:
        if isinstance(runs, str):
            await verb(RunId(runs))
            return None
        return await self._many(runs, verb, _LIVE)

    async def _many(self, runs: Iterable[str] | RunQuery, verb: Verb, statuses: tuple[Status, ...]) -> _Results:
        if isinstance(runs, RunQuery) and runs == RunQuery():
            raise DefinitionError("this RunQuery has no condition; name a workflow, a status, a tag or an age")
        return await for_each(await chosen(self._client.backend.store, runs, statuses), verb)


_Results = list[RunResult]
