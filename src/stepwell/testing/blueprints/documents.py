"""A blueprint document as the evaluator reads it: its own reading, so that two readings can be compared.

Nothing here is fast, and nothing is shared with the product but the JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = Any
BUILT_IN = {
    "WaitNode": "wait",
    "SleepNode": "sleep",
    "WebhookNode": "webhook",
    "SubflowNode": "subflow",
    "BatchScatterNode": "batch-scatter",
    "BatchGatherNode": "batch-gather",
}


@dataclass(eq=False)
class Vertex:
    """A node as it stands in the document."""

    id: str
    uses: str
    params: dict[str, Json]
    inputs: str | dict[str, str] | None
    config: dict[str, Json]

    @property
    def join(self) -> str:
        return str(self.config.get("joinStrategy") or ("any" if self.uses == "loop-controller" else "all"))

    @property
    def fallback(self) -> str | None:
        return self.config.get("fallback") or None


@dataclass(eq=False)
class Link:
    """An edge as it stands in the document. `index` is its place."""

    index: int
    source: str
    target: str
    action: str | None
    condition: str | None
    transform: str | None


@dataclass(eq=False)
class Reading:
    """A document with what follows from its shape.

    `home` says in which loop's body a node is (the innermost one; None: in none), `bodies` the nodes of each loop's
    body, those of loops within included. `cut` are the edges that would close a cycle without a loop controller.
    """

    id: str
    vertices: dict[str, Vertex]
    links: list[Link]
    metadata: dict[str, Json]
    bodies: dict[str, set[str]] = field(default_factory=dict)
    home: dict[str, str | None] = field(default_factory=dict)
    cut: set[int] = field(default_factory=set)

    def into(self, id: str) -> list[Link]:
        return [link for link in self.links if link.target == id]

    def out_of(self, id: str) -> list[Link]:
        return [link for link in self.links if link.source == id]

    def served_by(self, id: str) -> list[str]:
        """The nodes whose fallback this node is."""
        return [vertex.id for vertex in self.vertices.values() if vertex.fallback == id]

    def is_back(self, link: Link) -> bool:
        """Whether the edge ends an iteration."""
        return link.source in self.bodies.get(link.target, ())

    def is_cut(self, link: Link) -> bool:
        """Whether the edge would close a cycle, and so leads nowhere."""
        return link.index in self.cut

    def chain(self, id: str) -> list[str | None]:
        """The loops around a node, innermost first; None ends it."""
        found: list[str | None] = [self.home[id]]
        while found[-1] is not None:
            found.append(self.home[found[-1]])
        return found

    def scope_of(self, link: Link) -> str | None:
        """The loop in whose iterations the edge is resolved: the innermost one that holds both ends."""
        if self.is_back(link):
            return link.target
        if link.source in self.bodies and link.target in self.bodies[link.source]:
            return link.source
        around = self.chain(link.target)
        return next(loop for loop in self.chain(link.source) if loop in around)


def read(document: dict[str, Json]) -> Reading:
    vertices: dict[str, Vertex] = {}
    for key, node in _entries(document.get("nodes")):
        vertex = _vertex(node, str(node.get("id") if node.get("id") is not None else key))
        vertices[vertex.id] = vertex
    links: dict[tuple[Json, ...], Link] = {}
    for _, edge in _entries(document.get("edges")):
        link = Link(
            0, edge["source"], edge["target"], *(edge.get(f) or None for f in ("action", "condition", "transform"))
        )
        links[link.source, link.target, link.action, link.condition] = link
    reading = Reading(document["id"], vertices, list(links.values()), document.get("metadata") or {})
    for index, link in enumerate(reading.links):
        link.index = index
    _find_bodies(reading)
    _cut_cycles(reading)
    return reading


def _entries(value: Json) -> list[tuple[str, dict[str, Json]]]:
    if isinstance(value, dict):
        return list(value.items())
    return [("", item) for item in value or []]


def _vertex(node: dict[str, Json], id: str) -> Vertex:
    uses = BUILT_IN.get(node["uses"], str(node["uses"]))
    return Vertex(id, uses, node.get("params") or {}, node.get("inputs") or None, node.get("config") or {})


# --- loops


def _find_bodies(reading: Reading) -> None:
    loops = [vertex.id for vertex in reading.vertices.values() if vertex.uses == "loop-controller"]
    for loop in loops:
        around = {other for other in loops if other != loop and _is_around(reading, other, loop)}
        reading.bodies[loop] = _body(reading, loop, around)
    for id in reading.vertices:
        holding = [loop for loop, body in reading.bodies.items() if id in body]
        reading.home[id] = min(holding, key=lambda loop: len(reading.bodies[loop]), default=None)


def _is_around(reading: Reading, outer: str, inner: str) -> bool:
    """Whether a loop holds another. If each is on the other's way, the one that needs the other is around it; or else
    the one that is reached first."""
    if inner not in _body(reading, outer, set()):
        return False
    if outer not in _body(reading, inner, set()):
        return True
    alone, without = _body(reading, inner, {outer}), _body(reading, outer, {inner})
    return bool(alone) and (not without or _distance(reading, outer) < _distance(reading, inner))


def _distance(reading: Reading, loop: str) -> int:
    """How far the controller, or where its body begins, is from the nodes that begin the run; if none of them leads
    there, from those by which the knot that the loop is in is entered; if nothing leads into it, from its first."""
    wanted = {loop, *(link.target for link in reading.out_of(loop) if link.action == "continue")}
    knot = {loop, *_body(reading, loop, set())}
    declared = reading.metadata.get("cycleEntryPoints") or []
    first = next(id for id in [*declared, *reading.vertices] if id in knot)
    begins = {id for id in reading.vertices if not reading.into(id) and not reading.served_by(id)}
    entered = {link.target for link in reading.links if link.target in knot and link.source not in knot}
    for reached in (begins, entered, {first}):
        for distance in range(len(reading.vertices)):
            if reached & wanted:
                return distance
            spares = {reading.vertices[id].fallback for id in reached} - {None}
            reached |= {link.target for link in reading.links if link.source in reached} | spares
    return len(reading.vertices)


def _body(reading: Reading, loop: str, around: set[str]) -> set[str]:
    """What is between the continue edges and the controller, on ways that do not pass the loops around it."""
    starts = [link.target for link in reading.out_of(loop) if link.action == "continue"]
    after: dict[str, set[str]] = {id: set() for id in reading.vertices}
    for link in reading.links:
        after[link.source].add(link.target)
    for vertex in reading.vertices.values():
        if vertex.fallback is not None:  # it comes after the node that it stands for, and what follows follows it
            after[vertex.fallback] |= {link.target for link in reading.out_of(vertex.id)}
            after[vertex.id].add(vertex.fallback)
    reachable = _closure(after, starts, {loop, *around})
    return {id for id in reachable if loop in _closure(after, [id], around)}


def _closure(after: dict[str, set[str]], starts: list[str], barred: set[str]) -> set[str]:
    found: set[str] = set()
    todo = [id for id in starts if id not in barred]
    while todo:
        id = todo.pop()
        if id not in found:
            found.add(id)
            todo.extend(after[id] - found - barred)
    return found


# --- cycles without a controller


def _cut_cycles(reading: Reading) -> None:
    entries = list(reading.metadata.get("cycleEntryPoints") or [])
    ranked = [id for id in entries if id in reading.vertices] + [id for id in reading.vertices if id not in entries]
    while (cycle := _a_cycle(reading)) is not None:
        entry = min(cycle, key=ranked.index)
        members = set(cycle)
        reading.cut |= {
            link.index for link in reading.into(entry) if link.source in members and not reading.is_back(link)
        }


def _a_cycle(reading: Reading) -> set[str] | None:
    """The nodes of some cycle that is not yet cut, with all that are on a way from one of them to itself."""
    after: dict[str, set[str]] = {id: set() for id in reading.vertices}
    for link in reading.links:
        if link.index not in reading.cut and not reading.is_back(link):
            after[link.source].add(link.target)
    reach = {id: _closure(after, list(after[id]), set()) for id in after}
    for id in after:
        if id in reach[id]:
            return {other for other in reach[id] if id in reach[other]}
    return None
