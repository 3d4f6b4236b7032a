"""The shape of graphs: cycles, ends, and what belongs to which loop."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.engine.graphs import graph

from stepwell.engine.graph.analysis import analyze, loop_bodies, raw_cycles
from stepwell.errors import BlueprintError
from stepwell.model.blueprints import Edge, Graph, Node

MANY = 20_000


def bodies(*chains: str, fallbacks: dict[str, str] | None = None, entries: tuple[str, ...] = ()) -> dict[str, str]:
    found = loop_bodies(graph(*chains, fallbacks=fallbacks, entries=entries))
    return {loop: " ".join(sorted(body)) for loop, body in found.items()}


def test_an_empty_graph_has_no_cycles_and_no_nodes() -> None:
    found = analyze(Graph(id="g"))

    assert (found.is_dag, found.node_count, found.edge_count, found.start_node_ids) == (True, 0, 0, ())


def test_starts_and_terminals_come_in_definition_order() -> None:
    found = analyze(graph("b > d", "a > d > e", "c"))

    assert found.start_node_ids == ("b", "a", "c")
    assert found.terminal_node_ids == ("e", "c")
    assert (found.is_dag, found.node_count, found.edge_count) == (True, 5, 3)


def test_a_fallback_is_no_start_but_reachable() -> None:
    found = analyze(graph("a > b", "f", fallbacks={"b": "f"}))

    assert found.start_node_ids == ("a",)
    assert found.unreachable_node_ids == ()


def test_a_fallback_may_be_what_follows_too() -> None:
    assert analyze(graph("a > f", fallbacks={"a": "f"})).terminal_node_ids == ("f",)


def test_each_edge_back_closes_a_cycle() -> None:
    found = analyze(graph("a > b > c > a", "c > b", "d > d"))

    assert found.cycles == (("a", "b", "c", "a"), ("b", "c", "b"), ("d", "d"))
    assert not found.is_dag


def test_two_ways_to_a_node_are_no_cycle() -> None:
    assert analyze(graph("a > b > d", "a > c > d", "a > d")).cycles == ()


def test_a_fallback_that_leads_back_closes_a_cycle() -> None:
    assert analyze(graph("s > a", "f > a", fallbacks={"a": "f"})).cycles == (("a", "f", "a"),)


def test_a_cycle_beside_a_start_is_unreachable() -> None:
    found = analyze(graph("s > t", "a > b > a"))

    assert found.entry_node_ids == ("s",)
    assert found.unreachable_node_ids == ("a", "b")


def test_a_cycle_beside_a_start_is_entered_where_it_says() -> None:
    found = analyze(graph("s > t", "a > b > a", entries=("b",)))

    assert found.entry_node_ids == ("s", "b")
    assert found.unreachable_node_ids == ()


def test_a_graph_of_cycles_is_entered_at_the_first_node_of_each() -> None:
    found = analyze(graph("a > b > a", "c > d > c > e"))

    assert found.start_node_ids == ()
    assert found.entry_node_ids == ("a", "c")


def test_a_loop_that_nothing_leads_to_is_entered_at_its_body() -> None:
    found = analyze(graph("s > t", "L ? a > M ? b > M ! L ! x"))

    assert found.entry_node_ids == ("s", "a")
    assert found.unreachable_node_ids == ()


def test_edges_to_nowhere_are_passed_over() -> None:
    broken = Graph(id="g", nodes=(Node(id="a", uses="work"),), edges=(Edge(source="a", target="b"),))

    assert analyze(broken).terminal_node_ids == ("a",)


def test_of_very_many_cycles_the_first_are_listed() -> None:
    ids = [f"n{n}" for n in range(2000)]
    nodes = tuple(Node(id=id, uses="work") for id in ids)
    found = analyze(Graph(id="g", nodes=nodes, edges=tuple(Edge(source=id, target=id) for id in ids)))

    assert found.cycles == tuple((id, id) for id in ids[:1000])


def test_of_very_long_cycles_the_first_are_listed() -> None:
    ids = [f"n{n}" for n in range(2000)]
    chain = [Edge(source=a, target=b) for a, b in pairwise(ids)]
    back = [Edge(source=id, target="n0") for id in ids]
    nodes = tuple(Node(id=id, uses="work") for id in ids)

    found = analyze(Graph(id="g", nodes=nodes, edges=(*chain, *back))).cycles

    assert 1_000_000 <= sum(len(cycle) for cycle in found) < 1_002_002


def test_a_loop_holds_what_an_iteration_passes_through() -> None:
    assert bodies("s > L ? a > b > L ! x", "a > c > b") == {"L": "a b c"}


def test_what_leaves_a_loop_is_not_in_its_body() -> None:
    assert bodies("s > L ? a > b > L ! x", "a > out > x") == {"L": "a b"}


def test_what_feeds_a_loop_is_not_in_its_body() -> None:
    assert bodies("s > L ? a > b > L ! x", "s > feed > b") == {"L": "a b"}


def test_a_loop_may_be_entered_at_its_body() -> None:
    assert bodies("s > a > b > L ? a", "L ! x") == {"L": "a b"}


def test_an_inner_loop_is_part_of_the_outer_one() -> None:
    assert bodies("s > L ? a > M ? b > M ! c > L ! x") == {"L": "M a b c", "M": "b"}


def test_loops_one_after_the_other_are_apart() -> None:
    assert bodies("s > L ? a > L ! M ? b > M ! x") == {"L": "a", "M": "b"}


def test_an_inner_loop_may_be_left_early_for_the_outer_one() -> None:
    assert bodies("s > L ? a > M ? b > M ! c > L ! x", "b > c") == {"L": "M a b c", "M": "b"}


def test_an_inner_loop_may_be_left_early_for_the_next_outer_iteration() -> None:
    assert bodies("s > L ? a > M ? b > d > M ! c > L ! x", "b > L") == {"L": "M a b c d", "M": "b d"}


def test_inner_loops_are_found_whatever_the_order() -> None:
    assert bodies("M ? b > M ! c > L ! x", "s > L ? a > M", "b > c") == {"L": "M a b c", "M": "b"}


def test_an_outer_loop_entered_at_its_body_is_still_the_outer_one() -> None:
    assert bodies("s > a > M ? b > M ! c > L ? a", "L ! x", "b > c") == {"L": "M a b c", "M": "b"}


def test_two_loops_that_begin_at_the_same_node_nest() -> None:
    assert bodies("s > a > M ? a", "M ! L ? a", "L ! x") == {"L": "M a", "M": "a"}


def test_what_feeds_an_inner_loop_does_not_make_it_the_outer_one() -> None:
    assert bodies("s > M ? b > M ! c > L ? a > M", "s > L ! x", "a > c") == {"L": "M a b c", "M": "b"}


def test_a_graph_that_is_nothing_but_a_loop_has_its_body() -> None:
    assert bodies("a > M ? b > M ! L ? a", "b > L", "L ! x") == {"L": "M a b", "M": "b"}


def test_a_graph_of_loops_is_entered_where_it_says() -> None:
    chains = ("L ? a > M ? b > M", "b > L", "M > L")

    assert bodies(*chains, entries=("L",)) == {"L": "M a b", "M": "b"}


def test_a_loop_that_never_comes_back_has_no_body() -> None:
    assert bodies("s > L ? a > b", "L ! x") == {"L": ""}


def test_two_continue_edges_to_a_node_are_as_one() -> None:
    found = graph("s > L ? a > L ! x", edges=(Edge(source="L", target="a", action="continue", condition="c"),))

    assert loop_bodies(found) == {"L": {"a"}}


def test_a_loop_of_nothing_has_no_body() -> None:
    assert bodies("s > L ? L ! x") == {"L": ""}


def test_a_cycle_around_a_loop_does_not_belong_to_it() -> None:
    assert bodies("s > t > L ? a > L ! x > t") == {"L": "a"}


def test_loops_within_a_cycle_are_apart() -> None:
    assert bodies("s > L ? a > L ! M ? b > M ! x > L") == {"L": "a", "M": "b"}


def test_loops_that_overlap_are_refused() -> None:
    with pytest.raises(BlueprintError, match=r"blueprint 'g': the loops of 'M' and 'L' overlap") as caught:
        bodies("s > L ? a > M ? b > L ! x", "M ! x")

    assert "an iteration of 'M' comes back only through 'L'" in str(caught.value)


def test_loops_that_overlap_have_no_bodies_in_an_analysis() -> None:
    assert analyze(graph("s > L ? a > M ? b > L ! x", "M ! x")).loops == {}


def test_a_fallback_belongs_to_the_loop_of_what_it_serves() -> None:
    assert bodies("s > L ? a > b > L ! x", "f", fallbacks={"a": "f"}) == {"L": "a b f"}


def test_a_fallback_with_edges_belongs_to_the_loop_with_what_follows_it() -> None:
    assert bodies("s > L ? a > b > L ! x", "f > g > b", fallbacks={"a": "f"}) == {"L": "a b f g"}


def test_a_fallback_that_leaves_a_loop_belongs_to_it() -> None:
    assert bodies("s > L ? a > L ! x", "f > x", fallbacks={"a": "f"}) == {"L": "a f"}


def test_a_chain_of_fallbacks_belongs_to_the_loop() -> None:
    assert bodies("s > L ? a > L ! x", "g", "f", fallbacks={"a": "f", "f": "g"}) == {"L": "a f g"}


def test_a_fallback_of_two_fallbacks_belongs_to_the_loop() -> None:
    served = {"a": "f", "b": "g", "f": "h", "g": "h"}

    assert bodies("s > L ? a > b > L ? b", "L ! x", "f", "g", "h", fallbacks=served) == {"L": "a b f g h"}


def test_a_loop_as_a_fallback_is_not_around_what_it_serves() -> None:
    assert bodies("s > L ? a > b > L ! x", "F ? b", fallbacks={"b": "F"}) == {"L": "F a b", "F": ""}


def test_a_fallback_that_serves_two_loops_belongs_to_neither() -> None:
    assert bodies("s > L ? a > L ! M ? b > M", "f", fallbacks={"a": "f", "b": "f"}) == {"L": "a", "M": "b"}


def test_a_fallback_that_serves_two_levels_belongs_to_the_outer_one() -> None:
    shared = bodies("s > L ? a > M ? b > M ! L ! x", "f", fallbacks={"a": "f", "b": "f"})

    assert shared == {"L": "M a b f", "M": "b"}


def test_an_ordinary_node_as_a_fallback_stays_where_it_is() -> None:
    assert bodies("s > L ? a > L ! x > f", fallbacks={"a": "f"}) == {"L": "a"}


def test_fallbacks_in_a_ring_are_left_where_they_are() -> None:
    assert bodies("s > L ? a > L ! x", "f", "g", fallbacks={"a": "f", "f": "g", "g": "f"}) == {"L": "a"}


def test_only_cycles_without_a_controller_are_raw() -> None:
    nested = graph("s > L ? a > M ? b > M ! c > L ! x", "b > c")
    raw = graph("s > L ? a > L ! x > s", "d > d", "e > f")

    assert raw_cycles(nested) == []
    assert sorted(raw_cycles(raw)) == [["d"], ["s", "L", "x"]]


def test_a_large_graph_is_walked_without_recursion() -> None:
    ids = ["s", "L", *(f"n{n}" for n in range(MANY)), "x"]
    nodes = tuple(Node(id=id, uses="loop-controller" if id == "L" else "work") for id in ids)
    chain = [Edge(source=a, target=b) for a, b in pairwise(ids[2:-1])]
    around = [
        Edge(source="s", target="L"),
        Edge(source="L", target="n0", action="continue"),
        Edge(source=ids[-2], target="L"),
        Edge(source="L", target="x", action="break"),
    ]

    found = analyze(Graph(id="g", nodes=nodes, edges=(*chain, *around)))

    assert [len(body) for body in found.loops.values()] == [MANY]
    assert [len(cycle) for cycle in found.cycles] == [MANY + 2]


def test_loops_may_nest_deep() -> None:
    depth = 60
    down = " ? ".join(f"L{n}" for n in range(depth))
    up = " > ".join(f"L{n}" for n in reversed(range(depth)))

    found = loop_bodies(graph(f"s > {down} ? a > {up}"))

    assert [len(found[f"L{n}"]) for n in range(depth)] == [depth - n for n in range(depth)]
