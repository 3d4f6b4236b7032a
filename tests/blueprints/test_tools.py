"""Random blueprints, and what looks at them without running them."""

from __future__ import annotations

import json
from random import Random

import pytest
from msgspec import structs

from stepwell import Blueprint
from stepwell.authoring.lint_blueprints import lint_document
from stepwell.cli.blueprint_tables import analysis_lines, edge_lines, node_table, normalised
from stepwell.cli.console import Paint
from stepwell.cli.json_lines import line_at, lines_of
from stepwell.formats.flowcraft import graph_of
from stepwell.model.blueprints import Graph
from stepwell.testing.blueprints.generator import generate


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_a_random_blueprint_comes_out_as_it_was_and_has_no_errors(first: int) -> None:
    for seed in range(first, first + 25):
        case = generate(Random(seed))
        for document in (case.document, *case.blueprints.values()):
            text = json.dumps(document, indent=2, ensure_ascii=False)
            assert Blueprint.from_json(text).to_json() == text
            lines = lines_of(text)
            findings = lint_document(document)
            assert [str(finding) for finding in findings if finding.severity == "error"] == []
            assert all(line_at(lines, finding.path) > 1 for finding in findings)


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_a_random_blueprint_means_what_its_plain_form_means(first: int) -> None:
    for seed in range(first, first + 25):
        graph = graph_of(generate(Random(seed)).document)
        assert graph_of(normalised(graph, ())) == _plain(graph)
        assert len(node_table(graph, columns=80, paint=Paint(False))) == (len(graph.nodes) + 1 if graph.nodes else 0)
        assert all(len(line) <= 80 for line in edge_lines(graph, columns=80))
        assert analysis_lines(graph)[0] == f"{len(graph.nodes)} nodes, {len(graph.edges)} edges"


def _plain(graph: Graph) -> Graph:
    """With the plain names of built-in nodes."""
    nodes = tuple(structs.replace(node, uses=node.built_in or node.uses) for node in graph.nodes)
    return structs.replace(graph, nodes=nodes)
