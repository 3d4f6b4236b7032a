"""The linter's look at what nodes write at the same time, and at what they are given."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from stepwell.engine.graph.branches import Branches
from stepwell.engine.graph.findings import Finding, Subject
from stepwell.model.blueprints import Edge, Node

_MAX_PAIRS = 200
"""How many pairs of writers of one key, or of edges into one node, are compared."""

_DEAF = {"wait", "webhook", "loop-controller", "batch-gather", "set", "join"}
"""Built-ins whose input means nothing, or mostly nothing: a `join` is there to wait."""


def shadowed_keys(subject: Subject, keys: Collection[str]) -> Iterator[Finding]:
    """Keys of the state that have the name of a node: its output hides them."""
    for key, writers in subject.writers.items():
        for node in writers:
            if key in subject.ids and not (key == node.id and subject.kind(node) == "batch-gather"):
                message = (
                    f"node {node.id!r} writes the key {key!r}, which the output of the node {key!r} hides; {_CURE}"
                )
                yield subject.about(node, "KEY_SHADOWED", message, related=key)
    for key in keys:
        if key in subject.ids:
            node = subject.wiring.nodes[subject.ids[key]]
            message = f"the output of node {key!r} hides the field {key!r} of the input; {_CURE}"
            yield subject.about(node, "KEY_SHADOWED", message, field="id", related=key)


_CURE = "give one of them another name"


def state_conflicts(subject: Subject, branches: Branches) -> Iterator[Finding]:
    """Nodes that may write the same key at the same time: which value stays depends on who ends last."""
    for key, writers in subject.writers.items():
        for one, other in islice(_pairs(writers), _MAX_PAIRS):
            if branches.concurrent(subject.number(one), subject.number(other)):
                message = (
                    f"nodes {one.id!r} and {other.id!r} may write the key {key!r} at the same time; the last one wins: "
                    "let one follow the other, or write different keys"
                )
                yield subject.about(other, "STATE_CONFLICT", message, field="params", related=one.id)
                break


def ambiguous_inputs(subject: Subject, branches: Branches) -> Iterator[Finding]:
    """Nodes that wait for several edges and are given the value of only one of them."""
    arriving: dict[str, list[Edge]] = {}
    for edge in subject.graph.edges:
        if edge.source in subject.ids and edge.target in subject.ids and not subject.is_in_cycle(edge):
            arriving.setdefault(edge.target, []).append(edge)
    for node in subject.wiring.nodes:
        edges = arriving.get(node.id, [])
        if len(edges) < 2 or not _takes_last(subject, node) or any(edge.transform is not None for edge in edges):
            continue
        last = edges[-1]
        for edge in edges[-2:-_MAX_PAIRS:-1]:
            if edge.source != last.source and branches.both_taken(edge, last):
                message = (
                    f"node {node.id!r} waits for {edge.source!r} and {last.source!r}, and is given the output of the "
                    f"latter; say with inputs what it needs, such as {_example(edge, last)}"
                )
                yield subject.about(node, "AMBIGUOUS_INPUT", message, field="inputs", related=last.source)
                break


def _takes_last(subject: Subject, node: Node) -> bool:
    kind = subject.kind(node)
    if node.inputs is not None or node.config.join_strategy == "any" or kind in _DEAF:
        return False
    return not (kind == "subflow" and node.params.get("inputs"))


def _example(edge: Edge, last: Edge) -> str:
    return f'{{"{edge.source}": "{edge.source}", "{last.source}": "{last.source}"}}'


def _pairs(writers: list[Node]) -> Iterator[tuple[Node, Node]]:
    """All pairs, neighbours in the document first."""
    for distance in range(1, len(writers)):
        yield from zip(writers, writers[distance:], strict=False)
