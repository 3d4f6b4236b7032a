"""What is known of the types of expressions, from annotations and from how they are written.

Nothing here is needed for code whose types are right. It makes texts shorter (`total + 1` needs no question whether
these are lists), and finds attributes that there are not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, Union, get_type_hints

from stepwell.authoring.flows.names import Names
from stepwell.authoring.flows.shapes import MISSING, fields_of, item_of, shape
from stepwell.authoring.steps import Step
from stepwell.authoring.workflows import Workflow, WorkflowRef

_BY_FUNCTION: dict[str, Any] = {
    "len": int, "int": int, "float": float, "str": str, "bool": bool, "list": list, "sorted": list, "range": list,
    "any": bool, "all": bool,
}  # fmt: skip
_BY_METHOD: dict[str, Any] = {
    "upper": str, "lower": str, "strip": str, "startswith": bool, "endswith": bool, "split": list, "join": str,
    "find": int, "keys": list, "values": list, "copy": list,
}  # fmt: skip


class Hints:
    """The types of the expressions of one flow."""

    def __init__(self, names: Names, tree: ast.AsyncFunctionDef) -> None:
        self._names = names
        self._values: dict[str, list[Any]] = {}
        self._asked: set[str] = set()
        for node in ast.walk(tree):
            for name, value in _given(node):
                self._values.setdefault(name, []).append(value)

    def of(self, node: ast.expr) -> Any:
        """The type of an expression, or Any."""
        if isinstance(node, ast.Await):
            return self._awaited(node.value)
        method = getattr(self, f"_{type(node).__name__}", None)
        return Any if method is None else method(node)

    def _Constant(self, node: ast.Constant) -> Any:
        return type(node.value)

    def _JoinedStr(self, _node: ast.JoinedStr) -> Any:
        return str

    def _Compare(self, _node: ast.Compare) -> Any:
        return bool

    def _List(self, _node: ast.expr) -> Any:
        return list

    _Tuple = _ListComp = _GeneratorExp = _List

    def _Dict(self, _node: ast.Dict) -> Any:
        return dict

    def _Name(self, node: ast.Name) -> Any:
        known = self._names.inner_hint(node.id)
        if known is not MISSING:
            return known
        if node.id == self._names.input and node.id not in self._values:
            return self._names.input_hint
        static = self._names.static(node)
        if static is not MISSING:
            return type(static)
        return self._variable(node.id)

    def _variable(self, name: str) -> Any:
        if name in self._asked:
            return MISSING
        self._asked.add(name)
        try:
            found = [
                value if not isinstance(value, ast.expr) else self.of(value) for value in self._values.get(name, ())
            ]
        finally:
            self._asked.discard(name)
        if name == self._names.input:
            found.append(self._names.input_hint)
        return _union(found)

    def _Attribute(self, node: ast.Attribute) -> Any:
        static = self._names.static(node)
        if static is not MISSING:
            return type(static)
        field = (fields_of(self.of(node.value)) or {}).get(node.attr)
        return Any if field is None else field.hint

    def _Subscript(self, node: ast.Subscript) -> Any:
        owner = self.of(node.value)
        return owner if isinstance(node.slice, ast.Slice) else item_of(owner)

    def _UnaryOp(self, node: ast.UnaryOp) -> Any:
        return bool if isinstance(node.op, ast.Not) else self.of(node.operand)

    def _BinOp(self, node: ast.BinOp) -> Any:
        sides = [self.of(node.left), self.of(node.right)]
        if MISSING in sides:
            return next((side for side in sides if side is not MISSING), MISSING)
        found = {shape(side) for side in sides}
        for kind, hint in (("text", str), ("list", list)):
            if kind in found and isinstance(node.op, ast.Add):
                return hint
        return float if found == {"number"} else Any

    def _BoolOp(self, node: ast.BoolOp) -> Any:
        return _union([self.of(value) for value in node.values])

    def _IfExp(self, node: ast.IfExp) -> Any:
        return _union([self.of(node.body), self.of(node.orelse)])

    def _Call(self, node: ast.Call) -> Any:
        target = self._names.static(node.func)
        if isinstance(target, type) and shape(target) == "record":
            return target
        if isinstance(node.func, ast.Name) and target is not MISSING:
            return _BY_FUNCTION.get(node.func.id, Any)
        return _BY_METHOD.get(node.func.attr, Any) if isinstance(node.func, ast.Attribute) else Any

    def _awaited(self, call: ast.expr) -> Any:
        target = self._names.static(call.func) if isinstance(call, ast.Call) else MISSING
        return result_of(target) if isinstance(target, Step | WorkflowRef) else Any


def result_of(target: Step[..., Any] | WorkflowRef[Any, Any]) -> Any:
    """The type of what a call gives, or Any."""
    if isinstance(target, WorkflowRef) and not isinstance(target, Workflow):
        return target.output
    fn = target.__wrapped__ if isinstance(target, Step) else target.fn
    try:
        return get_type_hints(fn).get("return", Any)
    except Exception:  # annotations are code of users
        return Any


def _union(hints: list[Any]) -> Any:
    kinds = [hint for hint in hints if hint is not MISSING]
    if not kinds or Any in kinds:
        return Any
    if all(kind == kinds[0] for kind in kinds):
        return kinds[0]
    try:
        return Union[tuple(kinds)]  # noqa: UP007
    except TypeError:
        return Any


def _given(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """The variables that a statement sets, with expressions or types of what they get."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _pairs(target, node.value)
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id, Any if node.value is None else node.value
    elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        load = ast.Name(id=node.target.id, ctx=ast.Load())
        yield node.target.id, ast.BinOp(left=load, op=node.op, right=node.value)
    elif isinstance(node, ast.For):
        if isinstance(node.target, ast.Name):
            first = ast.Constant(value=0)
            yield node.target.id, ast.Subscript(value=node.iter, slice=first, ctx=ast.Load())
        else:
            yield from _pairs(node.target, None)


def _pairs(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str, Any]]:
    if isinstance(target, ast.Name):
        yield target.id, Any if value is None else value
    elif isinstance(target, ast.Tuple | ast.List):
        parts = value.elts if isinstance(value, ast.Tuple | ast.List) else ()
        for index, inner in enumerate(target.elts):
            yield from _pairs(inner, parts[index] if len(parts) == len(target.elts) else None)
