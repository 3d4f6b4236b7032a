"""What the linter says of nodes that run at the same time, and of what they are given."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.engine.graphs import graph, node, subflow
from tests.engine.test_graph_lint import codes, only

from stepwell.engine.graph.disjoint import keep_apart
from stepwell.model.blueprints import Edge, Node


def test_nodes_that_write_a_key_at_the_same_time_are_a_warning() -> None:
    nodes = (node("b", "set", values={"k": "1"}), node("c", "subflow", blueprintId="x", outputs={"k": "y"}))

    finding = only(graph("a > b", "a > c", nodes=nodes), "STATE_CONFLICT")

    assert (finding.node_id, finding.related_id) == ("c", "b")
    assert finding.message.startswith("nodes 'b' and 'c' may write the key 'k' at the same time; the last one wins")


def test_two_starts_that_write_a_key_are_a_warning() -> None:
    nodes = (node("a", "set", values={"k": "1"}), node("b", "set", values={"k": "2"}))

    assert codes(graph("a", "b", nodes=nodes)) == ["STATE_CONFLICT"]


def test_two_nodes_of_a_loop_that_write_a_key_at_the_same_time_are_a_warning() -> None:
    nodes = (node("a", "set", values={"k": "1"}), node("b", "set", values={"k": "2"}))

    assert codes(graph("s > L ? a > L ! x", "L ? b > L", nodes=nodes)) == ["STATE_CONFLICT"]


def test_branches_behind_a_common_join_of_two_starts_still_exclude_each_other() -> None:
    nodes = (node("b", "set", values={"k": "1"}), node("c", "set", values={"k": "2"}), node("j", join="any"))

    assert codes(graph("s > j yes:> b", "t > j no:> c", nodes=nodes)) == []


def test_what_follows_where_two_ways_met_is_one_way() -> None:
    b, c = (node(id, "set", join="any", values={"k": "1"}) for id in "bc")
    late = ("d =e1> b", "d =e2> e", "e =e3> b", "e =e4> c", "d =e5> c")

    assert codes(graph("a > x > j > d", "a > y > j", *late, nodes=(b, c, node("j", "join")))) == []


def test_a_branch_beside_a_decision_is_concurrent_with_it() -> None:
    nodes = (node("b", "set", values={"k": "1"}), node("c", "set", values={"k": "2"}))

    assert codes(graph("a > d yes:> b", "a > c", nodes=nodes)) == ["STATE_CONFLICT"]


def test_a_branch_that_may_be_reached_otherwise_is_no_branch() -> None:
    nodes = (node("b", "set", values={"k": "1"}), node("c", "set", values={"k": "2"}))

    assert "STATE_CONFLICT" in codes(graph("a x:> b", "a y:> c", "s > b", nodes=nodes))


def test_a_fallback_is_before_what_follows_the_node_it_serves() -> None:
    nodes = (node("f", "set", values={"k": "1"}), node("b", "set", values={"k": "2"}), node("a", fallback="f"))

    assert codes(graph("a > b", "f", nodes=nodes)) == []


def test_a_key_with_the_name_of_a_node_is_a_warning() -> None:
    finding = only(graph("a > b", nodes=(node("a", "set", values={"b": "1"}),)), "KEY_SHADOWED")

    assert finding.message == (
        "node 'a' writes the key 'b', which the output of the node 'b' hides; give one of them another name"
    )


def test_a_field_of_the_input_with_the_name_of_a_node_is_a_warning() -> None:
    assert only(graph("a"), "KEY_SHADOWED", keys=["a"]).path == "nodes[0].id"


def test_a_node_that_is_given_one_of_several_outputs_is_a_warning() -> None:
    finding = only(graph("a > b > d", "a > c > d"), "AMBIGUOUS_INPUT")

    assert finding.message == (
        "node 'd' waits for 'b' and 'c', and is given the output of the latter; "
        'say with inputs what it needs, such as {"b": "b", "c": "c"}'
    )


def test_a_short_cut_makes_an_input_ambiguous() -> None:
    assert codes(graph("a > b > c", "a > c")) == ["AMBIGUOUS_INPUT"]


@pytest.mark.parametrize(
    "last",
    [
        node("d", inputs="b"),
        node("d", join="any"),
        node("d", "join"),
        node("d", "wait"),
        subflow("d", inputs={"a": "a"}),
    ],
)
def test_a_node_that_says_what_it_needs_is_left_alone(last: Node) -> None:
    assert codes(graph("a > b > d", "a > c > d", nodes=(last,))) == []


def test_a_transform_says_what_a_node_needs() -> None:
    assert codes(graph("a > b > d", "a > c", edges=(Edge(source="c", target="d", transform="input.x"),))) == []


def test_very_large_graphs_are_not_searched_for_conflicts_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.engine.graph.branches._BUDGET", 3)
    nodes = (node("b", "set", values={"k": "1"}), node("c", "set", values={"k": "2"}))

    assert codes(graph("a > b > d", "a > c > d", "a x:> e", "a y:> f", nodes=nodes)) == []


def test_of_very_many_writers_of_a_key_the_first_are_compared() -> None:
    ids = [f"n{n}" for n in range(250)]
    nodes = tuple(node(id, "set", values={"k": "1"}) for id in [*ids, "s"])

    assert codes(graph(" > ".join(ids), "n5 > s", nodes=nodes)) == []
    assert codes(graph(" > ".join(ids[:50]), "n5 > s", nodes=(*nodes[:50], nodes[-1]))) == ["STATE_CONFLICT"]


LINKS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=16)
TWO = st.tuples(st.integers(0, 6), st.integers(0, 6))


@given(LINKS, TWO, TWO)
@example([(1, 5), (0, 2), (0, 3), (2, 4), (3, 4)], (0, 1), (5, 6))
def test_paths_keep_apart_where_some_two_have_no_node_in_common(
    links: list[tuple[int, int]], starts: tuple[int, int], ends: tuple[int, int]
) -> None:
    after = [[target for source, target in links if source == number] for number in range(7)]
    paths = [_paths(start, ends, after) for start in starts]
    expected = any(not set(one) & set(other) and one[-1] != other[-1] for one in paths[0] for other in paths[1])

    assert keep_apart(starts, ends, after)[0] == expected


def _paths(start: int, ends: tuple[int, int], after: list[list[int]]) -> list[list[int]]:
    found, todo = [], [[start]]
    while todo:
        path = todo.pop()
        if path[-1] in ends:
            found.append(path)
        todo += [[*path, target] for target in set(after[path[-1]]) - set(path)]
    return found
