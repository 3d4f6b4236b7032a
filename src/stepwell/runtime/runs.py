"""Everything about runs that are there: list, look into, steer, fork, explain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Unpack, get_args, overload

from msgspec import UNSET

from stepwell.authoring.registry import Registry
from stepwell.engine.graph.events import GraphEvent
from stepwell.engine.graph.state import GraphState
from stepwell.engine.history import timeline
from stepwell.engine.timeline import Timeline
from stepwell.errors import DefinitionError
from stepwell.model.durations import Duration
from stepwell.model.ids import RunId
from stepwell.model.runs import Head, LiveStatus, Page, RunQuery, Status
from stepwell.runtime.bulk import RunResult, Verb, all_runs, chosen, for_each
from stepwell.runtime.client import Client
from stepwell.runtime.explaining import Explanation, explain
from stepwell.runtime.exporting import export_run, import_run
from stepwell.runtime.following import RunEvent, run_events
from stepwell.runtime.forking import Forking
from stepwell.runtime.graph_events import node_events
from stepwell.runtime.graphs import answer_node, run_state
from stepwell.runtime.querying import RunFilters, run_query
from stepwell.runtime.replaying import ReplayReport, replay_frames
from stepwell.runtime.retention import delete_run, purge
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

    async def state(self, run: str, *, at: int | None = None) -> GraphState:
        """Where the nodes of a blueprint's run stand; with `at`, how they stood when that frame was written.

        `DefinitionError` if the run is no blueprint's, or has no such frame. `RunNotFoundError`.
        """
        return await run_state(self._client, self._registry, RunId(run), at)

    async def node_events(self, run: str) -> _Events:
        """What happened to the nodes of a blueprint's run, in order: what its app's event sinks were told.

        `DefinitionError` if the run is no blueprint's. `RunNotFoundError`.
        """
        return await node_events(self._client, self._registry, RunId(run))

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

    async def answer(self, run: str, node: str, *, action: str | None = None, output: Any = None) -> bool:
        """Let a blueprint's node that waits go on. See `Handle.resume`."""
        return await answer_node(self._client, self._registry, RunId(run), node, action=action, output=output)

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

        `edit` gives steps other results, and a blueprint's nodes other outputs (with another action: a `NodeResult`).
        Without `from_step` the history ends with the last step edited, and without both it is all there is. A new
        `input` alone starts from the beginning. Children that are open, hooks and subscriptions are made anew; messages
        that came later are kept. `DefinitionError` names the steps there are.
        """
        return await self._forking.fork(RunId(run), from_step=from_step, edit=edit or {}, input=input, id=id)

    # --- taking away and bringing back

    async def export(self, run: str, *, with_seed: bool = False) -> bytes:
        """The run as one JSON document, payloads included. `RunNotFoundError`.

        The seed stays out unless asked for: with it, the run's hook tokens can be forged.
        """
        return await export_run(self._client, RunId(run), with_seed=with_seed)

    async def import_(self, data: bytes, *, id: str | None = None) -> RunId:
        """Create a run from `export`, as `<id>-import` or `id`. It never starts by itself: one that had ended is there
        to look into and fork; one that had not is paused. `DefinitionError`, `RunConflictError`."""
        return await import_run(self._client, data, id=id)

    @overload
    async def delete(self, runs: str, *, force: bool = False) -> None: ...  # type: ignore[overload-overlap]
    @overload
    async def delete(self, runs: Iterable[str], *, force: bool = False) -> _Results: ...
    async def delete(self, runs: str | Iterable[str], *, force: bool = False) -> _Results | None:
        """Remove runs that have ended, with all that is theirs. `RunConflictError` if one has not ended, or is a child
        whose parent is open; a child is also kept for a day after its end, unless `force`. Files go with the run that
        stored them, though its forks, its retries or other runs may refer to them."""
        if isinstance(runs, str):
            await delete_run(self._client, RunId(runs), force=force)
            return None
        ids = [RunId(run) for run in dict.fromkeys(runs)]
        return await for_each(ids, lambda run: delete_run(self._client, run, force=force))

    async def purge(
        self, older_than: Duration, *, dry_run: bool = False, force: bool = False, **filters: Unpack[RunFilters]
    ) -> _Results:
        """Delete the runs that ended longer ago than `older_than`, and match the filters; parents before children.

        With `dry_run` nothing is deleted. A result per run; its error says why a run stays.
        """
        query = run_query(self._registry, None, filters)
        return await purge(self._client, query, older_than=older_than, dry_run=dry_run, force=force)

    # --- understanding

    async def explain(self, run: str) -> Explanation:
        """Why the run stands where it stands, and what to do. `RunNotFoundError`."""
        return await explain(self._client, self._registry, RunId(run))

    async def replay(self, run: str) -> ReplayReport:
        """Run the code of this app through the run's journal, without doing anything. `RunNotFoundError`;
        `DefinitionError` if the app has no code for it."""
        loaded, frames = await self._client.journal(RunId(run), after=0)
        head = loaded.head
        workflow = self._registry.find(head.workflow, head.version)
        if workflow is None:
            raise DefinitionError(f"this app has no code for run {run}: workflow {head.workflow} v{head.version}")
        return replay_frames(head.id, frames, workflow, self._registry, status=head.status)

    # --- inside

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
_Events = list[GraphEvent]
