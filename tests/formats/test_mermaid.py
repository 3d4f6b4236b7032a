"""Flowcharts hold whatever a blueprint holds, and stay Mermaid."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.formats.mermaid import to_mermaid
from stepwell.model.blueprints import Edge, Graph, Node, NodeConfig

CHAIN = Graph(
    id="g",
    nodes=(Node(id="a", uses="work"), Node(id="b", uses="work"), Node(id="c", uses="work")),
    edges=(Edge(source="a", target="b"), Edge(source="b", target="c"), Edge(source="a", target="c", action="skip")),
)

LINE = re.compile(
    r"""\ {4}(?:
      n\d+ (?: \["[^"]*"\] | \{\{"[^"]*"\}\} | \{"[^"]*"\} | \(\["[^"]*"\]\) | \(\("[^"]*"\)\) | \[\["[^"]*"\]\]
             | \[/"[^"]*"[/\\]\] | \[\\"[^"]*"/\] | >"[^"]*"\] )
      | n\d+ \ (?: --> | -\.-> ) (?: \|"[^"]*"\| )? \ n\d+
      | style \ n\d+ \ fill:\#[0-9a-f]{6},stroke:\#[0-9a-f]{6}(?: ,stroke-dasharray:5\ 5 )?
      | linkStyle \ \d+ \ stroke:\#007bff,stroke-width:3px
    )""",
    re.VERBOSE,
)


def lines(graph: Graph, **options: object) -> list[str]:
    first, *others = to_mermaid(graph, **options).split("\n")  # type: ignore[arg-type]
    assert first == "flowchart TD"
    return [line.removeprefix("    ") for line in others]


def label(text: str) -> str:
    return re.findall('"(.*)"', lines(Graph(id="g", nodes=(Node(id=text, uses="work"),)))[0])[0]


def test_an_empty_blueprint_is_one_box() -> None:
    assert lines(Graph(id="g")) == ["empty[Empty Blueprint]"]


def test_nodes_come_before_edges() -> None:
    assert lines(CHAIN) == ['n0["a"]', 'n1["b"]', 'n2["c"]', "n0 --> n1", "n1 --> n2", 'n0 -->|"skip"| n2']


def test_an_edge_tells_when_it_is_taken_and_what_it_makes() -> None:
    edge = Edge(source="a", target="a", action="go", condition='x > "1"', transform="input.y")
    graph = Graph(id="g", nodes=(Node(id="a", uses="work"),), edges=(edge,))

    assert lines(graph)[1] == 'n0 -->|"go #124; x #62; #quot;1#quot; #124; input.y"| n0'


def test_parameters_stand_under_the_name() -> None:
    graph = Graph(id="g", nodes=(Node(id="nap", uses="sleep", params={"duration": "5m"}),))

    assert lines(graph) == ['n0(["nap<br/>params: #123;#quot;duration#quot;#58; #quot;5m#quot;#125;"])']


def test_long_parameters_are_cut() -> None:
    graph = Graph(id="g", nodes=(Node(id="a", uses="work", params={"text": "x" * 1000}),))

    assert len(lines(graph)[0]) < 150
    assert lines(graph)[0].endswith('x…"]')


@pytest.mark.parametrize(
    ("uses", "shape"),
    [
        ("wait", 'n0{{"a"}}'),
        ("SleepNode", 'n0(["a"])'),
        ("webhook", 'n0[/"a"/]'),
        ("subflow", 'n0[["a"]]'),
        ("batch-scatter", 'n0[/"a"\\]'),
        ("batch-gather", 'n0[\\"a"/]'),
        ("loop-controller", 'n0{"a"}'),
        ("set", 'n0["a"]'),
        ("start", 'n0(("a"))'),
        ("error", 'n0>"a"]'),
    ],
)
def test_built_in_nodes_have_shapes(uses: str, shape: str) -> None:
    assert lines(Graph(id="g", nodes=(Node(id="a", uses=uses),))) == [shape]


def test_words_of_mermaid_are_labels_only() -> None:
    graph = Graph(
        id="g",
        nodes=(Node(id="end", uses="w"), Node(id="style", uses="w")),
        edges=(Edge(source="end", target="style"),),
    )

    assert lines(graph) == ['n0["end"]', 'n1["style"]', "n0 --> n1"]


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ('say "hi"', "say #quot;hi#quot;"),
        ("<b>a & b</b>", "#60;b#62;a #38; b#60;/b#62;"),
        ("%%{init}%%", "#37;#37;#123;init#125;#37;#37;"),
        ("`bold`", "#96;bold#96;"),
        ("a#35;", "a#35;35#59;"),
        ("two\nlines\x00", "two lines"),
        ("", "#quot;#quot;"),
        ("direction LR", "direction#32;LR"),
        ("größe 寸", "größe 寸"),
    ],
)
def test_signs_that_mean_something_are_escaped(id: str, expected: str) -> None:
    assert label(id) == expected


def test_fallbacks_are_dotted() -> None:
    nodes = (Node(id="a", uses="work", config=NodeConfig(fallback="b")), Node(id="b", uses="work"))

    assert lines(Graph(id="g", nodes=nodes))[2:] == ['n0 -.->|"fallback"| n1']


def test_states_are_colours() -> None:
    styles = lines(CHAIN, states={"a": "completed", "b": "failed", "c": "pending", "d": "completed"})[6:]

    assert styles == ["style n0 fill:#d4edda,stroke:#c3e6cb", "style n1 fill:#f8d7da,stroke:#f5c6cb"]


@pytest.mark.parametrize("state", ["running", "waiting", "skipped", "recovered", "cancelled"])
def test_each_state_of_a_visit_has_a_colour(state: str) -> None:
    assert lines(CHAIN, states={"a": state})[6].startswith("style n0 fill:#")


def test_edges_that_were_taken_stand_out() -> None:
    assert lines(CHAIN, taken={0, 2})[6:] == [
        "linkStyle 0 stroke:#007bff,stroke-width:3px",
        "linkStyle 2 stroke:#007bff,stroke-width:3px",
    ]


def test_edges_to_nowhere_are_left_out() -> None:
    edges = (Edge(source="a", target="z"), Edge(source="z", target="a"), Edge(source="a", target="a"))
    nodes = (Node(id="a", uses="work", config=NodeConfig(fallback="z")), Node(id="a", uses="other"))

    assert lines(Graph(id="g", nodes=nodes, edges=edges), taken=[2]) == [
        'n0["a"]',
        "n0 --> n0",
        "linkStyle 0 stroke:#007bff,stroke-width:3px",
    ]


@given(st.text(), st.text(), st.sampled_from(["work", "wait", "error", "batch-gather"]))
def test_every_line_has_the_form_of_one(id: str, text: str, uses: str) -> None:
    nodes = (Node(id=id, uses=uses, params={text: text}, config=NodeConfig(fallback=id)),)
    edges = (Edge(source=id, target=id, action=text, condition=id, transform=text),)

    drawn = to_mermaid(Graph(id="g", nodes=nodes, edges=edges), {id: "skipped"}, [0]).split("\n")

    assert [line for line in drawn[1:] if not LINE.fullmatch(line)] == []
