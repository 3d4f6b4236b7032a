"""Forks of blueprints' runs: which nodes they can start from, and other outputs for nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, structs

from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.nodes import NodeResult
from stepwell.authoring.registry import Registry
from stepwell.engine.fold import Fold
from stepwell.engine.graph.outcome import NodeOutcome
from stepwell.engine.graph.plan import Kind
from stepwell.engine.graph.state import node_at, node_path
from stepwell.errors import DefinitionError
from stepwell.model.entries import Frame, StepCompleted
from stepwell.model.failures import NULL
from stepwell.model.ids import CommandId
from stepwell.runtime.graphs import Look


def is_graph(registry: Registry, fold: Fold) -> bool:
    """Whether the run goes by a blueprint."""
    created = fold.origin.created
    return fold.origin.blueprint != NULL or isinstance(registry.find(created.workflow, created.version), Blueprint)


def check_nodes(look: Look, steps: Sequence[CommandId], wanted: Iterable[str]) -> None:
    """`DefinitionError` if the history holds no outcome of one of these because of what kind of node it is."""
    for id in wanted:
        node = None if id in steps else node_at(look.program.plan, node_path(id))
        if node is None or (node.kind is Kind.WORK and not look.has_child(CommandId(id))):
            continue  # it is there, or there is no such node, or it has not finished: the list of steps says so
        cure = f"fork from the step before it{_before(look, steps, id)}, or edit that one"
        if node.kind is Kind.SCATTER:
            cure = f"fork from one of its items, such as '{id.removesuffix('_scatter')}[0]'"
        raise DefinitionError(f"node {id!r} of run {look.head.id} is no step ({node.node.uses}); {cure}")


def node_result(output: Any, action: str | None) -> NodeResult:
    """Another output for a node, which goes on along the edges of that action."""
    return NodeResult(output=output, action=action)


def node_edits(registry: Registry, journal: Iterable[Frame], edit: Mapping[str, Any]) -> dict[CommandId, Raw]:
    """Outputs as the journal holds them: with the action and the writes that the node had, unless a `NodeResult` says
    where to go on."""
    recorded = {entry.id: entry for frame in journal for entry in frame.entries if isinstance(entry, StepCompleted)}
    return {CommandId(id): _edited(registry, id, recorded.get(CommandId(id)), value) for id, value in edit.items()}


def _edited(registry: Registry, id: str, recorded: StepCompleted | None, value: Any) -> Raw:
    codec = registry.codec
    outcome = NodeOutcome()
    if recorded is not None:
        outcome = msgspec.json.decode(codec.opened(recorded.value, where=f"the output of {id}"), type=NodeOutcome)
    if isinstance(value, NodeResult):
        if value.dynamic_nodes:
            raise DefinitionError(f"edit {id!r}: nodes cannot be added; give an output and an action")
        outcome = structs.replace(outcome, action=value.action)
        value = value.output
    output = codec.typed(Any).plain.encode(value, where=f"edit {id}")
    return codec.sealed(msgspec.json.encode(structs.replace(outcome, output=output)))


def _before(look: Look, steps: Sequence[CommandId], id: str) -> str:
    """The step whose outcome came last before this visit."""
    node = node_at(look.program.plan, node_path(id))
    sources = [] if node is None else [edge.source.name for edge in node.ins]
    prefix = id[: id.rfind("/") + 1]
    found = [step for step in steps if node_path(step) in {node_path(f"{prefix}{source}") for source in sources}]
    return f", {found[-1]!r}" if found else ""
