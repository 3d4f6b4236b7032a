"""What nodes of blueprints get and give, and what runs around them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

from msgspec import UNSET, Struct

from stepwell.authoring.running import StepContext, current_step
from stepwell.engine.graph.outcome import NodeCall
from stepwell.model.failures import Failure

I = TypeVar("I")  # noqa: E741 - a node's input
DELETED: Any = object()
"""What stands in the writes of a state for a key that was deleted."""


class NodeResult(Struct, frozen=True, kw_only=True):
    """What a node gives, if it is more than an output: where to go on, and nodes that come into being.

    `action` selects the edges with that action. `dynamic_nodes` are nodes as in the JSON (`id`, `uses`, ...); each runs
    once, after this one.
    """

    output: Any = None
    action: str | None = None
    dynamic_nodes: Sequence[Mapping[str, Any]] = ()


class NodeState:
    """The run's state (`context`) as a node sees it: as it was when the node's visit began, with its own writes.

    What it writes is saved with its result, or not at all. Values are JSON.
    """

    __slots__ = ("_call", "_seen", "writes")

    def __init__(self, call: NodeCall) -> None:
        self._call = call
        self._seen: dict[str, Any] | None = None
        self.writes: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or `default`."""
        if key in self.writes:
            value = self.writes[key]
            return default if value is DELETED else value
        return self._values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Write a key. If another node that runs at the same time writes it too, the last one in the journal counts."""
        self.writes[key] = value

    def delete(self, key: str) -> None:
        """Remove a key; it need not be there."""
        self.writes[key] = DELETED

    def keys(self) -> list[str]:
        """All keys, sorted."""
        written = {key for key, value in self.writes.items() if value is not DELETED}
        return sorted({key for key in self._values if key not in self.writes} | written)

    def __getitem__(self, key: str) -> Any:
        value = self.get(key, UNSET)
        if value is UNSET:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key, UNSET) is not UNSET

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    @property
    def _values(self) -> dict[str, Any]:
        if self._seen is None:
            self._seen = self._call.state
        return self._seen


class Dependencies:
    """What the app's `lifespan` yielded: by type, or by name if it yielded a dict."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        return current_step().get(key)

    def get(self, key: Any) -> Any:
        """The same."""
        return current_step().get(key)


class NodeContext(Generic[I]):
    """What a node's function gets: its input, its settings, the run's state. `NodeContext[Order]` types the input.

    `input` is None if there is none. Of a fallback, `error` is the failure that called for it.
    """

    __slots__ = ("_call", "_state", "input")
    dependencies = Dependencies()

    def __init__(self, call: NodeCall, input: I) -> None:
        self._call = call
        self._state: NodeState | None = None
        self.input = input

    @property
    def state(self) -> NodeState:
        """The run's state."""
        if self._state is None:
            self._state = NodeState(self._call)
        return self._state

    @property
    def writes(self) -> Mapping[str, Any]:
        """What was written to the state so far; `DELETED` stands for a key that was deleted."""
        return {} if self._state is None else self._state.writes

    @property
    def params(self) -> Mapping[str, Any]:
        """The node's own settings, as the blueprint has them."""
        return self._call.params

    @property
    def node_id(self) -> str:
        """The node's id in its blueprint."""
        return self._call.node.id

    @property
    def id(self) -> str:
        """The visit: the node's id with its place, such as `sub/fetch:2` or `each[7]`."""
        return self._call.id

    @property
    def error(self) -> Failure | None:
        """The failure that this node is the fallback for."""
        return cast("Failure | None", self._call.error)

    @property
    def step(self) -> StepContext:
        """The attempt that runs here: `attempt`, `run_id`, `idempotency_key`, `heartbeat()`, `send()`."""
        return current_step()

    @property
    def log(self) -> logging.Logger:
        """A logger named after the node."""
        return current_step().log


class Middleware:
    """What runs around every node of an app's blueprints, in the worker. Override what you need.

    Of several, the first is the outermost. Exceptions count as the node's.
    """

    async def before_node(self, ctx: NodeContext[Any]) -> None:
        """Before the node's own code, at every attempt."""

    async def after_node(self, ctx: NodeContext[Any], result: NodeResult | None, error: BaseException | None) -> None:
        """After it; `result` is None if it failed."""

    async def around_node(
        self,
        ctx: NodeContext[Any],  # noqa: ARG002 - for those who override it
        next: Callable[[], Coroutine[Any, Any, NodeResult]],
    ) -> NodeResult:
        """Around all of that. What it returns is the result; without a call of `next` the node does not run."""
        return await next()
