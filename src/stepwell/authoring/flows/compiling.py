"""A flow as a blueprint document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from stepwell.authoring.flows.graph import Cursor, Json
from stepwell.authoring.flows.statements import Statements, end_of
from stepwell.authoring.flows.unit import Unit


class CompiledFlow(Struct, frozen=True, kw_only=True):
    """What a function becomes.

    `implementations` are the steps and workflows that nodes name in `uses`, `flows` the flows that it runs as subflows,
    by id. `lines` says where in `file` each node comes from.
    """

    document: Json
    implementations: Mapping[str, Any]
    flows: Mapping[str, Any]
    file: str
    lines: Mapping[str, int]
    input: Any = Any
    output: Any = Any
    has_input: bool = False
    takes_context: bool = False


def compile_flow(fn: Callable[..., Any], *, id: str | None = None) -> CompiledFlow:
    """Compile an `async def`, or raise `FlowError`."""
    unit = Unit(fn)
    names, graph = unit.names, unit.graph
    tree = unit.source.tree
    place = Cursor((), frozenset())
    start = graph.id("start")
    node: Json = {"uses": "start"}
    if names.input is not None:
        node = {"uses": "set", "params": {"values": {names.key(names.input): "input"}}}
        place = place.knowing([names.input])
    place = unit.add(place, start, node, tree)
    place = Statements(unit).block(place, tree.body)
    end = end_of(unit, place)
    metadata: Json = {} if end is None else {"output": end}
    document: Json = {
        "id": id or fn.__name__,
        "nodes": list(graph.nodes.values()),
        "edges": graph.edges,
        "metadata": metadata,
    }
    return CompiledFlow(
        document=document,
        implementations=unit.implementations,
        flows=unit.flows,
        file=unit.source.file,
        lines=graph.lines,
        input=names.input_hint,
        output=names.output_hint,
        has_input=names.input is not None,
        takes_context=names.context is not None,
    )
