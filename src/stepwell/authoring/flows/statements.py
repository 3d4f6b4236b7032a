"""The statements of a flow, one after another."""

from __future__ import annotations

import ast
from collections.abc import Callable

from stepwell.authoring.flows import fanout
from stepwell.authoring.flows.aliases import CHANGES, alias_of, changed_list
from stepwell.authoring.flows.calls import Awaited, Calls
from stepwell.authoring.flows.expressions import IN_A_STEP, Kinds, Text
from stepwell.authoring.flows.graph import Cursor, Loose
from stepwell.authoring.flows.lifting import Lifting, needs_lifting
from stepwell.authoring.flows.loops import Loops
from stepwell.authoring.flows.shapes import length_of
from stepwell.authoring.flows.tries import Tries
from stepwell.authoring.flows.unit import FinallyFrame, Frame, LoopFrame, Unit

_WORDS = {
    "AsyncFor": "async for",
    "AsyncFunctionDef": "async def",
    "AsyncWith": "async with",
    "ClassDef": "class",
    "Delete": "del",
    "FunctionDef": "def",
    "ImportFrom": "import",
    "TryStar": "except*",
}
_WORKFLOW = "do it in a step, or make the function a @workflow"


class Statements:
    """Compiles blocks: each method takes the place before a statement and gives the place behind it."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._lifting = Lifting(unit.source, self._compute)
        lift = self._lifting.lift
        self._calls = Calls(unit, lift)
        self._loops = Loops(unit, lift)
        self._tries = Tries(unit, lift, self.block)
        self._once = _assigned_once(unit.source.tree)
        fanout.install(unit, self._calls)

    def block(self, cursor: Cursor, statements: list[ast.stmt]) -> Cursor:
        """All statements that can be reached."""
        for statement in statements:
            if not cursor.is_live:
                break
            method: Callable[[Cursor, ast.stmt], Cursor] | None
            method = getattr(self, f"_{type(statement).__name__}", None)
            if method is None:
                name = type(statement).__name__
                word = _WORDS.get(name, name.lower())
                raise self._unit.refuse(statement, f"`{word}` is not supported in a flow", _WORKFLOW)
            cursor = method(cursor, statement)
        return cursor

    # --- setting variables

    def _Assign(self, cursor: Cursor, node: ast.Assign) -> Cursor:
        if len(node.targets) > 1:
            raise self._unit.refuse(node, "several targets are not supported in a flow", "write one line for each")
        return self._set(cursor, node.targets[0], node.value, node)

    def _AnnAssign(self, cursor: Cursor, node: ast.AnnAssign) -> Cursor:
        return cursor if node.value is None else self._set(cursor, node.target, node.value, node)

    def _AugAssign(self, cursor: Cursor, node: ast.AugAssign) -> Cursor:
        if not isinstance(node.target, ast.Name):
            raise self._refuse_target(node.target)
        name = ast.copy_location(ast.Name(id=node.target.id, ctx=ast.Load()), node.target)
        value = ast.copy_location(ast.BinOp(left=name, op=node.op, right=node.value), node)
        self._unit.check_known(cursor, name)
        if self._unit.hints.of(value) is list:
            self._check_alias(node, node.target.id)
        return self._set(cursor, node.target, value, node)

    def _set(self, cursor: Cursor, target: ast.expr, value: ast.expr, at: ast.stmt) -> Cursor:
        unit = self._unit
        if isinstance(target, ast.Tuple | ast.List):
            return self._unpack(cursor, target, value, at)
        if not isinstance(target, ast.Name):
            raise self._refuse_target(target)
        if isinstance(value, ast.IfExp) and needs_lifting(ast.List(elts=[value.body, value.orelse], ctx=ast.Load())):
            self._once.discard(target.id)
            yes, no = self._decide(cursor, value.test, at)
            sides = [(yes, value.body), (no, value.orelse)]
            return unit.meet(*(self._set(place, target, side, at) for place, side in sides if place.is_live))
        if isinstance(value, ast.Await):
            awaited = self._calls.run(cursor, value.value)
            if target.id in self._once and awaited.result != "null":
                unit.names.point(target.id, awaited.result)
                return awaited.cursor.knowing([target.id])
            text, cursor = Text(awaited.result), awaited.cursor
        else:
            cursor, text = self._text(cursor, value)
        return unit.assign(cursor, {unit.names.key(target.id): text}, at).knowing([target.id])

    def _unpack(self, cursor: Cursor, target: ast.Tuple | ast.List, value: ast.expr, at: ast.stmt) -> Cursor:
        """All values first, then all variables: `a, b = b, a`."""
        unit = self._unit
        for part in target.elts:
            if not isinstance(part, ast.Name):
                raise unit.refuse(part, "this target is not supported in a flow", "unpack to names, one level deep")
        names = [part.id for part in target.elts if isinstance(part, ast.Name)]
        if isinstance(value, ast.Tuple | ast.List):
            if len(value.elts) != len(names):
                raise unit.refuse(at, f"{len(value.elts)} values for {len(names)} names", "give as many as there are")
            cursor, lifted = self._lifting.lift(cursor, value)
            parts = [unit.text(cursor, part) for part in lifted.elts]  # type: ignore[attr-defined]
        else:
            cursor, made = self._lifting.lift(cursor, value)
            text = unit.text(cursor, made)
            if not text.is_path:
                key = f"${unit.fresh('values')}"
                cursor, text = unit.assign(cursor, {key: text}, at), Text(key)
            is_sure = length_of(unit.hints.of(made)) == len(names)
            fails: Kinds = frozenset() if is_sure else frozenset({ValueError, TypeError})
            parts = [Text(f"index({text.code}, {index})", fails=fails) for index in range(len(names))]
        temporary = unit.fresh("values")
        keys = [f"${temporary}_{index}" for index in range(len(names))]
        cursor = unit.assign(cursor, dict(zip(keys, parts, strict=True)), at)
        values = {unit.names.key(name): Text(key) for name, key in zip(names, keys, strict=True)}
        return unit.assign(cursor, values, at).knowing(names)

    def _refuse_target(self, target: ast.expr) -> Exception:
        return self._unit.refuse(
            target, f"setting `{ast.unparse(target)}` is not supported in a flow", "make a new value in a step"
        )

    # --- expressions that stand alone

    def _Expr(self, cursor: Cursor, node: ast.Expr) -> Cursor:
        value = node.value
        if isinstance(value, ast.Constant):
            return cursor
        if isinstance(value, ast.Await):
            return self._calls.run(cursor, value.value).cursor
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in CHANGES:
            return self._change(cursor, value, value.func)
        if isinstance(value, ast.Call) and self._calls.is_awaitable(value):
            raise self._unit.refuse(value, "this call is never awaited", f"write `await {ast.unparse(value)}`")
        raise self._unit.refuse(value, "this has no effect in a flow", f"leave it out; or {IN_A_STEP}")

    def _change(self, cursor: Cursor, call: ast.Call, func: ast.Attribute) -> Cursor:
        """`items.append(x)` and `items.extend(xs)`, if nothing else holds the list."""
        unit = self._unit
        if not isinstance(func.value, ast.Name) or len(call.args) != 1 or call.keywords:
            raise self._refuse_target(func)
        name = func.value.id
        self._check_alias(call, name)
        cursor, text = self._text(cursor, call.args[0])
        unit.check_known(cursor, func.value)
        key = unit.names.key(name)
        more = f"[{text.code}]" if func.attr == "append" else f"list({text.code})"
        fails = text.fails | (frozenset() if func.attr == "append" else {TypeError})
        return unit.assign(cursor, {key: Text(f"{key}.concat({more})", fails=fails)}, call)

    def _check_alias(self, node: ast.AST, name: str) -> None:
        unit = self._unit
        if name not in unit.names.locals:
            raise unit.refuse(node, f"{name} is no variable of the flow", "change it in a step")
        place = alias_of(unit.source.tree, name)
        if place is not None:
            line = getattr(place, "lineno", 0)
            raise unit.refuse(
                node,
                f"{name} may be held under another name since line {line}, which would not see this change",
                f"write `{name} = {name} + [...]`, or copy it with list() there",
            )

    def _Pass(self, cursor: Cursor, _node: ast.Pass) -> Cursor:
        return cursor

    # --- branches and loops

    def _If(self, cursor: Cursor, node: ast.If) -> Cursor:
        yes, no = self._decide(cursor, node.test, node)
        return self._unit.meet(self.block(yes, node.body), self.block(no, node.orelse))

    def _Assert(self, cursor: Cursor, node: ast.Assert) -> Cursor:
        arguments = [] if node.msg is None else [node.msg]
        error = ast.Call(func=ast.Name(id="AssertionError", ctx=ast.Load()), args=arguments, keywords=[])
        failure = ast.fix_missing_locations(ast.copy_location(ast.Raise(exc=error, cause=None), node))
        test = ast.copy_location(ast.UnaryOp(op=ast.Not(), operand=node.test), node.test)
        return self._If(cursor, ast.copy_location(ast.If(test=test, body=[failure], orelse=[]), node))

    def _While(self, cursor: Cursor, node: ast.While) -> Cursor:
        unit = self._unit
        unit.graph.close()
        if not needs_lifting(node.test):
            unit.check_known(cursor, node.test)
            test = self._constant(node.test) or unit.expressions.truth(node.test)
            if not (test.fails and unit.handler):
                if test.code == "false":
                    return self.block(cursor, node.orelse)
                return self._loops.while_(cursor, node, test, self._body(node.body), self._body(node.orelse))
        over: list[Cursor] = []

        def body(place: Cursor) -> Cursor:
            yes, no = self._decide(place, node.test, node)
            over.append(no)
            return self.block(yes, node.body)

        end = self._loops.while_(cursor, node, Text("true"), body, lambda place: place)
        return unit.meet(end, self.block(unit.meet(*over), node.orelse))

    def _For(self, cursor: Cursor, node: ast.For) -> Cursor:
        self._unit.graph.close()
        return self._loops.for_(cursor, node, self._body(node.body), self._body(node.orelse))

    def _Break(self, cursor: Cursor, node: ast.Break) -> Cursor:  # noqa: ARG002
        frame, around = self._loop()
        cursor = self._tries.unwind(cursor, around)
        if cursor.is_live:
            frame.breaks.append(cursor)
        self._unit.graph.close()
        return cursor.at()

    def _Continue(self, cursor: Cursor, node: ast.Continue) -> Cursor:  # noqa: ARG002
        frame, around = self._loop()
        cursor = self._tries.unwind(cursor, around)
        self._unit.graph.close()
        self._unit.graph.lead(cursor, frame.controller)
        return cursor.at()

    def _loop(self) -> tuple[LoopFrame, tuple[Frame, ...]]:
        frames = self._unit.frames
        index = max(index for index, frame in enumerate(frames) if isinstance(frame, LoopFrame))
        frame = frames[index]
        assert isinstance(frame, LoopFrame), "just found"
        return frame, frames[: index + 1]

    def _body(self, statements: list[ast.stmt]) -> Callable[[Cursor], Cursor]:
        return lambda cursor: self.block(cursor, statements)

    # --- ways out

    def _Try(self, cursor: Cursor, node: ast.Try) -> Cursor:
        return self._tries.try_(cursor, node)

    def _Raise(self, cursor: Cursor, node: ast.Raise) -> Cursor:
        return self._tries.raise_(cursor, node)

    def _Return(self, cursor: Cursor, node: ast.Return) -> Cursor:
        unit = self._unit
        text = Text("null")
        if isinstance(node.value, ast.Await):
            awaited = self._calls.run(cursor, node.value.value)
            cursor, text = awaited.cursor, Text(awaited.result)
        elif node.value is not None:
            cursor, text = self._text(cursor, node.value)
        if text.fails or any(isinstance(frame, FinallyFrame) for frame in unit.frames):
            key = f"${unit.fresh('return')}"
            cursor, text = unit.assign(cursor, {key: text}, node, "return"), Text(key)
        cursor = self._tries.unwind(cursor, ())
        unit.graph.close()
        if cursor.is_live:
            unit.returns.append((cursor, text.code))
        return cursor.at()

    # --- expressions

    def _text(self, cursor: Cursor, node: ast.expr) -> tuple[Cursor, Text]:
        cursor, lifted = self._lifting.lift(cursor, node)
        return cursor, self._unit.text(cursor, lifted)

    def _truth(self, cursor: Cursor, node: ast.expr) -> tuple[Cursor, Text]:
        cursor, lifted = self._lifting.lift(cursor, node)
        self._unit.check_known(cursor, lifted)
        return cursor, self._constant(lifted) or self._unit.expressions.truth(lifted)

    def _decide(self, cursor: Cursor, test: ast.expr, at: ast.stmt) -> tuple[Cursor, Cursor]:
        """The places where a test holds and where it does not. What `and` and `or` may not reach is behind branches."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) and needs_lifting(test):
            yes, no = self._decide(cursor, test.operand, at)
            return no, yes
        if not (isinstance(test, ast.BoolOp) and any(map(needs_lifting, test.values[1:]))):
            cursor, text = self._truth(cursor, test)
            return self._unit.branch(cursor, text, at, "if")
        is_and = isinstance(test.op, ast.And)
        left: list[Cursor] = []
        for value in test.values:
            if not cursor.is_live:
                break
            yes, no = self._decide(cursor, value, at)
            cursor, other = (yes, no) if is_and else (no, yes)
            left.append(other)
        decided = self._unit.meet(*left)
        return (cursor, decided) if is_and else (decided, cursor)

    def _constant(self, node: ast.expr) -> Text | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | str | None):
            return Text("true" if node.value else "false")
        return None

    def _compute(self, cursor: Cursor, node: ast.expr) -> tuple[Cursor, ast.expr]:
        """What is lifted out of an expression: a call, or a comprehension."""
        if isinstance(node, ast.Await):
            awaited: Awaited = self._calls.run(cursor, node.value)
            if awaited.result == "null":
                return awaited.cursor, ast.copy_location(ast.Constant(value=None), node)
            name = self._unit.names.temporary(awaited.result, awaited.hint)
            return awaited.cursor, ast.copy_location(name, node)
        assert isinstance(node, ast.ListComp | ast.GeneratorExp), "nothing else is lifted"
        cursor, made = self._loops.comprehension(cursor, node)
        return cursor, ast.copy_location(made, node)


