"""Which nodes of a graph may run at the same time: neither leads to the other, and no decision is between them.

A decision is a node whose edges are not all taken together. Two nodes exclude each other if every way to the one and
every way to the other leave the same decision by edges of which only one kind is taken. Two conditions are believed to
exclude each other, since that is what they are written for; so what is said here errs to "not at the same time".
"""

from __future__ import annotations

from collections.abc import Iterable

from stepwell.engine.graph.wiring import Wiring, reach
from stepwell.model.blueprints import Edge, Graph

_BUDGET = 5_000_000
"""Steps of walks, after which nothing is found concurrent any more."""

Way = tuple[str | None, str | None]
"""How an edge leaves a decision: its action and its condition."""


class Branches:
    """The order and the decisions of one graph. Edges that end an iteration count as leading nowhere."""

    def __init__(self, wiring: Wiring, graph: Graph, bodies: dict[int, set[int]], entries: list[int]) -> None:
        self._wiring = wiring
        self._entries = entries
        self._left = _BUDGET
        self._after = self._order(bodies)
        self._ways: dict[int, dict[Way, list[int]]] = {}
        for edge in graph.edges:
            self._add(edge, bodies)
        self._ways = {node: ways for node, ways in self._ways.items() if _is_decision(ways)}
        self._decided: dict[int, dict[int, set[Way]]] = {}
        self._reached: dict[int, set[int]] = {}

    def _order(self, bodies: dict[int, set[int]]) -> list[list[int]]:
        """What is after what: by edges, except those that end an iteration; a fallback is before what it stands for."""
        wiring = self._wiring
        after = [
            [target for target in targets if number not in bodies.get(target, ())]
            for number, targets in enumerate(wiring.after)
        ]
        for fallback, served in wiring.served.items():
            for node in served:
                after[fallback] += (target for target in wiring.targets[node] if target != fallback)
        return after

    def _add(self, edge: Edge, bodies: dict[int, set[int]]) -> None:
        source, target = self._wiring.number.get(edge.source), self._wiring.number.get(edge.target)
        if source is not None and target is not None and source not in bodies.get(target, ()):
            ways = self._ways.setdefault(source, {})
            ways.setdefault((edge.action, edge.condition), []).append(target)

    @property
    def is_exhausted(self) -> bool:
        """Whether too much was asked; then nothing is concurrent any more."""
        return self._left <= 0

    def concurrent(self, one: int, other: int) -> bool:
        """Whether both nodes may run, and neither waits for the other."""
        if one == other or other in self._following(one) or one in self._following(other):
            return False
        return not self._exclude(self._decisions(one), self._decisions(other)) and not self.is_exhausted

    def both_taken(self, one: Edge, other: Edge) -> bool:
        """Whether two edges may both be taken."""
        return not self._exclude(self._edge_decisions(one), self._edge_decisions(other)) and not self.is_exhausted

    def _edge_decisions(self, edge: Edge) -> dict[int, set[Way]]:
        source = self._wiring.number[edge.source]
        return {**self._decisions(source), source: {(edge.action, edge.condition)}}

    def _exclude(self, one: dict[int, set[Way]], other: dict[int, set[Way]]) -> bool:
        return any(
            all(_differ(way, another) for way in one[decision] for another in other[decision])
            for decision in one.keys() & other.keys()
        )

    def _following(self, number: int) -> set[int]:
        if number not in self._reached:
            self._reached[number] = self._walk(self._after[number])
        return self._reached[number]

    def _decisions(self, number: int) -> dict[int, set[Way]]:
        """The decisions that every way to a node passes, with the ways out of each that lead to it."""
        if not self._decided and self._ways:
            for decision in self._ways:
                self._decide(decision)
        return self._decided.get(number, {})

    def _decide(self, decision: int) -> None:
        without = self._walk(self._entries, without=decision)
        for way, targets in self._ways[decision].items():
            for number in self._walk(targets, without=decision):
                if number not in without:
                    self._decided.setdefault(number, {}).setdefault(decision, set()).add(way)

    def _walk(self, starts: Iterable[int], *, without: int = -1) -> set[int]:
        if self.is_exhausted:
            return set()
        found = reach(starts, self._after, _Without(without))
        self._left -= len(found) + 1
        return found


class _Without:
    """All nodes but one."""

    def __init__(self, one: int) -> None:
        self._one = one

    def __contains__(self, number: object) -> bool:
        return number != self._one


def _is_decision(ways: dict[Way, list[int]]) -> bool:
    listed = list(ways)
    return any(_differ(way, other) for index, way in enumerate(listed) for other in listed[:index])


def _differ(way: Way, other: Way) -> bool:
    """Whether only one of two kinds of edges is taken."""
    if way[0] != other[0]:
        return True
    return way[1] is not None and other[1] is not None and way[1] != other[1]
