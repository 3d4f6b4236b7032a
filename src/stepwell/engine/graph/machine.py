"""The reducer behind a graph program: what follows from the end of a visit.

A visit ends; its edges are taken, skipped or failed; joins that have heard enough begin visits or pass the dead path
on. Work that would call itself goes through a queue, so that no length of a blueprint costs depth of the stack.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from stepwell.engine.graph import builtin, loops
from stepwell.engine.graph.data import caught, gather_of, resolved_input, result_of, transformed
from stepwell.engine.graph.outcome import NodeOutcome
from stepwell.engine.graph.plan import Kind, PlanEdge, PlanNode
from stepwell.engine.graph.routing import Route, RoutingError, chosen_edges
from stepwell.engine.graph.visits import FAILED, SKIPPED, TAKEN, Cell, Scope, Space, Visit
from stepwell.errors import BlueprintError, FatalError
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import CommandId

if TYPE_CHECKING:
    from stepwell.engine.graph.program import GraphProgram

Watch = Callable[[str, dict[str, Any]], None]
FRESH = 2**32
"""Added to the place of an edge that this pass through a region took: more than there are edges."""
BUDGET = 2_000_000
"""How much may follow from one entry: some seconds of computing."""


class Machine:
    """Visits, scopes and spaces of one run, and what changes them. The program feeds it and carries out its wishes."""

    __slots__ = (
        "_failed_count",
        "_idle",
        "_todo",
        "halted",
        "program",
        "root",
        "running",
        "visits",
        "waiting",
        "watch",
    )

    def __init__(self, program: GraphProgram, watch: Watch | None) -> None:
        plan = program.plan
        self.program = program
        self.watch = watch
        self.root = Scope(Space(plan), plan.root)
        self.visits: dict[CommandId, Visit] = {}
        self.running = 0
        self.waiting: deque[Visit] = deque()
        self.halted: Failure | None = None
        self._todo: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._idle: list[Scope] = []
        self._failed_count = 0

    # --- from outside

    def close(self) -> None:
        """Nothing is asked of this any more."""
        self.watch = None
        self.visits.clear()
        self.waiting.clear()
        self.root.space.clear()
        self.root.loops.clear()
        del self.program

    def start(self, scope: Scope, input: Raw) -> None:
        """Begin a space: its input is its start nodes' and, if it is an object, its first state."""
        value = msgspec.json.decode(input, type=dict[str, Raw]) if bytes(memoryview(input)[:1]) == b"{" else None
        if value:
            scope.space.state.update(value)
        self.start_nodes(scope, None if input == NULL else input)

    def start_nodes(self, scope: Scope, value: Raw | None) -> None:
        """Visit the nodes that nothing leads to. A space that has none is over at once."""
        for node in scope.space.plan.starts:
            self.later(self.begin, scope, node, value)
        self._idle.append(scope)

    def work_completed(self, visit: Visit, outcome: NodeOutcome) -> None:
        """A node's work gave a result."""
        self.running -= 1
        if outcome.set or outcome.delete:
            self._write(visit, outcome)
        if not outcome.nodes or self._add_dynamic(visit, outcome):
            self.finish(visit, outcome.output, outcome.action)
        self.settle()

    def work_failed(self, visit: Visit, failure: Failure) -> None:
        """A node's work failed for good."""
        self.running -= 1
        self.fail(visit, failure)
        self.settle()

    def settle(self) -> None:
        """Do all that follows."""
        todo, idle = self._todo, self._idle
        budget = BUDGET
        while True:
            while todo:
                call, args = todo.popleft()
                call(*args)
                budget -= 1
                if budget < 0:
                    self._spins()
            if self.halted is not None:
                todo.clear()
                idle.clear()
                return
            if self.waiting:
                self._issue_waiting()
            if not idle:
                return
            scope = idle.pop()
            if scope.active == 0:
                self._scope_over(scope)

    def _spins(self) -> None:
        """Loops within loops that only compute: nobody else in this process would get on."""
        error = loops.spin_error(self.root.space.plan.graph.id, BUDGET)
        self.halted = self.program.host.failure_of(error)
        self._todo.clear()

    def later(self, call: Callable[..., None], *args: Any) -> None:
        """Do this when what is under way is done."""
        self._todo.append((call, args))

    # --- visits

    def begin(self, scope: Scope, node: PlanNode, value: Raw | None, is_made: bool = False) -> None:
        """Visit a node. `is_made`: an edge's transform made the value, which then beats the node's own mapping."""
        visit = self._new_visit(scope, node, value)
        if node.node.inputs is not None and not is_made:
            try:
                visit.input = resolved_input(scope.space, node.node.inputs)
            except Exception as error:
                self.fail_routing(visit, error)
                return
        self._do(visit)

    def _begin_fallback(self, failed: Visit, node: PlanNode) -> None:
        """Visit the fallback of a failed visit. It gets what that one got."""
        scope = failed.scope
        self._cell(scope, node).is_fired = True
        space = scope.space
        assert failed.error is not None, "it failed"
        visit = self._new_visit(scope, node, failed.input)
        visit.stands_for = failed
        if node.node.inputs is not None:
            space.caught = msgspec.Raw(msgspec.json.encode(caught(failed)))
            visit.input = resolved_input(space, node.node.inputs)
            space.caught = None
        self._do(visit)

    def issue(self, visit: Visit) -> None:
        """Have a visit's work done, when there is room."""
        if self.running >= self.program.plan.concurrency:
            self.waiting.append(visit)
        else:
            self.running += 1
            self.program.start_work(visit)

    def finish(self, visit: Visit, output: Raw, action: str | None = None) -> None:
        """A visit has its result: go on from there."""
        visit.status = "completed"
        visit.output = output
        visit.action = action
        self.visits.pop(visit.id, None)
        if self.watch is not None:
            self.watch("node:finish", {"nodeId": visit.node.id, "visit": visit.id, "result": result_of(visit)})
        if visit.parent is not None:
            builtin.item_ended(self, visit)
            return
        node, scope = visit.node, visit.scope
        edge = node.next
        if edge is not None and visit.stands_for is None and node.fallback is None and action is None:
            space = scope.space
            space.put_output(node.id, output)
            space.taken.add(edge.index)
            target = edge.target
            if target.is_lone and target.index not in scope.cells:
                self.begin(scope, target, output)
            else:
                self.arrive(scope, edge, target, TAKEN, output, False)
        else:
            self._route(visit)
        self.ended(visit)

    def ended(self, visit: Visit) -> None:
        """A visit counts no longer as active."""
        if visit.gather is not None:
            self._arrive_dynamic(visit, visit.gather)
        scope = visit.scope
        scope.active -= 1
        if scope.active == 0:
            self._idle.append(scope)

    def fail(self, visit: Visit, failure: Failure) -> None:
        """A visit failed for good: its fallback takes over, or its edges are dead."""
        self._mark_failed(visit, failure)
        if self.watch is not None:
            self.watch("node:error", {"nodeId": visit.node.id, "visit": visit.id, "error": str(failure)})
        if failure.is_(FatalError):
            self._halt(visit)
            return
        if visit.parent is not None:
            builtin.item_ended(self, visit)
            return
        fallback = visit.node.fallback
        if fallback is None:
            self._fail_chain(visit)
        else:
            if self.watch is not None:
                self.watch("node:fallback", {"nodeId": visit.node.id, "visit": visit.id, "fallback": fallback.id})
            self._begin_fallback(visit, fallback)
        self.ended(visit)

    def fail_with(self, visit: Visit, error: BaseException) -> None:
        """A visit failed because of this."""
        self.fail(visit, self.program.host.failure_of(error))

    def fail_routing(self, visit: Visit, error: BaseException) -> None:
        """A visit's work is done, but where to go from there cannot be told. Nothing takes over."""
        self._mark_failed(visit, self.program.host.failure_of(error))
        if self.watch is not None:
            self.watch("node:error", {"nodeId": visit.node.id, "visit": visit.id, "error": str(visit.error)})
        if visit.node.fallback is not None:
            self.unneeded(visit.scope, visit.node.fallback)
        self._fail_chain(visit)
        self.ended(visit)

    def fail_closed_loop(self, visit: Visit, error: BaseException) -> None:
        """A loop failed whose edges are dead already."""
        self._mark_failed(visit, self.program.host.failure_of(error))
        if visit.node.fallback is not None:
            self.unneeded(visit.scope, visit.node.fallback)
        visit.scope.space.failures.append((visit.order, visit))
        self.ended(visit)

    def look_at(self, scope: Scope) -> None:
        """See whether this scope is over when all that follows is done."""
        if scope.active == 0:
            self._idle.append(scope)

    def _halt(self, visit: Visit) -> None:
        """The run fails at once."""
        assert visit.error is not None, "called for a failed visit"
        chain = [visit]
        while chain[-1].scope.space.owner is not None:
            owner = chain[-1].scope.space.owner
            owner.status, owner.error = "failed", visit.error
            chain.append(owner)
        self.halted = builtin.named(visit, visit.error)

    # --- edges

    def resolve(self, scope: Scope, edge: PlanEdge, state: int, value: Raw | None, is_made: bool = False) -> None:
        """An edge, seen from the scope of its source, has come to this."""
        if state == TAKEN:
            scope.space.taken.add(edge.index)
        if edge.meet is scope.region and edge.target.region is edge.meet and not edge.is_back:
            self.arrive(scope, edge, edge.target, state, value, is_made)
        else:
            loops.cross(self, scope, edge, state, value, is_made)

    def arrive(
        self, scope: Scope, edge: PlanEdge, target: PlanNode, state: int, value: Raw | None, is_made: bool
    ) -> None:
        """An edge has come to this at its target, in the target's scope."""
        if target.is_lone and target.index not in scope.cells:
            if state == TAKEN:
                self.later(self.begin, scope, target, value, is_made)
            else:
                self.later(self._skip, scope, target, state)
            return
        cell = self._cell(scope, target)
        if cell.is_fired:
            return
        cell.pending -= 1
        if state == TAKEN:
            is_kept = cell.is_made and not is_made and target.node.inputs is not None  # a mapping, but no transform
            is_first = is_made and not cell.is_made and target.node.inputs is not None
            # What came into a loop from outside is as old as the loop: what this iteration brings goes before it.
            order = edge.index + FRESH if edge.meet is scope.region else edge.index
            if is_first or (order > cell.order and not is_kept):
                cell.order, cell.value, cell.is_made = order, value, is_made
            if target.is_any:
                cell.pending = 0
        elif state == FAILED:
            cell.has_failed = True
        self._look(scope, target, cell)

    def unneeded(self, scope: Scope, fallback: PlanNode) -> None:
        """A node did not need its fallback after all."""
        cell = self._cell(scope, fallback)
        if not cell.is_fired:
            cell.pending -= 1
            self._look(scope, fallback, cell)

    def _skip(self, scope: Scope, node: PlanNode, state: int) -> None:
        """A node is not visited: its edges are dead. `state` is SKIPPED or FAILED."""
        scope.space.skipped.add(node.id)
        if self.watch is not None:
            self.watch("node:skipped", {"nodeId": node.id})
        if node.fallback is not None:
            self.unneeded(scope, node.fallback)
        if node.kind is Kind.LOOP:
            loops.skipped(self, scope, node, state)
        else:
            self.resolve_all(scope, node.out, state)

    def resolve_all(self, scope: Scope, edges: Iterable[PlanEdge], state: int) -> None:
        """All of these edges are dead."""
        for edge in edges:
            self.resolve(scope, edge, state, None)

    # --- inside

    def _new_visit(self, scope: Scope, node: PlanNode, value: Raw | None) -> Visit:
        space = scope.space
        visit = Visit(space.new_id(node.name), node, scope, value, self.program.now_ms)
        scope.active += 1
        if (former := space.latest.get(node.id)) is not None and former.status not in ("running", "waiting", "failed"):
            former.cut()
        space.latest[node.id] = visit
        self.visits[visit.id] = visit
        return visit

    def _do(self, visit: Visit) -> None:
        if self.watch is not None:
            self.watch("node:start", {"nodeId": visit.node.id, "visit": visit.id, "input": visit.input})
        if visit.node.kind is Kind.WORK:
            self.issue(visit)
        else:
            self.later(builtin.DO[visit.node.kind], self, visit)

    def _issue_waiting(self) -> None:
        limit = self.program.plan.concurrency
        while self.waiting and self.running < limit:
            visit = self.waiting.popleft()
            if visit.status == "running":
                self.running += 1
                self.program.start_work(visit)

    def _cell(self, scope: Scope, node: PlanNode) -> Cell:
        cell = scope.cells.get(node.index)
        if cell is None:
            cell = scope.cells[node.index] = Cell(node.arrivals)
        return cell

    def _look(self, scope: Scope, target: PlanNode, cell: Cell) -> None:
        """Whether a join has heard enough."""
        if cell.pending > 0 or cell.is_fired:
            return
        cell.is_fired = True
        if cell.order >= 0 and (target.is_any or not cell.has_failed):
            self.later(self.begin, scope, target, cell.value, cell.is_made)
        else:
            self.later(self._skip, scope, target, FAILED if cell.has_failed else SKIPPED)

    def _route(self, visit: Visit) -> None:
        """Take the edges that a result asks for; of a fallback, also those of what it stands for."""
        space, scope = visit.scope.space, visit.scope
        chain = list(visit.chain())
        before = [space.outputs.get(link.node.id) for link in chain]
        for link in chain:
            link.status = "completed" if link is visit else "recovered"
            space.put_output(link.node.id, visit.output or NULL)
        try:
            route = chosen_edges(visit, [link.node for link in chain], self.watch)
            values = {edge.index: transformed(space, edge, visit) for edge in route.taken if edge.transform is not None}
        except RoutingError as error:
            self._mark_failed(visit, self.program.host.failure_of(error))
            for link, output in zip(chain, before, strict=True):
                space.put_output(link.node.id, output)
            if visit.node.fallback is not None:
                self.unneeded(scope, visit.node.fallback)
            self._fail_chain(visit)
            return
        if visit.node.fallback is not None:
            self.unneeded(scope, visit.node.fallback)
        self._take(visit, route, values)

    def _take(self, visit: Visit, route: Route, values: dict[int, Raw]) -> None:
        scope = visit.scope
        sources = dict.fromkeys([edge.source for edge in route.edges])
        routed = {source for source in sources if source.serves and not self._routes_first(scope, source)}
        for edge in route.edges:
            if edge.source in routed:
                continue
            if edge.index not in route.chosen:
                self.resolve(scope, edge, SKIPPED, None)
            elif edge.index in values:
                self.resolve(scope, edge, TAKEN, values[edge.index], True)
            else:
                self.resolve(scope, edge, TAKEN, visit.output)

    def _mark_failed(self, visit: Visit, failure: Failure) -> None:
        visit.status = "failed"
        visit.error = failure
        self.visits.pop(visit.id, None)
        self._failed_count += 1
        visit.order = self._failed_count

    def _fail_chain(self, visit: Visit) -> None:
        """Nothing recovers this visit, nor what it stands for: their edges have failed."""
        scope = visit.scope
        for link in visit.chain():
            link.status = "failed"
            scope.space.failures.append((link.order, link))
            if not link.node.serves or self._routes_first(scope, link.node):
                self.resolve_all(scope, link.node.out, FAILED)

    def _routes_first(self, scope: Scope, fallback: PlanNode) -> bool:
        """Whether a fallback's own edges have come to nothing yet: it may be visited for several nodes."""
        cell = self._cell(scope, fallback)
        is_first = not cell.is_routed
        cell.is_routed = True
        return is_first

    def _scope_over(self, scope: Scope) -> None:
        if scope.run is not None:
            loops.iteration_over(self, scope)
            return
        if scope.is_over:
            return
        scope.is_over = True
        if scope.space.owner is None:
            self.program.space_over(scope.space)
        else:
            builtin.subflow_over(self, scope.space)

    # --- what a result holds besides its output

    def _write(self, visit: Visit, outcome: NodeOutcome) -> None:
        space = visit.scope.space
        for key in outcome.delete:
            space.write(key, None)
        for key, value in outcome.set.items():
            space.write(key, value)
        if self.watch is not None:
            for key in (*outcome.delete, *outcome.set):
                op = "set" if key in outcome.set else "delete"
                self.watch("context:change", {"sourceNode": visit.node.id, "key": key, "op": op})

    def _add_dynamic(self, visit: Visit, outcome: NodeOutcome) -> bool:
        """Visit the nodes that a result brought. False: they are no good, and the visit has failed."""
        scope, plan = visit.scope, visit.scope.space.plan
        try:
            nodes = plan.dynamic_nodes(self.program.host.node(raw) for raw in outcome.nodes)
            for former in (scope.space.latest.get(node.id) for node in nodes):
                if former is not None and former.status in ("running", "waiting"):
                    raise BlueprintError(f"dynamic node {former.node.id!r}: there is one of that id; give it another")
        except BlueprintError as error:
            self.fail_routing(visit, error)
            return False
        gather = plan.by_id.get(gather_of(outcome.output))
        first = 0
        if gather is not None:
            self._cell(scope, gather).pending += len(nodes)
            results = scope.space.batches.setdefault(gather.id, [])
            first = len(results)
            results += [NULL] * len(nodes)
        for index, node in enumerate(nodes, first):
            self.later(self._begin_dynamic, scope, node, outcome.output, gather, index)
        return True

    def _begin_dynamic(self, scope: Scope, node: PlanNode, value: Raw, gather: PlanNode | None, index: int) -> None:
        visit = self._new_visit(scope, node, value)
        visit.gather, visit.index = gather, index
        if node.node.inputs is not None:
            visit.input = resolved_input(scope.space, node.node.inputs)
        self._do(visit)

    def _arrive_dynamic(self, visit: Visit, gather: PlanNode) -> None:
        scope = visit.scope
        cell = self._cell(scope, gather)
        if visit.status != "completed":
            cell.has_failed = True
        scope.space.batches[gather.id][visit.index] = visit.output or NULL
        cell.pending -= 1
        self._look(scope, gather, cell)
