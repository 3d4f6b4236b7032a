"""Which nodes each loop holds, and which loop lies in which.

Nodes that all lead to each other are a knot. The outermost loop of a knot is taken off: its body is what its continue
edges lead to within the knot. Without its controller what was a knot falls apart into smaller ones, which hold the
loops within. So bodies nest by construction, and an edge that leaves an inner loop early, for another place in the
outer one, does no harm. A loop that cannot come back to itself once the outer controller is gone overlaps with it.
"""

from __future__ import annotations

from collections.abc import Collection

from stepwell.engine.graph.wiring import Links, Wiring, knots, reach


class Nesting:
    """The bodies of all loops, by number of the controller; `overlaps` names (controller, controller it depends on)."""

    def __init__(self, wiring: Wiring, entry_points: Collection[str]) -> None:
        self._wiring = wiring
        self._entry_points = {wiring.number[name] for name in entry_points if name in wiring.number}
        self._after, self._before = _leading_into_loops_by_edges(wiring)
        self.bodies: dict[int, set[int]] = {number: set() for number in wiring.continues}
        self.overlaps: list[tuple[str, str]] = []
        if self.bodies:
            self._split()
            self._place_fallbacks()

    def named(self) -> dict[str, frozenset[str]]:
        """The bodies, by ids."""
        nodes = self._wiring.nodes
        return {nodes[loop].id: frozenset(self._wiring.ids(body)) for loop, body in self.bodies.items()}

    def innermost(self) -> dict[int, int]:
        """The innermost loop of each node that is in any."""
        loops = sorted(self.bodies, key=lambda loop: -len(self.bodies[loop]))
        return {number: loop for loop in loops for number in self.bodies[loop]}

    def first_of(self, knot: set[int]) -> list[int]:
        """What the first iteration begins with in a knot that is a loop which nothing leads to."""
        heads = [loop for loop, body in self.bodies.items() if loop in knot and body]
        if not heads:
            return []
        outermost = max(heads, key=lambda loop: len(self.bodies[loop]))
        return [number for number in self._wiring.continues[outermost] if number in self.bodies[outermost]]

    def _split(self) -> None:
        wiring = self._wiring
        pending = list(knots(wiring.everything, self._after, self._before))
        while pending:
            knot = pending.pop()
            heads = self._loops_in(knot, knot)
            if not heads:
                continue
            head = heads[0] if len(heads) == 1 else self._outermost(knot, heads)
            inner = knot - {head}
            self.bodies[head] = self._body(head, inner)
            parts = list(knots(inner, self._after, self._before))
            for lost in self._lost(heads, head, parts):
                self.overlaps.append((wiring.nodes[lost].id, wiring.nodes[head].id))
            pending += parts

    def _loops_in(self, knot: Collection[int], loops: Collection[int]) -> list[int]:
        """Those of `loops` that go on to another node of the knot, in definition order."""
        continues = self._wiring.continues
        return sorted(
            loop for loop in loops if loop in knot and any(t in knot and t != loop for t in continues.get(loop, ()))
        )

    def _body(self, head: int, inner: set[int]) -> set[int]:
        return reach(self._wiring.continues[head], self._after, inner)

    def _lost(self, heads: list[int], head: int, parts: list[set[int]]) -> list[int]:
        """The loops of a knot that are none any more when `head` is gone."""
        kept = {loop for part in parts for loop in self._loops_in(part, heads)}
        return [loop for loop in heads if loop != head and loop not in kept]

    def _outermost(self, knot: set[int], heads: list[int]) -> int:
        """The controller that leaves all other loops whole and whose body is largest. Of equals, the one by which the
        knot is entered; then the one whose body is entered; then the first."""
        wiring = self._wiring
        entered = {n for n in knot if any(source not in knot for source in self._before[n])}
        entered = entered or (knot & self._entry_points) or {min(knot)}
        ranked: list[tuple[int, int, int, int]] = []
        for head in sorted(heads, key=lambda h: (h not in entered, entered.isdisjoint(wiring.continues[h]), h)):
            inner = knot - {head}
            parts = list(knots(inner, self._after, self._before))
            lost, size = len(self._lost(heads, head, parts)), len(self._body(head, inner))
            if not lost and size == len(inner):
                return head
            ranked.append((lost, -size, len(ranked), head))
        return min(ranked)[-1]

    def _place_fallbacks(self) -> None:
        """A node that is only a fallback runs where the nodes run that it serves."""
        wiring = self._wiring
        waiting = {
            fallback: sum(1 for node in served if self._is_only_fallback(node))
            for fallback, served in wiring.served.items()
            if self._is_only_fallback(fallback)
        }
        ready = [fallback for fallback, count in waiting.items() if not count]
        around = self._loops_around()
        while ready:
            fallback = ready.pop()
            shared = set.intersection(*(around.get(node, set()) for node in wiring.served[fallback]))
            mine = around.setdefault(fallback, set())
            for loop in shared - mine:
                self.bodies[loop].add(fallback)
            mine |= shared
            after = wiring.nodes[fallback].config.fallback
            following = wiring.number.get(after) if after is not None else None
            if following in waiting:
                waiting[following] -= 1
                if not waiting[following]:
                    ready.append(following)

    def _is_only_fallback(self, number: int) -> bool:
        return number in self._wiring.served and not self._wiring.sources[number]

    def _loops_around(self) -> dict[int, set[int]]:
        around: dict[int, set[int]] = {}
        for loop, body in self.bodies.items():
            for number in body:
                around.setdefault(number, set()).add(loop)
        return around


def _leading_into_loops_by_edges(wiring: Wiring) -> tuple[Links, Links]:
    """The links of a graph, without those to controllers that stand in for a node: such a loop is not around it."""
    after, before = list(wiring.after), list(wiring.before)
    for loop in wiring.continues.keys() & wiring.served.keys():
        before[loop] = list(wiring.sources[loop])
        for number in wiring.served[loop]:
            after[number] = list(wiring.targets[number])
    return after, before
