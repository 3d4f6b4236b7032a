"""Loops: iterations as scopes of their own, and edges that enter or leave them.

A controller is visited once per run of its loop; that visit stays active until the loop is over. Within an iteration
each edge comes to something once, as everywhere. Edges into the body from outside keep what they came to for all
iterations; edges out of it are taken the first time that an iteration takes them, and dead only when the loop is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from stepwell.engine.expressions import truthy
from stepwell.engine.graph.data import transformed
from stepwell.engine.graph.plan import PlanEdge, PlanNode, below, is_in
from stepwell.engine.graph.routing import RoutingError, evaluated, holds
from stepwell.engine.graph.visits import FAILED, SKIPPED, TAKEN, LoopRun, Scope, Visit
from stepwell.errors import StepwellError
from stepwell.model.failures import NULL

if TYPE_CHECKING:
    from stepwell.engine.graph.machine import Machine


class LoopError(StepwellError):
    """A loop that does not come to its end."""


def spin_error(blueprint: str, count: int) -> LoopError:
    """A blueprint did so much at once."""
    return LoopError(
        f"the blueprint {blueprint!r} did {count} things at once without any node's work or wait between them; let its "
        f"loops do work, or end sooner"
    )


def start(machine: Machine, visit: Visit) -> None:
    """The controller is visited: check first, unless the body is entered from outside."""
    run = visit.loop = visit.scope.loops[visit.node.index] = LoopRun(visit)
    if visit.node.is_check_last:
        is_entered = visit.node.arrivals > 0
        _iterate(machine, run, set() if is_entered else {edge.index for edge in _into_body(visit.node)}, {})
    else:
        _check(machine, run)


def cross(machine: Machine, scope: Scope, edge: PlanEdge, state: int, value: Raw | None, is_made: bool) -> None:
    """An edge out of loops, into loops, or back to a controller has come to this."""
    while scope.region is not edge.meet:
        run = scope.run
        assert run is not None, "the edge leaves this loop"
        assert scope.parent is not None, "an iteration is in something"
        if state != TAKEN:
            if state == FAILED:
                run.failed_exits.add(edge.index)
            return  # another iteration may take it
        if edge.index in run.taken_exits:
            return
        run.taken_exits.add(edge.index)
        scope = scope.parent
    if edge.is_back:
        if state == TAKEN:
            scope.backs.append((edge.index, value, is_made))
        elif state == FAILED:
            scope.has_back_failed = True
    elif edge.target.region is scope.region:
        machine.arrive(scope, edge, edge.target, state, value, is_made)
    else:
        scope.entries[edge.index] = (state, value, is_made)
        _enter(machine, scope, edge, state, value, is_made)


def iteration_over(machine: Machine, scope: Scope) -> None:
    """Nothing is active in an iteration: check again, or end the loop."""
    run = scope.run
    assert run is not None, "the scope of an iteration"
    if run.scope is not scope or not _has_heard(scope):
        return
    run.scope = None
    scope.loops.clear()
    visit = run.visit
    if scope.backs:
        run.last = max(scope.backs, key=lambda back: back[0])[1]
        _check(machine, run)
    else:
        _close(machine, run, FAILED if scope.has_back_failed else SKIPPED, frozenset())
        visit.status = "failed" if scope.has_back_failed else "completed"
        machine.visits.pop(visit.id, None)
        machine.ended(visit)


def skipped(machine: Machine, scope: Scope, node: PlanNode, state: int) -> None:
    """A loop is not run: all edges that leave it are dead."""
    assert node.body is not None, "a controller"
    body = node.body
    machine.resolve_all(scope, [edge for edge in node.out if not is_in(edge.target, body)], state)
    for edge in body.exits:
        cross(machine, scope, edge, state, None, False)


def _check(machine: Machine, run: LoopRun) -> None:
    visit = run.visit
    node = visit.node
    assert node.body is not None, "a controller"
    assert node.condition is not None, "a controller has one"
    body = node.body
    visit.output = run.last or NULL
    try:
        leaving = [edge for edge in node.out if not is_in(edge.target, body)]
        early = [edge for edge in leaving if edge.condition is not None and holds(visit, edge, machine.watch)]
        if early:
            _leave(machine, run, early)
            return
        what = f"condition of the loop {node.id!r}"
        if not truthy(evaluated(node.condition, visit.scope.space, what)):
            plain = [edge for edge in leaving if edge.condition is None and edge.action in (None, "break")]
            _leave(machine, run, plain)
            return
        if run.count >= node.max_iterations:
            raise LoopError(
                f"the loop {node.id!r} did not end within {node.max_iterations} iterations; look at its condition, or "
                f"raise params.maxIterations"
            )
        visit.output = (run.last if run.count else visit.input) or NULL
        taken = [edge for edge in _into_body(node) if holds(visit, edge, machine.watch)]
        made = {edge.index: transformed(visit.scope.space, edge, visit) for edge in taken if edge.transform}
    except (RoutingError, LoopError) as error:
        _close(machine, run, FAILED, frozenset())
        machine.fail_closed_loop(visit, error)
        return
    _iterate(machine, run, {edge.index for edge in taken}, made)


def _leave(machine: Machine, run: LoopRun, edges: list[PlanEdge]) -> None:
    """The loop is over, and goes on by these edges."""
    visit = run.visit
    space = visit.scope.space
    before = space.outputs.get(visit.node.id)
    space.put_output(visit.node.id, visit.output or NULL)
    try:
        made = {edge.index: transformed(space, edge, visit) for edge in edges if edge.transform is not None}
    except RoutingError:
        space.put_output(visit.node.id, before)
        raise
    visit.status = "completed"
    machine.visits.pop(visit.id, None)
    if visit.node.fallback is not None:
        machine.unneeded(visit.scope, visit.node.fallback)
    for edge in edges:
        if edge.index in made:
            machine.resolve(visit.scope, edge, TAKEN, made[edge.index], True)
        else:
            machine.resolve(visit.scope, edge, TAKEN, visit.output)
    _close(machine, run, SKIPPED, frozenset([edge.index for edge in edges]))
    machine.ended(visit)


def _close(machine: Machine, run: LoopRun, state: int, taken: frozenset[int]) -> None:
    """Nothing more comes out of the loop: what was not taken is dead."""
    visit = run.visit
    scope, node = visit.scope, visit.node
    assert node.body is not None, "a controller"
    for edge in node.out:
        if not is_in(edge.target, node.body) and edge.index not in taken:
            machine.resolve(scope, edge, state, None)
    for edge in node.body.exits:
        if edge.index not in run.taken_exits:
            is_failed = state == FAILED or edge.index in run.failed_exits
            cross(machine, scope, edge, FAILED if is_failed else SKIPPED, None, False)


def _iterate(machine: Machine, run: LoopRun, taken: set[int], made: dict[int, Raw]) -> None:
    """A new iteration, begun by these edges of the controller."""
    visit = run.visit
    node = visit.node
    assert node.body is not None, "a controller"
    value = run.last if run.count else visit.input
    run.count += 1
    scope = run.scope = Scope(visit.scope.space, node.body, visit.scope, run)
    for edge in node.body.entries:
        if edge.source is not node:
            arrival = visit.scope.at(edge.meet).entries.get(edge.index)
            if arrival is not None:
                _enter(machine, visit.scope, edge, *arrival)
    for edge in _into_body(node):
        is_taken = edge.index in taken
        state = TAKEN if is_taken else SKIPPED
        if is_taken:
            scope.space.taken.add(edge.index)
        is_made = edge.index in made
        given = (made[edge.index] if is_made else value) if is_taken else None
        if edge.target.region is node.body:
            machine.arrive(scope, edge, edge.target, state, given, is_made)
        else:
            scope.entries[edge.index] = (state, given, is_made)
            _enter(machine, scope, edge, state, given, is_made)
    machine.look_at(scope)


def _enter(machine: Machine, scope: Scope, edge: PlanEdge, state: int, value: Raw | None, is_made: bool) -> None:
    """Bring what an edge has come to down to its target, through the loops that run. Those that do not run yet find it
    when they begin; one that is entered by such edges begins with the first that is taken."""
    for region in reversed(below(edge.target.region, scope.region)):
        controller = region.loop
        assert controller is not None, "only the root has none"
        run = scope.loops.get(controller.index)
        if run is None or (run.scope is None and run.visit.status != "running"):
            if controller.is_check_last and edge.meet is scope.region:
                machine.arrive(scope, edge, controller, state, value, is_made)
            return
        if run.scope is None:
            return
        scope = run.scope
    machine.arrive(scope, edge, edge.target, state, value, is_made)
    machine.look_at(scope)


def _has_heard(scope: Scope) -> bool:
    """Whether all edges into this iteration from outside have come to something."""
    return all(
        edge.index in scope.at(edge.meet).entries
        for edge in scope.region.entries
        if edge.meet.depth < scope.region.depth
    )


def _into_body(node: PlanNode) -> list[PlanEdge]:
    assert node.body is not None, "a controller"
    return [edge for edge in node.out if is_in(edge.target, node.body)]
