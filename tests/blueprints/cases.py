"""Cases written by hand: a sentence about blueprints, a document, and what it gives. They are data, for any engine.

An edge is `a -> b`, with what else it says in braces: `a -> b {"action": "yes"}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Json = Any


@dataclass(frozen=True)
class Sentence:
    """`expected` may hold `value`, `status`, `outputs`, `inputs`, `state`, `steps` and `failure` (a part of the
    run's message)."""

    text: str
    nodes: Json
    edges: Json = ()
    expected: dict[str, Json] = field(default_factory=dict)
    metadata: dict[str, Json] | None = None
    input: Json = None
    blueprints: dict[str, Json] = field(default_factory=dict)
    script: dict[str, list[Json]] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Json]:
        return blueprint("main", self.nodes, self.edges, self.metadata)


def blueprint(id: str, nodes: Json, edges: Json = (), metadata: Json = None) -> dict[str, Json]:
    """A document. Edges may be text."""
    if not isinstance(edges, dict | None):
        edges = [_edge(edge) if isinstance(edge, str) else edge for edge in edges]
    return {"id": id, "nodes": nodes, "edges": edges, "metadata": metadata or {}}


def _edge(text: str) -> dict[str, Json]:
    ends, brace, rest = text.partition("{")
    source, target = ends.split("->")
    return {"source": source.strip(), "target": target.strip(), **(json.loads(brace + rest) if brace else {})}


def const(id: str, value: Json = None, **fields: Json) -> dict[str, Json]:
    """A node that gives a value."""
    return {"id": id, "uses": "const", "params": {"value": value}, **fields}


def echo(id: str, **fields: Json) -> dict[str, Json]:
    """A node that gives its input."""
    return {"id": id, "uses": "echo", **fields}


def act(id: str, action: str, value: Json = None, **fields: Json) -> dict[str, Json]:
    """A node that answers with an action."""
    return {"id": id, "uses": "act", "params": {"action": action, "value": value}, **fields}


def fail(id: str, message: str = "on purpose", **config: Json) -> dict[str, Json]:
    """A node that fails."""
    return {"id": id, "uses": "fail", "params": {"message": message}, "config": config}
