"""What a graph program holds of a run: visits in scopes, scopes in spaces. Plain data; the machine changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Raw

from stepwell.model.failures import Failure
from stepwell.model.ids import CommandId

if TYPE_CHECKING:
    from stepwell.engine.graph.plan import Plan, PlanNode, Region
    from stepwell.engine.program import StepCommand

NodeStatus = Literal["pending", "running", "waiting", "completed", "failed", "recovered", "skipped", "cancelled"]
TAKEN, SKIPPED, FAILED = 1, 2, 3


class Space:
    """One run of one blueprint: the root, or a visit of a subflow. Names are looked up here.

    `outputs` and `latest` go by node id, `state` by key; `counts` by node index. `prefix` begins the ids of its visits.
    """

    __slots__ = (
        "_changes",
        "_decoded",
        "batches",
        "caught",
        "counts",
        "depth",
        "failures",
        "latest",
        "outputs",
        "owner",
        "plan",
        "prefix",
        "skipped",
        "state",
        "taken",
    )

    def __init__(self, plan: Plan, prefix: str = "", owner: Visit | None = None) -> None:
        self.plan = plan
        self.prefix = prefix
        self.owner = owner
        self.depth: int = 0 if owner is None else owner.scope.space.depth + 1
        self.state: dict[str, Raw] = {}
        self.outputs: dict[str, Raw] = {}
        self.latest: dict[str, Visit] = {}
        self.counts: dict[str, int] = {}
        self.batches: dict[str, list[Raw]] = {}
        self.skipped: set[str] = set()
        self.taken: set[int] = set()
        self.failures: list[tuple[int, Visit]] = []
        self.caught: Raw | None = None
        self._changes: list[tuple[str, Raw | None]] = []
        self._decoded: dict[str, Any] = {}

    def put_output(self, id: str, output: Raw | None) -> None:
        """A node has this output now; None: it has none."""
        if output is None:
            self.outputs.pop(id, None)
        else:
            self.outputs[id] = output
        if self._decoded:
            self._decoded.pop(f"_outputs.{id}", None)

    def write(self, key: str, value: Raw | None) -> None:
        """Set a key of the state; None deletes it."""
        self._changes.append((key, self.state.get(key)))
        if value is None:
            self.state.pop(key, None)
        else:
            self.state[key] = value
        self._decoded.pop(key, None)

    def find(self, name: str) -> Raw | None:
        """What a name stands for: a node's output, else a key of the state; `_outputs.x` and `_inputs.x` by their
        names. None: nothing."""
        if name[:1] == "_":
            if name.startswith("_outputs."):
                return self.outputs.get(name[9:])
            if name.startswith("_inputs.") and (visit := self.latest.get(name[8:])) is not None:
                return visit.input
            if name == "_catch_error" and self.caught is not None:
                return self.caught
        found = self.outputs.get(name)
        return self.state.get(name) if found is None else found

    def value(self, name: str) -> Any:
        """The same, decoded, for reading only; UNSET: nothing. `context` is everything by key."""
        raw = self.find(name)
        if raw is None:
            return self.everything() if name == "context" else msgspec.UNSET
        known = self.outputs.get(name)
        key = name if known is None else f"_outputs.{name}"
        if key[:1] == "_" and known is None and not key.startswith("_outputs."):
            return msgspec.json.decode(raw)
        decoded = self._decoded
        if key not in decoded:
            decoded[key] = msgspec.json.decode(raw)
        return decoded[key]

    def everything(self) -> dict[str, Any]:
        """The state with all outputs, by the names that Flowcraft gives them."""
        values: dict[str, Any] = {key: self._own(key) for key in self.state}
        for id in self.outputs:
            value = self.value(id)
            values[id] = values[f"_outputs.{id}"] = value
        return values

    def snapshot(self) -> dict[str, Any]:
        """The state, decoded, nobody else's."""
        return {key: msgspec.json.decode(raw) for key, raw in [*self.state.items()]}

    def view(self, *, is_alone: bool) -> Callable[[], dict[str, Any]]:
        """The state as it is now, for a node whose work begins here: whenever it looks, it sees what was durable by
        then, and at each attempt the same. `is_alone`: no other work is under way."""
        if is_alone:
            self._changes.clear()
        return partial(self._seen_at, len(self._changes))

    def _seen_at(self, moment: int) -> dict[str, Any]:
        values = self.state.copy()
        for key, before in reversed(self._changes[moment:]):
            if before is None:
                values.pop(key, None)
            else:
                values[key] = before
        return {key: msgspec.json.decode(raw) for key, raw in values.items()}

    def clear(self) -> None:
        """Cut what visits hold of each other; those of subflows, too."""
        visits = [*self.latest.values(), *(visit for _, visit in self.failures)]
        self.latest.clear()
        self.failures.clear()
        for visit in visits:
            visit.cut()

    def new_id(self, name: str) -> CommandId:
        """The id of the next visit of the node with this name."""
        counts = self.counts
        n = counts.get(name, 0) + 1
        counts[name] = n
        return CommandId(f"{self.prefix}{name}" if n == 1 else f"{self.prefix}{name}:{n}")

    def _own(self, key: str) -> Any:
        return msgspec.json.decode(self.state[key])


