"""What the linter says of graphs, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.graphs import graph, node, subflow

from stepwell.engine.graph.findings import Finding
from stepwell.engine.graph.lint import lint
from stepwell.model.blueprints import Edge, Graph, Node


def codes(graph: Graph, **options: Any) -> list[str]:
    return [finding.code for finding in lint(graph, **options)]


def only(graph: Graph, code: str, **options: Any) -> Finding:
    """The one finding, which has this code."""
    found = lint(graph, **options)
    assert [finding.code for finding in found] == [code], found
    return found[0]


def messages(graph: Graph, code: str, **options: Any) -> list[str]:
    return [finding.message for finding in lint(graph, **options) if finding.code == code]


SOUND = {
    "nothing": Graph(id="g"),
    "one node": graph("a"),
    "a chain": graph("a > b > c"),
    "a diamond with mapped inputs": graph("a > b > d", "a > c > d", nodes=(node("d", inputs={"b": "b", "c": "c"}),)),
    "a loop": graph("s > L ? a > L ! x"),
    "a loop entered at its body": graph("s > a > L ? a", "L ! x", nodes=(node("a", join="any"),)),
    "nested loops, left early": graph(
        "s > L ? a > M ? b > M ! c > L ! x", "b =b.done> c", nodes=(node("c", join="any"),)
    ),
    "a loop that is left from its body only": graph("s > L ? a no:> L", "a yes:> x"),
    "actions of functions": graph("a yes:> b", "a no:> c"),
    "an if and what follows it": graph("a =a.big> b > d", "a =!a.big> c > d"),
    "an if without else": graph("a =a.big> b > d", "a =!a.big> d"),
    "a switch and what follows it": graph("a x:> b > d", "a y:> c > d", "a > d"),
    "a fallback": graph("a > b > c", "f", fallbacks={"b": "f"}),
    "a fallback with edges": graph("a > b > c", "f > g", fallbacks={"b": "f"}),
    "a fallback for all": graph("a > b > c", "f", fallbacks={"a": "f", "b": "f", "c": "f"}),
    "both branches set a key": graph(
        "a =a.big> b > d",
        "a =!a.big> c > d",
        nodes=(node("b", "set", values={"k": "1"}), node("c", "set", values={"k": "2"})),
    ),
    "one after the other sets a key": graph(
        "a > b", nodes=(node("a", "set", values={"k": "1"}), node("b", "set", values={"k": "k + 1"}))
    ),
    "a loop counts": graph(
        "s > L ? a > L ! x",
        nodes=(
            node("s", "set", values={"n": "0"}),
            node("a", "set", values={"n": "n + 1"}),
            node("x", "set", values={"n": "n"}),
        ),
    ),
    "a wait with actions": graph("a > w yes:> b", "w timeout:> c", nodes=(node("w", "wait", timeout="1h"),)),
    "an error at the end": graph("a > e", nodes=(node("e", "error"),)),
    "a batch": graph(
        "a > s > g > b",
        nodes=(
            node("s", "batch-scatter", inputs="a", workerUsesKey="work", gatherNodeId="g", outputKey="all"),
            node("g", "batch-gather", outputKey="all", gatherNodeId="g"),
            node("b", inputs="all"),
        ),
    ),
    "expressions": graph(
        'my-node =result.output.total>5&&context["my-node"].n===k> b',
        edges=(Edge(source="b", target="c", transform="input.x"),),
        nodes=(
            node("c", inputs={"a": "_outputs.my-node.n", "b": "b.x.y", "c": "_catch_error.message", "d": "_inputs.b"}),
        ),
    ),
}


@pytest.mark.parametrize("sound", SOUND.values(), ids=SOUND)
def test_nothing_is_said_of_what_is_sound(sound: Graph) -> None:
    assert lint(sound, implementations={"work"}, blueprints=()) == []


def test_errors_come_first() -> None:
    found = lint(
        graph("a > b", "c > c", nodes=(node("b", "nothing"), node("a", inputs="q"))), implementations={"work"}, keys=()
    )

    assert [finding.severity for finding in found] == ["error", "error", "warning", "warning"]


def test_a_finding_reads_as_a_line() -> None:
    finding = only(graph("a", nodes=(node("a", "nothing"),)), "MISSING_NODE_IMPLEMENTATION", implementations={"work"})

    assert str(finding) == (
        "nodes[0].uses: node 'a' uses 'nothing', which is not among the implementations; there is 'BatchGatherNode', "
        "'BatchScatterNode', 'SleepNode', 'SubflowNode', 'WaitNode' and more [MISSING_NODE_IMPLEMENTATION]"
    )
    assert (finding.severity, finding.node_id, finding.related_id) == ("error", "a", "nothing")


def test_a_finding_of_no_place_reads_as_a_line() -> None:
    assert str(Finding(code="X", severity="error", message="all of it")) == "all of it [X]"


def test_built_in_nodes_need_no_implementation() -> None:
    built_in = graph("a > b", nodes=(node("a", "start"), node("b", "WebhookNode")))

    assert codes(built_in, implementations=()) == []


def test_unknown_implementations_are_not_looked_at() -> None:
    assert codes(graph("a", nodes=(node("a", "nothing"),))) == []


def test_the_worker_of_a_batch_needs_an_implementation() -> None:
    nodes = (
        node("s", "batch-scatter", workerUsesKey="wrok", gatherNodeId="g"),
        node("g", "batch-gather"),
    )

    finding = only(graph("s > g", nodes=nodes), "INVALID_BATCH_WORKER_KEY", implementations={"work"})

    assert (
        finding.message
        == "batch 's' gives its items to 'wrok', which is not among the implementations; did you mean 'work'?"
    )
    assert finding.path == "nodes[0].params.workerUsesKey"


def test_the_worker_of_a_batch_must_be_named() -> None:
    nodes = (node("s", "batch-scatter", gatherNodeId="g"), node("g", "batch-gather"))

    assert only(graph("s > g", nodes=nodes), "INVALID_BATCH_WORKER_KEY", implementations=()).severity == "error"


def test_a_subflow_needs_its_blueprint() -> None:
    finding = only(
        graph("a", nodes=(node("a", "subflow", blueprintId="chidl"),)),
        "INVALID_SUBFLOW_BLUEPRINT_ID",
        blueprints=["child"],
    )

    assert finding.message == "subflow 'a' runs 'chidl', which is not among the blueprints; did you mean 'child'?"


def test_a_subflow_must_name_its_blueprint() -> None:
    assert only(graph("a", nodes=(node("a", "subflow"),)), "INVALID_SUBFLOW_BLUEPRINT_ID").severity == "error"


def test_a_blueprint_may_run_itself() -> None:
    assert codes(graph("a", nodes=(node("a", "subflow", blueprintId="g"),)), blueprints=()) == []


def test_edges_from_and_to_nowhere_are_errors() -> None:
    broken = graph("a", edges=(Edge(source="b", target="a"), Edge(source="a", target="c")))

    source, target = lint(broken)

    assert (source.code, source.node_id, source.related_id, source.path) == (
        "INVALID_EDGE_SOURCE",
        "b",
        "a",
        "edges[0].source",
    )
    assert (target.code, target.node_id, target.related_id, target.path) == (
        "INVALID_EDGE_TARGET",
        "c",
        "a",
        "edges[1].target",
    )


def test_paths_are_those_of_the_document() -> None:
    broken = graph("a", edges=(Edge(source="a", target="c"), Edge(source="a", target="a", condition="(")))

    found = lint(broken, paths=(["nodes.a"], ["edges.x", "edges.y"]))

    assert [finding.path for finding in found] == ["edges.x.target", "nodes.a", "edges.y.condition"]


def test_two_nodes_of_one_id_are_an_error() -> None:
    twice = Graph(id="g", nodes=(Node(id="a", uses="work"), Node(id="a", uses="other")))

    assert only(twice, "DUPLICATE_NODE_ID").path == "nodes[1].id"


def test_fallbacks_are_checked() -> None:
    assert only(graph("a", fallbacks={"a": "b"}), "INVALID_FALLBACK").related_id == "b"
    assert "FALLBACK_RING" in codes(graph("a", "b", fallbacks={"a": "b", "b": "a"}))


def test_a_fallback_of_two_loops_is_an_error() -> None:
    shared = graph("s > L ? a > L ! M ? b > M ! x", "f", fallbacks={"a": "f", "b": "f"})

    finding = only(shared, "FALLBACK_ACROSS_LOOPS")

    assert finding.message == "node 'f' is the fallback of 'a', 'b', which are in different loops; give each its own"


def test_a_node_that_no_start_leads_to_is_an_orphan() -> None:
    assert codes(graph("a > b", "c > d > c")) == ["CYCLE_WITHOUT_EXIT", "ORPHAN_NODE", "ORPHAN_NODE"]


def test_a_cycle_without_a_controller_is_an_error() -> None:
    finding = only(graph("a > b > c > b"), "CYCLE_WITHOUT_EXIT")

    assert finding.severity == "error"
    assert finding.message == (
        "the nodes 'b', 'c' lead back to each other; each of them runs once: to repeat them, put a loop-controller "
        "between; if once is meant, name the first in metadata.cycleEntryPoints"
    )


def test_a_declared_cycle_is_a_warning() -> None:
    assert only(graph("a > b > c > b", entries=("b",)), "CYCLE_WITHOUT_EXIT").severity == "warning"


def test_a_cycle_by_the_break_edge_of_a_loop_is_an_error() -> None:
    assert codes(graph("s > t > L ? a > L ! t"))[0] == "CYCLE_WITHOUT_EXIT"


def test_a_fallback_that_leads_back_to_what_it_serves_is_a_cycle() -> None:
    assert "CYCLE_WITHOUT_EXIT" in codes(graph("s > a > b", "f > a", fallbacks={"a": "f"}))


def test_a_node_that_leads_to_itself_is_an_error() -> None:
    assert only(graph("s > a > a"), "SELF_EDGE").message.startswith("node 'a' leads to itself; it runs once")


def test_an_entry_of_cycles_must_be_a_node() -> None:
    assert (
        only(graph("a > bee", entries=("be",)), "INVALID_CYCLE_ENTRY").message
        == "no node is called 'be'; did you mean 'bee'?"
    )


def test_a_loop_without_a_continue_edge_is_an_error() -> None:
    assert only(graph("s > L ! x"), "LOOP_WITHOUT_CONTINUE").node_id == "L"


def test_a_loop_without_an_exit_is_a_warning() -> None:
    finding = only(graph("s > L ? a > L"), "LOOP_WITHOUT_EXIT")

    assert finding.message == "nothing follows loop 'L'; add an edge from it with the action 'break'"


def test_a_loop_that_nothing_leads_back_to_is_a_warning() -> None:
    finding = only(graph("s > L ? a", "L ! x"), "LOOP_WITHOUT_BODY")

    assert finding.message == "no edge leads back to loop 'L': it goes on once at most; add one from where it ends"


def test_a_loop_of_only_itself_is_an_error() -> None:
    assert (
        only(graph("s > L ? L ! x"), "SELF_EDGE").message
        == "loop 'L' goes on with itself; an iteration needs a node of its own"
    )


def test_loops_that_overlap_are_an_error() -> None:
    finding = only(graph("s > L ? a > M ? b > L ! x", "M ! x", nodes=(node("x", inputs="a"),)), "LOOP_OVERLAP")

    assert (finding.node_id, finding.related_id) == ("M", "L")


def test_implementations_of_the_name_of_loops_do_not_overlap() -> None:
    overlapping = graph("s > L ? a > M ? b > L ! x", "M ! x")

    assert "LOOP_OVERLAP" not in codes(overlapping, implementations={"loop-controller", "work"})


def test_implementations_of_the_name_of_a_built_in_are_no_built_ins() -> None:
    own = graph("s > L ? a > b", "L ! x", nodes=(node("b", "sleep"), node("s", "batch-scatter"), node("a", "subflow")))

    assert (
        codes(own, implementations={"sleep", "loop-controller", "work", "batch-scatter", "subflow"}, blueprints=())
        == []
    )


@pytest.mark.parametrize(
    ("broken", "path"),
    [
        (graph("a =(> b"), "edges[0].condition"),
        (graph("a", nodes=(node("a", "set", values={"x": "1", "k": "1 +"}),)), "nodes[0].params.values.k"),
        (
            graph("s > L ? a > L ! x", nodes=(node("L", "loop-controller", condition="n <"),)),
            "nodes[0].params.condition",
        ),
        (
            Graph(id="g", nodes=(node("a"), node("b")), edges=(Edge(source="a", target="b", transform="x = 1"),)),
            "edges[0].transform",
        ),
    ],
)
def test_expressions_that_do_not_parse_are_errors(broken: Graph, path: str) -> None:
    found = [finding for finding in lint(broken) if finding.code == "INVALID_EXPRESSION"]

    assert [finding.path for finding in found] == [path]


def test_the_message_about_an_expression_holds_its_position() -> None:
    assert messages(graph("a =n+> b"), "INVALID_EXPRESSION") == ["expression 'n+', column 3: it ends too early"]


def test_without_the_parser_expressions_are_left_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("no", name="tree_sitter")

    monkeypatch.setattr("stepwell.engine.expressions.import_module", missing)

    finding = only(graph("a =n+1> b"), "EXPRESSION_UNCHECKED")

    assert finding.severity == "warning"
    assert "pip install 'stepwell[expressions]'" in finding.message


def test_a_misspelt_name_is_a_warning() -> None:
    misspelt = graph("fetch =ftech.ok> store", nodes=(node("store", inputs={"page": "fecth.body"}),))

    assert messages(misspelt, "UNKNOWN_REFERENCE") == [
        "'ftech' is no node, and nothing is known to write such a key; did you mean 'fetch'?",
        "'fecth' is no node, and nothing is known to write such a key; did you mean 'fetch'?",
    ]


def test_a_misspelt_name_of_an_output_is_a_warning() -> None:
    misspelt = graph("fetch > store", nodes=(node("store", inputs="_outputs.fecth.body"),))

    assert only(misspelt, "UNKNOWN_REFERENCE").path == "nodes[0].inputs"


def test_names_of_unknown_keys_are_left_alone() -> None:
    assert codes(graph("a =limit> b", nodes=(node("b", inputs="page"),))) == []
    assert codes(graph("items > b", nodes=(node("b", inputs="item"),))) == []


def test_where_the_input_is_known_every_unknown_name_is_a_warning() -> None:
    found = lint(graph("a =limit> b", nodes=(node("b", inputs="page"),)), keys=["limit"])

    assert [(finding.code, finding.related_id) for finding in found] == [("UNKNOWN_REFERENCE", "page")]


def test_keys_that_nodes_write_are_known() -> None:
    nodes = (
        node("a", "set", values={"k": "1"}),
        subflow("b", inputs={"y": "k", "z": "q"}, outputs={"r": "end"}),
        node("c", inputs={"k": "k", "r": "r"}),
    )

    found = lint(graph("a > b > c", nodes=nodes), keys=())

    assert [(finding.path, finding.related_id) for finding in found] == [("nodes[1].params.inputs.z", "q")]


def test_actions_that_a_built_in_never_has_are_a_warning() -> None:
    finding = only(graph("a yes:> b", nodes=(node("a", "sleep", duration=5),)), "ACTION_UNKNOWN")

    assert finding.message == (
        "the edge to 'b' is never taken: a 'sleep' node has no action 'yes'; remove the action from the edge"
    )


def test_other_actions_of_a_loop_are_a_warning() -> None:
    assert messages(graph("s > L ? a > L ! x", "L done:> y"), "ACTION_UNKNOWN") == [
        "the edge to 'y' is never taken: the actions of loop 'L' are 'continue' and 'break', not 'done'"
    ]


def test_what_follows_an_error_is_never_reached() -> None:
    assert messages(graph("e > b", nodes=(node("e", "error"),)), "ACTION_UNKNOWN") == [
        "the edge to 'b' is never taken: node 'e' always fails; remove the edge, or give the node a fallback"
    ]


def test_what_follows_a_fallback_may_have_any_action() -> None:
    assert codes(graph("e yes:> b", "f", nodes=(node("e", "error", fallback="f"),))) == []


def test_wrong_parameters_are_passed_over_when_names_are_looked_at() -> None:
    wrong = graph("a > b", nodes=(node("a", "set", values={"k": 1}), subflow("b", inputs={"x": 2})))

    assert codes(wrong, keys=()) == ["INVALID_PARAMETER", "INVALID_PARAMETER"]


def test_a_large_graph_is_looked_at_in_time_that_grows_with_its_size() -> None:
    count = 2000
    wide = graph(
        *(f"s > n{n} =n{n}.x> m{n} > end" for n in range(count)),
        nodes=tuple(node(f"m{n}", "set", values={"k": "1"}) for n in range(count)),
    )

    assert set(codes(wide)) == {"STATE_CONFLICT", "AMBIGUOUS_INPUT"}
