"""Graphs as text, for tests: "a > b > c", one chain a text."""

from __future__ import annotations

from typing import Any

from stepwell.model.blueprints import Edge, Graph, JoinStrategy, Node, NodeConfig

_ARROWS = {">": None, "?": "continue", "!": "break"}


def graph(
    *chains: str,
    nodes: tuple[Node, ...] = (),
    edges: tuple[Edge, ...] = (),
    entries: tuple[str, ...] = (),
    fallbacks: dict[str, str] | None = None,
) -> Graph:
    """Chains such as "a > L ? b > L ! c": `?` is a continue edge, `!` a break edge, `x:>` one with the action x, and
    `=x>` one with the condition x. Capitals control loops. `nodes` stand for those of the same id in the chains."""
    made = {node.id: node for node in nodes}
    given = []
    for chain in chains:
        words = chain.split()
        for id in words[::2]:
            made.setdefault(id, _node(id, (fallbacks or {}).get(id)))
        given += [_edge(*words[index : index + 3]) for index in range(0, len(words) - 2, 2)]
    return Graph(id="g", nodes=tuple(made.values()), edges=(*given, *edges), cycle_entry_points=entries)


def node(
    id: str,
    uses: str = "work",
    *,
    inputs: str | dict[str, str] | None = None,
    join: JoinStrategy | None = None,
    fallback: str | None = None,
    **params: Any,
) -> Node:
    return Node(
        id=id, uses=uses, params=params, inputs=inputs, config=NodeConfig(join_strategy=join, fallback=fallback)
    )


def subflow(id: str, **params: Any) -> Node:
    return Node(id=id, uses="subflow", params={"blueprintId": "x", **params})


def _node(id: str, fallback: str | None) -> Node:
    if id[:1].isupper():
        return node(id, "loop-controller", fallback=fallback, condition="n")
    return node(id, fallback=fallback)


def _edge(source: str, arrow: str, target: str) -> Edge:
    if arrow.startswith("="):
        return Edge(source=source, target=target, condition=arrow[1:-1])
    action = arrow[:-2] if arrow.endswith(":>") else _ARROWS[arrow]
    return Edge(source=source, target=target, action=action)
