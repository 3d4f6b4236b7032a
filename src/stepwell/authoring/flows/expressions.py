"""Expressions of Python as texts of the expression language, with the same results."""

from __future__ import annotations

import ast
import enum
import inspect
import json
import math
from typing import Any, NamedTuple, cast

from stepwell.authoring.flows.hints import Hints
from stepwell.authoring.flows.names import Names
from stepwell.authoring.flows.shapes import (
    MISSING,
    PLAIN,
    Field,
    defaults_of,
    fields_of,
    foreign_in,
    is_record,
    item_of,
    shape,
    shapes,
)
from stepwell.authoring.flows.source import Source

ATOM, POWER, UNARY, FACTOR, TERM, ORDER, EQUALITY, AND, OR, CHOICE = range(10, 0, -1)
"""How tightly a text holds together."""

Kinds = frozenset[type[BaseException]]
_NONE: Kinds = frozenset()
_LIMIT = 10_000

_WORDS = {
    "BitAnd": "`&`",
    "BitOr": "`|`",
    "BitXor": "`^`",
    "DictComp": "a dict comprehension",
    "LShift": "`<<`",
    "MatMult": "`@`",
    "NamedExpr": "`:=`",
    "RShift": "`>>`",
    "Set": "a set",
    "SetComp": "a set comprehension",
    "YieldFrom": "`yield from`",
}
_OF_CONTEXT = "there are ctx.receive(), ctx.sleep() and ctx.map(), which are awaited"
IN_A_STEP = "compute it in a step, or make the function a @workflow"


class Text(NamedTuple):
    """An expression as text. `fails`: what Python would raise if it fails. `is_path`: `inputs` can name it."""

    code: str
    level: int = ATOM
    fails: Kinds = _NONE
    is_path: bool = False

    def within(self, level: int) -> str:
        """The text as an operand that must hold together as tightly as this."""
        return self.code if self.level >= level else f"({self.code})"

    def after_sign(self) -> str:
        """The text as the operand of `!`, which takes no power without parentheses."""
        return f"({self.code})" if self.level == POWER else self.within(UNARY)


_ARITHMETIC: dict[type[ast.operator], tuple[str, int]] = {
    ast.Add: ("+", TERM),
    ast.Sub: ("-", TERM),
    ast.Mult: ("*", FACTOR),
    ast.Div: ("/", FACTOR),
    ast.Pow: ("**", POWER),
}
_FUNCTIONAL: dict[type[ast.operator], str] = {ast.FloorDiv: "floordiv", ast.Mod: "mod"}
_ORDER: dict[type[ast.cmpop], str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}

_FUNCTIONS: dict[str, tuple[int, int, Kinds]] = {
    "len": (1, 1, frozenset({TypeError})),
    "bool": (1, 1, _NONE),
    "str": (1, 1, _NONE),
    "int": (1, 1, frozenset({TypeError, ValueError})),
    "float": (1, 1, frozenset({TypeError, ValueError})),
    "sum": (1, 1, frozenset({TypeError})),
    "sorted": (1, 1, frozenset({TypeError})),
    "any": (1, 1, frozenset({TypeError})),
    "all": (1, 1, frozenset({TypeError})),
    "range": (1, 3, frozenset({TypeError, ValueError})),
    "list": (1, 1, frozenset({TypeError})),
    "abs": (1, 1, frozenset({TypeError})),
    "min": (1, 100, frozenset({TypeError, ValueError})),
    "max": (1, 100, frozenset({TypeError, ValueError})),
    "round": (1, 2, frozenset({TypeError})),
}
"""Functions of Python that the language has: how many arguments, and how they fail."""

_METHODS: dict[str, tuple[str, int, int]] = {
    "upper": ("{}.upper()", 0, 0),
    "lower": ("{}.lower()", 0, 0),
    "strip": ("{}.strip()", 0, 0),
    "startswith": ("{}.startsWith({})", 1, 1),
    "endswith": ("{}.endsWith({})", 1, 1),
    "find": ("{}.indexOf({})", 1, 1),
    "split": ("{}.split({})", 1, 1),
    "join": ("{1}.join({0})", 1, 1),
    "keys": ("keys({})", 0, 0),
    "values": ("values({})", 0, 0),
    "copy": ("list({})", 0, 0),
    "get": ("get({}, {}, {})", 1, 2),
}
"""Methods of Python that the language can say."""


