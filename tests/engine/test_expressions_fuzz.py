"""Random expressions: texts raise only what they may, and syntax means what a plain evaluator says."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from stepwell.engine.expressions import compile_expression, truthy
from stepwell.errors import ExpressionError, ExpressionFailed

NAMES = ("a", "b", "s", "o", "l", "my-node", "nothing", "missing")

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abxs") | st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)
environments = st.dictionaries(st.sampled_from(NAMES[:-1]), values)

TOKENS = (
    *"()[]{}`'\"\\.,:;?!<>=+-*/%&|^~@#$ \n",
    *("?.", "=>", "...", "===", "**", "??", "&&", "${", "//", "/*", "<!--", "\\u0041", "\ufeff", "\u2028", "\ua7f7"),
    *("a", "my-node", "context", "_outputs", "__class__", "__proto__", "constructor", "this", "new", "in", "typeof"),
    *("true", "null", "undefined", "NaN", "1", "0x1", "1e999", "9" * 50, "len", "Math.max", "join", "slice", "range"),
    *("function", "class", "async", "await", "yield", "import", "let", "if", "return", "get", "static", "delete"),
)


def run(text: str, values: dict[str, Any]) -> Any:
    return compile_expression(text, names=NAMES).evaluate(lambda name: values.get(name, UNSET))


def check_any(text: str, values: dict[str, Any]) -> None:
    error: ExpressionError | ExpressionFailed | None = None
    result: Any = UNSET
    try:
        result = run(text, values)
    except (ExpressionError, ExpressionFailed) as caught:
        error = caught

    assert result is UNSET or json.loads(json.dumps(result, allow_nan=False)) == result
    if error is not None:
        lines = text.split("\n")
        assert error.text == text
        assert 1 <= error.line <= len(lines)
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1


@given(st.text(), environments)
@example("\ud800", {})
@example("\x00", {})
def test_random_texts_raise_only_what_they_may(text: str, values: dict[str, Any]) -> None:
    check_any(text, values)


@given(st.lists(st.sampled_from(TOKENS), max_size=30), environments)
def test_random_tokens_raise_only_what_they_may(tokens: list[str], values: dict[str, Any]) -> None:
    check_any("".join(tokens), values)
    check_any(" ".join(tokens), values)


SEEDS = (
    'result.output.total > 100 && context["tier"] === "gold"',
    "`${my-node.total}: ${a ?? 'x'}`",
    "{a, b: [1, 2.5, s], [s]: l?.[0]?.x, 'c': o in l}",
    "typeof a === 'string' ? a.slice(1, -1).split(',').join('') : !b || -a ** 2",
    "Math.max(1, len(l)) + range(3).concat([a]).indexOf(2) % 7",
)


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 80), st.integers(0, 3), st.sampled_from(TOKENS))))
def test_damaged_expressions_raise_only_what_they_may(text: str, damage: list[tuple[int, int, str]]) -> None:
    for place, length, token in damage:
        text = text[:place] + token + text[place + length :]
    check_any(text, {"a": "abc", "l": [1], "o": {"x": 1}, "my-node": {"total": 1}})


NOTHING = ("null", "undefined")
OPERATORS = (
    "&&",
    "||",
    "??",
    "===",
    "!==",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "in",
    "+",
    "-",
    "*",
    "/",
    "%",
    "[]",
    "?.[]",
)


class Failed(Exception):
    """The plain evaluator has no result."""


class Tree(NamedTuple):
    """An expression: an operator with operands, a name, or a constant."""

    operator: str
    operands: tuple[Any, ...]


def text_of(tree: Tree) -> str:
    """With all parentheses."""
    operator, operands = tree
    match operator:
        case "constant":
            text = json.dumps(operands[0])
            return f"({text})" if text[0] in "-{" else text
        case "name":
            return str(operands[0])
        case "array":
            return f"[{', '.join(map(text_of, operands))}]"
        case "object":
            return f"({{{', '.join(f'{json.dumps(key)}: {text_of(item)}' for key, item in operands)}}})"
        case "?:":
            test, yes, no = map(text_of, operands)
            return f"({test} ? {yes} : {no})"
        case "[]" | "?.[]":
            of, key = map(text_of, operands)
            return f"({of}{operator[:-2]}[{key}])"
        case "!" | "-1" | "typeof":
            return f"({operator.removesuffix('1')} {text_of(operands[0])})"
    left, right = map(text_of, operands)
    return f"({left} {operator} {right})"


def meaning(tree: Tree, values: dict[str, Any]) -> Any:
    """What it means, said as simply as possible."""
    operator, operands = tree
    match operator:
        case "constant":
            return operands[0]
        case "name":
            return values.get(operands[0], UNSET)
        case "array":
            return [None if (item := meaning(part, values)) is UNSET else item for part in operands]
        case "object":
            fields = {key: meaning(part, values) for key, part in operands}
            return {key: item for key, item in fields.items() if item is not UNSET}
        case "&&" | "||" | "??" | "?:" | "?.[]":
            return deciding(operator, operands, values)
    first, *others = (meaning(operand, values) for operand in operands)
    return strict(operator, first, others[0]) if others else single(operator, first)


def single(operator: str, value: Any) -> Any:
    if operator == "-1":
        return arithmetic("-", 0, value)
    if operator == "!":
        return not truthy(value)
    return {"array": "object", "null": "object"}.get(kind(value), kind(value))


def deciding(operator: str, operands: tuple[Tree, ...], values: dict[str, Any]) -> Any:
    first = meaning(operands[0], values)
    if operator == "?:":
        return meaning(operands[1] if truthy(first) else operands[2], values)
    is_nothing = first is None or first is UNSET
    if operator == "?.[]":
        return UNSET if is_nothing else member(first, meaning(operands[1], values))
    goes_on = {"&&": truthy(first), "||": not truthy(first), "??": is_nothing}
    return meaning(operands[1], values) if goes_on[operator] else first


def member(of: Any, key: Any) -> Any:
    if type(key) not in (str, int, float) or of is None or of is UNSET:
        raise Failed
    if isinstance(of, dict):
        return of.get(key if isinstance(key, str) else shown(key), UNSET)
    if not isinstance(of, list | str):
        return UNSET
    if key == "length":
        return len(of)
    places = {shown(place): item for place, item in enumerate(of)}
    return places.get(key if isinstance(key, str) else shown(key), UNSET)


def strict(operator: str, left: Any, right: Any) -> Any:
    alike = kind(left) == kind(right)
    same = canonical(left) == canonical(right)
    match operator:
        case "[]":
            return member(left, right)
        case "===" | "!==":
            return same == (operator == "===")
        case "==" | "!=":
            nothing = kind(left) in NOTHING and kind(right) in NOTHING
            return (same or nothing) == (operator == "==")
        case "<" | "<=" | ">" | ">=" if left is UNSET or right is UNSET:
            return False
        case "<" | "<=" | ">" | ">=" if alike and kind(left) in ("number", "string"):
            return (left < right) == (operator[0] == "<") if not same else operator[1:] == "="
        case "in" if isinstance(right, dict) and type(left) in (str, int, float):
            return shown(left) in right
        case "+" if isinstance(left, str) or isinstance(right, str):
            return shown(left) + shown(right)
        case "+" | "-" | "*" | "/" | "%" if alike and kind(left) == "number":
            return arithmetic(operator, left, right)
    raise Failed


def arithmetic(operator: str, left: Any, right: Any) -> Any:
    if kind(left) != "number" or kind(right) != "number" or (operator in "/%" and right == 0):
        raise Failed
    whole = isinstance(left, int) and isinstance(right, int)
    try:
        match operator:
            case "+":
                result = left + right
            case "-":
                result = left - right
            case "*":
                result = left * right
            case "/":
                result = left // right if whole and left % right == 0 else left / right
            case _:
                result = abs(left) % abs(right) * (-1 if left < 0 else 1) if whole else math.fmod(left, right)
    except OverflowError:
        raise Failed from None
    if isinstance(result, float) and not math.isfinite(result):
        raise Failed
    return result


def kind(value: Any) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return "undefined" if value is UNSET else "null" if value is None else names[type(value)]


def shown(value: Any) -> str:
    """Whole numbers only have one form that all agree upon; others are left to the tables."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and 1e-3 < abs(value) < 1e15:
        return repr(value)
    if isinstance(value, float):
        raise Unclear
    raise Failed


