"""Which nodes of a graph may run at the same time.

They do if the run goes two ways at once, and these lead to the one and to the other without meeting. It goes two ways
at once where it has several starts, and where a node has edges that are taken together. Nor may a decision be between
them: a node with edges of which only one kind is taken, which every way to them passes and leaves by other edges for
the one than for the other. Two conditions are believed to exclude each other, since that is what they are written for:
what is said here errs to "not at the same time".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from stepwell.engine.graph.disjoint import keep_apart
from stepwell.engine.graph.wiring import Wiring, reach
from stepwell.model.blueprints import Edge, Graph

_BUDGET = 5_000_000
"""Steps of walks, after which nothing is found concurrent any more."""
_MAX_PAIRS = 20
"""How many pairs of edges of one fork are followed."""
_ROOT = -1
"""The number of what is before all starts."""

Way = tuple[str | None, str | None]
"""How an edge leaves a node: its action and its condition."""


class Branches:
    """The order, the forks and the decisions of one graph. Edges that end an iteration count as leading nowhere."""

    def __init__(self, wiring: Wiring, graph: Graph, bodies: dict[int, set[int]], entries: list[int]) -> None:
        self._wiring = wiring
        self._entries = entries
        self._left = _BUDGET
        self._out: dict[int, list[tuple[Way, int]]] = {_ROOT: [((None, None), entry) for entry in entries]}
        for edge in graph.edges:
            self._add(edge, bodies)
        self._stand_in()
        self._after = [
            [*(target for _, target in self._out.get(number, ())), *wiring.after[number][len(wiring.targets[number]) :]]
            for number in wiring.everything
        ]
        self._followed: dict[int, set[int]] = {}
        self._forked: dict[int, dict[int, set[int]]] | None = None
        self._decided: dict[int, dict[int, set[Way]]] | None = None

    def _add(self, edge: Edge, bodies: dict[int, set[int]]) -> None:
        source, target = self._wiring.number.get(edge.source), self._wiring.number.get(edge.target)
        if source is not None and target is not None and source not in bodies.get(target, ()):
            self._out.setdefault(source, []).append(((edge.action, edge.condition), target))

    def _stand_in(self) -> None:
        """A fallback is followed by what follows the nodes that it stands in for."""
        own = {number: list(out) for number, out in self._out.items()}
        for fallback, served in self._wiring.served.items():
            for number in served:
                others = (link for link in own.get(number, ()) if link[1] != fallback)
                self._out.setdefault(fallback, []).extend(others)

    def concurrent(self, one: int, other: int) -> bool:
        """Whether both nodes may run, and neither waits for the other."""
        if one == other or other in self._following(one) or one in self._following(other):
            return False
        if _exclude(self._decisions(one), self._decisions(other)):
            return False
        return self._part(one, self._forks(one), other, self._forks(other)) and self._left > 0

    def both_taken(self, one: Edge, other: Edge) -> bool:
        """Whether two edges may both be taken."""
        if _exclude(self._decisions_of_edge(one), self._decisions_of_edge(other)):
            return False
        sources = self._wiring.number[one.source], self._wiring.number[other.source]
        forks = self._forks_of_edge(one), self._forks_of_edge(other)
        return self._part(sources[0], forks[0], sources[1], forks[1]) and self._left > 0

    def _part(self, one: int, of_one: dict[int, set[int]], other: int, of_other: dict[int, set[int]]) -> bool:
        """Whether there is a fork from which two edges, taken together, lead to both by ways that do not meet."""
        return any(
            self._is_apart(fork, first, one, second, other)
            for fork in of_one.keys() & of_other.keys()
            for first, second in islice(self._pairs(fork, of_one[fork], of_other[fork]), _MAX_PAIRS)
        )

    def _pairs(self, fork: int, positions: set[int], others: set[int]) -> Iterator[tuple[int, int]]:
        """Edges of a fork that are taken together, by their positions."""
        out = self._out[fork]
        for first in positions:
            for second in others:
                if first != second and not _differ(out[first][0], out[second][0]):
                    yield first, second

    def _is_apart(self, fork: int, first: int, one: int, second: int, other: int) -> bool:
        if fork in (one, other):
            return True  # one of the two edges leaves the fork itself
        starts = self._out[fork][first][1], self._out[fork][second][1]
        is_apart, steps = keep_apart(starts, (one, other), self._after)
        self._left -= steps
        return is_apart

    def _forks_of_edge(self, edge: Edge) -> dict[int, set[int]]:
        source, target = self._wiring.number[edge.source], self._wiring.number[edge.target]
        link = ((edge.action, edge.condition), target)
        own = {index for index, other in enumerate(self._out.get(source, ())) if other == link}
        return {**self._forks(source), source: own}

    def _decisions_of_edge(self, edge: Edge) -> dict[int, set[Way]]:
        source = self._wiring.number[edge.source]
        return {**self._decisions(source), source: {(edge.action, edge.condition)}}

    def _following(self, number: int) -> set[int]:
        if number not in self._followed:
            self._followed[number] = self._walk(self._after[number])
        return self._followed[number]

    def _forks(self, number: int) -> dict[int, set[int]]:
        """The forks that lead to a node, with the positions of the edges by which they do."""
        if self._forked is None:
            self._forked = {}
            for fork, out in self._out.items():
                if _is_fork(out):
                    for index, (_, target) in enumerate(out):
                        for reached in self._walk([target]):
                            self._forked.setdefault(reached, {}).setdefault(fork, set()).add(index)
        return self._forked.get(number, {})

    def _decisions(self, number: int) -> dict[int, set[Way]]:
        """The decisions that every way to a node passes, with the ways out of each that lead to it."""
        if self._decided is None:
            self._decided = {}
            for decision, out in self._out.items():
                if _is_decision(out):
                    self._decide(decision, out, self._decided)
        return self._decided.get(number, {})

    def _decide(self, decision: int, out: list[tuple[Way, int]], decided: dict[int, dict[int, set[Way]]]) -> None:
        otherwise = self._walk(self._entries, without=decision)
        for way, target in out:
            for number in self._walk([target], without=decision) - otherwise:
                decided.setdefault(number, {}).setdefault(decision, set()).add(way)

    def _walk(self, starts: Iterable[int], *, without: int = _ROOT) -> set[int]:
        if self._left <= 0:
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


def _exclude(one: dict[int, set[Way]], other: dict[int, set[Way]]) -> bool:
    """Whether a decision is between them."""
    return any(
        all(_differ(way, another) for way in one[decision] for another in other[decision])
        for decision in one.keys() & other.keys()
    )


def _is_fork(out: list[tuple[Way, int]]) -> bool:
    """Whether two edges may be taken together."""
    ways = Counter(way for way, _ in out)
    actions = Counter(action for action, _ in ways)
    return any(count > 1 for count in ways.values()) or any(
        actions[action] > 1 for action, condition in ways if not condition
    )


def _is_decision(out: list[tuple[Way, int]]) -> bool:
    """Whether two edges exclude each other."""
    ways = {way for way, _ in out}
    actions = {action for action, _ in ways}
    conditions = {way for way in ways if way[1] is not None}
    return len(actions) > 1 or len(conditions) > 1


def _differ(way: Way, other: Way) -> bool:
    """Whether only one of two kinds of edges is taken."""
    if way[0] != other[0]:
        return True
    return way[1] is not None and other[1] is not None and way[1] != other[1]
