"""The graph that grows while a flow is compiled: nodes, edges, and where the code has got to.

One token runs through the graph of a flow, apart from branches that run side by side. So where paths meet, the first
to arrive goes on: such a node joins `any`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from stepwell.authoring.flows.reserved import RESERVED

Json = dict[str, Any]


class Loose(NamedTuple):
    """An edge whose target is not known yet."""

    source: str
    action: str | None = None
    condition: str | None = None


class Cursor(NamedTuple):
    """A place in the code: the edges that lead to what comes next, and the variables that are set on all of them."""

    edges: tuple[Loose, ...]
    known: frozenset[str]

    @property
    def is_live(self) -> bool:
        """Whether anything leads here."""
        return bool(self.edges)

    def at(self, *edges: Loose) -> Cursor:
        """Another place where the same is known."""
        return Cursor(edges, self.known)

    def knowing(self, names: Iterable[str]) -> Cursor:
        """The same place, after these were set."""
        return Cursor(self.edges, self.known | frozenset(names))


def meet(*cursors: Cursor) -> Cursor:
    """Where several places lead to the same code."""
    live = [cursor for cursor in cursors if cursor.is_live]
    if not live:
        return Cursor((), frozenset())
    edges = dict.fromkeys(edge for cursor in live for edge in cursor.edges)
    return Cursor(tuple(edges), frozenset.intersection(*(cursor.known for cursor in live)))


class GraphBuilder:
    """Nodes and edges in the order of the code. Ids avoid `taken`, the names of the flow's variables."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.nodes: dict[str, Json] = {}
        self.edges: list[Json] = []
        self.lines: dict[str, int] = {}
        self._taken = {*taken, *RESERVED}
        self._numbers: dict[str, int] = {}
        self._mergeable: str | None = None

    def id(self, name: str) -> str:
        """An id that nothing else has: the name, or with a number behind it."""
        base = re.sub(r"\W", "_", name, flags=re.ASCII)
        base = base if base and not base[0].isdigit() and base[0] != "_" else f"n{base}"
        id, number = base, self._numbers.get(base, 1)
        while id in self._taken:
            number += 1
            id = f"{base}_{number}"
        self._numbers[base] = number
        self._taken.add(id)
        return id

    def add(self, cursor: Cursor, id: str, node: Json, line: int) -> Cursor:
        """Put a node at a place; the place behind it."""
        self.nodes[id] = {"id": id, **node}
        self.lines[id] = line
        self._mergeable = None
        self.lead(cursor, id)
        if len(cursor.edges) > 1:
            self.configure(id, joinStrategy="any")
        return cursor.at(Loose(id))

    def lead(self, cursor: Cursor, target: str, transform: str | None = None) -> None:
        """Let everything that leads to a place lead to a node."""
        for loose in cursor.edges:
            edge = {"source": loose.source, "target": target}
            optional = {"action": loose.action, "condition": loose.condition, "transform": transform}
            self.edges.append(edge | {key: value for key, value in optional.items() if value is not None})

    def configure(self, id: str, **config: Any) -> None:
        """Set a node's config, over what it has."""
        self.nodes[id].setdefault("config", {}).update(config)

    def set(self, cursor: Cursor, values: dict[str, str], line: int, name: str = "set") -> Cursor:
        """Assign, in a node of its own or in the one just before."""
        last = self._mergeable
        if last is not None and cursor.edges == (Loose(last),):
            present = self.nodes[last]["params"]["values"]
            if not present.keys() & values.keys():
                present.update(values)
                return cursor
        id = self.id(name)
        cursor = self.add(cursor, id, {"uses": "set", "params": {"values": dict(values)}}, line)
        self._mergeable = id
        return cursor

    def close(self) -> None:
        """Let nothing be put into the node just before."""
        self._mergeable = None
