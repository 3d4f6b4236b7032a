"""Documents become graphs, or errors that name every mistake with its place."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from stepwell.errors import BlueprintError
from stepwell.formats.flowcraft import graph_of, is_blueprint, parse_document
from stepwell.model.blueprint_rules import Names
from stepwell.model.blueprints import Edge, Graph, Node, NodeConfig
from tests.formats.documents import BAD, GOOD, Document


def nodes(*nodes: Document, edges: list[Document] | None = None, **metadata: Any) -> Document:
    return {"id": "g", "nodes": list(nodes), "edges": edges or [], "metadata": metadata}


def mistakes(document: Document, **options: Any) -> tuple[str, ...]:
    with pytest.raises(BlueprintError) as caught:
        graph_of(document, **options)
    return caught.value.mistakes


def work(id: str, **fields: Any) -> Document:
    return {"id": id, "uses": "work", **fields}


@pytest.mark.parametrize("document", GOOD.values(), ids=GOOD)
def test_good_documents_are_read(document: Document) -> None:
    assert isinstance(graph_of(parse_document(json.dumps(document))), Graph)


@pytest.mark.parametrize(("document", "text"), BAD.values(), ids=BAD)
def test_mistakes_of_form_are_named_with_their_place(document: Document, text: str) -> None:
    assert mistakes(document)[0] == text


def test_everything_is_read() -> None:
    assert graph_of(GOOD["tried"]).nodes[0] == Node(
        id="a",
        uses="work",
        config=NodeConfig(
            max_retries=3,
            retry_delay=1000,
            backoff=2.0,
            max_delay=60_000,
            timeout=90_000,
            fallback="b",
            join_strategy="any",
        ),
    )


def test_absent_null_and_zero_leave_the_defaults() -> None:
    assert graph_of(GOOD["tried"]).nodes[1].config == NodeConfig(max_retries=1)
    assert graph_of(GOOD["tried"]).nodes[2].config == NodeConfig()


def test_metadata_is_read() -> None:
    document = nodes(work("a"), work("b"), version="2", cycleEntryPoints=["b"], concurrency=7.0, output={"x": "a"})

    graph = graph_of(document)

    assert (graph.version, graph.cycle_entry_points, graph.concurrency) == ("2", ("b",), 7)
    assert graph.output == {"x": "a"}


def test_inputs_are_read_and_empty_ones_are_none() -> None:
    graph = graph_of(
        nodes(work("a", inputs="x"), work("b", inputs={"k": "v"}), work("c", inputs=""), work("d", inputs={}))
    )

    assert [node.inputs for node in graph.nodes] == ["x", {"k": "v"}, None, {}]


def test_empty_texts_of_edges_are_none() -> None:
    edge = {"source": "a", "target": "b", "action": "", "condition": "", "transform": ""}

    assert graph_of(nodes(work("a"), work("b"), edges=[edge])).edges == (Edge(source="a", target="b"),)


def test_an_entry_of_an_object_takes_its_key_as_id() -> None:
    assert [node.id for node in graph_of(GOOD["objects"]).nodes] == ["a", "b", ""]


def test_of_edges_that_differ_in_their_transform_the_last_counts_at_the_first_place() -> None:
    edges = [
        {"source": "a", "target": "b", "transform": "old"},
        {"source": "a", "target": "b", "action": "x"},
        {"source": "a", "target": "b", "transform": "new"},
    ]

    found = graph_of(nodes(work("a"), work("b"), edges=edges)).edges

    assert [(edge.action, edge.transform) for edge in found] == [(None, "new"), ("x", None)]


def test_reading_leaves_the_document_as_it_was() -> None:
    before = json.dumps(GOOD["drawn"])

    graph_of(GOOD["drawn"])

    assert json.dumps(GOOD["drawn"]) == before


def test_duplicate_ids_are_refused() -> None:
    found = mistakes(nodes(work("a"), work("a")))

    assert found == ("nodes[1].id: 'a' is the id of an earlier node too; give each node its own",)


def test_edges_to_nowhere_are_refused_with_what_was_meant() -> None:
    found = mistakes(nodes(work("load"), work("store"), edges=[{"source": "laod", "target": "end"}]))

    assert found == (
        "edges[0].source: no node is called 'laod'; did you mean 'load'?",
        "edges[0].target: no node is called 'end'; there is 'load', 'store'",
    )


def test_the_path_of_an_edge_is_that_of_the_document() -> None:
    edges = {"x": {"source": "a", "target": "a"}, "y": {"source": "a", "target": "b"}}

    found = mistakes({"id": "g", "nodes": {"a": {"uses": "w"}}, "edges": edges})

    assert found == ("edges.y.target: no node is called 'b'; there is 'a'",)


def test_edges_without_any_node_are_refused() -> None:
    found = mistakes({"id": "g", "edges": [{"source": "a", "target": "a"}]})

    assert found[0] == "edges[0].source: no node is called 'a'"


def test_a_fallback_that_is_no_node_is_refused() -> None:
    found = mistakes(nodes(work("a", config={"fallback": "hlep"}), work("help")))

    assert found == (
        "nodes[0].config.fallback: no node is called 'hlep'; a fallback is the id of a node; did you mean 'help'?",
    )


def test_fallbacks_in_a_ring_are_refused_once() -> None:
    ring = [work(id, config={"fallback": after}) for id, after in ["xa", "ab", "bc", "ca"]]

    assert mistakes(nodes(*ring)) == (
        "nodes[1].config.fallback: fallbacks in a ring: 'a' > 'b' > 'c' > 'a'; one of these nodes must have none",
    )


def test_a_node_is_not_its_own_fallback() -> None:
    found = mistakes(nodes(work("a", config={"fallback": "a"})))

    assert found == ("nodes[0].config.fallback: a node cannot be its own fallback; name another, or none",)


def test_an_output_that_is_no_node_is_refused() -> None:
    assert mistakes(nodes(work("a"), output="b")) == (
        "metadata.output: no node is called 'b'; the output of a blueprint is that of a node; there is 'a'",
    )
    assert mistakes(nodes(work("a"), output={"x": "a", "y": "b"}))[0].startswith("metadata.output.y: no node")


PARAMETERS: dict[str, tuple[str, Document, str]] = {
    "sleep": ("sleep", {}, "duration: missing; a 'sleep' node needs it: \"1h30m\", or milliseconds"),
    "sleep null": ("SleepNode", {"duration": None}, "duration: missing; a 'SleepNode' node needs it"),
    "sleep text": ("sleep", {"duration": "5 minutes"}, "duration: the duration is '5 minutes'; write it as"),
    "sleep quotes": ("sleep", {"duration": "'5m'"}, "duration: the duration is \"'5m'\"; write it as"),
    "subflow": ("subflow", {}, "blueprintId: missing; a 'subflow' node needs it: the id of the blueprint to run"),
    "subflow empty": ("subflow", {"blueprintId": ""}, "blueprintId: is empty"),
    "subflow inputs": (
        "subflow",
        {"blueprintId": "x", "inputs": {"a": 1}},
        "inputs: the value of 'a' must be text, not a number (1)",
    ),
    "subflow outputs": (
        "subflow",
        {"blueprintId": "x", "outputs": "all"},
        "outputs: must be an object of texts, not text ('all')",
    ),
    "worker": (
        "batch-scatter",
        {"gatherNodeId": "n"},
        "workerUsesKey: missing; a 'batch-scatter' node needs it: what each item is given to",
    ),
    "gather": (
        "batch-scatter",
        {"workerUsesKey": "w", "gatherNodeId": "m"},
        "gatherNodeId: no node is called 'm'; there is 'n'",
    ),
    "chunk": (
        "batch-scatter",
        {"workerUsesKey": "w", "gatherNodeId": "n", "chunkSize": 0},
        "chunkSize: must be a whole number, 1 or more, not a number (0)",
    ),
    "settle": (
        "batch-scatter",
        {"workerUsesKey": "w", "gatherNodeId": "n", "settle": "yes"},
        "settle: must be true or false, not text ('yes')",
    ),
    "outputKey": ("batch-gather", {"outputKey": 1}, "outputKey: must be text, not a number (1)"),
    "set": ("set", {}, "values: missing; a 'set' node needs it: an object of keys and expressions"),
    "set numbers": ("set", {"values": {"a": 1}}, "values: the value of 'a' must be text, not a number (1)"),
    "signal": ("wait", {"signal": ["a"]}, "signal: must be text, not an array (['a'])"),
    "wait": (
        "wait",
        {"timeout": -5},
        "timeout: must be 0 to 3153600000000 milliseconds (100 years), not a number (-5)",
    ),
    "error": ("error", {"message": {}}, "message: must be text, not an object ({})"),
}


@pytest.mark.parametrize(("uses", "params", "text"), PARAMETERS.values(), ids=PARAMETERS)
def test_parameters_of_built_in_nodes_are_checked(uses: str, params: Document, text: str) -> None:
    found = mistakes(nodes({"id": "n", "uses": uses, "params": params}))

    assert [mistake.startswith(f"nodes[0].params.{text}") for mistake in found] == [True], found


def test_a_built_in_whose_name_is_taken_is_not_checked() -> None:
    graph_of(
        nodes({"id": "n", "uses": "sleep"}, {"id": "m", "uses": "loop-controller"}),
        implementations={"sleep", "loop-controller"},
    )


def test_a_loop_needs_a_condition_and_a_continue_edge() -> None:
    found = mistakes(nodes({"id": "L", "uses": "loop-controller"}, edges=[{"source": "L", "target": "L"}]))

    assert found == (
        "nodes[0].params.condition: missing; a 'loop-controller' node needs it: "
        "an expression, true while the loop goes on",
        "nodes[0]: loop 'L' has no edge with the action 'continue'; "
        "add one from it to the node that an iteration begins with",
    )


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(BlueprintError) as caught:
        graph_of(nodes(work("a", params=1), {"id": "b"}, edges=[{"source": "a", "target": "c"}]))

    assert str(caught.value) == (
        "blueprint 'g': 3 mistakes\n"
        "  nodes[0].params: must be an object, not a number (1)\n"
        "  nodes[1].uses: missing; it must be text\n"
        "  edges[0].target: no node is called 'c'; there is 'a', 'b'"
    )


def test_one_mistake_is_told_in_a_line() -> None:
    with pytest.raises(BlueprintError, match=r"^blueprint 'g': nodes\[0\]\.uses: missing; it must be text$"):
        graph_of(nodes({"id": "a"}))


def test_of_many_mistakes_twenty_are_told() -> None:
    with pytest.raises(BlueprintError, match=r"^blueprint 'g': more than 20 mistakes\n") as caught:
        graph_of(nodes(*[{"id": str(n)} for n in range(1000)]))

    assert len(caught.value.mistakes) == 20
    assert str(caught.value).count("\n") == 20


def test_long_values_are_cut_in_messages() -> None:
    assert mistakes({"id": ["x" * 1000]}) == (f"id: must be text, not an array (['{'x' * 35}...)",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a",\n "nodes": [}', "not JSON: line 2, column 12: Expecting value"),
        ("", "not JSON: line 1, column 1: Expecting value"),
        ('{"id": NaN}', "not JSON: NaN is no number there; write a number or null"),
        ('{"id": 1e999}', "not JSON: 1e999 is too large a number"),
        ('{"id": ' + "1" * 5000 + "}", "not JSON: Exceeds the limit"),
        ('{"id": "\\ud800"}', "not text: it holds half of a character"),
        (b'{"id": "\xff"}', "not UTF-8: byte 8 is 0xff; save it as UTF-8"),
        ("[" * 100_000, "not a blueprint: arrays and objects are nested too deep"),
        ("[]", "a blueprint is an object with id, nodes and edges, not an array ([])"),
        ("null", "a blueprint is an object with id, nodes and edges, not null"),
    ],
)
def test_text_that_is_no_document_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(BlueprintError) as caught:
        parse_document(text)

    assert str(caught.value).startswith(message)


def test_a_mark_at_the_beginning_of_a_file_is_no_mistake() -> None:
    assert parse_document(b'\xef\xbb\xbf{"id": "a"}') == parse_document('\ufeff{"id": "a"}') == {"id": "a"}


def test_characters_outside_of_the_first_plane_are_text() -> None:
    assert parse_document('{"id": "\\ud83d\\ude00 1.5", "x": 1.5}') == {"id": "\U0001f600 1.5", "x": 1.5}


def test_of_two_equal_keys_the_last_counts() -> None:
    assert parse_document('{"id": "a", "id": "b"}') == {"id": "b"}


def test_a_document_with_nodes_is_a_blueprint() -> None:
    assert is_blueprint({"nodes": []})
    assert is_blueprint({"id": "x", "edges": {}})
    assert not is_blueprint({"id": "x", "nodes": 3})
    assert not is_blueprint(["nodes"])


def test_a_very_large_document_is_read() -> None:
    ids = [f"n{n}" for n in range(5_000)]
    chain = [work(id, config={"fallback": after}) for id, after in pairwise(ids)]

    graph = graph_of(nodes(*chain, work(ids[-1]), edges=[{"source": a, "target": b} for a, b in pairwise(ids)]))

    assert len(graph.nodes) == 5_000
    assert len(graph.edges) == 4_999


def test_very_many_mistakes_take_no_longer() -> None:
    found = mistakes(
        nodes(*[work(f"n{n}") for n in range(5_000)], edges=[{"source": "m", "target": f"m{n}"} for n in range(5_000)])
    )

    assert len(found) == 20


def test_what_was_meant_is_looked_for_a_limited_number_of_times() -> None:
    names = Names(["load"])
    hints = [names.hint("store") for _ in range(100)]

    assert (hints[0], hints[-1]) == ("; there is 'load'", "")
