"""The shape of a blueprint: where it begins and ends, its cycles, and what belongs to which loop."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import Struct

from stepwell.engine.graph.nesting import Nesting
from stepwell.engine.graph.wiring import Wiring, knots, reach
from stepwell.errors import BlueprintError
from stepwell.model.blueprints import Graph

_MAX_CYCLES = 1000
_MAX_CYCLE_IDS = 1_000_000


class Analysis(Struct, frozen=True, kw_only=True):
    """What can be said of a graph without running it. Ids are in definition order.

    `cycles`: for each edge that leads back, the path that it closes, from a node to that node again. A fallback counts
    as led to. Of very many the first are listed. `start_node_ids`: those without incoming edges that are nobody's
    fallback. `entry_node_ids`: what a run begins with: these, and where cycles begin that nothing leads to.
    `terminal_node_ids`: those without outgoing edges. `loops`: as `loop_bodies` says; empty where loops overlap.
    """

    cycles: tuple[tuple[str, ...], ...]
    start_node_ids: tuple[str, ...]
    entry_node_ids: tuple[str, ...]
    terminal_node_ids: tuple[str, ...]
    unreachable_node_ids: tuple[str, ...]
    loops: dict[str, frozenset[str]]
    node_count: int
    edge_count: int
    is_dag: bool


def analyze(graph: Graph) -> Analysis:
    """Look at the whole graph, once. It may hold mistakes: edges to nowhere are passed over."""
    wiring = Wiring(graph)
    nesting = Nesting(wiring, graph.cycle_entry_points)
    entries = entries_of(wiring, nesting, graph.cycle_entry_points)
    reached = reach(entries, wiring.after, wiring.everything)
    cycles = tuple(tuple(wiring.ids(path)) for path in _cycles(wiring))
    return Analysis(
        cycles=cycles,
        start_node_ids=tuple(wiring.ids(starts_of(wiring))),
        entry_node_ids=tuple(wiring.ids(entries)),
        terminal_node_ids=tuple(wiring.ids(n for n in wiring.everything if not wiring.targets[n])),
        unreachable_node_ids=tuple(wiring.ids(n for n in wiring.everything if n not in reached)),
        loops={} if nesting.overlaps else nesting.named(),
        node_count=len(graph.nodes),
        edge_count=len(graph.edges),
        is_dag=not cycles,
    )


def loop_bodies(graph: Graph) -> dict[str, frozenset[str]]:
    """The controller of each loop, with the nodes that every iteration begins anew; the controller is not among them.

    A body is what an iteration passes through: what lies between a continue edge's target and the controller. A loop
    within belongs to it, controller and all. A node that is only a fallback belongs where all that it serves belong.
    BlueprintError if two loops overlap and neither lies within the other.
    """
    nesting = Nesting(Wiring(graph), graph.cycle_entry_points)
    if nesting.overlaps:
        raise BlueprintError(f"blueprint {graph.id!r}: {overlap_text(*nesting.overlaps[0])}")
    return nesting.named()


def overlap_text(inner: str, outer: str) -> str:
    """What is wrong with two loops."""
    return (
        f"the loops of {inner!r} and {outer!r} overlap: an iteration of {inner!r} comes back only through {outer!r}; "
        f"let the nodes after the continue edge of {inner!r} lead back to it, or put one loop within the other"
    )


def raw_cycles(graph: Graph) -> list[list[str]]:
    """The sets of nodes that lead to each other even though no loop goes on: cycles that no controller ends."""
    wiring = Wiring(graph)
    after = [
        [target for target in targets if target not in wiring.continues.get(number, ())]
        for number, targets in enumerate(wiring.after)
    ]
    before: list[list[int]] = [[] for _ in wiring.everything]
    for number, targets in enumerate(after):
        for target in targets:
            before[target].append(number)
    return [wiring.ids(sorted(knot)) for knot in knots(wiring.everything, after, before)]


def starts_of(wiring: Wiring) -> list[int]:
    """The nodes that nothing leads to."""
    return [number for number in wiring.everything if not wiring.before[number]]


def entries_of(wiring: Wiring, nesting: Nesting, declared: Collection[str]) -> list[int]:
    """What a run begins with: the nodes that nothing leads to, and where the cycles begin that nothing leads to.

    Such a cycle begins where it is declared to; a loop, with its body; another one, in a graph that begins nowhere
    else, with its first node in definition order.
    """
    starts = starts_of(wiring)
    found = list(starts)
    names = set(declared)
    for knot in knots(wiring.everything, wiring.after, wiring.before):
        if any(source not in knot for number in knot for source in wiring.before[number]):
            continue
        named = [number for number in knot if wiring.nodes[number].id in names]
        first = [] if starts else [min(knot)]
        found += named or nesting.first_of(knot) or first
    return sorted(found)


def _cycles(wiring: Wiring) -> Iterator[list[int]]:
    """A walk in depth, in definition order; each step back into the path of the walk closes a cycle."""
    count = ids = 0
    for cycle in _steps_back(wiring):
        yield cycle
        count, ids = count + 1, ids + len(cycle)
        if count >= _MAX_CYCLES or ids >= _MAX_CYCLE_IDS:
            return


def _steps_back(wiring: Wiring) -> Iterator[list[int]]:
    seen: set[int] = set()
    for root in wiring.everything:
        if root in seen:
            continue
        path, place, walk = [root], {root: 0}, [iter(wiring.after[root])]
        seen.add(root)
        while walk:
            target = next(walk[-1], None)
            if target is None:
                walk.pop()
                del place[path.pop()]
            elif target in place:
                yield [*path[place[target] :], target]
            elif target not in seen:
                seen.add(target)
                place[target] = len(path)
                path.append(target)
                walk.append(iter(wiring.after[target]))
