"""The nodes of a blueprint's run: a line for each, the state, and a picture in which they have colours."""

from __future__ import annotations

from collections import Counter

import msgspec

from stepwell.authoring.snapshots import graphs_of
from stepwell.cli.console import Paint, clip, table
from stepwell.engine.fold import Fold
from stepwell.engine.graph.state import GraphState, NodeProgress
from stepwell.formats.mermaid import to_mermaid
from stepwell.model.blueprints import Graph
from stepwell.model.failures import NULL
from stepwell.model.ids import RunId
from stepwell.runtime.app import Stepwell

NODE_STYLES = {
    "completed": "green",
    "recovered": "yellow",
    "failed": "red",
    "running": "cyan",
    "waiting": "blue",
    "skipped": "dim",
    "cancelled": "yellow",
    "pending": "dim",
}


_MANY = 60
_QUIET = ("completed", "skipped", "pending")


async def graph_of_run(app: Stepwell, run: str) -> Graph | None:
    """The blueprint that a run is pinned to; None if it runs a function."""
    loaded, frames = await app.client.journal(RunId(run), after=0)
    snapshot = Fold(loaded.head.id, frames).origin.blueprint
    return None if snapshot == NULL else graphs_of(snapshot)[0]


def picture(graph: Graph, state: GraphState) -> str:
    """Mermaid, in the colours of the states."""
    return to_mermaid(graph, {id: node.status for id, node in state.nodes.items()}, state.taken)


def node_lines(state: GraphState, *, columns: int, paint: Paint, is_full: bool = True) -> list[str]:
    """A table of the nodes, then the state of the run. Of very many nodes only those that need a look, unless
    `is_full`; the others are counted."""
    nodes = list(state.nodes.values())
    quiet: Counter[str] = Counter()
    if len(nodes) > _MANY and not is_full:
        quiet = Counter(node.status for node in nodes if node.status in _QUIET)
        nodes = [node for node in nodes if node.status not in _QUIET]
        quiet.update(node.status for node in nodes[_MANY:])
        nodes = nodes[:_MANY]
    visits = any(node.visits > 1 for node in nodes)
    rows = [
        [
            node.id,
            paint(node.status, NODE_STYLES[node.status]),
            *([str(node.visits or "")] if visits else []),
            _text(node, state),
        ]
        for node in nodes
    ]
    header = ["NODE", "STATUS", *(["VISITS"] if visits else []), "OUTPUT, OR WHY"]
    lines = [f"  {line}" for line in table(header, rows, columns=columns - 2, paint=paint)]
    if quiet:
        counts = ", ".join(f"{count} {status}" for status, count in quiet.items())
        lines.append(f"  {paint(f'and {counts}: --all lists them', 'dim')}")
    if state.state:
        texts = ", ".join(f"{key}={_json(value)}" for key, value in state.state.items())
        lines += ["", f"  {paint('state', 'dim')} {clip(texts, columns - 8)}"]
    return lines


def _text(node: NodeProgress, state: GraphState) -> str:
    parts = []
    if node.error:
        parts.append(node.error)
    elif node.status in ("completed", "recovered"):
        parts.append(_json(node.output))
    elif node.visit in state.waiting:
        parts.append(f"stepwell runs resume {state.run} --node {node.visit}")
    if node.action:
        parts.append(f"[{node.action}]")
    if node.items is not None:
        parts.insert(0, f"{node.done} of {node.items} items")
    if node.iteration is not None:
        parts.insert(0, f"iteration {node.iteration}")
    return " ".join(parts)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
