"""What goes into a node: its mapping, the value on its edge, a transform."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw

from stepwell.engine.graph.plan import PlanEdge
from stepwell.engine.graph.routing import described, evaluated
from stepwell.engine.graph.visits import Space, Visit
from stepwell.model.failures import NULL


def resolved_input(space: Space, inputs: str | dict[str, str]) -> Raw | None:
    """The input that a mapping asks for; None: what it names is not there."""
    if isinstance(inputs, str):
        return found(space, inputs)
    fields = {name: raw for name, source in inputs.items() if (raw := found(space, source)) is not None}
    return Raw(msgspec.json.encode(fields))


def found(space: Space, source: str) -> Raw | None:
    """What one mapping names: a node's output, a key of the state, or a path into either."""
    whole = space.find(source)
    if whole is not None or "." not in source:
        return whole
    base, *path = source.split(".")
    if base in ("_outputs", "_inputs"):
        base, path = f"{base}.{path[0]}", path[1:]
    raw = space.find(base)
    if raw is None:
        return None
    value = space.value(base)
    for part in path:
        value = _part(value, part)
        if value is UNSET:
            return None
    return Raw(msgspec.json.encode(value))


def transformed(space: Space, edge: PlanEdge, visit: Visit) -> Raw:
    """The value that an edge's transform makes of its source's output. `RoutingError`."""
    assert edge.transform is not None, "asked only for such edges"
    source = visit.output or NULL
    inputs = edge.target.node.inputs
    if isinstance(inputs, str) and inputs != edge.source.id and (other := _named(space, inputs)) is not None:
        source = other
    what = f"transform of {described(edge)}"
    value = evaluated(edge.transform, space, what, input=msgspec.json.decode(source))
    return encoded(value)


def encoded(value: Any) -> Raw:
    """The payload of a computed value; undefined is null."""
    return NULL if value is UNSET else Raw(msgspec.json.encode(value))


def result_of(visit: Visit) -> dict[str, Any]:
    """A visit's result, for who watches."""
    return {"output": visit.output, "action": visit.action}


def caught(visit: Visit) -> dict[str, Any]:
    """What the fallback of a failed visit reads as `_catch_error`."""
    failure = visit.error
    assert failure is not None, "it failed"
    return {
        "message": failure.message,
        "type": failure.type,
        "types": list(failure.types),
        "nodeId": visit.node.id,
        "blueprintId": visit.scope.space.plan.graph.id,
    }


def gather_of(output: Raw) -> str:
    """The node that a result asks its dynamic nodes to be gathered in; empty: none."""
    value = msgspec.json.decode(output)
    id = value.get("gatherNodeId") if isinstance(value, dict) else None
    return id if isinstance(id, str) else ""


def _named(space: Space, inputs: str) -> Raw | None:
    return space.find(inputs) if inputs[:1] == "_" else space.outputs.get(inputs)


def _part(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        return value.get(part, UNSET)
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    return UNSET
