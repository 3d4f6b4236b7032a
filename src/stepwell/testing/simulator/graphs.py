"""Random blueprints in a simulation: what a plan stands for, and what its nodes do.

A run is started with the blueprint of its plan, and pinned to it; workers know but one, which has the implementations.
What nodes give is what the evaluator says, so marks of executions stand beside that: in keys of the state that no
random blueprint reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from random import Random
from typing import Any

import msgspec

from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.context import Context
from stepwell.authoring.nodes import NodeContext, NodeResult
from stepwell.authoring.workflows import workflow
from stepwell.model.entries import Created
from stepwell.testing.blueprints.generator import generate
from stepwell.testing.blueprints.sheets import Case
from stepwell.testing.blueprints.vocabulary import VOCABULARY, Call
from stepwell.testing.simulator.acting import Effort, executed
from stepwell.testing.simulator.ledger import marks_in
from stepwell.testing.simulator.plans import GRAPH, Graph

Json = Any

HIDDEN = "~"
"""What keys of the state begin with that hold marks."""
_PLAN = "simulated"
_PASSING = ("echo", "join", "start")
_KEPT = 512

FUNCTIONS = {**VOCABULARY, "relay": VOCABULARY["echo"]}
"""What nodes give, for the evaluator."""


# --- what a plan stands for


@lru_cache(_KEPT)
def case_of(plan: Graph) -> Case:
    """The documents, the input, and what waits are to be answered."""
    choice = Random(f"graph {plan.seed}")
    case = generate(choice, plan.size)
    main = case.document["id"]
    documents = {id: _laden(document, plan, choice) for id, document in case.blueprints.items()}
    document = _laden(case.document, plan, choice)
    metadata = {**(document.get("metadata") or {}), _PLAN: msgspec.to_builtins(plan)}
    return replace(
        case,
        document={**document, "id": GRAPH, "metadata": metadata},
        blueprints=documents,
        script={_renamed(name, main): answers for name, answers in case.script.items()},
    )


@lru_cache(_KEPT)
def blueprint_of(plan: Graph) -> Blueprint[Any, Any]:
    """What a run of the plan is started with."""
    case = case_of(plan)
    parts = [Blueprint.from_json(document, include=[_IMPLEMENTATIONS]) for document in case.blueprints.values()]
    return Blueprint.from_json(case.document, include=[_IMPLEMENTATIONS, *parts])


def plan_in(created: Created) -> Graph:
    """The plan of a run, from the blueprint that it is pinned to."""
    snapshot = msgspec.json.decode(bytes(created.blueprint))
    return msgspec.convert(snapshot["blueprints"][snapshot["main"]]["metadata"][_PLAN], Graph)


def _renamed(name: str, main: str) -> str:
    return f"{GRAPH}/{name.removeprefix(f'{main}/')}" if name.startswith(f"{main}/") else name


def _laden(document: dict[str, Json], plan: Graph, choice: Random) -> dict[str, Json]:
    """With what its nodes cost, and with workflows in the place of some that pass their input through."""
    nodes = document["nodes"]
    if isinstance(nodes, dict):
        return {**document, "nodes": {id: _burdened(node, plan, choice) for id, node in nodes.items()}}
    return {**document, "nodes": [_burdened(node, plan, choice) for node in nodes]}


def _burdened(node: dict[str, Json], plan: Graph, choice: Random) -> dict[str, Json]:
    if node["uses"] in _PASSING and choice.random() < 0.6:
        return {**node, "uses": "relay"}
    params = dict(node.get("params") or {})
    if params.get("timeout") == "1h":
        return {**node, "params": {**params, "timeout": "10m"}}  # a simulation in which nothing moves is stuck
    if node["uses"] not in VOCABULARY:
        return node
    params.update(_effort(plan, choice))
    if "items" in params:
        params["items"] = [{**item, **_effort(plan, choice)} for item in params["items"]]
    if "nodes" in params:
        params["nodes"] = [_burdened(made, plan, choice) for made in params["nodes"]]
    return {**node, "params": params}


def _effort(plan: Graph, choice: Random) -> dict[str, int]:
    """Drawn in any case, so that a plan without it has the same nodes."""
    ms = choice.choice((0, 0, 0, 0, 3, 50, 1_500, 12_000))
    kills, sends = choice.random() < 0.04, choice.choice((0,) * 12 + (1, 2))
    effort = {"ms": ms if plan.slow else 0, "kills": int(kills and plan.kills), "sends": sends}
    return {name: value for name, value in effort.items() if value}


# --- what nodes do


def _implementation(uses: str) -> Callable[[NodeContext[Any]], Any]:
    async def node(ctx: NodeContext[Any]) -> NodeResult:
        return await _worked(uses, ctx)

    node.__name__ = uses
    return node


async def _worked(uses: str, ctx: NodeContext[Any]) -> NodeResult:
    seen = {key: ctx.state[key] for key in ctx.state}
    marks = [mark for key, value in seen.items() if key.startswith(HIDDEN) for mark in marks_in(value)]
    visible = {key: value for key, value in seen.items() if not key.startswith(HIDDEN)}
    call = Call(ctx.input, dict(ctx.params), visible, ctx.step.attempt)
    settings = ctx.input if uses == "item" else ctx.params
    effort = Effort(*(settings.get(name, 0) for name in Effort.__struct_fields__))
    reply, mark = await executed(ctx.step, effort, marks, lambda _: VOCABULARY[uses](call))
    for key, value in reply.writes.items():
        ctx.state.set(key, value)
    for key in reply.deletes:
        ctx.state.delete(key)
    ctx.state.set(f"{HIDDEN}{ctx.id}", mark)
    return NodeResult(output=reply.output, action=reply.action, dynamic_nodes=reply.nodes)


@workflow(id="relay")
async def relay(ctx: Context, value: Any) -> Any:
    """A node that is a workflow: after a while, its input."""
    await ctx.sleep(1)
    return value


_IMPLEMENTATIONS: dict[str, Any] = {**{uses: _implementation(uses) for uses in VOCABULARY}, "relay": relay}

WORKER = Blueprint.from_json(
    {"id": GRAPH, "nodes": [{"id": "none", "uses": "start"}], "edges": []}, include=[_IMPLEMENTATIONS]
)
"""The blueprint that workers know: runs bring their own."""
