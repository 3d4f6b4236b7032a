"""What random blueprints are written on: the parts of a case, and one blueprint while it grows."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from stepwell.testing.blueprints import phrases
from stepwell.testing.blueprints.phrases import Names

Json = Any
_UNREPEATED = {"loop-controller", "batch-scatter", "BatchScatterNode"}
SHAPES = ["number"] * 4 + ["object"] * 2 + ["text", "flag", "list", "null"]
INPUT: dict[str, Json] = {"s0": 7, "s1": "text", "s2": {"n": 3, "in": {"text": "t3"}}, "s3": [1, 2], "s4": None}
STATE: Names = {"s0": "number", "s1": "text", "s2": "object", "s3": "list", "s4": "null"}


@dataclass
class Case:
    """What to run: a document with its subflows, the input, and what waits are answered.

    `is_exact`: everything must agree. If not, a node stops the run, and only the status tells. `loose` are visits
    that may or may not happen: items beside one that fails.
    """

    document: dict[str, Json]
    input: Json
    blueprints: dict[str, Json]
    script: dict[str, list[Json]]
    is_exact: bool = True
    loose: tuple[str, ...] = ()


@dataclass
class Member:
    """What edges of a region can begin at: a node, with what is settled after it.

    `actions` are those it may answer with. `is_loop`: its edges are exits. `is_fixed`: no more edges may leave it.
    """

    id: str
    known: Names
    outputs: Names
    shape: str = "number"
    actions: tuple[str, ...] = ()
    is_loop: bool = False
    is_fixed: bool = False


@dataclass
class Place:
    """Where a new node stands: the edges into it come from `before`, and `known` is settled when it begins."""

    before: list[Member]
    known: Names
    outputs: Names
    is_any: bool = False

    def after(self, id: str, shape: str, more: Names | None = None, **options: Any) -> Member:
        names = {**self.known, id: shape, **(more or {})}
        return Member(id, names, {**self.outputs, id: shape}, shape, **options)


@dataclass
class Region:
    """The outermost scope, or the body of a loop. `entry` is what is settled before all of it; `deep` are members of
    loops within."""

    entry: Place
    members: list[Member] = field(default_factory=list)
    deep: list[Member] = field(default_factory=list)
    is_body: bool = False

    @property
    def open(self) -> list[Member]:
        return [member for member in self.members if not member.is_fixed]


class Shared:
    """What the blueprints of one case share."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.blueprints: dict[str, Json] = {}
        self.leaves: dict[str, int] = {}
        self.script: dict[str, list[Json]] = {}
        self.is_exact = True
        self.loose: list[str] = []
        self.failing = rng.choice([0.0, 0.0, 0.0, 0.04, 0.12])
        self.counter = 0


class Sheet:
    """One blueprint while it is written: nodes, edges, and the small decisions about them."""

    def __init__(self, shared: Shared, id: str, state: Names, depth: int = 0) -> None:
        self.shared = shared
        self.rng = shared.rng
        self.id = id
        self.state = state
        self.depth = depth
        self.nodes: list[dict[str, Json]] = []
        self.edges: list[dict[str, Json]] = []
        self.metadata: dict[str, Json] = {}
        self.needs_output = False

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def name(self) -> str:
        number = self.shared.counter = self.shared.counter + 1
        if self.chance(0.9):
            return f"n{number}"
        return self.rng.choice(["n{}-x", "n{}:x", "n{}/[y]", "n {}~", "ü{}", "n{}.z", "n%{}", "n{}:2"]).format(number)

    def node(self, uses: str, *, id: str | None = None, **fields: Json) -> str:
        """Add a node; fields that are empty are left out."""
        made = {"id": id or self.name(), "uses": uses, **{key: value for key, value in fields.items() if value}}
        self.nodes.append(made)
        return str(made["id"])

    def edge(self, source: str, target: str, **fields: Json) -> None:
        self.edges.append(
            {"source": source, "target": target, **{key: value for key, value in fields.items() if value}}
        )

    def connect(self, member: Member, target: str, *, plain: bool = False) -> None:
        """An edge from a member, with some condition or transform."""
        fields: dict[str, Json] = {}
        if member.is_loop:
            fields["action"] = self.rng.choice(["break", "break", None])
            if self.chance(0.15):
                fields["condition"] = phrases.condition(self.rng, member.known, None)
        elif member.actions and self.chance(0.75):
            fields["action"] = self.rng.choice([*member.actions, *member.actions, "other"])
        if not plain and "condition" not in fields and not member.is_loop and self.chance(0.2):
            fields["condition"] = phrases.condition(self.rng, member.known, member.shape)
        if not plain and self.chance(0.2) and self._sees_inputs(member, target):
            fields["transform"] = phrases.value(self.rng, member.known, "input")
        self.edge(member.id, target, **fields)

    def _sees_inputs(self, member: Member, target: str) -> bool:
        """Whether a transform on an edge to there looks at nothing that is still going on."""
        inputs = next((node.get("inputs") for node in self.nodes if node["id"] == target), None)
        return not isinstance(inputs, str) or inputs.removeprefix("_outputs.") in member.known

    def inputs(self, place: Place, share: float = 0.3) -> str | dict[str, str] | None:
        """A mapping of what is settled; a node that any of several begins has to have one."""
        if place.is_any or self.chance(share):
            return phrases.mapping(self.rng, place.known, place.outputs)
        return None

    def finish(self) -> dict[str, Json]:
        """The document, its entries in some order."""
        self._cover_actions()
        rng = self.rng
        if self.needs_output or self.chance(0.4):
            ids = [node["id"] for node in self.nodes]
            one, other = rng.choice(ids), rng.choice(ids)
            self.metadata["output"] = one if self.chance(0.5) else {"a": one, "b": other}
        if self.chance(0.2):
            self.metadata["concurrency"] = rng.randint(1, 3)
        if self.chance(0.3):
            rng.shuffle(self.nodes)
            rng.shuffle(self.edges)
        if self.edges and self.chance(0.1):
            self._repeat_edge()
        nodes: Json = self.nodes
        if self.chance(0.1):
            nodes = {node["id"]: node for node in self.nodes}
        document = {"id": self.id, "nodes": nodes, "edges": self.edges}
        return {**document, "metadata": self.metadata} if self.metadata else document

    def _repeat_edge(self) -> None:
        """A second edge that replaces the first."""
        edge = self.rng.choice(self.edges)
        target = next(node for node in self.nodes if node["id"] == edge["target"])
        is_any = target.get("config", {}).get("joinStrategy") == "any"
        if not is_any and target["uses"] not in _UNREPEATED and not isinstance(target.get("inputs"), str):
            self.edges.append({**edge, "transform": "[input, 1]"})

    def _cover_actions(self) -> None:
        """Most nodes that answer with actions have an edge for each, or one for the rest."""
        for node in self.nodes:
            out = [edge for edge in self.edges if edge["source"] == node["id"]]
            named = [edge for edge in out if "action" in edge]
            is_router = node["uses"] in {"route", "act", "wait", "WaitNode"}
            if (
                is_router
                and named
                and len(named) == len(out)
                and (node["uses"] not in {"route", "act"} or self.chance(0.9))
            ):
                del self.rng.choice(named)["action"]
