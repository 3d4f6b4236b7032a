"""Calls side by side: `asyncio.gather` of several calls, and batches of one call for each of many items."""

from __future__ import annotations

import ast
import asyncio
from functools import partial
from typing import Any

from stepwell.authoring.flows.calls import Awaited, Calls
from stepwell.authoring.flows.graph import Cursor, Json, Loose
from stepwell.authoring.flows.hints import result_of
from stepwell.authoring.flows.shapes import shapes
from stepwell.authoring.flows.unit import Unit
from stepwell.authoring.steps import Step

_MAP = "write asyncio.gather(*(step(x) for x in items)) or ctx.map(step, items, concurrency=...)"


def install(unit: Unit, calls: Calls) -> None:
    """Let these be awaited."""
    calls.specials[asyncio.gather] = partial(gather, unit, calls)
    calls.specials["ctx.map"] = partial(map_items, unit, calls)


def gather(unit: Unit, calls: Calls, cursor: Cursor, node: ast.Call) -> Awaited:
    """`asyncio.gather`: branches that meet, or a batch."""
    if node.keywords:
        raise unit.refuse(node, "keywords of asyncio.gather() are not supported in a flow", "leave them out")
    if len(node.args) == 1 and isinstance(node.args[0], ast.Starred):
        inside = node.args[0].value
        if isinstance(inside, ast.ListComp | ast.GeneratorExp):
            return _batch_of(unit, calls, cursor, inside)
        if isinstance(inside, ast.List | ast.Tuple):
            return _branches(unit, calls, cursor, node, inside.elts)
    return _branches(unit, calls, cursor, node, node.args)


def map_items(unit: Unit, calls: Calls, cursor: Cursor, node: ast.Call) -> Awaited:
    """`ctx.map(step, items, concurrency=...)`."""
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    step = unit.names.static(node.args[0]) if len(node.args) == 2 else None
    if not isinstance(step, Step) or not keywords.keys() <= {"concurrency"}:
        raise unit.refuse(node, "this call is not supported in a flow", _MAP)
    concurrency = calls.constant(keywords["concurrency"], "concurrency") if keywords else None
    bound = calls.bound(ast.Call(func=node.args[0], args=[node.args[1]], keywords=[]), step)
    if len(step.signature.parameters if step.signature else ()) != 1:
        item, key = ast.Name(id="item", ctx=ast.Load()), next(iter(bound))
        element = ast.Dict(keys=[ast.Constant(value=key)], values=[item])
        loop = ast.comprehension(target=ast.Name(id="item", ctx=ast.Store()), iter=node.args[1], ifs=[], is_async=0)
        items: ast.expr = ast.ListComp(elt=element, generators=[loop])
        ast.fix_missing_locations(ast.copy_location(items, node))
    else:
        items = node.args[1]
    return _batch(unit, calls, cursor, items, step, concurrency)


def _branches(unit: Unit, calls: Calls, cursor: Cursor, node: ast.Call, parts: list[ast.expr]) -> Awaited:
    if any(isinstance(part, ast.Starred) for part in parts) or not parts:
        raise unit.refuse(node, "this is not supported in asyncio.gather() in a flow", _MAP)
    prepared = []
    for part in parts:
        cursor, one = calls.prepare(cursor, part)
        prepared.append((one, part))
    ids: list[str] = []
    ends: list[Loose] = []
    for one, part in prepared:
        end, id = calls.place(cursor, one, part)
        ends += end.edges
        ids.append(id)
    unit.guard_branches(ids, node)
    results = ["null" if unit.graph.nodes[id]["uses"] == "sleep" else id for id in ids]
    name = unit.fresh("gather")
    id = unit.graph.id(name)
    values = {f"${name}": f"[{', '.join(results)}]"}
    cursor = unit.add(cursor.at(*ends), id, {"uses": "set", "params": {"values": values}}, node)
    if len(ends) > 1:
        unit.graph.configure(id, joinStrategy="all")
    hint: Any = tuple.__class_getitem__(tuple(one.hint for one, _ in prepared))
    return Awaited(unit.route(cursor), f"${name}", hint)


def _batch_of(unit: Unit, calls: Calls, cursor: Cursor, node: ast.ListComp | ast.GeneratorExp) -> Awaited:
    """A batch of `step(x) for x in items`: the items are the arguments."""
    step = calls.target(node.elt)
    if not isinstance(step, Step) or not isinstance(node.elt, ast.Call):
        raise unit.refuse(node.elt, "this is not the call of a step", _MAP)
    bound = calls.bound(node.elt, step)
    parameters = step.signature.parameters if step.signature else {}
    if len(parameters) == 1 and bound:
        element = next(iter(bound.values()))
    else:
        keys: list[ast.expr | None] = [ast.Constant(value=key) for key in bound]
        element = ast.Dict(keys=keys, values=list(bound.values()))
    loop = node.generators[0]
    is_plain = (
        len(node.generators) == 1
        and not loop.ifs
        and isinstance(element, ast.Name)
        and isinstance(loop.target, ast.Name)
        and element.id == loop.target.id
    )
    items: ast.expr = loop.iter
    if not is_plain:
        items = ast.copy_location(ast.ListComp(elt=element, generators=node.generators), node)
        ast.fix_missing_locations(items)
    return _batch(unit, calls, cursor, items, step)


def _batch(
    unit: Unit,
    calls: Calls,
    cursor: Cursor,
    items: ast.expr,
    step: Step[..., Any],
    concurrency: Any = None,
) -> Awaited:
    at = items
    base = unit.graph.id(step.__name__)
    if not isinstance(items, ast.ListComp) and shapes(unit.hints.of(items)) != {"list"}:
        items = ast.copy_location(ast.Call(func=ast.Name(id="list", ctx=ast.Load()), args=[items], keywords=[]), at)
        ast.fix_missing_locations(items)
    cursor, inputs = calls.arguments(cursor, {"items": items}, base)
    scatter, gathering = unit.graph.id(f"{base}_scatter"), unit.graph.id(f"{base}_gather")
    params: Json = {"workerUsesKey": calls.implementation(step.__name__, step), "gatherNodeId": gathering}
    if concurrency is not None:
        params["concurrency"] = concurrency
    node = {"uses": "batch-scatter", "inputs": inputs["items"], "params": params}
    cursor = unit.guard(unit.add(cursor, scatter, node, at), at)
    cursor = unit.add(cursor, gathering, {"uses": "batch-gather", "params": {"gatherNodeId": gathering}}, at)
    return Awaited(cursor, gathering, list[result_of(step)])  # type: ignore[misc]
