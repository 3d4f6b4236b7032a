"""Graphs as Mermaid flowcharts. Nodes are called n0, n1, ... there, so that no id can break the syntax."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping

from stepwell.model.blueprints import BuiltIn, Edge, Graph, Node

_LONGEST = 60
_SHAPES: dict[BuiltIn, tuple[str, str]] = {
    "wait": ("{{", "}}"),
    "sleep": ("([", "])"),
    "webhook": ("[/", "/]"),
    "subflow": ("[[", "]]"),
    "batch-scatter": ("[/", "\\]"),
    "batch-gather": ("[\\", "/]"),
    "loop-controller": ("{", "}"),
    "set": ("[", "]"),
    "start": ("((", "))"),
    "join": ("((", "))"),
    "error": (">", "]"),
}
_STYLES = {
    "completed": "fill:#d4edda,stroke:#c3e6cb",
    "failed": "fill:#f8d7da,stroke:#f5c6cb",
    "recovered": "fill:#fff3cd,stroke:#f5c6cb",
    "running": "fill:#cce5ff,stroke:#b8daff",
    "waiting": "fill:#fff3cd,stroke:#ffeeba",
    "skipped": "fill:#f8f9fa,stroke:#d6d8db,stroke-dasharray:5 5",
    "cancelled": "fill:#e2e3e5,stroke:#d6d8db",
}
_TAKEN = "stroke:#007bff,stroke-width:3px"
_UNSAFE = {ord(sign): f"#{ord(sign)};" for sign in "#&<>`%{}[]|\\;:"} | {ord('"'): "#quot;"}


def to_mermaid(graph: Graph, states: Mapping[str, str] | None = None, taken: Collection[int] | None = None) -> str:
    """The flowchart, without a line end at its end.

    `states`: the state of each node by id, which becomes its colour; `taken`: the positions in `graph.edges` of those
    that were taken. Fallbacks are dotted. Edges to nowhere are left out.
    """
    if not graph.nodes:
        return "flowchart TD\n    empty[Empty Blueprint]"
    names: dict[str, str] = {}
    for node in graph.nodes:
        names.setdefault(node.id, f"n{len(names)}")
    return "\n".join(["flowchart TD", *(f"    {line}" for line in _lines(graph, names, states or {}, taken or ()))])


def _lines(graph: Graph, names: dict[str, str], states: Mapping[str, str], taken: Collection[int]) -> Iterator[str]:
    drawn = {node.id: node for node in reversed(graph.nodes)}
    for id, name in names.items():
        yield name + _shaped(drawn[id])
    edges = [(index, edge) for index, edge in enumerate(graph.edges) if edge.source in names and edge.target in names]
    for _, edge in edges:
        yield f"{names[edge.source]} -->{_edge_label(edge)} {names[edge.target]}"
    for id, name in names.items():
        fallback = drawn[id].config.fallback
        if fallback in names:
            yield f'{name} -.->|"fallback"| {names[fallback]}'
    for id, name in names.items():
        style = _STYLES.get(states.get(id, ""))
        if style is not None:
            yield f"style {name} {style}"
    for place, (index, _) in enumerate(edges):
        if index in taken:
            yield f"linkStyle {place} {_TAKEN}"


def _shaped(node: Node) -> str:
    opening, closing = ("[", "]") if node.built_in is None else _SHAPES[node.built_in]
    label = _escaped(node.id) or "#quot;#quot;"
    if node.params:
        label += f"<br/>params: {_escaped(json.dumps(node.params, ensure_ascii=False))}"
    return f'{opening}"{label}"{closing}'


def _edge_label(edge: Edge) -> str:
    parts = [part for part in (edge.action, edge.condition, edge.transform) if part]
    return f'|"{" #124; ".join(_escaped(part) for part in parts)}"|' if parts else ""


def _escaped(text: str) -> str:
    """One line of text without a sign that means something to Mermaid or HTML."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    cut = line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
    # Mermaid reads "direction LR" as an order wherever it stands in a line.
    return cut.translate(_UNSAFE).replace("direction ", "direction#32;")
