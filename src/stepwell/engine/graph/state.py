"""Where the nodes of a run stand, as plain values: what `runs show`, time travel and the stepper look at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from stepwell.engine.graph.plan import Kind, Plan, PlanNode
from stepwell.engine.graph.program import GraphProgram
from stepwell.engine.graph.visits import NodeStatus, Space, Visit
from stepwell.model.entries import AttemptFailed, Ended
from stepwell.model.failures import NULL
from stepwell.model.ids import CommandId
from stepwell.model.runs import TERMINAL

_COUNT = re.compile(r":\d+$")
_ITEM = re.compile(r"\[\d+\]$")


class NodeProgress(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a node has come, by its last visit. Times in ms.

    `id` is its path: `sub/fetch` is the node `fetch` in the subflow that node `sub` ran last. `visits` counts, `visit`
    is the id of the last. `error` is why it failed, or why its last attempt did; `attempt` is the one under way, or
    the last. `until`: when its timer is due, or its next attempt. Of a batch, `done` items of `items` have ended; of a
    loop, `iteration` is the last that began. Of a subflow, `state` and `taken` are its own, as in `GraphState`.
    """

    id: str
    uses: str
    status: NodeStatus
    visits: int = 0
    visit: str = ""
    started_at: int | None = None
    output: Any = None
    action: str | None = None
    error: str = ""
    attempt: int = 1
    until: int | None = None
    items: int | None = None
    done: int | None = None
    iteration: int | None = None
    state: dict[str, Any] = {}
    taken: tuple[int, ...] = ()


class GraphState(Struct, frozen=True, kw_only=True):
    """A run of a blueprint as it stood when frame `seq` was written, at `at` (ms).

    `nodes` are in the order of the blueprint, each subflow's after its node. `state` is the run's state by key.
    `taken` are edges that were taken, as their places in the blueprint's edges. `waiting` are the visits that
    `handle.resume` can answer. `status` is the run's: "running" also means that steps could run.
    """

    run: str
    blueprint: str
    status: str
    seq: int
    at: int
    nodes: dict[str, NodeProgress]
    state: dict[str, Any] = {}
    taken: tuple[int, ...] = ()
    waiting: tuple[str, ...] = ()
    result: Any = None
    error: str = ""


class Standing(Struct, frozen=True, kw_only=True):
    """What is known of a run besides its program: the end, the last failed attempts, how far its journal was read."""

    status: str
    seq: int
    at: int
    ended: Ended | None = None
    attempts: Mapping[CommandId, AttemptFailed] = {}


def graph_state(program: GraphProgram, standing: Standing) -> GraphState:
    """What the program knows, as values."""
    ended = standing.ended
    root = program.machine.root
    is_over = standing.status in TERMINAL
    view = _View(standing.attempts, is_over)
    return GraphState(
        run=program.origin.run,
        blueprint=program.plan.graph.id,
        status=standing.status,
        seq=standing.seq,
        at=standing.at,
        nodes={node.id: node for node in view.nodes(root.space, "", root.is_over)},
        state=root.space.snapshot(),
        taken=_places(root.space),
        waiting=() if is_over else tuple(visit.id for visit in waiting_visits(program)),
        result=None if ended is None else msgspec.json.decode(program.host.plain(ended.value)),
        error="" if ended is None else str(ended.failure or ended.reason),
    )


def waiting_visits(program: GraphProgram) -> list[Visit]:
    """The visits of wait nodes that have no answer."""
    return [
        visit
        for visit in program.machine.visits.values()
        if visit.status == "waiting" and visit.node.kind is Kind.WAIT and program.outcome is None
    ]


def node_path(visit: str) -> str:
    """The path of the node of a visit: `sub/fetch`, of `sub:2/fetch:3`. Of an item, that of its batch's name."""
    return "/".join(_COUNT.sub("", _ITEM.sub("", part)) for part in visit.split("/"))


def has_count(visit: str) -> bool:
    """Whether an id names one visit for certain: `fetch:2`, also `fetch:1`."""
    return _COUNT.search(visit) is not None


def without_count(visit: str) -> str:
    """`sub:2/fetch`, of `sub:2/fetch:3`."""
    return _COUNT.sub("", visit)


