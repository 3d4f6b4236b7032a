"""A blueprint as text: a line per node, and what its shape says; and as the JSON that its meaning comes down to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from stepwell.cli.console import Paint, short_ms, table
from stepwell.engine.graph.analysis import analyze
from stepwell.model.blueprints import Edge, Graph, Node, NodeConfig

_CONFIG = {
    "max_retries": "maxRetries",
    "retry_delay": "retryDelay",
    "backoff": "backoff",
    "max_delay": "maxDelay",
    "timeout": "timeout",
    "fallback": "fallback",
    "join_strategy": "joinStrategy",
}
_HEADER = ("NODE", "USES", "INPUTS", "TRIES", "TIMEOUT", "FALLBACK", "JOIN", "LEADS TO")


def node_table(graph: Graph, *, columns: int, paint: Paint) -> list[str]:
    """A line per node; columns in which no node has anything are left out."""
    out: dict[str, list[Edge]] = {}
    for edge in graph.edges:
        out.setdefault(edge.source, []).append(edge)
    rows = [_row(node, out.get(node.id, ())) for node in graph.nodes]
    shown = [index for index, name in enumerate(_HEADER) if name == "LEADS TO" or any(row[index] for row in rows)]
    header = [_HEADER[index] for index in shown]
    return table(header, [[row[index] for index in shown] for row in rows], columns=columns, paint=paint)


def _row(node: Node, edges: Iterable[Edge]) -> list[str]:
    config = node.config
    inputs = node.inputs or ""
    if isinstance(inputs, dict):
        inputs = ", ".join(f"{key}={name}" for key, name in inputs.items())
    delay = f" after {short_ms(config.retry_delay)}" if config.retry_delay else ""
    return [
        node.id,
        _uses(node),
        inputs,
        f"{config.attempts}{delay}" if config.max_retries or delay else "",
        "" if config.timeout is None else short_ms(config.timeout),
        config.fallback or "",
        config.join_strategy or "",
        ", ".join(dict.fromkeys(edge.target for edge in edges)),
    ]


def _uses(node: Node) -> str:
    """With the parameter that says most."""
    names = {
        "subflow": "blueprintId",
        "batch-scatter": "workerUsesKey",
        "sleep": "duration",
        "loop-controller": "condition",
    }
    value = node.params.get(names.get(node.built_in or "", ""))
    return node.uses if value is None else f"{node.uses} {value}"


def edge_lines(graph: Graph, *, columns: int) -> list[str]:
    """A line for each edge that is taken under a condition, or changes what it brings."""
    marked = [edge for edge in graph.edges if edge.action or edge.condition or edge.transform]
    room = max((len(edge.source) + len(edge.target) for edge in marked), default=0) + 4
    lines = [f"{f'{edge.source} -> {edge.target}':{room}}  {_marks(edge)}" for edge in marked]
    return [line if len(line) <= columns else line[: columns - 1] + "…" for line in lines]


def _marks(edge: Edge) -> str:
    texts = [
        f"on {edge.action}" if edge.action else "",
        f"if {edge.condition}" if edge.condition else "",
        f"gives {edge.transform}" if edge.transform else "",
    ]
    return ", ".join(text for text in texts if text)


def analysis_lines(graph: Graph) -> list[str]:
    """Where it begins and ends, its loops, and what never runs."""
    analysis = analyze(graph)
    facts = [
        ("begins with", ", ".join(analysis.entry_node_ids)),
        ("ends with", ", ".join(analysis.terminal_node_ids)),
        *((f"loop {loop}", ", ".join(id for id in _ids(graph) if id in body)) for loop, body in analysis.loops.items()),
        *(("cycle", " > ".join(cycle)) for cycle in analysis.cycles if not set(cycle) & set(analysis.loops)),
        ("never run", ", ".join(analysis.unreachable_node_ids)),
    ]
    size = f"{len(graph.nodes)} nodes, {len(graph.edges)} edges"
    return [size, *(f"{name}: {text}" for name, text in facts if text)]


def _ids(graph: Graph) -> list[str]:
    return [node.id for node in graph.nodes]


def normalised(graph: Graph, implementations: Collection[str]) -> dict[str, Any]:
    """What of a document means something, in one form: arrays, the plain names of built-ins, milliseconds."""
    metadata = {
        "version": graph.version,
        "cycleEntryPoints": list(graph.cycle_entry_points),
        "concurrency": graph.concurrency,
        "output": graph.output,
    }
    document: dict[str, Any] = {
        "id": graph.id,
        "nodes": [_node(node, implementations) for node in graph.nodes],
        "edges": [_given(edge, ("source", "target", "action", "condition", "transform")) for edge in graph.edges],
    }
    if kept := {name: value for name, value in metadata.items() if value}:
        document["metadata"] = kept
    return document


def _node(node: Node, implementations: Collection[str]) -> dict[str, Any]:
    is_own = node.uses in implementations or node.built_in is None
    plain = NodeConfig()
    config = {
        name: getattr(node.config, field)
        for field, name in _CONFIG.items()
        if getattr(node.config, field) != getattr(plain, field)
    }
    found = {"params": node.params, "inputs": node.inputs, "config": config}
    named = {"id": node.id, "uses": node.uses if is_own else node.built_in}
    return {**named, **{name: value for name, value in found.items() if value}}


def _given(edge: Edge, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(edge, name)) is not None}
