"""A plain evaluator of blueprints: what a run without faults gives, if one node runs after the other.

It goes backwards: to settle a node, it settles what the node hears from, then runs the node and resolves its edges.
A loop is one thing to its neighbours, a subflow a call. There is no journal and no time; answers to waits come from a
script. It shares nothing with the engine but the expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET

from stepwell.engine.expressions import compile_expression, truthy
from stepwell.errors import FatalError
from stepwell.testing.blueprints.built_ins import BUILT_IN
from stepwell.testing.blueprints.documents import Link, Reading, Vertex, read
from stepwell.testing.blueprints.looping import Looping
from stepwell.testing.blueprints.values import Failing, Passing, Scope, State, Stopped
from stepwell.testing.blueprints.vocabulary import VOCABULARY, Call, Reply

Json = Any
Work = Callable[[Call], Reply]
Script = Mapping[str, list[Json]]
"""Answers to waits by node (or `blueprint/node`), in the order of its visits: `{"output": .., "action": ..}`,
`{"signal": value}` or "timeout"."""
Given = Callable[[str, Vertex], Json]
"""The answer to a visit of a wait, as in a script; UNSET if there is none."""

CODES = str.maketrans({sign: f"%{ord(sign):02X}" for sign in "%:[]/~"})


@dataclass
class Evaluation:
    """What is known after a run. `visits` holds the end of each visit by its id, `steps` the visits
    that an implementation was called for, `failures` the messages of the nodes
    that failed for good, `outputs` and `states` the latest of each node of the outermost blueprint."""

    status: str = "completed"
    value: Json = None
    failures: list[str] = field(default_factory=list)
    outputs: dict[str, Json] = field(default_factory=dict)
    inputs: dict[str, Json] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    state: dict[str, Json] = field(default_factory=dict)
    visits: dict[str, str] = field(default_factory=dict)
    steps: set[str] = field(default_factory=set)


class World:
    """What all flows of one run share."""

    def __init__(
        self, blueprints: Mapping[str, Json], script: Script, functions: Mapping[str, Work], given: Given | None
    ) -> None:
        self.blueprints = blueprints
        self.script = script
        self.functions = functions
        self.given = given
        self.visits: dict[str, str] = {}
        self.steps: set[str] = set()


def evaluate(
    document: dict[str, Json],
    input: Json = None,
    *,
    blueprints: Mapping[str, Json] | None = None,
    script: Script | None = None,
    functions: Mapping[str, Work] = VOCABULARY,
    given: Given | None = None,
) -> Evaluation:
    """What a run of the document gives. `given` tells what a wait was answered, before the script is asked."""
    world = World({document["id"]: document, **(blueprints or {})}, script or {}, functions, given)
    state = dict(input) if isinstance(input, dict) else {}
    flow = Flow(world, document["id"], input, state)
    result = Evaluation(visits=world.visits, steps=world.steps)
    try:
        flow.run()
        result.value = None if flow.failures else flow.result()
    except Stopped as stopped:
        flow.failures.append(stopped.failing)
    result.status = "failed" if flow.failures else "completed"
    result.failures = [failing.message for failing in flow.failures]
    result.outputs, result.inputs, result.states, result.state = flow.outputs, flow.inputs, flow.states, flow.state
    return result


class Flow:
    """One run of a blueprint, or one visit of a subflow."""

    def __init__(self, world: World, id: str, input: Json, state: dict[str, Json], path: str = "") -> None:
        self.world = world
        self.reading: Reading = read(deepcopy(world.blueprints[id]))
        self.input = input
        self.state = state
        self.path = path
        self.outputs: dict[str, Json] = {}
        self.inputs: dict[str, Json] = {}
        self.states: dict[str, str] = {}
        self.failures: list[Failing] = []
        self.counts: dict[str, int] = {}
        self.batches: dict[str, list[Json]] = {}
        self.spawned: dict[str, list[State]] = {}
        self.brought: set[str] = set()

    def run(self) -> None:
        scope = Scope(None, None)
        for id in list(self.reading.vertices):
            if self.reading.home[id] is None:
                self.settle(id, scope)

    def result(self) -> Json:
        wanted = self.reading.metadata.get("output")
        if isinstance(wanted, str):
            return self.outputs.get(wanted)
        if isinstance(wanted, dict):
            return {key: self.outputs.get(id) for key, id in wanted.items()}
        ends = [id for id in self.reading.vertices if self._is_terminal(id) and id in self.outputs]
        if len(ends) == 1:
            return self.outputs[ends[0]]
        return {id: self.outputs[id] for id in ends} or None

    def _is_terminal(self, id: str) -> bool:
        is_spare = bool(self.reading.served_by(id)) and not self.reading.into(id)
        inside = self.reading.bodies.get(id, ())
        return all(link.target in inside for link in self.reading.out_of(id)) and not is_spare

    # --- settling

    def settle(self, id: str, scope: Scope) -> None:
        """Bring a node of this scope to its end, with all that it depends on."""
        if id in scope.settled:
            return
        scope.settled.add(id)
        if id in self.reading.bodies:
            self.loop(id, scope)
            return
        servants = self.reading.served_by(id)
        for other in servants:
            self.settle_from(other, scope)
        if id in scope.served:
            return
        links = [link for link in self.reading.into(id) if not self.reading.is_cut(link) and not scope.ignores(link)]
        if servants and not links:
            self.skip(id, scope, "skipped")
            return
        vertex = self.reading.vertices[id]
        state, taken = self.join(vertex, scope, links)
        if state == "taken":
            self.perform(vertex, scope, self.input_of(vertex, taken, bool(links)))
        else:
            self.skip(id, scope, state)

    def settle_from(self, id: str, scope: Scope) -> None:
        """Settle a node of this scope or one around it; if it is in a loop beside, that loop."""
        known = {each.loop: each for each in scope.chain()}
        while (home := self.reading.home[id]) not in known:
            assert home is not None, "the outermost scope is around all"
            id = home
        self.settle(id, known[home])

    def join(self, vertex: Vertex, scope: Scope, links: list[Link]) -> tuple[State, list[tuple[Link, Passing]]]:
        """Whether the node runs, and the edges that were taken."""
        found: list[tuple[Link, Passing]] = []
        older: list[tuple[Link, Passing]] = []  # what came into a loop from outside, for all of its iterations
        for link in links:
            self.settle_from(link.source, scope)
            around = scope.around(self.reading.scope_of(link))
            passing = around.edges.get(link.index, Passing("skipped"))
            (found if around is scope else older).append((link, passing))
        found = older + found
        states = [passing.state for _, passing in found] + self.spawned.get(vertex.id, [])
        taken = [(link, passing) for link, passing in found if passing.state == "taken"]
        if not states or (vertex.join == "any" and taken):
            return "taken", taken
        if "failed" in states:
            return "failed", []
        return ("taken", taken) if "taken" in states else ("skipped", [])

    def skip(self, id: str, scope: Scope, state: State) -> None:
        self.states[id] = "skipped"
        self.resolve_all(id, scope, "failed" if state == "failed" else "skipped")

    def resolve_all(self, id: str, scope: Scope, state: State) -> None:
        for link in self.reading.out_of(id):
            self.resolve(link, scope, Passing(state))

    def resolve(self, link: Link, scope: Scope, passing: Passing) -> None:
        """What becomes of an edge. One that leaves a loop is dead only when the loop is over."""
        around = scope.around(self.reading.scope_of(link))
        if around is scope:
            around.edges.setdefault(link.index, passing)
        elif passing.state == "taken":
            known = around.edges.get(link.index)
            if known is None or known.state != "taken":
                around.edges[link.index] = passing
        elif passing.state == "failed":
            around.edges.setdefault(link.index, passing)  # unless another iteration takes it

    # --- data

    def lookup(self, name: str) -> Json:
        if name.startswith("_outputs.") and name[9:] in self.outputs:
            return self.outputs[name[9:]]
        if name.startswith("_inputs.") and name[8:] in self.inputs:
            return self.inputs[name[8:]]
        if name == "context":
            return self._everything()
        return self.outputs[name] if name in self.outputs else self.state.get(name, UNSET)

    def _everything(self) -> dict[str, Json]:
        outputs = {f"_outputs.{id}": value for id, value in self.outputs.items()}
        inputs = {f"_inputs.{id}": value for id, value in self.inputs.items()}
        return {**self.state, **self.outputs, **outputs, **inputs}

    def ask(self, text: str, **more: Json) -> Json:
        """The value of an expression; UNSET if there is none."""
        expression = compile_expression(text, names=list(self.reading.vertices))
        return expression.evaluate(lambda name: more[name] if name in more else self.lookup(name))

    def _mapped(self, text: str, catch: Json = None) -> Json:
        """What one string of `inputs` stands for; UNSET if nothing."""
        if text.startswith("_catch_error"):
            return UNSET if catch is None else _walk(catch, text.split(".")[1:])
        if text.startswith("_"):
            return self.lookup(text)
        if (whole := self.lookup(text)) is not UNSET:
            return whole
        first, *rest = text.split(".")
        return _walk(self.lookup(first), rest)

    def mapped_input(self, vertex: Vertex, catch: Json = None) -> Json:
        if isinstance(vertex.inputs, str):
            return _or_null(self._mapped(vertex.inputs, catch))
        assert vertex.inputs is not None, "asked only of nodes with inputs"
        values = {key: self._mapped(text, catch) for key, text in vertex.inputs.items()}
        return {key: value for key, value in values.items() if value is not UNSET}

    def input_of(self, vertex: Vertex, taken: list[tuple[Link, Passing]], has_links: bool) -> Json:
        if vertex.inputs:
            changed = [passing.value for link, passing in taken if link.transform]
            return changed[-1] if changed else self.mapped_input(vertex)
        if taken:
            return taken[-1][1].value
        return None if has_links else self.input

    def value_on(self, link: Link, output: Json) -> Json:
        if link.transform is None:
            return output
        inputs = self.reading.vertices[link.target].inputs
        if isinstance(inputs, str) and inputs != link.source:
            other = self.lookup(inputs) if inputs.startswith("_") else self.outputs.get(inputs, UNSET)
            output = output if other is UNSET else other
        return _or_null(self.ask(link.transform, input=output))

    # --- one visit

    def perform(self, vertex: Vertex, scope: Scope, input: Json) -> Reply | Failing:
        """Run a node, or its fallback, and resolve its edges."""
        self.inputs[vertex.id] = input
        visit = self.name(vertex.id)
        reply = self.execute(vertex, visit, input)
        failing = None
        if isinstance(reply, Failing):
            failing = reply
            if reply.is_fatal:
                self.states[vertex.id] = self.world.visits[visit] = "failed"
                raise Stopped(reply)
            if vertex.fallback is not None:
                reply = self._rescue(vertex, scope, input, failing)
        if isinstance(reply, Reply):
            was = self.outputs.get(vertex.id, UNSET)
            self.outputs[vertex.id] = reply.output
            try:
                self.route(vertex, scope, reply)
                self.states[vertex.id] = "completed" if failing is None else "recovered"
                self.world.visits[visit] = self.states[vertex.id]
                return reply
            except Exception as error:
                reply = failing = Failing(str(error), type(error).__name__)
                self.outputs[vertex.id] = was
                if was is UNSET:
                    del self.outputs[vertex.id]
        assert failing is not None, "there is a reason"
        self.states[vertex.id] = self.world.visits[visit] = "failed"
        self.failures.append(failing)
        self.resolve_all(vertex.id, scope, "failed")
        return reply

    def name(self, id: str) -> str:
        count = self.counts[id] = self.counts.get(id, 0) + 1
        return self.path + id.translate(CODES) + (f":{count}" if count > 1 else "")

    def _rescue(self, vertex: Vertex, scope: Scope, input: Json, failing: Failing) -> Reply | Failing:
        assert vertex.fallback is not None, "asked only of nodes with a fallback"
        other = self.reading.vertices[vertex.fallback]
        home = scope.around(self.reading.home[other.id])
        catch = {
            "message": failing.message,
            "type": failing.type,
            "nodeId": vertex.id,
            "blueprintId": self.reading.id,
        }
        value = self.mapped_input(other, catch) if other.inputs else input
        home.served.add(other.id)
        return self.perform(other, home, value)

    def execute(self, vertex: Vertex, visit: str, input: Json) -> Reply | Failing:
        built_in = None if vertex.uses in self.world.functions else BUILT_IN[vertex.uses]
        try:
            if built_in is not None:
                return built_in(self, vertex, visit, input)
            self.world.steps.add(visit)
            return self.attempts(vertex.uses, vertex, input)
        except Stopped:
            raise
        except Exception as error:
            return Failing(str(error), type(error).__name__, isinstance(error, FatalError))

    def attempts(self, uses: str, vertex: Vertex, input: Json, params: dict[str, Json] | None = None) -> Reply:
        """Try an implementation as often as the node says; what it writes counts when it is done."""
        for attempt in range(1, max(1, int(vertex.config.get("maxRetries") or 1)) + 1):
            call = Call(deepcopy(input), vertex.params if params is None else params, dict(self.state), attempt)
            try:
                reply = self.world.functions[uses](call)
                break
            except FatalError:
                raise
            except Exception as error:
                last = error
        else:
            raise last
        self.state.update(reply.writes)
        for key in reply.deletes:
            self.state.pop(key, None)
        self._run_spawned(reply)
        return reply

    def _run_spawned(self, reply: Reply) -> None:
        gather = reply.output.get("gatherNodeId") if isinstance(reply.output, dict) else None
        if any(node["id"] in self.reading.vertices and node["id"] not in self.brought for node in reply.nodes):
            raise ValueError("a dynamic node has the id of another")
        self.brought.update(node["id"] for node in reply.nodes)  # in a loop they come again
        for node in reply.nodes:
            made = Vertex(
                node["id"], node["uses"], node.get("params") or {}, node.get("inputs"), node.get("config") or {}
            )
            self.reading.vertices[made.id] = made
            self.reading.home[made.id] = None
            value = self.mapped_input(made) if made.inputs else reply.output
            done = self.perform(made, Scope(None, None), value)
            self.spawned.setdefault(str(gather), []).append("taken" if isinstance(done, Reply) else "failed")
            self.batches.setdefault(str(gather), []).append(self.outputs.get(made.id))

    # --- routing

    def route(self, vertex: Vertex, scope: Scope, reply: Reply) -> None:
        """Resolve the edges of a node that completed. Its fallback's were resolved by itself."""
        links = self.reading.out_of(vertex.id)
        action = reply.action or None
        listening = {link.action for link in links}
        if action is not None and links and action not in listening and None not in listening:
            raise ValueError(f"action {action!r}")
        result = {"output": reply.output, "action": reply.action}
        taken: dict[int, Passing] = {}
        for wanted in [action, None] if action is not None else [None]:
            for link in links if not taken else []:
                if link.action == wanted and (
                    link.condition is None or truthy(self.ask(link.condition, result=result))
                ):
                    taken[link.index] = Passing("taken")
        for link in links:
            if link.index in taken:
                taken[link.index].value = self.value_on(link, reply.output)
        for link in links:
            self.resolve(link, scope, taken.get(link.index, Passing("skipped")))

    # --- loops

    def loop(self, id: str, scope: Scope) -> None:
        Looping(self, self.reading.vertices[id], scope).run()


def _walk(value: Json, path: list[str]) -> Json:
    for segment in path:
        if isinstance(value, dict):
            value = value.get(segment, UNSET)
        elif isinstance(value, list) and segment.isdigit() and int(segment) < len(value):
            value = value[int(segment)]
        else:
            return UNSET
    return value


def _or_null(value: Json) -> Json:
    return None if value is UNSET else value
