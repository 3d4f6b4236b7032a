"""The linter of documents tells of mistakes of form too, and goes on after them."""

from __future__ import annotations

import pytest

from stepwell.authoring.lint_blueprints import lint_document
from tests.formats.documents import BAD, GOOD, Document


@pytest.mark.parametrize("document", GOOD.values(), ids=GOOD)
def test_nothing_is_said_of_good_documents(document: Document) -> None:
    assert lint_document(document) == []


@pytest.mark.parametrize(("document", "text"), BAD.values(), ids=BAD)
def test_mistakes_of_form_are_errors(document: Document, text: str) -> None:
    found = [f"{finding.path}: {finding.message}" for finding in lint_document(document) if finding.severity == "error"]

    assert text in found


def test_everything_is_told_at_once() -> None:
    document = {
        "id": "g",
        "nodes": {
            "a": {"uses": "work", "config": {"retries": 2, "timeOut": "1h", "fallback": "z"}},
            "b": {"params": 3},
            "c d": {"uses": "sleep", "params": {"duration": -1, "until": 4, "durations": 3}},
        },
        "edges": [{"source": "a", "target": "b", "conditions": "x"}, 7],
        "metadata": {"verson": "1", "owner": "x"},
        "node": [],
    }

    found = [(f.severity, f.code, f.path, f.node_id) for f in lint_document(document, implementations={"work"})]

    assert found == [
        ("error", "MISSING_FIELD", "nodes.b.uses", "b"),
        ("error", "INVALID_FIELD", "nodes.b.params", "b"),
        ("error", "INVALID_FIELD", "edges[1]", None),
        ("error", "INVALID_FALLBACK", "nodes.a.config.fallback", "a"),
        ("error", "INVALID_PARAMETER", 'nodes["c d"].params.duration', "c d"),
        ("warning", "UNKNOWN_FIELD", "metadata.verson", None),
        ("warning", "UNKNOWN_FIELD", "nodes.a.config.retries", "a"),
        ("warning", "UNKNOWN_FIELD", "nodes.a.config.timeOut", "a"),
        ("warning", "UNKNOWN_FIELD", "edges[0].conditions", None),
    ]


def test_an_unknown_field_is_told_with_what_was_meant() -> None:
    (finding,) = lint_document({"id": "g", "nodes": [{"id": "a", "uses": "w", "config": {"max_retries": 3}}]})

    assert str(finding) == (
        "nodes[0].config.max_retries: means nothing here; did you mean 'maxRetries'? [UNKNOWN_FIELD]"
    )


def test_fields_that_resemble_none_are_left_alone() -> None:
    node = {"id": "a", "uses": "sleep", "params": {"duration": 1, "note": 1}, "position": {}, "_use": 1, "label": "A"}
    edge = {"id": "e", "source": "a", "target": "b", "sourceHandle": "x", "type": "smooth"}

    assert lint_document({"id": "g", "nodes": [node, {"id": "b", "uses": "w"}], "edges": [edge]}) == []


def test_a_field_beside_the_one_it_resembles_is_left_alone() -> None:
    assert lint_document({"id": "g", "ids": [], "nodes": []}) == []


def test_parameters_of_implementations_are_left_alone() -> None:
    document = {
        "id": "g",
        "nodes": [{"id": "a", "uses": "sleep", "params": {"durations": [1]}}, {"uses": "w", "id": "b"}],
    }

    assert lint_document(document, implementations={"sleep", "w"}) == []
    assert [finding.code for finding in lint_document(document)] == ["INVALID_PARAMETER", "UNKNOWN_FIELD"]


def test_documents_of_any_form_are_looked_at() -> None:
    odd = {"id": [], "nodes": {"a": 1, "b": {"config": 3, "params": []}}, "edges": "x", "metadata": 4}

    assert {finding.severity for finding in lint_document(odd)} == {"error"}
