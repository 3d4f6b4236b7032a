"""Whatever a document holds, reading and linting end with a graph, an error or findings."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stepwell.authoring.lint_blueprints import lint_document
from stepwell.engine.graph.analysis import analyze
from stepwell.engine.graph.nesting import Nesting
from stepwell.engine.graph.wiring import Wiring
from stepwell.errors import BlueprintError
from stepwell.formats.flowcraft import graph_of, parse_document, read
from stepwell.formats.mermaid import to_mermaid
from stepwell.model.blueprints import ALIASES

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
IDS = st.sampled_from(["a", "b", "c", "d", "e"])
CONFIG = st.fixed_dictionaries(
    {}, optional={"fallback": IDS, "timeout": JSON, "maxRetries": JSON, "joinStrategy": JSON}
)
PARAMS = st.dictionaries(
    st.sampled_from(["condition", "values", "gatherNodeId", "workerUsesKey", "inputs"]), JSON | IDS
)
NODE = st.fixed_dictionaries(
    {"id": IDS | JSON, "uses": st.sampled_from(["work", *ALIASES]) | JSON},
    optional={"params": PARAMS | JSON, "inputs": IDS | JSON, "config": CONFIG | JSON},
)
EDGE = st.fixed_dictionaries(
    {"source": IDS, "target": IDS},
    optional={"action": st.sampled_from(["continue", "break", "x"]), "condition": IDS | JSON, "transform": st.text()},
)
DOCUMENTS = st.fixed_dictionaries(
    {"id": st.just("g"), "nodes": st.lists(NODE, max_size=6) | JSON, "edges": st.lists(EDGE, max_size=8) | JSON},
    optional={"metadata": st.fixed_dictionaries({}, optional={"cycleEntryPoints": st.lists(IDS), "output": JSON})},
)
LOOPS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.sampled_from(["continue", "break", None])), max_size=20
)


@given(DOCUMENTS)
def test_any_document_is_read_or_refused_and_linted(document: dict[str, Any]) -> None:
    findings = lint_document(document, implementations={"work"}, blueprints=(), keys=())
    is_wrong = any(finding.severity == "error" for finding in findings)
    with nullcontext() if not is_wrong else suppress(BlueprintError):
        graph_of(document)
    draft = read(document)
    analyze(draft.graph)
    assert to_mermaid(draft.graph).startswith("flowchart TD\n")


@given(JSON)
def test_any_value_is_no_document_or_one(value: Any) -> None:
    try:
        assert parse_document(json.dumps(value)) == value
    except BlueprintError:
        assert not isinstance(value, dict) or not json.dumps(value, ensure_ascii=False).isascii()


@given(LOOPS, st.dictionaries(st.integers(0, 6), st.integers(0, 6), max_size=2))
def test_bodies_of_loops_nest(edges: list[tuple[int, int, str | None]], fallbacks: dict[int, int]) -> None:
    nodes = [
        {
            "id": str(n),
            "uses": "loop-controller" if n < 3 else "work",
            "params": {"condition": "x"},
            "config": {"fallback": str(fallbacks[n]) if n in fallbacks else None},
        }
        for n in range(7)
    ]
    listed = [{"source": str(a), "target": str(b), "action": action} for a, b, action in edges]

    nesting = Nesting(Wiring(read({"id": "g", "nodes": nodes, "edges": listed}).graph), ())

    for loop, body in nesting.bodies.items():
        assert loop not in body
        for other, inner in nesting.bodies.items():
            assert body <= inner or inner <= body or not body & inner
            assert not (loop in inner and other in body)
