"""What a node's work gives, as the journal holds it, and what its implementation is to the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Raw, Struct

from stepwell.engine.program import StepDefinition
from stepwell.errors import ActivationError
from stepwell.model.blueprints import Node
from stepwell.model.failures import NULL, Failure


class NodeOutcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of one visit: its output, where to go on, and what it wrote. `nodes` are dynamic nodes, as JSON."""

    output: Raw = NULL
    action: str | None = None
    set: dict[str, Raw] = {}
    delete: tuple[str, ...] = ()
    nodes: tuple[Raw, ...] = ()


class Child(NamedTuple):
    """A node that is a workflow: a child run. `encode` turns the node's input into the child's; `blueprint` is what the
    child is pinned to."""

    workflow: str
    version: str
    encode: Callable[[Raw], Raw]
    blueprint: Raw = NULL


Binding = StepDefinition | Child
Bind = Callable[[Node], Binding | None]
"""The implementation of a node; None: it is a built-in one. `MissingImplementationError` if there is none."""


class MissingImplementationError(ActivationError):
    """This process has no implementation of a node. Others may have: the run stays open."""


class GraphHost(Protocol):
    """What a graph program needs of the layer that knows types and addresses."""

    def plain(self, raw: Raw) -> Raw:
        """The JSON behind a recorded payload."""

    def sealed(self, raw: Raw) -> Raw:
        """The payload of a JSON text."""

    def result(self, value: Raw) -> Raw:
        """The payload of the run's result. `CodecError` if it does not fit the blueprint's output."""

    def failure_of(self, error: BaseException) -> Failure:
        """The record of an exception."""

    def node(self, raw: Raw) -> Node:
        """A dynamic node, from JSON. `BlueprintError`."""

    def hook_url(self, token: str) -> str:
        """Where a webhook is reached."""


class NodeCall:
    """What a node's step gets: one visit, as of its start, its state included.

    `input` decodes anew at each reading, so that nobody shares an object with anybody.
    """

    __slots__ = ("_input", "_state", "error", "id", "node")

    def __init__(
        self, id: str, node: Node, input: Raw | None, state: Callable[[], dict[str, Any]], error: Any = None
    ) -> None:
        self.id = id
        self.node = node
        self.error = error
        self._input = input
        self._state = state

    @property
    def raw(self) -> Raw | None:
        """The input as JSON; None: there is none."""
        return self._input

    @property
    def input(self) -> Any:
        """The node's input, or UNSET."""
        return msgspec.UNSET if self._input is None else msgspec.json.decode(self._input)

    @property
    def params(self) -> dict[str, Any]:
        """The node's own settings."""
        return self.node.params

    @property
    def state(self) -> dict[str, Any]:
        """The state as it was when the visit began: JSON values by key, nobody else's."""
        return self._state()
