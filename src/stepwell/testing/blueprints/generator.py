"""Random blueprints whose result does not depend on timing.

A blueprint is grown node by node in regions: the outermost one and one per loop body. Each node knows which names are
settled before it can begin, and reads no others; each writes state keys of its own. So what runs at the same time
cannot see each other, and one evaluation, in any order, tells what every run must give. Smaller sizes give smaller
blueprints.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

from stepwell.testing.blueprints import phrases
from stepwell.testing.blueprints.phrases import Names
from stepwell.testing.blueprints.sheets import INPUT, SHAPES, STATE, Case, Member, Place, Region, Shared, Sheet

Json = Any


def generate(rng: Random, size: int | None = None) -> Case:
    """A blueprint of about `size` nodes."""
    if size is None:
        size = rng.choice([rng.randint(1, 5), rng.randint(6, 15), rng.randint(6, 15), rng.randint(16, 40)])
    shared = Shared(rng)
    document = Grower(shared, "main", dict(STATE)).grow(size)
    input = dict(INPUT) if rng.random() < 0.9 else rng.choice([None, 5, "in", [1]])
    return Case(document, input, shared.blueprints, shared.script, shared.is_exact, tuple(shared.loose))


class Grower(Sheet):
    """Grows one blueprint. The budget of a region is the number of nodes that may still come."""

    def grow(self, size: int) -> dict[str, Json]:
        region = Region(Place([], dict(self.state), {}))
        self.fill(region, size)
        return self.finish()

    def fill(self, region: Region, budget: int) -> None:
        while budget > 0:
            before = len(self.nodes)
            place = self.place(region)
            kinds = self.kinds(region, place, budget)
            make = self.rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
            region.members.extend(make(region, place, budget))
            budget -= len(self.nodes) - before

    def place(self, region: Region) -> Place:
        """Some members of the region to come after, late ones more often."""
        members = region.open
        if not members or (not region.is_body and self.chance(0.07)):
            return Place([], dict(region.entry.known), dict(region.entry.outputs))
        count = min(self.rng.choice([1, 1, 1, 1, 2, 2, 3]), len(members))
        before = [members[-1 - int(self.rng.random() ** 2 * len(members))] for _ in range(count)]
        before = list({member.id: member for member in before}.values())
        is_any = len(before) > 1 and self.chance(0.25)
        known, outputs = dict(before[0].known), dict(before[0].outputs)
        for member in before[1:]:
            known = _joined(known, member.known, is_any)
            outputs = _joined(outputs, member.outputs, is_any)
        return Place(before, known, outputs, is_any)

    def attach(self, place: Place, target: str) -> None:
        for member in place.before:
            self.connect(member, target, plain=place.is_any)

    def kinds(self, region: Region, place: Place, budget: int) -> list[tuple[Callable[..., list[Member]], float]]:
        is_root = not region.is_body
        return [
            (self.work, 8),
            (self.router, 2),
            (self.writer, 1.5),
            (self.setter, 1),
            (self.passing, 0.7),
            (self.waiting, 1),
            (self.failing, 0.2 + 20 * self.shared.failing),
            (self.rescued, 1.2),
            (self.diamond, 1.5 if budget > 4 else 0),
            (self.batch, 1 if budget > 3 else 0),
            (self.loop, 1.6 if budget > 3 else 0),
            (self.subflow, 0.9 if budget > 2 and self.depth < 3 else 0),
            (self.cycle, 0.3 if is_root and budget > 3 and not place.is_any else 0),
            (self.dynamic, 0.4 if is_root and budget > 2 else 0),
        ]

    # --- single nodes

    def config(self, place: Place, **fields: Json) -> dict[str, Json]:
        if place.is_any:
            fields["joinStrategy"] = "any"
        elif self.chance(0.1):
            fields["joinStrategy"] = "all"
        return fields

    def work(self, region: Region, place: Place, budget: int) -> list[Member]:
        rng = self.rng
        shape = rng.choice(SHAPES)
        uses = rng.choice(["mix"] * 5 + ["flaky", "read", "const"])
        params: dict[str, Json] = {"shape": shape, "salt": rng.randrange(9)}
        config = self.config(place)
        if uses == "flaky":
            params = {"times": rng.randint(0, 2)}
            config = {**config, "maxRetries": params["times"] + (0 if self.chance(self.shared.failing) else 1)}
            if self.chance(0.3):
                config = {**config, "retryDelay": rng.choice([5, "1s"])}
        elif uses == "read":
            keys = [name for name in place.known if name not in place.outputs]
            params = {"keys": rng.sample(sorted(keys), min(3, len(keys)))}
        elif uses == "const":
            params = {"value": rng.randrange(99)}
        shape = {"flaky": "number", "read": "any", "const": "number"}.get(uses, shape)
        id = self.node(uses, params=params, inputs=self.inputs(place), config=config)
        self.attach(place, id)
        return [place.after(id, shape)]

    def router(self, region: Region, place: Place, budget: int) -> list[Member]:
        actions = tuple(self.rng.sample(["yes", "no", "go", "stop"], self.rng.randint(1, 3)))
        params = {"actions": list(actions), "salt": self.rng.randrange(9)}
        id = self.node("route", params=params, inputs=self.inputs(place), config=self.config(place))
        self.attach(place, id)
        return [place.after(id, "number", actions=actions)]

    def writer(self, region: Region, place: Place, budget: int) -> list[Member]:
        id = self.name()
        keys = {f"k{i}_{self.shared.counter}": "number" for i in range(self.rng.randint(1, 3))}
        params = {"toggle" if self.chance(0.1) else "keys": list(keys)}
        self.node("write", id=id, params=params, inputs=self.inputs(place), config=self.config(place))
        self.attach(place, id)
        return [place.after(id, "number", keys)]

    def setter(self, region: Region, place: Place, budget: int) -> list[Member]:
        id = self.name()
        first, second = f"v{self.shared.counter}", f"u{self.shared.counter}"
        own = None if place.is_any else "input"
        values = {first: phrases.value(self.rng, place.known, own)}
        values[second] = phrases.value(self.rng, {**place.known, first: "any"}, own)
        self.node("set", id=id, params={"values": values}, inputs=self.inputs(place, 0.2), config=self.config(place))
        self.attach(place, id)
        return [place.after(id, "any", {first: "any", second: "any"})]

    def passing(self, region: Region, place: Place, budget: int) -> list[Member]:
        uses = self.rng.choice(["join", "start", "sleep", "SleepNode", "echo"])
        params = {"duration": self.rng.choice([0, 10, "5s", 2000])} if "leep" in uses else {}
        id = self.node(uses, params=params, inputs=self.inputs(place), config=self.config(place))
        self.attach(place, id)
        return [place.after(id, "any")]

    def waiting(self, region: Region, place: Place, budget: int) -> list[Member]:
        rng = self.rng
        id = self.name()
        params: dict[str, Json] = {}
        actions = rng.choice([(), (), ("yes", "no"), ("yes", "timeout")])
        answers: list[Json] = []
        if self.chance(0.3):
            params["signal"] = f"signal {id}"
            answers = [{"signal": {"action": action, "n": 1}} for action in actions if action != "timeout"]
            answers = answers or [{"signal": rng.choice([5, "ok", None, [1], {"action": 7}])}]
        else:
            answers = [
                {"output": rng.choice([5, {"n": 1}]), "action": action} for action in actions if action != "timeout"
            ]
            answers = answers or [rng.choice([{"output": 3}, {}, {"output": None}])]
        if "timeout" in actions:
            params["timeout"] = rng.choice(["1h", 500])
            answers.append("timeout")
        elif self.chance(self.shared.failing):
            params["timeout"] = 700
            answers = ["timeout"]
        rng.shuffle(answers)
        self.shared.script[f"{self.id}/{id}"] = answers
        self.node(rng.choice(["wait", "WaitNode"]), id=id, params=params, config=self.config(place))
        self.attach(place, id)
        if "timeout" in actions:
            late = self.node("mix")
            self.edge(id, late, action="timeout")
            return [place.after(id, "any", actions=actions), place.after(late, "number", {id: "any"})]
        return [place.after(id, "any", actions=actions)]

    def failing(self, region: Region, place: Place, budget: int) -> list[Member]:
        if not self.chance(self.shared.failing * 4):
            return self.work(region, place, budget)
        uses = self.rng.choice(["fail", "fail", "error", "fatal"])
        id = self.name()
        if uses == "fatal":
            if self.chance(0.7):
                return self.work(region, place, budget)
            self.shared.is_exact = False
        self.node(uses, id=id, params={"message": f"broken {id}"}, config=self.config(place, maxRetries=2))
        self.attach(place, id)
        return [place.after(id, "number")]

    def rescued(self, region: Region, place: Place, budget: int) -> list[Member]:
        """A node with a fallback, which may have one itself."""
        rng = self.rng
        uses = rng.choice(["fail", "mix", "flaky", "fail"])
        params = {"times": 1} if uses == "flaky" else {}
        inputs = self.inputs(place)
        spare = self.name()
        id = self.node(uses, params=params, inputs=inputs, config=self.config(place, fallback=spare))
        self.attach(place, id)
        shape = self._spare(spare, 0)
        is_ordinary = bool(place.before) and not place.is_any and self.chance(0.15)
        found = [place.after(id, "any", {} if is_ordinary else {spare: shape})]
        if is_ordinary:
            self.connect(self.rng.choice(place.before), spare)
        if self.chance(0.3):
            found.append(place.after(spare, shape))
        if not region.is_body and self.chance(0.2) and uses != "mix":
            other = self.node("fail", config={"fallback": spare})
            self.edge(id, other)
            self._make_constant(spare)
            found = [Member(other, found[0].known, found[0].outputs, "any")]
        return found

    def _spare(self, id: str, depth: int) -> str:
        rng = self.rng
        caught = {"what": "_catch_error.message", "where": "_catch_error.nodeId", "type": "_catch_error.type"}
        inputs = rng.choice([None, caught, "_catch_error.message"])
        if depth < 2 and self.chance(0.2):
            following = self.name()
            self.node("fail", id=id, config={"fallback": following})
            return self._spare(following, depth + 1)
        if self.chance(self.shared.failing * 2):
            self.node("fail", id=id, params={"message": f"spare {id}"})
            return "number"
        self.node("mix", id=id, params={"salt": 3}, inputs=inputs)
        return "number"

    def _make_constant(self, id: str) -> None:
        """A node that serves two has the same answer for both."""
        node = next(node for node in self.nodes if node["id"] == id)
        for key in ("inputs", "config"):
            node.pop(key, None)
        node.update(uses="const", params={"value": 4})

    # --- shapes of several nodes

    def diamond(self, region: Region, place: Place, budget: int) -> list[Member]:
        """A router whose branches exclude each other, and what joins them."""
        actions = ("a", "b", "c")[: self.rng.randint(2, 3)]
        params = {"actions": list(actions), "salt": self.rng.randrange(9)}
        top = self.node("route", params=params, inputs=self.inputs(place), config=self.config(place))
        self.attach(place, top)
        bottom = self.name()
        for action in actions:
            target = bottom if self.chance(0.15) else self.node("mix", params={"salt": action})
            self.edge(top, target, action=action)
            if target != bottom:
                self.edge(target, bottom, transform="[input]" if self.chance(0.1) else None)
        config = {"joinStrategy": "any"} if self.chance(0.5) else {}
        self.node("mix", id=bottom, params={"shape": "object"}, config=config)
        return [place.after(top, "number", is_fixed=True), place.after(bottom, "object", {top: "number"})]

    def batch(self, region: Region, place: Place, budget: int) -> list[Member]:
        rng = self.rng
        source, id = (
            self.node("items", params={"items": (items := self._items())}, inputs=self.inputs(place)),
            self.name(),
        )
        if place.is_any:
            self.nodes[-1]["config"] = {"joinStrategy": "any"}
        self.attach(place, source)
        is_failing = any(item.get("fail") for item in items)
        params: dict[str, Json] = {"workerUsesKey": "item", "gatherNodeId": f"{id}_gather"}
        params["settle"] = self.chance(0.5) if is_failing else self.chance(0.1)
        params["chunkSize"] = rng.choice([0, 0, 1, 2, 50])
        params["concurrency"] = rng.choice([0, 0, 1, 2])
        if is_failing and not params["settle"]:
            self.shared.loose.append(id)
        keys = {item["write"]: "number" for item in items if "write" in item}
        inputs = source if self.chance(0.2) else None
        uses = rng.choice(["batch-scatter", "BatchScatterNode"])
        self.node(uses, id=f"{id}_scatter", params=_given(params), inputs=inputs, config={"maxRetries": 2})
        own = {"outputKey": f"o{self.shared.counter}"} if self.chance(0.3) else {}
        gather = self.node(
            rng.choice(["batch-gather", "BatchGatherNode"]),
            id=f"{id}_gather",
            params={**own, "gatherNodeId": f"{id}_gather"},
        )
        self.edge(source, f"{id}_scatter")
        self.edge(f"{id}_scatter", gather)
        more: Names = {source: "list", **keys, **dict.fromkeys(own.values(), "list")}
        return [place.after(gather, "list", more)]

    def _items(self) -> list[Json]:
        number = self.shared.counter = self.shared.counter + 1
        items: list[Json] = [{} for _ in range(self.rng.choice([0, 1, 2, 3, 5]))]
        fails = bool(items) and self.chance(self.shared.failing)
        for index, item in enumerate(items):
            kind = self.rng.choice(["plain", "plain", "null", "flaky", "write", "action"])
            if kind == "write" and not fails:
                item["write"] = f"w{number}_{index}"
            elif kind in {"null", "flaky", "action"}:
                item[kind] = {"null": True, "flaky": 1, "action": "yes"}[kind]
        if fails:
            self.rng.choice(items)["fail"] = True
        return items

    def subflow(self, region: Region, place: Place, budget: int) -> list[Member]:
        rng = self.rng
        blueprint = f"sub{self.shared.counter}"
        self.shared.counter += 1
        shared = [id for id, depth in self.shared.leaves.items() if depth > self.depth]
        if shared and self.chance(0.3):
            id = self.node(
                "subflow",
                params={"blueprintId": rng.choice(shared)},
                inputs=self.inputs(place),
                config=self.config(place),
            )
            self.attach(place, id)
            return [place.after(id, "any")]
        state: Names = {}
        params: dict[str, Json] = {"blueprintId": blueprint}
        names = sorted(name for name in place.known if not name.startswith("_"))
        if names and self.chance(0.5):
            params["inputs"] = {f"p{i}": rng.choice(names) for i in range(rng.randint(1, 2))}
            state = {key: place.known[name] for key, name in params["inputs"].items()}
        child = Grower(self.shared, blueprint, state, self.depth + 1)
        document = child.grow(rng.randint(1, max(1, min(budget - 1, 8))))
        self.shared.blueprints[blueprint] = document
        if "signal" not in str(document):
            self.shared.leaves[blueprint] = child.depth
        more: Names = {}
        if self.chance(0.4):
            key = f"o{self.shared.counter}"
            params["outputs"] = {key: rng.choice(child.nodes)["id"]}
            more = {key: "any"}
        inputs = None if "inputs" in params and place.is_any else self.inputs(place)
        config = self.config(place)
        if self.chance(0.2):
            config["fallback"] = self.node("const", params={"value": 9})
        id = self.node(rng.choice(["subflow", "SubflowNode"]), params=params, inputs=inputs, config=config)
        self.attach(place, id)
        return [place.after(id, "any", more)]

    def loop(self, region: Region, place: Place, budget: int) -> list[Member]:
        rng = self.rng
        controller, count = self.name(), self.name()
        key = f"c{self.shared.counter}"
        is_checked_last = self.chance(0.3) and bool(place.before)
        if not place.before:
            self.metadata.setdefault("cycleEntryPoints", []).append(count)
        body = Region(place, is_body=True)
        inner = place if not place.is_any else Place(place.before, place.known, place.outputs, True)
        first = Place([], dict(inner.known), dict(inner.outputs))
        self.node(
            "count",
            id=count,
            params={"key": key},
            config={"joinStrategy": "any"} if (self.chance(0.4) and len(place.before) < 2) or place.is_any else {},
        )
        body.members.append(first.after(count, "number", {key: "number"}))
        self.fill(body, rng.randint(0, max(0, min(budget - 3, 8))))
        end = self._end(body)
        limit = rng.choice([0, 1, 2, 2, 3])
        condition = rng.choice(
            [
                f"({key} ?? 0) < {limit}",
                f"({key} ?? 1) % 3 !== 0",
                f"({count} ?? 0) < {limit}" if count.isalnum() else "false",
            ]
        )
        params = {"condition": condition, "maxIterations": rng.choice([8, 8, 8, 20, 2])}
        self.node("loop-controller", id=controller, params=params)
        self.attach(Place(place.before, place.known, place.outputs, True), count if is_checked_last else controller)
        self.edge(
            controller,
            count,
            action="continue",
            transform=phrases.value(rng, place.known, None if place.is_any else "input") if self.chance(0.2) else None,
        )
        self.edge(end.id, controller, transform="{back: input}" if self.chance(0.1) else None)
        if len(place.before) > 1 and not is_checked_last:
            self.nodes[-1]["config"] = {"joinStrategy": "any" if place.is_any else "all"}
        self._more_edges(place, body, controller, end)
        region.deep += [*body.members, *body.deep]
        names = {name: shape for member in [*body.members, end] for name, shape in member.known.items()}
        outputs = {name: shape for member in [*body.members, end] for name, shape in member.outputs.items()}
        after = Place([], {**place.known, **names}, {**place.outputs, **outputs}).after(controller, "any", is_loop=True)
        return [after, *self._leaving(place, body)]

    def _end(self, body: Region) -> Member:
        """The node in which all that the body holds ends."""
        sources = {edge["source"] for edge in self.edges if edge.get("action") != "continue"}
        loose = [member for member in body.members if member.id not in sources]
        if len(loose) == 1 and len(body.members) > 1 and self.chance(0.6) and not loose[0].actions:
            return loose[0]
        known = {name: shape for member in loose or body.members for name, shape in member.known.items()}
        outputs = {name: shape for member in loose or body.members for name, shape in member.outputs.items()}
        place = Place(loose, known, outputs)
        id = self.node("mix", params={"salt": "end"})
        for member in loose or body.members[-1:]:
            self.edge(member.id, id)
        return place.after(id, "number")

    def _more_edges(self, place: Place, body: Region, controller: str, end: Member) -> None:
        """Sometimes an edge from outside into the body, or a second way back."""
        inside = [member for member in body.members[1:] if not member.is_fixed]
        if inside and place.before and self.chance(0.2):
            target = self.rng.choice(inside).id.replace("_gather", "_scatter")
            node = next(node for node in self.nodes if node["id"] == target)
            is_any = node.get("config", {}).get("joinStrategy") == "any" or node["uses"] == "loop-controller"
            if "inputs" not in node and not is_any:
                self.connect(self.rng.choice(place.before), target, plain=True)
        if inside and self.chance(0.15):
            member = self.rng.choice(inside)
            if member.id != end.id and not member.is_loop:
                self.connect(member, controller)

    def _leaving(self, place: Place, body: Region) -> list[Member]:
        """Sometimes a node outside that hears from one inside."""
        sources = [member for member in [*body.members, *body.deep] if not member.is_loop and not member.is_fixed]
        if not sources or self.chance(0.8):
            return []
        member = self.rng.choice(sources)
        id = self.node("mix", params={"salt": "left"})
        self.connect(member, id)
        return [Place([], dict(place.known), dict(place.outputs)).after(id, "number")]

    def cycle(self, region: Region, place: Place, budget: int) -> list[Member]:
        """Nodes in a ring without a controller: each runs once."""
        ring = [self.node("mix", params={"salt": i}) for i in range(self.rng.randint(2, 3))]
        self.attach(place, ring[0])
        for source, target in pairwise(ring):
            self.edge(source, target)
        self.edge(ring[-1], ring[0])
        self.metadata.setdefault("cycleEntryPoints", []).append(ring[0])
        self.needs_output = True
        return [place.after(ring[-1], "number", dict.fromkeys(ring, "number"))]

    def dynamic(self, region: Region, place: Place, budget: int) -> list[Member]:
        """A node that makes others, and one that waits for them."""
        made: list[dict[str, Json]] = [
            {"id": self.name().replace("-", ""), "uses": "mix", "inputs": self.inputs(place, 1)}
            for _ in range(self.rng.randint(1, 3))
        ]
        gather = self.name()
        params = {"nodes": made, "gather": gather}
        id = self.node("spawn", params=params, config=self.config(place))
        self.attach(place, id)
        inputs = {f"f{i}": f"_outputs.{node['id']}" for i, node in enumerate(made)}
        self.node("mix", id=gather, inputs=inputs)
        self.edge(id, gather)
        self.needs_output = True
        names = {id: "any", **dict.fromkeys([node["id"] for node in made], "number")}
        return [place.after(gather, "number", names)]


def _joined(one: Names, other: Names, is_any: bool) -> Names:
    return {name: shape for name, shape in one.items() if name in other} if is_any else {**one, **other}


def _given(params: dict[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in params.items() if value}
