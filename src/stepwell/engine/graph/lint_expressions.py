"""The linter's look at expressions and mappings: do they parse, and is there what they name?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Literal

from msgspec import Struct

from stepwell.engine.expressions import Expression, compile_expression
from stepwell.engine.graph.findings import Finding, Subject
from stepwell.errors import DefinitionError, ExpressionError
from stepwell.model.blueprint_rules import Names, Violation
from stepwell.model.blueprints import Edge

_Use = Literal["condition", "transform", "loop", "set"]
_BOUND: dict[_Use, frozenset[str]] = {
    "condition": frozenset({"result", "context"}),
    "transform": frozenset({"input", "context"}),
    "loop": frozenset({"context"}),
    "set": frozenset({"input", "context"}),
}
"""The names that are there besides nodes and keys."""


class _Text(Struct, frozen=True):
    """One expression of a blueprint and where it stands."""

    text: str
    use: _Use
    path: str
    node_id: str
    related_id: str | None = None


def expressions(subject: Subject, edge_paths: Sequence[str] = ()) -> Iterator[Finding]:
    """Expressions that do not parse."""
    for text in _texts(subject, edge_paths):
        problem = _compiled(text, subject)
        if isinstance(problem, Expression):
            continue
        is_wrong = isinstance(problem, ExpressionError)
        yield Finding(
            code="INVALID_EXPRESSION" if is_wrong else "EXPRESSION_UNCHECKED",
            severity="error" if is_wrong else "warning",
            message=str(problem),
            path=text.path,
            node_id=text.node_id,
            related_id=text.related_id,
        )


def references(subject: Subject, keys: Collection[str] | None, edge_paths: Sequence[str] = ()) -> Iterator[Finding]:
    """Names that name no node, no known key of the state, and no field of the input.

    If the fields of the input are not known, only what looks like a misspelt name is told.
    """
    known = {*subject.ids, *subject.writers, *(keys or ())}
    names = Names(sorted(known))
    for name, text in _names(subject, edge_paths):
        base = _base(name, known)
        if base in known or base in _BOUND[text.use]:
            continue
        if keys is None and not names.misspelt(base):
            continue
        yield Finding(
            code="UNKNOWN_REFERENCE",
            severity="warning",
            message=f"{base!r} is no node, and nothing is known to write such a key{names.hint(base)}",
            path=text.path,
            node_id=text.node_id,
            related_id=base,
        )


def _compiled(text: _Text, subject: Subject) -> Expression | DefinitionError:
    if text.text not in subject.compiled:
        try:
            subject.compiled[text.text] = compile_expression(text.text, names=subject.hyphenated)
        except DefinitionError as error:
            subject.compiled[text.text] = error
    return subject.compiled[text.text]


def _names(subject: Subject, edge_paths: Sequence[str]) -> Iterator[tuple[str, _Text]]:
    """Every name that is read, by expressions and by mappings."""
    for text in _texts(subject, edge_paths):
        compiled = _compiled(text, subject)
        if isinstance(compiled, Expression):
            for name in sorted(compiled.reads()):
                yield name, text
    for node in subject.wiring.nodes:
        inputs = {"": node.inputs} if isinstance(node.inputs, str) else node.inputs or {}
        for key, name in inputs.items():
            field = f"inputs.{key}" if key else "inputs"
            yield name, _Text(name, "loop", subject.path(node, field), node.id)
        mapped = node.params.get("inputs") if subject.kind(node) == "subflow" else None
        for key, name in mapped.items() if isinstance(mapped, dict) else ():
            if isinstance(name, str):
                yield name, _Text(name, "loop", subject.path(node, f"params.inputs.{key}"), node.id)


def _base(name: str, known: set[str]) -> str:
    """What must be there for a name to mean something: a node or a key."""
    if name in known or name == "context":
        return name
    base, _, rest = name.partition(".")
    if base in ("_outputs", "_inputs"):
        return rest if rest in known else rest.partition(".")[0]
    return "context" if base.startswith("_") else base


def _texts(subject: Subject, edge_paths: Sequence[str]) -> Iterator[_Text]:
    for node in subject.wiring.nodes:
        kind = subject.kind(node)
        condition, values = node.params.get("condition"), node.params.get("values")
        if kind == "loop-controller" and isinstance(condition, str) and condition:
            yield _Text(condition, "loop", subject.path(node, "params.condition"), node.id)
        elif kind == "set" and isinstance(values, dict):
            for key, value in values.items():
                if isinstance(value, str):
                    yield _Text(value, "set", subject.path(node, f"params.values.{key}"), node.id)
    for index, edge in enumerate(subject.graph.edges):
        yield from _of_edge(index, edge, edge_paths)


def _of_edge(index: int, edge: Edge, edge_paths: Sequence[str]) -> Iterator[_Text]:
    for use, text in (("condition", edge.condition), ("transform", edge.transform)):
        if text is not None:
            path = Violation(code="", message="", edge=index, field=use).path((), edge_paths)
            yield _Text(text, "condition" if use == "condition" else "transform", path, edge.source, edge.target)
