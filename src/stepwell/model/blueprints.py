"""A blueprint as values: nodes and edges, checked for form. What it means is the engine's business.

The names of the fields are those of the JSON, in snake case; durations are milliseconds.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

JoinStrategy = Literal["all", "any"]
BuiltIn = Literal[
    "wait",
    "sleep",
    "webhook",
    "subflow",
    "batch-scatter",
    "batch-gather",
    "loop-controller",
    "set",
    "start",
    "join",
    "error",
]
"""What a node's `uses` may name without an implementation."""

ALIASES: dict[str, BuiltIn] = {
    "wait": "wait",
    "sleep": "sleep",
    "webhook": "webhook",
    "subflow": "subflow",
    "batch-scatter": "batch-scatter",
    "batch-gather": "batch-gather",
    "loop-controller": "loop-controller",
    "set": "set",
    "start": "start",
    "join": "join",
    "error": "error",
    "WaitNode": "wait",
    "SleepNode": "sleep",
    "WebhookNode": "webhook",
    "SubflowNode": "subflow",
    "BatchScatterNode": "batch-scatter",
    "BatchGatherNode": "batch-gather",
}
"""The names of the built-in nodes. Blueprints made by Flowcraft's builder hold the names of its classes."""


class NodeConfig(Struct, frozen=True, kw_only=True):
    """How a node is tried. `max_retries` is the number of attempts in all; None: as its implementation says, or one.
    The n-th delay (ms) is `retry_delay * backoff ** (n - 1)`, at most `max_delay`. `fallback` is another node's id."""

    max_retries: int | None = None
    retry_delay: int = 0
    backoff: float = 1.0
    max_delay: int = 3_600_000
    timeout: int | None = None
    fallback: str | None = None
    join_strategy: JoinStrategy | None = None

    @property
    def attempts(self) -> int:
        """The number of attempts, for what says nothing itself."""
        return 1 if self.max_retries is None else self.max_retries


class Node(Struct, frozen=True, kw_only=True):
    """One node. `inputs` maps the node's input (a string) or its fields to where their values come from."""

    id: str
    uses: str
    params: dict[str, Any] = {}
    inputs: str | dict[str, str] | None = None
    config: NodeConfig = NodeConfig()

    @property
    def built_in(self) -> BuiltIn | None:
        """Which built-in node this is, unless an implementation has taken the name."""
        return ALIASES.get(self.uses)


class Edge(Struct, frozen=True, kw_only=True):
    """From one node to another: taken if the `action` is the source's and the `condition` holds. `transform` makes the
    target's input."""

    source: str
    target: str
    action: str | None = None
    condition: str | None = None
    transform: str | None = None


class Graph(Struct, frozen=True, kw_only=True):
    """A whole blueprint. `concurrency` bounds the steps under way in one run; `output` says which node's output, or
    which nodes' by key, is the run's result. The order of nodes and edges counts."""

    id: str
    version: str = ""
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    cycle_entry_points: tuple[str, ...] = ()
    concurrency: int | None = None
    output: str | dict[str, str] | None = None
