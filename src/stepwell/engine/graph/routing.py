"""Which edges a result takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from stepwell.engine.expressions import Expression, truthy
from stepwell.engine.graph.plan import PlanEdge, PlanNode
from stepwell.engine.graph.visits import Space, Visit
from stepwell.errors import ExpressionFailed, StepwellError
from stepwell.model.failures import NULL

Watch = Callable[[str, dict[str, Any]], None]


class RoutingError(StepwellError):
    """A node's work is done, but where to go from there cannot be told."""


class Route(NamedTuple):
    """The edges of a visit in their order, and which of them are taken."""

    edges: Sequence[PlanEdge]
    chosen: frozenset[int]

    @property
    def taken(self) -> list[PlanEdge]:
        """The edges that are taken."""
        return [edge for edge in self.edges if edge.index in self.chosen]


def chosen_edges(visit: Visit, nodes: Sequence[PlanNode], watch: Watch | None) -> Route:
    """Edges with the result's action, else those without any; of these, the ones whose condition holds.

    `nodes` are the visited node and those that it stands for. `RoutingError` if nobody listens to the action, or a
    condition cannot be computed.
    """
    edges = [edge for node in nodes for edge in node.out]
    action = visit.action
    named = [edge for edge in edges if edge.action == action] if action else []
    found = [edge for edge in named if holds(visit, edge, watch)]
    if not found:
        plain = [edge for edge in edges if edge.action is None]
        if action and edges and not named and not plain:
            known = ", ".join(dict.fromkeys(str(edge.action) for edge in edges))
            raise RoutingError(f"action {action!r}: node {visit.node.id!r} listens to: {known}")
        found = [edge for edge in plain if holds(visit, edge, watch)]
    return Route(edges, frozenset([edge.index for edge in found]))


def holds(visit: Visit, edge: PlanEdge, watch: Watch | None = None) -> bool:
    """Whether the edge's condition, if it has one, is true of this result."""
    if edge.condition is None:
        return True
    is_true = truthy(
        evaluated(edge.condition, visit.scope.space, f"condition of {described(edge)}", result=_result(visit))
    )
    if watch is not None:
        source, target, text = edge.source.id, edge.target.id, edge.condition.text
        watch("edge:evaluate", {"source": source, "target": target, "condition": text, "result": is_true})
    return is_true


def evaluated(expression: Expression, space: Space, what: str, /, **names: Any) -> Any:
    """The value of an expression; `names` come before those of the space. `RoutingError` if it has none."""

    def lookup(name: str) -> Any:
        return names[name] if name in names else space.value(name)

    try:
        return expression.evaluate(lookup)
    except ExpressionFailed as error:
        raise RoutingError(f"{what}: {error}") from None


def described(edge: PlanEdge) -> str:
    """An edge, in messages."""
    return f"the edge {edge.source.id!r} -> {edge.target.id!r}"


def _result(visit: Visit) -> dict[str, Any]:
    result = {"output": msgspec.json.decode(visit.output or NULL)}
    if visit.action is not None:
        result["action"] = visit.action
    return result
