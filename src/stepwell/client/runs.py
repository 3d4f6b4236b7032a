"""Everything about runs that a server holds: list, look into, steer, fork, explain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Unpack, overload

from msgspec import UNSET, structs

from stepwell.authoring.nodes import NodeResult
from stepwell.authoring.registry import Registry
from stepwell.client.entries import event_of, events_of
from stepwell.client.pausing import fresh_id
from stepwell.client.requests import path, request
from stepwell.client.shapes import (
    head_of,
    node_events_of,
    page_of,
    query_filter,
    query_pairs,
    read_accepted,
    read_explanation,
    read_run_name,
    read_state,
    read_timeline,
    results_of,
)
from stepwell.client.starting import milliseconds, plain_value
from stepwell.client.wire import Wire
from stepwell.engine.graph.events import GraphEvent
from stepwell.engine.graph.state import GraphState
from stepwell.engine.timeline import Timeline
from stepwell.errors import DefinitionError
from stepwell.model.durations import Duration
from stepwell.model.ids import RunId
from stepwell.model.runs import Head, Page, RunQuery
from stepwell.runtime.bulk import RunResult
from stepwell.runtime.explaining import Explanation
from stepwell.runtime.exporting import read_export
from stepwell.runtime.following import RunEvent
from stepwell.runtime.querying import RunFilters, run_query
from stepwell.runtime.replaying import ReplayReport, replay

_PAGE = 1000
_BULK = 1000
_BULK_WAIT = 60.0


class ClientRuns:
    """The runs of a server, of the namespace of the client's key.

    A verb takes one id, and raises; or several ids, or a `RunQuery`, and then answers a `RunResult` for each run: an
    error of one hides no other. A query without a status means the runs that the verb is for: steering, live ones.
    """

    def __init__(self, wire: Wire, registry: Registry) -> None:
        self._wire = wire
        self._registry = registry

    # --- looking

    async def list(self, query: RunQuery | None = None, /, **filters: Unpack[RunFilters]) -> Page:
        """One page of runs, newest first: of a query, or of what `filters` make of one."""
        return await self._page(run_query(self._registry, query, filters))

    async def iterate(self, query: RunQuery | None = None, /, **filters: Unpack[RunFilters]) -> AsyncIterator[Head]:
        """Every run that matches, newest first, over all pages from the query's cursor on."""
        wanted = structs.replace(run_query(self._registry, query, filters), limit=_PAGE)
        while True:
            page = await self._page(wanted)
            for head in page.runs:
                yield head
            if page.cursor is None:
                return
            wanted = structs.replace(wanted, cursor=page.cursor)

    async def get(self, run: str) -> Head:
        """The head of a run. `RunNotFoundError`."""
        asked = request("GET", path("api", "runs", run, "head"))
        return head_of(self._registry.codec, (await self._wire.ask(asked)).body, asked.asked)

    async def timeline(self, run: str) -> Timeline:
        """What happened to a run, over all its generations. `RunNotFoundError`."""
        asked = request("GET", path("api", "runs", run, "timeline"))
        return read_timeline((await self._wire.ask(asked)).body, asked.asked)

    async def events(self, run: str, *, follow: bool = False, after: int = 0) -> AsyncIterator[RunEvent]:
        """The entries of a run's journal, from the frame after seq `after` on; with `follow`, until the run ends.

        `RunNotFoundError` at the first step of the iteration. What is secret, such as a run's seed, is left out.
        """
        where = path("api", "runs", run, "events")
        if follow:
            asked = request("GET", where, query=(("after", str(after)),))
            async with aclosing(self._wire.follow(asked)) as events:
                async for event in events:
                    yield event_of(event.data, asked.asked)
            return
        while True:
            asked = request("GET", where, query=(("after", str(after)),))
            page = events_of((await self._wire.ask(asked)).body, asked.asked)
            for entry in page.events:
                yield entry
            if page.done or page.next <= after:
                return
            after = page.next

    async def state(self, run: str, *, at: int | None = None) -> GraphState:
        """Where the nodes of a blueprint's run stand; with `at`, how they stood when that frame was written.

        `DefinitionError` if the run is no blueprint's, or has no such frame. `RunNotFoundError`.
        """
        asked = request("GET", path("api", "runs", run, "state"), query=() if at is None else (("at", str(at)),))
        return read_state((await self._wire.ask(asked)).body, asked.asked)

    async def node_events(self, run: str) -> _Events:
        """What happened to the nodes of a blueprint's run, in order: what its app's event sinks were told.

        `DefinitionError` if the run is no blueprint's. `RunNotFoundError`.
        """
        asked = request("GET", path("api", "runs", run, "node-events"))
        return node_events_of((await self._wire.ask(asked)).body, asked.asked)

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
        return await self._steer("cancel", runs, reason, request_id, grace=milliseconds(grace, "cancel(grace)"))

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
        return await self._steer("terminate", runs, reason, request_id)

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
        return await self._steer("pause", runs, reason, request_id)

    @overload
    async def resume(self, runs: str, *, request_id: str | None = None) -> None: ...  # type: ignore[overload-overlap]
    @overload
    async def resume(self, runs: Iterable[str] | RunQuery, *, request_id: str | None = None) -> _Results: ...
    async def resume(self, runs: str | Iterable[str] | RunQuery, *, request_id: str | None = None) -> _Results | None:
        """Let paused runs go on. `RunClosedError`; a run that is not paused goes on as it did."""
        return await self._steer("unpause", runs, "", request_id)

    async def answer(self, run: str, node: str, *, action: str | None = None, output: Any = None) -> bool:
        """Let a blueprint's node that waits go on. See `ClientHandle.resume`.

        False may also mean that an earlier try of this very call was the first, and its answer was lost.
        """
        body = {"action": action, "output": plain_value(self._registry, output, f"the output of node {node}")}
        asked = request("POST", path("api", "runs", run, "nodes", node), body)
        return read_accepted((await self._wire.ask(asked)).body, asked.asked).accepted

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
        if not isinstance(runs, str):
            return await self._bulk("retry", runs, is_repeatable=False)
        asked = request("POST", path("api", "runs", runs, "retry"), {"id": id}, is_repeatable=False)
        return read_run_name((await self._wire.ask(asked)).body, asked.asked).run

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
        edits, actions = {}, {}
        for name, value in (edit or {}).items():
            if isinstance(value, NodeResult):
                if value.dynamic_nodes:
                    raise DefinitionError(f"edit {name!r}: nodes cannot be added; give an output and an action")
                actions[name] = value.action
                value = value.output
            edits[name] = plain_value(self._registry, value, f"edit {name}")
        body: dict[str, Any] = {"from_step": from_step, "edit": edits or None, "actions": actions or None, "id": id}
        if input is not UNSET:
            body["input"] = plain_value(self._registry, input, f"the input of a fork of {run}", type(input))
        asked = request("POST", path("api", "runs", run, "fork"), body, is_repeatable=False)
        return read_run_name((await self._wire.ask(asked)).body, asked.asked).run

    # --- taking away and bringing back

    async def export(self, run: str, *, with_seed: bool = False) -> bytes:
        """The run as one JSON document, payloads included. `RunNotFoundError`.

        The seed stays out unless asked for: with it, the run's hook tokens can be forged.
        """
        query = (("with_seed", "true"),) if with_seed else ()
        return (await self._wire.ask(request("GET", path("api", "runs", run, "export"), query=query))).body

    async def import_(self, data: bytes, *, id: str | None = None) -> RunId:
        """Create a run from `export`, as `<id>-import` or `id`. It never starts by itself: one that had ended is there
        to look into and fork; one that had not is paused. `DefinitionError`, `RunConflictError`."""
        asked = request("POST", path("api", "import"), query=() if id is None else (("id", id),), is_repeatable=False)
        asked = structs.replace(asked, body=data)
        return read_run_name((await self._wire.ask(asked)).body, asked.asked).run

    @overload
    async def delete(self, runs: str, *, force: bool = False) -> None: ...  # type: ignore[overload-overlap]
    @overload
    async def delete(self, runs: Iterable[str], *, force: bool = False) -> _Results: ...
    async def delete(self, runs: str | Iterable[str], *, force: bool = False) -> _Results | None:
        """Remove runs that have ended, with all that is theirs. `RunConflictError` if one has not ended, or is a child
        whose parent is open; a child is also kept for a day after its end, unless `force`. Files go with the run that
        stored them, though its forks, its retries or other runs may refer to them."""
        if not isinstance(runs, str):
            return await self._bulk("delete", runs, is_repeatable=False, force=force or None)
        query = (("force", "true"),) if force else ()
        await self._wire.ask(request("DELETE", path("api", "runs", runs), query=query, is_repeatable=False))
        return None

    async def purge(
        self, older_than: Duration, *, dry_run: bool = False, force: bool = False, **filters: Unpack[RunFilters]
    ) -> _Results:
        """Delete the runs that ended longer ago than `older_than`, and match the filters; parents before children.

        With `dry_run` nothing is deleted. A result per run; its error says why a run stays.
        """
        wanted = query_filter(self._registry.codec, run_query(self._registry, None, filters))
        body = {"older_than": milliseconds(older_than, "purge(older_than)"), "dry_run": dry_run, "force": force}
        asked = request(
            "POST",
            path("api", "bulk", "purge"),
            {**body, "filter": wanted or None},
            wait=_BULK_WAIT,
            is_repeatable=dry_run,
        )
        return results_of((await self._wire.ask(asked)).body, asked.asked).results

    # --- understanding

    async def explain(self, run: str) -> Explanation:
        """Why the run stands where it stands, and what to do. `RunNotFoundError`."""
        asked = request("GET", path("api", "runs", run, "explain"))
        return read_explanation((await self._wire.ask(asked)).body, asked.asked)

    async def replay(self, run: str) -> ReplayReport:
        """Run the code that this client includes through the run's journal, without doing anything. Needs the scope
        `admin`, because the journal comes with its seed. `RunNotFoundError`; `DefinitionError` if there is no code for
        it here."""
        export = read_export(await self.export(run, with_seed=True))
        head = export.head
        workflow = self._registry.find(head.workflow, head.version)
        if workflow is None:
            raise DefinitionError(
                f"this client has no code for run {run}: workflow {head.workflow} v{head.version}; give it include="
            )
        return replay(export, workflow, codec=self._registry.codec)

    # --- inside

    async def _page(self, query: RunQuery) -> Page:
        asked = request("GET", path("api", "runs"), query=query_pairs(self._registry.codec, query))
        return page_of(self._registry.codec, (await self._wire.ask(asked)).body, asked.asked)

    async def _steer(
        self,
        verb: str,
        runs: str | Iterable[str] | RunQuery,
        reason: str,
        request_id: str | None,
        **more: Any,
    ) -> _Results | None:
        """Each request has an id, so that one that is repeated counts once."""
        body = {"reason": reason or None, "request_id": request_id or fresh_id(), **more}
        if not isinstance(runs, str):
            return await self._bulk(verb, runs, is_repeatable=True, **body)
        if verb == "cancel":
            # The route for one run waits until it has ended.
            (result,) = await self._bulk(verb, [runs], is_repeatable=True, **body)
            if result.error is not None:
                raise result.error
            return None
        await self._wire.ask(request("POST", path("api", "runs", runs, verb), body))
        return None

    async def _bulk(self, verb: str, runs: Iterable[str] | RunQuery, *, is_repeatable: bool, **body: Any) -> _Results:
        where = path("api", "bulk", verb)
        results: _Results = []
        for chosen in self._chosen(runs):
            cursor: str | None = None
            while True:
                sent = {**chosen, **body, "cursor": cursor}
                asked = request("POST", where, sent, wait=_BULK_WAIT, is_repeatable=is_repeatable)
                found = results_of((await self._wire.ask(asked)).body, asked.asked)
                results += found.results
                cursor = found.cursor
                if cursor is None:
                    break
        return results

    def _chosen(self, runs: Iterable[str] | RunQuery) -> _Choices:
        """Which runs, in portions that a server takes."""
        if isinstance(runs, RunQuery):
            if runs == RunQuery():
                raise DefinitionError("this RunQuery has no condition; name a workflow, a status, a tag or an age")
            return [{"filter": query_filter(self._registry.codec, runs)}]
        ids = [*dict.fromkeys(runs)]
        return [{"runs": ids[start : start + _BULK]} for start in range(0, len(ids), _BULK)]


_Results = list[RunResult]
_Events = list[GraphEvent]
_Choices = list[dict[str, Any]]
