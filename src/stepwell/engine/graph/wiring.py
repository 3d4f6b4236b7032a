"""What leads to what in a blueprint, by number: the form that walks over a graph need.

A node leads to the targets of its edges and to its fallback. Nothing here recurses: a graph may be a chain of 100,000.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Sequence

from stepwell.model.blueprints import Graph, Node

Links = Sequence[Collection[int]]
"""For each node, by its number, those that a step leads to."""


class Wiring:
    """The nodes of a graph, numbered in definition order, with their links. What names no node is left out; of nodes
    with the same id the first counts."""

    def __init__(self, graph: Graph) -> None:
        self.nodes: list[Node] = []
        self.number: dict[str, int] = {}
        for node in graph.nodes:
            if node.id not in self.number:
                self.number[node.id] = len(self.nodes)
                self.nodes.append(node)
        loops = (n for n, node in enumerate(self.nodes) if node.built_in == "loop-controller")
        self.continues: dict[int, list[int]] = {n: [] for n in loops}
        """The controllers of loops, with the nodes that an iteration of theirs begins with."""
        self.targets: list[dict[int, None]] = [{} for _ in self.nodes]
        self.sources: list[dict[int, None]] = [{} for _ in self.nodes]
        self._add_edges(graph)
        self.served: dict[int, list[int]] = {}
        """The nodes that are a fallback, with those that they serve."""
        self.after: list[list[int]] = [list(targets) for targets in self.targets]
        self.before: list[list[int]] = [list(sources) for sources in self.sources]
        self._add_fallbacks()

    def _add_edges(self, graph: Graph) -> None:
        for edge in graph.edges:
            source, target = self.number.get(edge.source), self.number.get(edge.target)
            if source is None or target is None:
                continue
            self.targets[source][target] = None
            self.sources[target][source] = None
            if source in self.continues and edge.action == "continue" and target not in self.continues[source]:
                self.continues[source].append(target)

    def _add_fallbacks(self) -> None:
        for number, node in enumerate(self.nodes):
            if node.config.fallback is None or node.config.fallback not in self.number:
                continue
            fallback = self.number[node.config.fallback]
            self.served.setdefault(fallback, []).append(number)
            if fallback not in self.targets[number]:
                self.after[number].append(fallback)
                self.before[fallback].append(number)

    @property
    def everything(self) -> range:
        """All numbers."""
        return range(len(self.nodes))

    def ids(self, numbers: Iterable[int]) -> list[str]:
        """The ids of nodes."""
        return [self.nodes[number].id for number in numbers]


def reach(starts: Iterable[int], links: Links, within: Container[int]) -> set[int]:
    """What one gets to from `starts`, these included, without leaving `within`."""
    found = {number for number in starts if number in within}
    pending = list(found)
    while pending:
        for target in links[pending.pop()]:
            if target in within and target not in found:
                found.add(target)
                pending.append(target)
    return found


def knots(members: Collection[int], after: Links, before: Links) -> Iterator[set[int]]:
    """The largest sets of nodes within `members` that all lead to each other, by links that stay within.

    Single nodes count if they lead to themselves. Kosaraju's algorithm: whoever leads back to the node left last is in
    its knot.
    """
    left = set(members)
    for root in reversed(_finished(members, after)):
        if root in left:
            knot = reach([root], before, left)
            left -= knot
            if len(knot) > 1 or root in after[root]:
                yield knot


def _finished(members: Collection[int], after: Links) -> list[int]:
    """All of `members`, each after those that a walk from it finds."""
    finished: list[int] = []
    seen: set[int] = set()
    for root in members:
        if root in seen:
            continue
        seen.add(root)
        walk = [(root, iter(after[root]))]
        while walk:
            node, targets = walk[-1]
            target = next((t for t in targets if t in members and t not in seen), None)
            if target is None:
                finished.append(node)
                walk.pop()
            else:
                seen.add(target)
                walk.append((target, iter(after[target])))
    return finished
