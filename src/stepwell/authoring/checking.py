"""What an app asks of a blueprint before any run of it begins, so that no run is started which nobody can drive."""

from __future__ import annotations

from itertools import islice
from typing import Any

from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.nodework import NodeBinder
from stepwell.authoring.workflows import WorkflowRef
from stepwell.engine.graph.analysis import loop_bodies
from stepwell.engine.graph.findings import Subject
from stepwell.engine.graph.lint_expressions import expressions
from stepwell.errors import BlueprintError
from stepwell.formats.flowcraft import MAX_MISTAKES
from stepwell.model.blueprints import Graph, Node


def check_blueprint(blueprint: Blueprint[Any, Any]) -> None:
    """`BlueprintError` for mistakes in the document, loops that overlap, and expressions that do not parse; in it, or
    in a subflow that it brings. What the parser's absence leaves open is a worker's business."""
    for item in blueprint.all_blueprints():
        graph = item.graph
        if not _has_more_than_form(graph):
            continue
        loop_bodies(graph)
        findings = expressions(Subject(graph, item.implementations))
        wrong = [str(finding) for finding in findings if finding.severity == "error"]
        if wrong:
            mistakes = list(islice(wrong, MAX_MISTAKES))
            raise BlueprintError("\n  ".join([f"blueprint {item.id!r}:", *mistakes]), mistakes=mistakes)


def check_implementations(blueprint: Blueprint[Any, Any], bind: NodeBinder) -> None:
    """`DefinitionError` for code that no node can be made of, and for annotations that mean nothing here. Only what
    nodes use is looked at: a module that was included has other functions, too."""
    for item in blueprint.all_blueprints():
        used = {name for node in item.graph.nodes for name in (node.uses, str(node.params.get("workerUsesKey")))}
        for name, implementation in item.implementations.items():
            if name in used and not isinstance(implementation, WorkflowRef):
                bind(Node(id=name, uses=name), implementation)


def _has_more_than_form(graph: Graph) -> bool:
    """Whether there are loops or expressions. Looking at a very large graph takes a while."""
    texts = (edge.condition or edge.transform for edge in graph.edges)
    return any(texts) or any(node.built_in in ("loop-controller", "set") for node in graph.nodes)
