"""What a run of a blueprint is pinned to: the blueprint as it was when the run was started, with its subflows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.workflows import Definition
from stepwell.errors import BlueprintError
from stepwell.formats.flowcraft import graph_of
from stepwell.model.blueprints import ALIASES, Graph

Find = Callable[[str], Definition[Any, Any] | None]
"""The workflow of this name in the app."""

_NODE_FIELDS = ("id", "uses", "params", "inputs", "config")
_EDGE_FIELDS = ("source", "target", "action", "condition", "transform")


def made_snapshot(blueprint: Blueprint[Any, Any], find: Find) -> Raw:
    """The blueprint and its subflows, without what does not matter to a run. `BlueprintError`."""
    documents = {item.id: _bare(item) for item in reachable(blueprint, find)}
    return Raw(msgspec.json.encode({"main": blueprint.id, "blueprints": documents}))


def graphs_of(snapshot: Raw) -> tuple[Graph, list[Graph]]:
    """The blueprint that a run is pinned to, and its subflows."""
    value = msgspec.json.decode(snapshot)
    graphs = {
        id: graph_of(document, implementations=document.get("taken", ()))
        for id, document in value["blueprints"].items()
    }
    main = graphs.pop(value["main"])
    return main, list(graphs.values())


def reachable(blueprint: Blueprint[Any, Any], find: Find) -> Iterator[Blueprint[Any, Any]]:
    """The blueprint and its subflows at any depth, by their names."""
    given = {item.id: item for item in blueprint.all_blueprints()}
    seen: set[str] = set()
    todo = [blueprint]
    while todo:
        item = todo.pop()
        if item.id in seen:
            continue
        seen.add(item.id)
        yield item
        for node in item.graph.nodes:
            name = node.params.get("blueprintId") if node.built_in == "subflow" else None
            if isinstance(name, str):
                found = given.get(name) or find(name)
                if not isinstance(found, Blueprint):
                    raise BlueprintError(
                        f"blueprint {item.id!r}: node {node.id!r} is a subflow of {name!r}, which is not here; include "
                        f"that blueprint"
                    )
                todo.append(found)


def _bare(blueprint: Blueprint[Any, Any]) -> dict[str, Any]:
    """What of a document a run goes by. `taken`: names of built-in nodes that have an implementation of their own."""
    document = blueprint.document
    taken = sorted(name for name in blueprint.implementations if name in ALIASES)
    return {
        "id": document["id"],
        "nodes": [_only(node, _NODE_FIELDS) for node in _listed(document.get("nodes"))],
        "edges": [_only(edge, _EDGE_FIELDS) for edge in _listed(document.get("edges"))],
        "metadata": document.get("metadata") or {},
        "taken": taken,
    }


def _listed(items: Any) -> Sequence[Mapping[str, Any]]:
    if isinstance(items, Mapping):
        return [{"id": key, **item} for key, item in items.items()]
    return items or ()


def _only(value: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    return {field: value[field] for field in fields if value.get(field) is not None}
