"""Mistakes of the graph program: joins, dead paths, fallbacks, loops, batches, waits, what a run is pinned to."""

from tests.mutations.registry import Edit, Mutation

_MACHINE = "engine.graph.machine:Machine"

GRAPHS = (
    Mutation(
        name="any join fires twice",
        says="a join of any runs again for each edge that is taken later",
        stands_for="blueprints",
        edits=(
            Edit(f"{_MACHINE}.arrive", "if cell.is_fired:", "if cell.is_fired and not target.is_any:"),
            Edit(f"{_MACHINE}._look", "or cell.is_fired:", "or (cell.is_fired and not target.is_any):"),
        ),
    ),
    Mutation(
        name="dead path not passed on",
        says="the edges of a node that is skipped come to nothing, so joins behind them wait",
        stands_for="blueprints",
        edits=(Edit(f"{_MACHINE}._skip", "self.resolve_all(scope, node.out, state)", "pass"),),
    ),
    Mutation(
        name="failed path joined",
        says="a join of all runs although one of the nodes before it has failed",
        stands_for="blueprints",
        edits=(Edit(f"{_MACHINE}.arrive", "cell.has_failed = True", "pass"),),
    ),
    Mutation(
        name="input of a join by arrival",
        says="a join gets the value of the edge that came last, not of the last one in the definition",
        stands_for="blueprints",
        edits=(Edit(f"{_MACHINE}.arrive", "order > cell.order", "True"),),
    ),
    Mutation(
        name="fallback without input",
        says="a fallback does not get what the node got that it stands in for",
        stands_for="blueprints",
        edits=(Edit(f"{_MACHINE}._begin_fallback", "node, failed.input)", "node, None)"),),
    ),
    Mutation(
        name="one iteration too many",
        says="a loop is let through once more than its limit",
        stands_for="blueprints",
        edits=(
            Edit("engine.graph.loops:_check", "run.count >= node.max_iterations", "run.count > node.max_iterations"),
        ),
    ),
    Mutation(
        name="visits counted anew",
        says="each iteration of a loop begins to count visits again",
        stands_for="2",
        edits=(
            Edit("engine.graph.loops:_iterate", "run.count += 1", "run.count += 1; visit.scope.space.counts.clear()"),
        ),
    ),
    Mutation(
        name="items in order of their ends",
        says="the results of a batch are in the order in which its items ended",
        stands_for="blueprints",
        edits=(
            Edit(
                "engine.graph.builtin:item_ended",
                "batch.open.pop(item.index, None)",
                "batch.open.pop(item.index, None); item.index = batch.results.index(None)",
            ),
        ),
    ),
    Mutation(
        name="timer of an answered wait",
        says="a wait that was answered keeps its timer",
        stands_for="blueprints",
        edits=(Edit("engine.graph.builtin:answered", "machine.program.drop_timer(visit)", "pass"),),
    ),
    Mutation(
        name="second answer accepted",
        says="a wait may be answered again until its run has seen the first answer",
        stands_for="3",
        edits=(
            Edit("runtime.graphs:answer_node", "if known is not None:", "if False:"),
            Edit(
                "runtime.graphs:answer_node",
                '"resume:{base}.{visit.id}"',
                '"resume:{base}.{visit.id}.{client.backend.clock.now()}"',
            ),
        ),
    ),
    Mutation(
        name="pinned blueprint ignored",
        says="a run goes by the blueprint that its worker has, not by the one that it was started with",
        stands_for="blueprints",
        edits=(
            Edit(
                "authoring.programs:graph_program",
                "origin.blueprint if origin.blueprint != NULL else registry.snapshot_of(blueprint)",
                "registry.snapshot_of(blueprint)",
            ),
        ),
    ),
    Mutation(
        name="state seen too early",
        says="a node sees what others have written, although it is in no frame yet",
        stands_for="1e03838",
        edits=(
            Edit(
                "engine.graph.visits:Space.view",
                "return partial(self._seen_at, len(self._changes))",
                "return self.snapshot",
            ),
        ),
    ),
)
