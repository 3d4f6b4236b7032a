"""Loops and comprehensions: a controller, and the counting that Python hides."""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from typing import Any, NamedTuple

from stepwell.authoring.flows.expressions import ATOM, TERM, Text
from stepwell.authoring.flows.graph import Cursor, Loose
from stepwell.authoring.flows.shapes import item_of, shape, shapes
from stepwell.authoring.flows.unit import LoopFrame, Unit, negated

MAX_ITERATIONS = 1_000_000_000
"""Of a loop that awaits something. Python's loops have no bound."""

MAX_PURE_ITERATIONS = 100_000
"""Of a loop that only computes: it keeps the worker from all else meanwhile."""

_PURE = ("set", "join", "loop-controller", "error")

Lift = Callable[[Cursor, ast.expr], tuple[Cursor, ast.expr]]
Body = Callable[[Cursor], Cursor]

_ONE_BY_ONE = "go through a list, a dict, range(), enumerate(), zip() or .items()"


class Counting(NamedTuple):
    """How a `for` goes on: whether there is another item, what that is for the target, and the next count."""

    condition: Text
    item: list[Text]
    hints: list[Any]
    step: dict[str, Text]


class Loops:
    """The loops of one flow. `block` compiles statements."""

    def __init__(self, unit: Unit, lift: Lift) -> None:
        self._unit = unit
        self._lift = lift

    def while_(self, cursor: Cursor, node: ast.While, test: Text, body: Body, orelse: Body) -> Cursor:
        """`while` with a test that is an expression."""
        return self._repeat(cursor, node, "while", test, (body, orelse))

    def for_(self, cursor: Cursor, node: ast.For, body: Body, orelse: Body) -> Cursor:
        """`for` over something that has items."""
        cursor, counting = self._counting(cursor, node.iter)
        values = self._unpack(node.target, counting.item)

        def whole(place: Cursor) -> Cursor:
            place = self._unit.assign(place, {**values, **counting.step}, node, "item")
            return body(place.knowing(_names(node.target)))

        return self._repeat(cursor, node, "for", counting.condition, (whole, orelse))

    def comprehension(self, cursor: Cursor, node: ast.ListComp | ast.GeneratorExp) -> tuple[Cursor, ast.expr]:
        """A list that is made by a loop."""
        unit = self._unit
        key = f"${unit.fresh('list')}"
        cursor = unit.assign(cursor, {key: Text("[]")}, node)
        known = cursor.known
        with ExitStack() as stack:
            cursor = self._generate(cursor, node, 0, key, stack)
        return Cursor(cursor.edges, known), unit.names.temporary(key, list)

    def _generate(self, cursor: Cursor, node: Any, index: int, key: str, stack: ExitStack) -> Cursor:
        unit = self._unit
        if index == len(node.generators):
            cursor, lifted = self._lift(cursor, node.elt)
            text = unit.text(cursor, lifted)
            return unit.assign(cursor, {key: Text(f"{key}.concat([{text.code}])", fails=text.fails)}, node)
        part: ast.comprehension = node.generators[index]
        if part.is_async:
            raise unit.refuse(node, "`async for` is not supported in a flow", "await a step that gives a list")
        cursor, counting = self._counting(cursor, part.iter)
        names = _names(part.target)
        keys = {name: f"${unit.fresh(name)}" for name in names}
        hints = counting.hints if len(counting.hints) == len(names) else [Any] * len(names)
        for name, hint in zip(names, hints, strict=True):
            stack.enter_context(unit.names.within(name, keys[name], hint))
        values = self._unpack(part.target, counting.item)

        def body(place: Cursor) -> Cursor:
            place = unit.assign(place, {**values, **counting.step}, node, "item")
            skipped = []
            for test in part.ifs:
                place, lifted = self._lift(place, test)
                unit.check_known(place, lifted)
                place, no = unit.branch(place, unit.expressions.truth(lifted), test, "if")
                skipped.append(no)
            return unit.meet(self._generate(place, node, index + 1, key, stack), *skipped)

        return self._repeat(cursor, node, "for", counting.condition, (body, lambda place: place))

    # --- one loop

    def _repeat(self, cursor: Cursor, at: ast.AST, name: str, test: Text, parts: tuple[Body, Body]) -> Cursor:
        unit, graph = self._unit, self._unit.graph
        id = graph.id(unit.fresh(name))
        params = {"condition": test.code, "maxIterations": MAX_ITERATIONS}
        unit.add(cursor, id, {"uses": "loop-controller", "params": params}, at)
        graph.nodes[id].pop("config", None)  # a controller joins any by itself
        frame = LoopFrame(id, [])
        nodes, edges, returns = len(graph.nodes), len(graph.edges), len(unit.returns)
        with unit.inside(frame):
            end = parts[0](cursor.at(Loose(id, "continue")))
            graph.close()
        if all(node["uses"] in _PURE for node in islice(graph.nodes.values(), nodes, None)):
            params["maxIterations"] = MAX_PURE_ITERATIONS
        graph.lead(end, id)
        over = cursor.at(*([] if test.code == "true" else [Loose(id, "break")]))
        if not any(edge["target"] == id for edge in graph.edges[edges:]):
            over = self._run_once(id, test, frame, over, edges, returns)
        graph.close()
        return unit.meet(parts[1](over) if over.is_live else over, *frame.breaks)

    def _run_once(self, id: str, test: Text, frame: LoopFrame, over: Cursor, edges: int, returns: int) -> Cursor:
        """The body never comes to its end: the loop is an `if`."""
        unit = self._unit
        unit.graph.nodes[id] = {"id": id, "uses": "join", "config": {"joinStrategy": "any"}}
        conditions = {"continue": None if test.code == "true" else test.code, "break": negated(test)}

        def decided(cursor: Cursor) -> Cursor:
            return cursor.at(
                *(Loose(id, None, conditions[str(e.action)]) if e.source == id else e for e in cursor.edges)
            )

        for edge in unit.graph.edges[edges:]:
            if edge["source"] == id and (condition := conditions[edge.pop("action")]) is not None:
                edge["condition"] = condition
        frame.breaks[:] = map(decided, frame.breaks)
        unit.returns[returns:] = [(decided(cursor), code) for cursor, code in unit.returns[returns:]]
        for outer in unit.frames:
            if isinstance(outer, LoopFrame):
                outer.breaks[:] = [decided(cursor) for cursor in outer.breaks]
        return decided(over)

    # --- counting

    def _counting(self, cursor: Cursor, node: ast.expr) -> tuple[Cursor, Counting]:
        if isinstance(node, ast.Call) and not node.keywords:
            func = node.func
            name = func.id if isinstance(func, ast.Name) and not self._unit.names.is_variable(func.id) else None
            if name == "range" and self._is_numeric(node):
                return self._range(cursor, node)
            if name == "enumerate" and 1 <= len(node.args) <= 2:
                return self._enumerate(cursor, node)
            if name == "zip" and len(node.args) > 1:
                return self._zip(cursor, node)
            if isinstance(func, ast.Attribute) and func.attr == "items" and not node.args:
                return self._items(cursor, func)
        cursor, items, count, hint = self._list(cursor, node)
        item = Text(f"index({items}, {count})")
        return cursor, Counting(_less(count, items), [item], [item_of(hint)], _next(count))

    def _is_numeric(self, node: ast.Call) -> bool:
        is_plain = 1 <= len(node.args) <= 2 or (len(node.args) == 3 and _number(node.args[2]) not in (None, 0))
        return is_plain and all(shapes(self._unit.hints.of(part)) == {"number"} for part in node.args)

    def _range(self, cursor: Cursor, node: ast.Call) -> tuple[Cursor, Counting]:
        cursor, parts = self._texts(cursor, node.args)
        start, stop = (Text("0"), parts[0]) if len(parts) == 1 else parts[:2]
        step = (_number(node.args[2]) or 1) if len(parts) == 3 else 1
        name = self._unit.fresh("range")
        count, limit = f"$next_{name}", f"$stop_{name}"
        cursor = self._unit.assign(cursor, {count: start, limit: stop}, node)
        sign, word = ("<", "+") if step > 0 else (">", "-")
        following = {count: Text(f"{count} {word} {abs(step)}", TERM)}
        return cursor, Counting(Text(f"{count} {sign} {limit}", TERM - 1), [Text(count)], [int], following)

    def _enumerate(self, cursor: Cursor, node: ast.Call) -> tuple[Cursor, Counting]:
        cursor, items, count, hint = self._list(cursor, node.args[0])
        number = Text(count)
        if len(node.args) == 2:
            cursor, (first,) = self._texts(cursor, node.args[1:])
            cursor = self._unit.assign(cursor, {f"{count}_from": first}, node)
            number = Text(f"{count}_from + {count}", TERM)
        item = Text(f"index({items}, {count})")
        return cursor, Counting(_less(count, items), [number, item], [int, item_of(hint)], _next(count))

    def _zip(self, cursor: Cursor, node: ast.Call) -> tuple[Cursor, Counting]:
        lists = []
        for part in node.args:
            cursor, items, count, hint = self._list(cursor, part)
            lists.append((items, count, item_of(hint)))
        count = lists[0][1]
        condition = Text(" && ".join(_less(count, items).code for items, _, _ in lists), 3)
        item = [Text(f"index({items}, {count})") for items, _, _ in lists]
        return cursor, Counting(condition, item, [hint for _, _, hint in lists], _next(count))

    def _items(self, cursor: Cursor, func: ast.Attribute) -> tuple[Cursor, Counting]:
        cursor, (text,) = self._texts(cursor, [func.value])
        name = self._unit.fresh("items")
        whole, items, count = f"$dict_{name}", f"${name}", f"$next_{name}"
        keys = Text(f"keys({whole})", fails=frozenset({AttributeError}))
        cursor = self._unit.assign(cursor, {whole: text, items: keys, count: Text("0")}, func)
        key = Text(f"index({items}, {count})")
        hints = [str, item_of(self._unit.hints.of(func.value))]
        value = Text(f"index({whole}, {key.code})")
        return cursor, Counting(_less(count, items), [key, value], hints, _next(count))

    def _list(self, cursor: Cursor, node: ast.expr) -> tuple[Cursor, str, str, Any]:
        hint = self._unit.hints.of(node)
        if shape(hint) == "record":
            raise self._unit.refuse(node, "this has no items", _ONE_BY_ONE)
        cursor, (text,) = self._texts(cursor, [node])
        if shapes(hint) != {"list"}:
            text = Text(f"list({text.code})", ATOM, text.fails | {TypeError})
        name = self._unit.fresh("items")
        items, count = f"${name}", f"$next_{name}"
        return self._unit.assign(cursor, {items: text, count: Text("0")}, node), items, count, hint

    def _texts(self, cursor: Cursor, nodes: list[ast.expr]) -> tuple[Cursor, list[Text]]:
        lifted = []
        for node in nodes:
            cursor, made = self._lift(cursor, node)
            lifted.append(made)
        return cursor, [self._unit.text(cursor, node) for node in lifted]

    def _unpack(self, target: ast.expr, item: list[Text]) -> dict[str, Text]:
        if isinstance(target, ast.Name):
            text = item[0] if len(item) == 1 else Text(f"[{', '.join(part.code for part in item)}]")
            return {self._unit.names.key(target.id): text}
        if not isinstance(target, ast.Tuple | ast.List):
            raise self._unit.refuse(target, "this target is not supported in a flow", "use a name, or names in a tuple")
        if len(item) == 1:
            item = [Text(f"index({item[0].code}, {index})") for index in range(len(target.elts))]
        if len(item) != len(target.elts):
            raise self._unit.refuse(target, f"there are {len(item)} values to unpack here", "name each of them")
        values: dict[str, Text] = {}
        for part, text in zip(target.elts, item, strict=True):
            values |= self._unpack(part, [text])
        return values


def _names(target: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]


def _less(count: str, items: str) -> Text:
    return Text(f"{count} < len({items})", TERM - 1)


def _next(count: str) -> dict[str, Text]:
    return {count: Text(f"{count} + 1", TERM)}


def _number(node: ast.expr) -> int | None:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return value if type(value) is int else None