class Unclear(Exception):
    """The plain evaluator does not know."""


def canonical(value: Any) -> Any:
    """Equal for equal JSON, and only then."""
    if isinstance(value, list):
        return ["array", *map(canonical, value)]
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    return (kind(value), value)


def branches(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    two = st.sampled_from(OPERATORS)
    keys = st.sampled_from(["a", "x", "b c", "__class__", "length"])
    return st.one_of(
        st.tuples(two, st.tuples(inner, inner)),
        st.tuples(st.sampled_from(["!", "-1", "typeof"]), st.tuples(inner)),
        st.tuples(st.just("?:"), st.tuples(inner, inner, inner)),
        st.tuples(st.just("array"), st.lists(inner, max_size=3).map(tuple)),
        st.tuples(st.just("object"), st.lists(st.tuples(keys, inner), max_size=2).map(tuple)),
    ).map(lambda pair: Tree(*pair))


def binary(operators: str, operand: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.tuples(st.sampled_from(operators.split()), st.tuples(operand, operand)).map(lambda pair: Tree(*pair))


def constants(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Tree]:
    return of.map(lambda value: Tree("constant", (value,)))


numbers = st.recursive(
    constants(st.integers(-5, 5) | st.sampled_from([0.5, -1.5, 2.0, 1e300, 10**20])),
    lambda inner: binary("+ - * / %", inner),
    max_leaves=4,
)
texts = st.recursive(constants(st.sampled_from(["", "a", "b", "é"])), lambda inner: binary("+", inner), max_leaves=3)
sures = numbers | texts | binary("< <= === !== ==", numbers) | binary("< <= === !== +", texts)
leaves = st.one_of(
    st.sampled_from(NAMES).map(lambda name: Tree("name", (name,))),
    constants(scalars | st.sampled_from(["length", "0", "1", 0, 1, "x", [], {}])),
    sures,
)
trees = st.recursive(leaves, branches, max_leaves=8)


def check_meaning(tree: Tree, values: dict[str, Any]) -> None:
    try:
        expected = meaning(tree, values)
    except Unclear:
        return
    except Failed:
        with pytest.raises(ExpressionFailed):
            run(text_of(tree), values)
        return

    assert canonical(run(text_of(tree), values)) == canonical(expected), text_of(tree)


KINDS = [
    None,
    True,
    False,
    0,
    1,
    -7,
    3,
    2.0,
    2.5,
    10**20,
    "",
    "1",
    "a",
    "length",
    [],
    [1],
    [True],
    {},
    {"a": 1, "1": 2},
]


@pytest.mark.parametrize("operator", OPERATORS)
def test_each_operator_means_the_same_for_each_pair_of_kinds(operator: str) -> None:
    operands = [*(Tree("constant", (value,)) for value in KINDS), Tree("name", ("missing",))]

    for left, right in itertools.product(operands, repeat=2):
        check_meaning(Tree(operator, (left, right)), {})


@pytest.mark.parametrize("operator", ["!", "-1", "typeof"])
def test_each_operator_means_the_same_for_each_kind(operator: str) -> None:
    for value in KINDS:
        check_meaning(Tree(operator, (Tree("constant", (value,)),)), {})


@given(trees, environments)
def test_expressions_mean_what_a_plain_evaluator_says(tree: Tree, values: dict[str, Any]) -> None:
    check_meaning(tree, values)


@given(trees, environments)
def test_only_what_is_read_is_looked_up(tree: Tree, values: dict[str, Any]) -> None:
    expression = compile_expression(text_of(tree), names=NAMES)

    def lookup(name: str) -> Any:
        assert name in expression.reads()
        return values.get(name, UNSET)

    try:
        expression.evaluate(lookup)
    except ExpressionFailed as failed:
        assert failed.reason  # noqa: PT017 either end is right


@pytest.mark.parametrize(
    "text",
    [
        "''['__class__']",
        "[]['__class__']['__mro__']",
        "result['__init__']['__globals__']",
        "result.constructor",
        "(1)['real']",
        "''['format']",
        "context['__builtins__']",
        "context['constructor']",
        "{'__proto__': {x: 1}}.x",
        "result['__proto__']",
        "[].constructor",
        "keys['__self__']",
        "Math['__class__']",
        "len.__name__",
    ],
)
def test_nothing_behind_the_data_is_reached(text: str) -> None:
    try:
        value = run(text, {"result": {"output": 1}})
    except (ExpressionError, ExpressionFailed):
        return
    assert value is UNSET