class Expressions:
    """The expressions of one flow. What is awaited in them was taken out before."""

    def __init__(self, source: Source, names: Names, hints: Hints) -> None:
        self._source = source
        self._names = names
        self._hints = hints

    def text(self, node: ast.expr) -> Text:
        """The expression as text."""
        method = getattr(self, f"_{type(node).__name__}", None)
        if method is None:
            raise self._source.refuse(node, f"{_kind(node)} is not supported in a flow", IN_A_STEP)
        text: Text = method(node)
        if len(text.code) > _LIMIT:
            raise self._source.refuse(node, "this is too long for one expression", "take parts of it to variables")
        return text

    def truth(self, node: ast.expr) -> Text:
        """The expression as a text whose truth is that of the expression."""
        if isinstance(node, ast.BoolOp):
            word, level = ("&&", AND) if isinstance(node.op, ast.And) else ("||", OR)
            parts = [self.truth(value) for value in node.values]
            return Text(f" {word} ".join(part.within(level) for part in parts), level, _fails(*parts))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self._UnaryOp(node)
        text = self._operand(node)
        return text if shapes(self._hints.of(node)) <= PLAIN else Text(f"bool({text.code})", fails=text.fails)

    def literal(self, node: ast.AST, value: Any) -> Text:
        """A value that is known beforehand."""
        if isinstance(value, enum.Enum):
            value = value.value
        plain = (
            value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
        )
        if not plain and not (isinstance(value, list | tuple | dict) and _is_json(value)):
            raise self._source.refuse(
                node,
                f"{_shown(value)} cannot stand in an expression",
                "expressions hold variables, text, numbers, True, False, None, lists and dicts; " + IN_A_STEP,
            )
        is_negative = isinstance(value, int | float) and value < 0
        return Text(json.dumps(value, ensure_ascii=False), UNARY if is_negative else ATOM)

    # --- names and values

    def _Constant(self, node: ast.Constant) -> Text:
        return self.literal(node, node.value)

    def _Name(self, node: ast.Name) -> Text:
        if self._names.is_variable(node.id):
            return Text(self._names.key(node.id), is_path=True)
        if node.id in self._names.errors:
            raise self._source.refuse(node, "a caught error is no value in a flow", f"use str({node.id})")
        if self._is_context(node):
            raise self._source.refuse(node, "`ctx` is no value in a flow", _OF_CONTEXT)
        value = self._names.static(node)
        if value is MISSING:
            raise self._source.refuse(node, f"the name {node.id!r} is not defined", "define it, or import it")
        return self.literal(node, value)

    def _Attribute(self, node: ast.Attribute) -> Text:
        value = self._names.static(node)
        if value is not MISSING:
            return self.literal(node, value)
        if self._is_context(node.value):
            raise self._source.refuse(node, f"`ctx.{node.attr}` is not supported in a flow", _OF_CONTEXT)
        owner = self.text(node.value)
        hint = self._hints.of(node.value)
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            if node.attr != "value":
                raise self._source.refuse(node, f"{hint.__name__} is its value in JSON", "use .value, or a step")
            return owner
        fields = fields_of(hint)
        if fields is None:
            return Text(f'index({owner.code}, "{node.attr}")', fails=owner.fails | {AttributeError})
        if node.attr not in fields:
            raise self._source.refuse(
                node, f"{_shown(hint)} has no field {node.attr!r}", f"it has {', '.join(fields)}; methods run in steps"
            )
        return self._field(owner, fields[node.attr], is_sure=shapes(hint) == {"record"})

    def _field(self, owner: Text, field: Field, *, is_sure: bool) -> Text:
        """A field of an object, or of what may be None: then Python would fail."""
        name = json.dumps(field.name)
        if field.default is not MISSING:
            code = f"get({owner.code}, {name}, {json.dumps(field.default, ensure_ascii=False)})"
            return Text(code, fails=owner.fails | {AttributeError})
        if not is_sure or not field.name.isidentifier():
            return Text(f"index({owner.code}, {name})", fails=owner.fails | {AttributeError})
        return Text(f"{owner.within(ATOM)}.{field.name}", ATOM, owner.fails, owner.is_path)

    def _operand(self, node: ast.expr) -> Text:
        """Something that is computed with, and not only passed on."""
        kind = foreign_in(self._hints.of(node))
        if kind is not None and self._names.static(node) is MISSING:
            raise self._source.refuse(
                node,
                f"a {kind.__name__} is something else in JSON, so nothing can be computed with it here",
                "do it in a step",
            )
        return self.text(node)

    def _Subscript(self, node: ast.Subscript) -> Text:
        owner = self.text(node.value)
        if isinstance(node.slice, ast.Slice):
            return self._slice(node, owner, node.slice)
        key = self.text(node.slice)
        fails: Kinds = frozenset({KeyError, IndexError, TypeError})
        return Text(f"index({owner.code}, {key.code})", fails=owner.fails | key.fails | fails)

    def _slice(self, node: ast.Subscript, owner: Text, part: ast.Slice) -> Text:
        if part.step is not None:
            raise self._source.refuse(node, "a slice with a step is not supported in a flow", IN_A_STEP)
        ends = [Text("0") if part.lower is None else self.text(part.lower)]
        if part.upper is not None:
            ends.append(self.text(part.upper))
        code = f"{owner.within(ATOM)}.slice({', '.join(end.code for end in ends)})"
        return Text(code, fails=_fails(owner, *ends) | {TypeError})

    def _JoinedStr(self, node: ast.JoinedStr) -> Text:
        parts = [self._piece(value) for value in node.values]
        if not parts:
            return Text('""')
        code = " + ".join(part.within(FACTOR) for part in parts)
        return Text(code, ATOM if len(parts) == 1 else TERM, _fails(*parts))

    def _piece(self, node: ast.expr) -> Text:
        if isinstance(node, ast.Constant):
            return self.text(node)
        piece = cast("ast.FormattedValue", node)
        if piece.format_spec is not None or piece.conversion not in (-1, ord("s")):
            raise self._source.refuse(node, "a format in an f-string is not supported in a flow", IN_A_STEP)
        return self._as_text(piece.value)

    def _as_text(self, node: ast.expr) -> Text:
        if isinstance(node, ast.Name) and node.id in self._names.errors:
            return Text(f"{self._names.errors[node.id]}.message")
        text = self._operand(node)
        return text if shapes(self._hints.of(node)) == {"text"} else Text(f"str({text.code})", fails=text.fails)

    def _is_context(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id == self._names.context

    # --- containers

    def _List(self, node: ast.List | ast.Tuple) -> Text:
        for item in node.elts:
            if isinstance(item, ast.Starred):
                raise self._source.refuse(item, "`*` is not supported in a flow", "write `a + [b]`")
        parts = [self.text(item) for item in node.elts]
        return Text(f"[{', '.join(part.code for part in parts)}]", fails=_fails(*parts))

    _Tuple = _List

    def _Dict(self, node: ast.Dict) -> Text:
        fields = {}
        for key, value in zip(node.keys, node.values, strict=True):
            name = None if key is None else key.value if isinstance(key, ast.Constant) else self._names.static(key)
            if not isinstance(name, str):
                raise self._source.refuse(
                    key or value, "the keys of a dict are texts that stand in the code", IN_A_STEP
                )
            fields[name] = self.text(value)
        return _object(fields)

    # --- operators

    def _BinOp(self, node: ast.BinOp) -> Text:
        left, right = self._operand(node.left), self._operand(node.right)
        hints = [self._hints.of(node.left), self._hints.of(node.right)]
        kinds = [shape(hint) for hint in hints]
        are_numbers = all(shapes(hint) <= {"number"} for hint in hints)
        fails = left.fails | right.fails | (_NONE if are_numbers else {TypeError})
        if isinstance(node.op, ast.Add) and "list" in kinds:
            return Text(f"{left.within(ATOM)}.concat({right.code})", fails=fails | {TypeError})
        if "list" in kinds or ("text" in kinds and not isinstance(node.op, ast.Add)):
            raise self._source.refuse(node, "this operator works on numbers only in a flow", IN_A_STEP)
        if not isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
            fails |= {ZeroDivisionError, OverflowError}
        if type(node.op) in _FUNCTIONAL:
            return Text(f"{_FUNCTIONAL[type(node.op)]}({left.code}, {right.code})", fails=fails)
        if type(node.op) not in _ARITHMETIC:
            raise self._source.refuse(node, f"the operator {_kind(node.op)} is not supported in a flow", IN_A_STEP)
        word, level = _ARITHMETIC[type(node.op)]
        is_power = level == POWER
        sides = left.within(ATOM if is_power else level), right.within(ATOM if is_power else level + 1)
        code = f"{sides[0]} {word} {sides[1]}"
        if isinstance(node.op, ast.Div) and float not in hints:  # 4 / 2 is 2 there, and str() tells them apart
            return Text(f"float({code})", fails=fails)
        return Text(code, level, fails)

    def _UnaryOp(self, node: ast.UnaryOp) -> Text:
        if isinstance(node.op, ast.Not):
            operand = self.truth(node.operand)
            return Text(f"!{operand.after_sign()}", UNARY, operand.fails)
        operand = self._operand(node.operand)
        if isinstance(node.op, ast.Invert):
            raise self._source.refuse(node, "the operator ~ is not supported in a flow", IN_A_STEP)
        word = "-" if isinstance(node.op, ast.USub) else "+"
        return Text(f"{word}{operand.within(ATOM)}", UNARY, operand.fails | {TypeError})

    def _BoolOp(self, node: ast.BoolOp) -> Text:
        """Which value it is: Python's `and` and `or`, which find empty lists false."""
        if all(shapes(self._hints.of(value)) <= PLAIN for value in node.values):
            return self.truth(node)
        *others, last = node.values
        text = self.text(last)
        for value in reversed(others):
            test, kept = self.truth(value), self.text(value)
            yes, no = (text, kept) if isinstance(node.op, ast.And) else (kept, text)
            text = _choice(test, yes, no)
        return text

    def _IfExp(self, node: ast.IfExp) -> Text:
        return _choice(self.truth(node.test), self.text(node.body), self.text(node.orelse))

    def _Compare(self, node: ast.Compare) -> Text:
        sides = [node.left, *node.comparators]
        parts = [self._pair(sides[i], op, sides[i + 1]) for i, op in enumerate(node.ops)]
        if len(parts) == 1:
            return parts[0]
        return Text(" && ".join(part.within(EQUALITY) for part in parts), AND, _fails(*parts))

    def _pair(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Text:
        is_for_none = any(isinstance(side, ast.Constant) and side.value is None for side in (left, right))
        a, b = (self.text(left), self.text(right)) if is_for_none else (self._operand(left), self._operand(right))
        fails = a.fails | b.fails
        if isinstance(op, ast.In | ast.NotIn):
            sign = "!" if isinstance(op, ast.NotIn) else ""
            return Text(f"{sign}contains({b.code}, {a.code})", UNARY if sign else ATOM, fails | {TypeError})
        if isinstance(op, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise self._source.refuse(right, "`is` compares with None only in a flow", "use `==`")
            return Text(f"{a.within(ORDER)} {'==' if isinstance(op, ast.Is) else '!='} null", EQUALITY, fails)
        if isinstance(op, ast.Eq | ast.NotEq):
            word = "===" if isinstance(op, ast.Eq) else "!=="
            return Text(f"{a.within(ORDER)} {word} {b.within(ORDER)}", EQUALITY, fails)
        kinds = {shape(self._hints.of(left)), shape(self._hints.of(right))}
        is_sure = kinds in ({"number"}, {"text"}) and "none" not in shapes(self._hints.of(left))
        return Text(
            f"{a.within(TERM)} {_ORDER[type(op)]} {b.within(TERM)}", ORDER, fails | (_NONE if is_sure else {TypeError})
        )

    # --- calls

    def _Call(self, node: ast.Call) -> Text:
        if isinstance(node.func, ast.Attribute) and self._is_context(node.func.value):
            return self._Attribute(node.func)
        target = self._names.static(node.func)
        if isinstance(target, type) and is_record(target):
            return self._record(node, target)
        if (
            isinstance(node.func, ast.Name)
            and target is not MISSING
            and inspect.isbuiltin(target) | isinstance(target, type)
        ):
            return self._function(node, node.func.id)
        if isinstance(node.func, ast.Attribute) and (
            target is MISSING or _is_json(getattr(target, "__self__", target))
        ):
            return self._method(node, node.func)
        what = ast.unparse(node.func)
        raise self._source.refuse(
            node, f"the call of {what}() is not supported in a flow", f"make {what} a @step and await it"
        )

    def _function(self, node: ast.Call, name: str) -> Text:
        least, most, fails = _FUNCTIONS.get(name, (0, -1, _NONE))
        if most < 0 or node.keywords or not least <= len(node.args) <= most:
            known = ", ".join(_FUNCTIONS)
            what = f"the call {ast.unparse(node)} is not supported in a flow"
            raise self._source.refuse(node, what, f"without keywords there are {known}; {IN_A_STEP}")
        if name == "str":
            return self._as_text(node.args[0])
        if self._is_sure(name, node.args):
            fails = _NONE
        parts = [self._operand(item) for item in node.args]
        return Text(f"{name}({', '.join(part.code for part in parts)})", fails=fails | _fails(*parts))

    def _is_sure(self, name: str, arguments: list[ast.expr]) -> bool:
        """Whether the types of the arguments say that the call cannot fail."""
        hints = [self._hints.of(argument) for argument in arguments]
        found = frozenset[str]().union(*map(shapes, hints))
        if name in ("len", "list"):
            return found <= {"list", "map", "text"}
        if name in ("any", "all"):
            return found <= {"list", "map"}
        if name in ("sum", "sorted"):
            return found == {"list"} and shapes(item_of(hints[0])) == {"number"}
        return found == {"number"} and (name in ("int", "float", "abs", "round") or self._is_span(name, arguments))

    def _is_span(self, name: str, arguments: list[ast.expr]) -> bool:
        is_plain = len(arguments) < 3 or (isinstance(arguments[2], ast.Constant) and arguments[2].value != 0)
        return is_plain and (name == "range" or (name in ("min", "max") and len(arguments) > 1))

    def _method(self, node: ast.Call, func: ast.Attribute) -> Text:
        pattern, least, most = _METHODS.get(func.attr, ("", 0, -1))
        if most < 0 or node.keywords or not least <= len(node.args) <= most:
            known = ", ".join(f".{name}()" for name in _METHODS)
            what = f"the call {ast.unparse(node)} is not supported in a flow"
            raise self._source.refuse(node, what, f"there are {known}; {IN_A_STEP}")
        owner = self.text(func.value)
        parts = [self.text(item) for item in node.args]
        if func.attr == "get" and len(parts) == 1:
            parts.append(Text("null"))
        holes = [owner.within(ATOM) if pattern.startswith("{}") else owner.code, *(part.code for part in parts)]
        if func.attr == "join":
            holes[1] = parts[0].within(ATOM)
        return Text(pattern.format(*holes), fails=_fails(owner, *parts) | {AttributeError, TypeError})

    def _record(self, node: ast.Call, kind: type) -> Text:
        """An object made of a dataclass or Struct: its fields, with defaults."""
        if hasattr(kind, "__post_init__") or getattr(getattr(kind, "__struct_config__", None), "tag", None) is not None:
            raise self._source.refuse(node, f"{kind.__name__} does something when it is made", "make it in a step")
        known = fields_of(kind) or {}
        if any(keyword.arg is None for keyword in node.keywords) or any(isinstance(a, ast.Starred) for a in node.args):
            raise self._source.refuse(node, "`*` is not supported in a flow", "name the fields")
        keywords = {str(keyword.arg): keyword.value for keyword in node.keywords}
        try:
            bound = inspect.signature(kind).bind(*node.args, **keywords)
        except TypeError as error:
            raise self._source.refuse(node, f"{kind.__name__}(): {error}", "give the fields that it has") from None
        fields = {name: self.text(value) for name, value in bound.arguments.items()}
        for name, value in defaults_of(kind).items():
            if name not in fields:
                fields[name] = self.literal(node, value)
        return _object({known[name].name if name in known else name: text for name, text in fields.items()})


def _object(fields: dict[str, Text]) -> Text:
    inside = ", ".join(f"{json.dumps(name)}: {text.code}" for name, text in fields.items())
    return Text(f"{{{inside}}}", fails=_fails(*fields.values()))


def _choice(test: Text, yes: Text, no: Text) -> Text:
    code = f"{test.within(OR)} ? {yes.within(OR)} : {no.within(CHOICE)}"
    return Text(code, CHOICE, _fails(test, yes, no))


def _fails(*parts: Text) -> Kinds:
    return frozenset().union(*(part.fails for part in parts))


def _is_json(value: Any) -> bool:
    """A constant with methods that the language knows, and with nothing in it that JSON does not have."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return isinstance(value, str | list | tuple | dict)


def _shown(value: Any) -> str:
    return getattr(value, "__qualname__", None) or f"{value!r:.60}"


def _kind(node: ast.AST) -> str:
    name = type(node).__name__
    return _WORDS.get(name) or f"`{name.lower()}`"