def node_at(plan: Plan, path: str) -> PlanNode | None:
    """The node of a path, through subflows. None: the blueprint has no such node."""
    *outer, last = path.split("/")
    for name in outer:
        node = _named(plan, name)
        inner = None if node is None else plan.plans.get(str(node.node.params.get("blueprintId")))
        if inner is None:
            return None
        plan = inner
    return _named(plan, last)


def _named(plan: Plan, name: str) -> PlanNode | None:
    return next((node for node in plan.nodes if node.name == name), None)


class _View:
    """Nodes as values."""

    def __init__(self, attempts: Mapping[CommandId, AttemptFailed], is_over: bool) -> None:
        self._attempts = attempts
        self._is_over = is_over

    def nodes(self, space: Space, prefix: str, is_settled: bool) -> Iterator[NodeProgress]:
        """Those of a blueprint, dynamic ones last, each followed by those inside of it. `is_settled`: what was not
        visited will not be."""
        known = space.plan.by_id
        made = [visit.node for id, visit in space.latest.items() if id not in known]
        for node in (*space.plan.nodes, *made):
            visit = space.latest.get(node.id)
            path = f"{prefix}{node.name}"
            if visit is None:
                is_skipped = is_settled or node.id in space.skipped
                yield NodeProgress(id=path, uses=node.node.uses, status="skipped" if is_skipped else "pending")
                continue
            yield self._visited(path, visit)
            if visit.inner is not None:
                yield from self.nodes(visit.inner.space, f"{path}/", visit.inner.is_over)

    def _visited(self, path: str, visit: Visit) -> NodeProgress:
        space = visit.scope.space
        status, attempt = self._status(visit), self._attempts.get(visit.id)
        is_tried = attempt is not None and status == "running"
        items, done = _counted(visit)
        output = space.outputs.get(visit.node.id) if status in ("completed", "recovered") else None
        inner = None if visit.inner is None else visit.inner.space
        return NodeProgress(
            id=path,
            uses=visit.node.node.uses,
            status=status,
            visits=space.counts.get(visit.node.name, 1),
            visit=visit.id,
            started_at=visit.started_at,
            output=msgspec.json.decode(output or NULL),
            action=visit.action,
            error=_error_of(visit, attempt if is_tried else None),
            attempt=1 if attempt is None else attempt.attempt + 1,
            until=attempt.retry_at if attempt is not None and is_tried else visit.until,
            items=items,
            done=done,
            iteration=None if visit.loop is None else visit.loop.count,
            state={} if inner is None else inner.snapshot(),
            taken=() if inner is None else _places(inner),
        )

    def _status(self, visit: Visit) -> NodeStatus:
        is_open = visit.status in ("running", "waiting")
        return "cancelled" if is_open and self._is_over else visit.status


def _error_of(visit: Visit, attempt: AttemptFailed | None) -> str:
    failure = visit.error if attempt is None else attempt.failure
    return "" if failure is None else str(failure)


def _counted(visit: Visit) -> tuple[int | None, int | None]:
    """How many items a batch has, and how many of them have ended. It lets go of its results when it is over."""
    batch = visit.batch
    if batch is None:
        return None, None
    if batch.results:
        return len(batch.results), sum(result is not None for result in batch.results)
    total = len(msgspec.json.decode(visit.input or NULL, type=list[msgspec.Raw] | None) or ())
    return total, total


def _places(space: Space) -> tuple[int, ...]:
    """The taken edges by their places in the document, which may hold an edge twice."""
    graph = space.plan.graph
    places: dict[Any, int] = {}
    for place, edge in enumerate(graph.edges):
        places.setdefault((edge.source, edge.target, edge.action, edge.condition), place)
    by_index = list(places.values())
    return tuple(sorted(by_index[index] for index in space.taken))


def known_actions(visit: Visit) -> list[str] | None:
    """The actions that lead somewhere from a visit; None: any does, or nothing follows."""
    actions = [edge.action for link in visit.chain() for edge in link.node.out]
    if not actions or None in actions:
        return None
    return list(dict.fromkeys(str(action) for action in actions))
