"""`try`, `raise`, and what runs on the way out.

A node in a `try` that fails has a fallback, which keeps the failure in the state. The node's edges then lead to the
handlers instead of to what comes next.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from stepwell.authoring.flows.expressions import Text
from stepwell.authoring.flows.graph import Cursor, Json
from stepwell.authoring.flows.unit import OBJECT, FinallyFrame, Frame, TryFrame, Unit
from stepwell.codec import failure_of
from stepwell.errors import StepError, type_name

Block = Callable[[Cursor, list[ast.stmt]], Cursor]
Lift = Callable[[Cursor, ast.expr], tuple[Cursor, ast.expr]]


class Tries:
    """Failures in one flow. `block` compiles statements."""

    def __init__(self, unit: Unit, lift: Lift, block: Block) -> None:
        self._unit = unit
        self._lift = lift
        self._block = block
        self._handling: str | None = None

    def try_(self, cursor: Cursor, node: ast.Try) -> Cursor:
        """A whole `try`."""
        if not node.finalbody:
            return self._guarded(cursor, node)
        unit = self._unit
        frame = TryFrame(unit.fresh("try"), cursor.known, [], None)
        unit.graph.close()
        with unit.inside(FinallyFrame(node.finalbody)), unit.inside(frame):
            end = self._guarded(cursor, node) if node.handlers else self._block(cursor, node.body)
            unit.graph.close()
        end = self._block(end, node.finalbody)
        if frame.raised:
            failed = self._block(self._caught(frame, node), node.finalbody)
            self._again(failed, frame.error, node)
        return end

    def raise_(self, cursor: Cursor, node: ast.Raise) -> Cursor:
        """A `raise`; nothing comes behind it."""
        unit = self._unit
        if node.exc is None or (isinstance(node.exc, ast.Name) and node.exc.id in unit.names.errors):
            key = self._handling if node.exc is None else unit.names.errors[node.exc.id]
            if key is None:
                raise unit.refuse(node, "there is nothing to raise again here", "name the exception")
            return self._again(cursor, key, node)
        arguments: list[ast.expr] = node.exc.args if isinstance(node.exc, ast.Call) else []
        kind = unit.names.static(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)
        is_plain = isinstance(kind, type) and issubclass(kind, Exception) and len(arguments) <= 1
        if not is_plain or (isinstance(node.exc, ast.Call) and node.exc.keywords):
            raise unit.refuse(
                node, "this is not supported in a flow", 'write `raise SomeError("text")`, or raise it in a step'
            )
        cursor, message, constant = self._message(cursor, node, kind, arguments)
        types = list(failure_of(Exception.__new__(kind)).types)
        if unit.handler is None and constant is not None:
            params: Json = {"message": constant, "types": types}
            return unit.add(cursor, unit.graph.id(kind.__name__), {"uses": "error", "params": params}, node).at()
        listed = unit.expressions.literal(node, types)
        short = unit.expressions.literal(node, kind.__name__)
        key = f"${unit.fresh('raise')}"
        made = Text(f"{{message: {message.code}, type: {short.code}, types: {listed.code}}}", fails=message.fails)
        return self._again(unit.assign(cursor, {key: made}, node), key, node, kind.__name__)

    def unwind(self, cursor: Cursor, frames: tuple[Frame, ...]) -> Cursor:
        """Run what `finally` holds on the way out to these frames."""
        unit = self._unit
        around = unit.frames
        for index in range(len(around) - 1, len(frames) - 1, -1):
            frame = around[index]
            if isinstance(frame, FinallyFrame) and cursor.is_live:
                with unit.outside(around[:index]):
                    unit.graph.close()
                    cursor = self._block(cursor, frame.body)
        return cursor

    # --- inside

    def _guarded(self, cursor: Cursor, node: ast.Try) -> Cursor:
        unit = self._unit
        kinds = [self._kinds(handler) for handler in node.handlers]
        frame = TryFrame(unit.fresh("try"), cursor.known, [], tuple(kind for some in kinds for kind in some))
        unit.graph.close()
        with unit.inside(frame):
            end = self._block(cursor, node.body)
            unit.graph.close()
        ends = [self._block(end, node.orelse)]
        if not frame.raised:
            return ends[0]
        rest = self._caught(frame, node)
        for handler, some in zip(node.handlers, kinds, strict=True):
            if not rest.is_live:
                break
            yes, rest = unit.branch(rest, self._test(frame, some), handler, "except")
            handling, self._handling = self._handling, frame.error
            with unit.names.error(handler.name, frame.error):
                ends.append(self._block(yes, handler.body))
            self._handling = handling
        if rest.is_live:
            self._again(rest, frame.error, node)
        return unit.meet(*ends)

    def _caught(self, frame: TryFrame, node: ast.Try) -> Cursor:
        """Where a failure has come to: the next one is another."""
        unit = self._unit
        cursor = unit.meet(*frame.raised)
        return unit.assign(cursor, {frame.caught: Text("false")}, node, "failed")

    def _again(self, cursor: Cursor, key: str, node: ast.AST, name: str = "error") -> Cursor:
        """Fail with a failure that is kept under a key."""
        unit = self._unit
        if not cursor.is_live:
            return cursor
        frame = unit.handler
        if frame is None:
            return unit.add(cursor, unit.graph.id(name), {"uses": "error", "inputs": key}, node).at()
        cursor = unit.assign(cursor, {frame.error: Text(key)}, node)
        unit.graph.close()
        frame.raised.append(Cursor(cursor.edges, frame.known))
        return cursor.at()

    def _kinds(self, handler: ast.ExceptHandler) -> list[type[BaseException]]:
        if handler.type is None:
            return [BaseException]
        parts = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        found = []
        for part in parts:
            kind = self._unit.names.static(part)
            if not (isinstance(kind, type) and (issubclass(kind, Exception) or kind is BaseException)):
                raise self._unit.refuse(part, "this cannot be caught in a flow", "name exceptions that steps raise")
            if issubclass(kind, StepError):
                raise self._unit.refuse(
                    part, "a flow has no StepError", "name what the step raises, or write `except Exception`"
                )
            found.append(kind)
        return found

    def _test(self, frame: TryFrame, kinds: list[type[BaseException]]) -> Text:
        if any(kind in OBJECT for kind in kinds):
            return Text("true")
        tests = [f'contains({frame.error}.types, "{type_name(kind)}")' for kind in kinds]
        return Text(" || ".join(tests), 2 if len(tests) > 1 else 10)

    def _message(
        self, cursor: Cursor, node: ast.Raise, kind: Any, arguments: list[ast.expr]
    ) -> tuple[Cursor, Text, str | None]:
        """The text that the exception would have, and the same if it is known beforehand."""
        unit = self._unit
        try:
            values = [ast.literal_eval(argument) for argument in arguments]
            constant = failure_of(kind(*values)).message
        except ValueError:
            pass
        except Exception as error:  # the class is the user's
            raise unit.refuse(node, f"{kind.__name__} cannot be made here: {error}", "raise it in a step") from None
        else:
            return cursor, unit.expressions.literal(node, constant), constant
        if kind.__str__ not in (BaseException.__str__, Exception.__str__, OSError.__str__):
            raise unit.refuse(node, f"the text of {kind.__name__} is its own affair", "raise it in a step")
        cursor, lifted = self._lift(cursor, arguments[0])
        call = ast.Call(func=ast.Name(id="str", ctx=ast.Load()), args=[lifted], keywords=[])
        return cursor, unit.text(cursor, ast.fix_missing_locations(ast.copy_location(call, node))), None