class Scope:
    """One pass through a region: the root of a space, or one iteration of a loop.

    `active` counts the visits in it that have not ended; `is_over`: what follows from its end has been done. `cells`
    are joins that have heard of some edges; `entries` what edges from here into loops have come to. `backs` are the
    taken edges that end this iteration.
    """

    __slots__ = (
        "active",
        "backs",
        "cells",
        "entries",
        "has_back_failed",
        "is_over",
        "loops",
        "parent",
        "region",
        "run",
        "space",
    )

    def __init__(self, space: Space, region: Region, parent: Scope | None = None, run: LoopRun | None = None) -> None:
        self.space = space
        self.region = region
        self.parent = parent
        self.run = run
        self.active = 0
        self.is_over = False
        self.cells: dict[int, Cell] = {}
        self.entries: dict[int, Arrival] = {}
        self.loops: dict[int, LoopRun] = {}
        self.backs: list[tuple[int, Raw | None, bool]] = []
        self.has_back_failed = False

    def at(self, region: Region) -> Scope:
        """The scope of a region around this one."""
        scope: Scope = self
        while scope.region is not region:
            assert scope.parent is not None, "the region is around this one"
            scope = scope.parent
        return scope


Arrival = tuple[int, Raw | None, bool]
"""What an edge has come to: TAKEN, SKIPPED or FAILED; the value on it; whether a transform made that value."""


class Cell:
    """A join that waits for edges. `order` is the last taken edge, in the order of definition, those from outside of a
    loop before all others; -1: none yet.

    `is_routed`: of a fallback, whether its own edges have come to something.
    """

    __slots__ = ("has_failed", "is_fired", "is_made", "is_routed", "order", "pending", "value")

    def __init__(self, pending: int) -> None:
        self.pending = pending
        self.is_fired = False
        self.is_routed = False
        self.has_failed = False
        self.order = -1
        self.value: Raw | None = None
        self.is_made = False


class LoopRun:
    """One run of a loop. `scope` is the iteration under way; the exits are edges out of the body, by index."""

    __slots__ = ("count", "failed_exits", "last", "scope", "taken_exits", "visit")

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.count = 0
        self.scope: Scope | None = None
        self.last: Raw | None = None
        self.taken_exits: set[int] = set()
        self.failed_exits: set[int] = set()


class BatchRun:
    """One run of a batch. `items` are taken from the front; `results` stand in item order."""

    __slots__ = ("first", "items", "limit", "open", "results", "until")

    def __init__(self, items: list[Raw], limit: int) -> None:
        self.items = items
        self.results: list[Raw | None] = [None] * len(items)
        self.limit = limit
        self.first = 0
        self.until = len(items)
        self.open: dict[int, Visit] = {}


class Visit:
    """One execution of a node. `parent` is the batch that it is an item of, `stands_for` the failed visit whose
    fallback it is, `inner` the space of a subflow. `order` tells failed visits apart by time. `gather` is the node that
    waits for a dynamic one, `index` the place of an item's or a dynamic node's output among the results."""

    __slots__ = (
        "action",
        "batch",
        "command",
        "error",
        "gather",
        "id",
        "index",
        "inner",
        "input",
        "loop",
        "node",
        "order",
        "output",
        "parent",
        "scope",
        "stands_for",
        "started_at",
        "status",
        "timer",
        "until",
    )

    def __init__(self, id: CommandId, node: PlanNode, scope: Scope, input: Raw | None, started_at: int) -> None:
        self.id = id
        self.node = node
        self.scope = scope
        self.input = input
        self.started_at = started_at
        self.status: NodeStatus = "running"
        self.output: Raw | None = None
        self.action: str | None = None
        self.error: Failure | None = None
        self.parent: Visit | None = None
        self.index = 0
        self.stands_for: Visit | None = None
        self.timer = 0
        self.until: int | None = None
        self.command: StepCommand | None = None
        self.batch: BatchRun | None = None
        self.loop: LoopRun | None = None
        self.inner: Scope | None = None
        self.gather: PlanNode | None = None
        self.order = 0

    def cut(self) -> None:
        """Let go of everything that may hold this visit."""
        if self.inner is not None:
            self.inner.space.clear()
            self.inner.loops.clear()
        self.inner = self.loop = self.batch = self.stands_for = self.parent = self.command = None

    def chain(self) -> Iterator[Visit]:
        """This visit, then those that it stands for."""
        visit: Visit | None = self
        while visit is not None:
            yield visit
            visit = visit.stands_for
