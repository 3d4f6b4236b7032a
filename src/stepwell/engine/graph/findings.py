"""What the linter of blueprints says, and of what."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from msgspec import Struct

from stepwell.engine.expressions import Expression
from stepwell.engine.graph.analysis import raw_cycles
from stepwell.engine.graph.nesting import Nesting
from stepwell.engine.graph.wiring import Wiring
from stepwell.errors import DefinitionError
from stepwell.model.blueprint_rules import Names, Violation
from stepwell.model.blueprints import BuiltIn, Edge, Graph, Node

Severity = Literal["error", "warning"]


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is wrong (error) or probably not meant so (warning). `path`: where it stands in the document."""

    code: str
    severity: Severity
    message: str
    path: str = ""
    node_id: str | None = None
    related_id: str | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.message} [{self.code}]" if self.path else f"{self.message} [{self.code}]"


class Subject:
    """A graph that is being looked at, with what all checks need of it.

    `writers`: the keys of the state that nodes are known to write, with these. `hyphenated`: the names that expressions
    may hold although they look like a subtraction. Of two nodes with the same id only the first is looked at further.
    """

    def __init__(self, graph: Graph, implementations: Collection[str], node_paths: Sequence[str] = ()) -> None:
        self.graph = graph
        self.wiring = Wiring(graph)
        self.nesting = Nesting(self.wiring, graph.cycle_entry_points)
        self.ids = self.wiring.number
        self.cycles = raw_cycles(graph)
        self._cycle_of = {id: index for index, ids in enumerate(self.cycles) for id in ids}
        self._implementations = implementations
        self._paths = node_paths
        self._places: dict[str, int] = {}
        for place, node in enumerate(graph.nodes):
            self._places.setdefault(node.id, place)
        self.writers: dict[str, list[Node]] = {}
        for node in self.wiring.nodes:
            for key in self._keys_of(node):
                self.writers.setdefault(key, []).append(node)
        self.names = Names([*self.ids, *self.writers])
        self.hyphenated = {name: None for name in (*self.ids, *self.writers) if "-" in name}
        self.compiled: dict[str, Expression | DefinitionError] = {}

    def kind(self, node: Node) -> BuiltIn | None:
        """Which built-in a node is, unless an implementation has its name."""
        return None if node.uses in self._implementations else node.built_in

    def number(self, node: Node) -> int:
        """The number of a node in the wiring."""
        return self.ids[node.id]

    def is_in_cycle(self, edge: Edge) -> bool:
        """Whether an edge is part of a cycle that no loop ends; one of each of these is never taken."""
        return edge.source in self._cycle_of and self._cycle_of[edge.source] == self._cycle_of.get(edge.target)

    def path(self, node: Node, field: str = "") -> str:
        """Where a node, or a field of it, stands in the document."""
        return Violation(code="", message="", node=self._places[node.id], field=field).path(self._paths)

    def about(
        self, node: Node, code: str, message: str, *, field: str = "", severity: Severity = "warning", related: str = ""
    ) -> Finding:
        """A finding about a node."""
        return Finding(
            code=code,
            severity=severity,
            message=message,
            path=self.path(node, field),
            node_id=node.id,
            related_id=related or None,
        )

    def _keys_of(self, node: Node) -> list[str]:
        """The state keys that a built-in node writes, as far as its parameters say."""
        kind = self.kind(node)
        if kind == "batch-gather":
            key = node.params.get("outputKey")
            return [key if isinstance(key, str) and key else node.id]
        field = {"set": "values", "subflow": "outputs"}.get(kind or "", "")
        written = node.params.get(field)
        return list(written) if isinstance(written, dict) else []
