"""Loops in the evaluator: one controller, entered once in a scope, from the first check to the exit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.engine.expressions import truthy
from stepwell.testing.blueprints.documents import Link, Vertex
from stepwell.testing.blueprints.values import Failing, Passing, Scope, State

if TYPE_CHECKING:
    from stepwell.testing.blueprints.evaluator import Flow

Json = Any


class Looping:
    """`value` is what continue edges deliver, `output` what the end node gave last."""

    def __init__(self, flow: Flow, vertex: Vertex, scope: Scope) -> None:
        self.flow = flow
        self.vertex = vertex
        self.scope = scope
        self.body = flow.reading.bodies[vertex.id]
        links = flow.reading.out_of(vertex.id)
        self.onward = [link for link in links if link.action == "continue"]
        self.exits = [link for link in links if link.action != "continue"]
        self.value: Json = None
        self.output: Json = None
        self.rounds = 0
        self.visit = ""

    def run(self) -> None:
        entries = [link for link in self.flow.reading.into(self.vertex.id) if not self.flow.reading.is_back(link)]
        counting = [link for link in entries if not self.scope.ignores(link)]
        if entries:
            state, taken = self.flow.join(self.vertex, self.scope, counting)
            if state != "taken":
                self.flow.states[self.vertex.id] = "skipped"
                self.over(state)
                return
            self.value = self.flow.input_of(self.vertex, taken, bool(counting))
            inner = self.check()
        else:
            self.rounds = 1
            inner = Scope(self.vertex.id, self.scope, frozenset(link.index for link in self.onward))
        while inner is not None:
            state = self.iterate(inner)
            if state != "taken":
                self.over(state)
                return
            inner = self.check()

    def iterate(self, inner: Scope) -> State:
        """Run the body once. Whether an edge leads back to the controller."""
        reading = self.flow.reading
        for id in list(reading.vertices):
            if reading.home.get(id) == self.vertex.id:
                self.flow.settle(id, inner)
        backs = [link for link in reading.into(self.vertex.id) if reading.is_back(link)]
        ends = [(link, inner.edges.get(link.index, Passing("skipped"))) for link in backs]
        taken = [link for link, passing in ends if passing.state == "taken"]
        if taken:
            self.value = self.output = inner.edges[taken[-1].index].value
            return "taken"
        return "failed" if any(passing.state == "failed" for _, passing in ends) else "skipped"

    def check(self) -> Scope | None:
        """What the controller decides: the scope of the next iteration, or None. All of it is one visit."""
        self.visit = self.visit or self.flow.name(self.vertex.id)
        self.flow.inputs[self.vertex.id] = self.value
        try:
            inner = self._decide()
        except Exception as error:
            self.flow.states[self.vertex.id] = self.flow.world.visits[self.visit] = "failed"
            self.flow.failures.append(Failing(str(error), type(error).__name__))
            self.over("failed")
            return None
        self.flow.world.visits[self.visit] = "completed"
        return inner

    def _decide(self) -> Scope | None:
        early = [link for link in self.exits if link.condition is not None and truthy(self.flow.ask(link.condition))]
        if early:
            self.leave(early)
            return None
        if not truthy(self.flow.ask(self.vertex.params["condition"])):
            self.leave([link for link in self.exits if link.condition is None and link.action in (None, "break")])
            return None
        self.rounds += 1
        if self.rounds > int(self.vertex.params.get("maxIterations") or 10_000):
            raise ValueError("iterations")
        inner = Scope(self.vertex.id, self.scope)
        for link in self.onward:
            if link.condition is None or truthy(self.flow.ask(link.condition)):
                inner.edges[link.index] = Passing("taken", self.flow.value_on(link, self.value))
        return inner

    def leave(self, taken: list[Link]) -> None:
        self.flow.outputs[self.vertex.id] = self.output
        values = [self.flow.value_on(link, self.output) for link in taken]
        for link, value in zip(taken, values, strict=True):
            self.flow.resolve(link, self.scope, Passing("taken", value))
        self.flow.states[self.vertex.id] = "completed"
        self.over("skipped")

    def over(self, state: State) -> None:
        """The loop is over: its edges that are open, and those that leave its body, are settled."""
        for link in self.exits:
            self.flow.resolve(link, self.scope, Passing(state))
        reading = self.flow.reading
        for link in reading.links:
            leaves = link.source in self.body and link.target not in self.body and link.target != self.vertex.id
            if leaves and reading.scope_of(link) == self.scope.loop:
                self.scope.edges.setdefault(link.index, Passing(state))
        for id in self.body:
            self.flow.states.setdefault(id, "skipped")
