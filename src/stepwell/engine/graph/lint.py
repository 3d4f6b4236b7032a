"""The linter of blueprints: everything that is wrong with a graph or probably not meant so, at once.

An error is something that cannot run, or cannot mean anything. A warning is something that runs. What depends on users'
code, such as the actions of a function, is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from stepwell.engine.graph.analysis import entries_of, overlap_text
from stepwell.engine.graph.branches import Branches
from stepwell.engine.graph.findings import Finding, Severity, Subject
from stepwell.engine.graph.lint_data import ambiguous_inputs, shadowed_keys, state_conflicts
from stepwell.engine.graph.lint_expressions import expressions, references
from stepwell.engine.graph.wiring import reach
from stepwell.model.blueprint_rules import Names, violations
from stepwell.model.blueprints import ALIASES, Edge, Graph, Node


def lint(  # what is known of the world, and where things stand
    graph: Graph,
    *,
    implementations: Collection[str] | None = None,
    blueprints: Collection[str] | None = None,
    keys: Collection[str] | None = None,
    paths: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> list[Finding]:
    """All findings, errors first; otherwise in the order of the checks.

    `implementations`: what `uses` may name besides the built-ins; `blueprints`: what subflows may name; `keys`: the
    fields of the input. None: not known, so what they would decide is not told. `paths`: those of the nodes and edges
    in the document, unless they are in arrays.
    """
    subject = Subject(graph, implementations or (), paths[0])
    found = [
        Finding(
            code=broken.code,
            severity="error",
            message=broken.message,
            path=broken.path(*paths),
            node_id=broken.node_id,
            related_id=broken.related_id,
        )
        for broken in violations(graph, implementations=implementations or ())
    ]
    if implementations is not None:
        found += _implementations(subject, implementations)
    if blueprints is not None:
        found += _subflows(subject, blueprints)
    for check in _CHECKS:
        found += check(subject)
    found += expressions(subject, paths[1])
    found += references(subject, keys, paths[1])
    found += shadowed_keys(subject, keys or ())
    branches = Branches(subject.wiring, graph, subject.nesting.bodies, _entries(subject))
    found += state_conflicts(subject, branches)
    found += ambiguous_inputs(subject, branches)
    return sorted(found, key=lambda finding: finding.severity != "error")


def _implementations(subject: Subject, implementations: Collection[str]) -> Iterator[Finding]:
    known = {*implementations, *ALIASES}
    names = Names(sorted(known))
    for node in subject.wiring.nodes:
        worker = node.params.get("workerUsesKey")
        if node.uses not in known:
            problem = f"node {node.id!r} uses {node.uses!r}, which is not among the implementations"
            code, field, name = "MISSING_NODE_IMPLEMENTATION", "uses", node.uses
        elif subject.kind(node) == "batch-scatter" and isinstance(worker, str) and worker and worker not in known:
            problem = f"batch {node.id!r} gives its items to {worker!r}, which is not among the implementations"
            code, field, name = "INVALID_BATCH_WORKER_KEY", "params.workerUsesKey", worker
        else:
            continue
        yield subject.about(node, code, problem + names.hint(name), field=field, severity="error", related=name)


def _subflows(subject: Subject, blueprints: Collection[str]) -> Iterator[Finding]:
    known = {*blueprints, subject.graph.id}
    names = Names(sorted(known))
    for node in subject.wiring.nodes:
        name = node.params.get("blueprintId")
        if subject.kind(node) == "subflow" and isinstance(name, str) and name and name not in known:
            problem = f"subflow {node.id!r} runs {name!r}, which is not among the blueprints{names.hint(name)}"
            yield subject.about(
                node,
                "INVALID_SUBFLOW_BLUEPRINT_ID",
                problem,
                field="params.blueprintId",
                severity="error",
                related=name,
            )


def _entries(subject: Subject) -> list[int]:
    return entries_of(subject.wiring, subject.nesting, subject.graph.cycle_entry_points)


def _orphans(subject: Subject) -> Iterator[Finding]:
    wiring = subject.wiring
    if len(wiring.nodes) < 2:
        return
    reached = reach(_entries(subject), wiring.after, wiring.everything)
    for number, node in enumerate(wiring.nodes):
        if number not in reached:
            yield subject.about(
                node, "ORPHAN_NODE", f"node {node.id!r} is never run: no start leads to it; connect it, or remove it"
            )


def _cycles(subject: Subject) -> Iterator[Finding]:
    declared = set(subject.graph.cycle_entry_points)
    for ids in subject.cycles:
        node = subject.wiring.nodes[subject.ids[ids[0]]]
        severity: Severity = "error" if declared.isdisjoint(ids) else "warning"
        if len(ids) == 1:
            code, what = "SELF_EDGE", f"node {ids[0]!r} leads to itself; it runs once: to repeat it"
        else:
            some = ", ".join(repr(id) for id in ids[:5])
            code = "CYCLE_WITHOUT_EXIT"
            names = f"{some}{' and more' if len(ids) > 5 else ''}"
            what = f"the nodes {names} lead back to each other; each of them runs once: to repeat them"
        cure = "put a loop-controller between"
        if severity == "error":
            cure += "; if once is meant, name the first in metadata.cycleEntryPoints"
        yield subject.about(node, code, f"{what}, {cure}", severity=severity, related=ids[-1])
    for id in dict.fromkeys(name for name in subject.graph.cycle_entry_points if name not in subject.ids):
        hint = subject.names.hint(id)
        yield Finding(
            code="INVALID_CYCLE_ENTRY",
            severity="warning",
            message=f"no node is called {id!r}{hint}",
            path="metadata.cycleEntryPoints",
            related_id=id,
        )


def _loops(subject: Subject) -> Iterator[Finding]:
    wiring, nesting = subject.wiring, subject.nesting
    overlapping = {inner for inner, _ in nesting.overlaps}
    for inner, outer in nesting.overlaps:
        node = wiring.nodes[subject.ids[inner]]
        if subject.kind(node) != "loop-controller":
            continue
        yield subject.about(node, "LOOP_OVERLAP", overlap_text(inner, outer), severity="error", related=outer)
    exits = {edge.source for edge in subject.graph.edges if edge.action != "continue"}
    for number, starts in wiring.continues.items():
        node = wiring.nodes[number]
        if subject.kind(node) != "loop-controller" or not starts:
            continue
        inside = nesting.bodies[number] | {number}
        left_early = any(target not in inside for member in nesting.bodies[number] for target in wiring.targets[member])
        if node.id not in exits and not left_early:
            message = f"nothing follows loop {node.id!r}; add an edge from it with the action 'break'"
            yield subject.about(node, "LOOP_WITHOUT_EXIT", message)
        if number in starts:
            message = f"loop {node.id!r} goes on with itself; an iteration needs a node of its own"
            yield subject.about(node, "SELF_EDGE", message, severity="error", related=node.id)
        elif not nesting.bodies[number] and node.id not in overlapping:
            message = f"no edge leads back to loop {node.id!r}: it goes on once at most; add one from where it ends"
            yield subject.about(node, "LOOP_WITHOUT_BODY", message)


def _fallbacks(subject: Subject) -> Iterator[Finding]:
    """A fallback of its own edges belongs to one place: that of the nodes it serves."""
    wiring = subject.wiring
    loops = subject.nesting.innermost()
    for number, served in wiring.served.items():
        places = {loops.get(other) for other in served}
        if len(places) > 1 and not wiring.sources[number]:
            node = wiring.nodes[number]
            names = ", ".join(repr(id) for id in wiring.ids(served[:5]))
            message = f"node {node.id!r} is the fallback of {names}, which are in different loops; give each its own"
            yield subject.about(node, "FALLBACK_ACROSS_LOOPS", message, severity="error")


_SILENT = {"set", "start", "join", "sleep", "subflow", "batch-scatter", "batch-gather", "webhook"}


def _actions(subject: Subject) -> Iterator[Finding]:
    for edge in subject.graph.edges:
        if edge.source not in subject.ids or edge.target not in subject.ids:
            continue
        node = subject.wiring.nodes[subject.ids[edge.source]]
        if problem := _never_taken(subject, node, edge):
            yield subject.about(
                node, "ACTION_UNKNOWN", f"the edge to {edge.target!r} is never taken: {problem}", related=edge.target
            )


def _never_taken(subject: Subject, node: Node, edge: Edge) -> str:
    kind = subject.kind(node)
    if kind is None or node.config.fallback is not None:
        return ""
    if kind == "error":
        return f"node {node.id!r} always fails; remove the edge, or give the node a fallback"
    if kind in _SILENT and edge.action is not None:
        return f"a {node.uses!r} node has no action {edge.action!r}; remove the action from the edge"
    if kind == "loop-controller" and edge.condition is None and edge.action not in (None, "continue", "break"):
        return f"the actions of loop {node.id!r} are 'continue' and 'break', not {edge.action!r}"
    return ""


_CHECKS: tuple[Callable[[Subject], Iterator[Finding]], ...] = (_cycles, _loops, _fallbacks, _orphans, _actions)
