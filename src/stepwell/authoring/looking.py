"""Programs of runs that nobody drives: for looking at where their nodes stand, without any of the code.

The journal says what each node gave, so implementations are not needed. Which nodes were child runs is in the journal,
too, and so are the blueprints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.nodework import Recorded
from stepwell.authoring.programs import Host, child_binding, implementations_of
from stepwell.authoring.registry import Registry
from stepwell.authoring.snapshots import graphs_of
from stepwell.authoring.workflows import WorkflowRef
from stepwell.engine.graph.outcome import Binding, Child
from stepwell.engine.graph.plan import make_plans
from stepwell.engine.graph.program import GraphProgram, Watches
from stepwell.engine.graph.state import node_path
from stepwell.engine.program import Line, Origin
from stepwell.errors import DefinitionError
from stepwell.model.blueprints import Graph, Node
from stepwell.model.entries import Intended, StartChild
from stepwell.model.failures import NULL

_ITEM = re.compile(r"\[\d+\]$")
_ESCAPED = re.compile(r"%([0-9A-F]{2})")


def looking_program(
    registry: Registry, origin: Origin, lines: Iterable[Line], *, watches: Watches = Watches.NOTHING
) -> GraphProgram:
    """The program of one generation of a blueprint's run, which is to be fed with `lines`, and can do nothing else.

    `DefinitionError` if the run is no blueprint's, or has not begun and its blueprint is not in this app.
    """
    created = origin.created
    definition = registry.find(created.workflow, created.version)
    blueprint = definition if isinstance(definition, Blueprint) else None
    snapshot = origin.blueprint
    if snapshot == NULL:
        if blueprint is None:
            what = "is a function" if definition is not None else "is not in this app"
            raise DefinitionError(
                f"run {origin.run} has no nodes to look at: its workflow {created.workflow} {what}, and the run is "
                f"pinned to no blueprint"
            )
        snapshot = registry.snapshot_of(blueprint)
    main, others = graphs_of(snapshot)
    acts = dict(_children(lines, main, others))
    plan = make_plans(main, others, _Binder(registry, blueprint, acts, _taken(snapshot)))
    host = Host(registry, registry.codec.typed(Any), main.id)
    return GraphProgram(plan, origin, host, snapshot=snapshot, watches=watches)


class _Binder:
    """Tells children, built-in nodes and all others apart."""

    def __init__(
        self,
        registry: Registry,
        blueprint: Blueprint[Any, Any] | None,
        acts: Mapping[str, StartChild],
        taken: frozenset[str],
    ) -> None:
        self._registry = registry
        self._known = implementations_of(registry, blueprint)
        self._acts = acts
        self._taken = taken

    def __call__(self, node: Node) -> Binding | None:
        registry, name = self._registry, node.uses
        found = self._known.get(name)
        if isinstance(found, WorkflowRef):
            return child_binding(registry, found)
        if (act := self._acts.get(name)) is not None:
            return Child(act.workflow, act.version, _same, act.blueprint)
        if found is None and node.built_in is not None and name not in self._taken:
            return None
        return Recorded(node, registry.codec)


def _same(raw: Raw) -> Raw:
    return raw


def _taken(snapshot: Raw) -> frozenset[str]:
    """The names of built-in nodes that have an implementation of their own."""
    blueprints = msgspec.json.decode(snapshot)["blueprints"].values()
    return frozenset(name for document in blueprints for name in document.get("taken", ()))


def _children(lines: Iterable[Line], main: Graph, others: Iterable[Graph]) -> Iterable[tuple[str, StartChild]]:
    """What the nodes use that were child runs."""
    graphs = {graph.id: graph for graph in (*others, main)}
    for line in lines:
        entry = line.entry
        if isinstance(entry, Intended) and isinstance(entry.act, StartChild):
            uses = _uses(entry.id, main, graphs)
            if uses is not None:
                yield uses, entry.act


def _uses(visit: str, graph: Graph | None, graphs: Mapping[str, Graph]) -> str | None:
    *outer, last = [_ESCAPED.sub(_unescaped, part) for part in node_path(visit).split("/")]
    for name in outer:
        node = _node(graph, name)
        graph = None if node is None else graphs.get(str(node.params.get("blueprintId")))
    node = _node(graph, last)
    if not _ITEM.search(visit):
        return None if node is None else node.uses
    scatter = node or _node(graph, f"{last}_scatter")
    return None if scatter is None else str(scatter.params.get("workerUsesKey"))


def _node(graph: Graph | None, id: str) -> Node | None:
    nodes = () if graph is None else graph.nodes
    return next((node for node in nodes if node.id == id), None)


def _unescaped(code: re.Match[str]) -> str:
    return chr(int(code[1], 16))