def end_of(unit: Unit, cursor: Cursor) -> str | None:
    """Put the node where all returns meet; its output is the result. None: nothing leads there."""
    graph = unit.graph
    graph.close()
    returns = [*unit.returns, *([(cursor, "null")] if cursor.is_live else [])]
    if not returns:
        return None
    id = graph.id("end")
    edges = 0
    graph.nodes[id] = {"id": id, "uses": "join"}
    graph.lines[id] = unit.source.tree.end_lineno or unit.source.tree.lineno
    for place, code in returns:
        edges += len(place.edges)
        is_passed = place.edges == (Loose(code),)
        graph.lead(place, id, None if is_passed else code)
    if edges > 1:
        graph.configure(id, joinStrategy="any")
    return id


def _assigned_once(tree: ast.AsyncFunctionDef) -> set[str]:
    """The variables that are set in one place, which is not in a `finally`: that is compiled more than once."""
    counts: dict[str, int] = {argument.arg: 2 for argument in tree.args.args}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            counts[node.id] = counts.get(node.id, 0) + 1
        elif isinstance(node, ast.Try):
            for part in node.finalbody:
                for inner in ast.walk(part):
                    if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                        counts[inner.id] = counts.get(inner.id, 0) + 1
    for node in ast.walk(tree):
        if (changed := changed_list(node)) is not None:
            counts[changed] = 2
    return {name for name, count in counts.items() if count == 1}
