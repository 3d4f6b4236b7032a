"""The functions and methods of expressions: those named as in Python agree with Python, the others with JavaScript."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from stepwell.engine.expressions import compile_expression
from stepwell.errors import ExpressionFailed

VALUES: dict[str, Any] = {
    "words": ["b", "a", "c"],
    "numbers": [3, -1, 2.5],
    "user": {"name": "Ada", "age": 36},
    "nothing": None,
    "empty": [],
    "mixed": [1, "x", None, [2]],
    "nested": {"a": [1, 2.0, True, None, "x'y"]},
}


def evaluate(text: str) -> Any:
    return compile_expression(text).evaluate(lambda name: VALUES.get(name, UNSET))


def same(left: Any, right: Any) -> bool:
    return repr(left) == repr(right)


@pytest.mark.parametrize(
    "text",
    [
        "len(words)",
        "len(user)",
        "len('abc')",
        "bool(empty)",
        "bool(words)",
        "bool(0.0)",
        "bool('0')",
        "bool(user)",
        "str(1)",
        "str(2.0)",
        "str(1e22)",
        "str('x')",
        "str(nested)",
        "str(words)",
        "int('12')",
        "int(' -12 ')",
        "int(2.9)",
        "int(-2.9)",
        "int(1e22)",
        "float('1.5')",
        "float(3)",
        "float('-1e3')",
        "list(words)",
        "list(user)",
        "list('abc')",
        "min(numbers)",
        "min(words)",
        "min(3, 2.0, 2)",
        "max(2, 2.0)",
        "max('a', 'b')",
        "max(user)",
        "abs(-3)",
        "abs(-2.5)",
        "round(2.5)",
        "round(3.5)",
        "round(2.675, 2)",
        "round(1234, -2)",
        "sorted(words)",
        "sorted(numbers)",
        "sorted(empty)",
        "sorted('bca')",
        "sorted(user)",
        "sum(numbers)",
        "sum(empty)",
        "any(empty)",
        "any([0, '', [], {}])",
        "any([0, 'x'])",
        "all(empty)",
        "all([1, {}])",
        "all(words)",
        "list(range(3))",
        "list(range(1, 4))",
        "list(range(4, 1, -2))",
        "list(range(4, 1))",
        "'  x '.strip()",
        "'X'.lower()",
        "'straße'.upper()",
        "'a,b'.split(',')",
    ],
)
def test_what_is_named_as_in_python_does_as_python(text: str) -> None:
    assert same(evaluate(text), eval(text, {}, VALUES))  # noqa: S307 the texts above


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("floordiv(-7, 2)", -7 // 2),
        ("floordiv(7.5, -2)", 7.5 // -2),
        ("mod(-7, 3)", -7 % 3),
        ("mod(7.5, -2)", 7.5 % -2),
        ("contains(words, 'a')", True),
        ("contains(mixed, [2.0])", True),
        ("contains(mixed, true)", False),
        ("contains('abc', 'bc')", True),
        ("contains(user, 'name')", True),
        ("contains(user, 'x')", False),
        ("get(user, 'name')", "Ada"),
        ("get(user, 'x')", None),
        ("get(user, 'x', 0)", 0),
        ("get({}, 1, 0)", 0),
        ("index(words, -1)", "c"),
        ("index(words, 1.0)", "a"),
        ("index('abc', -3)", "a"),
        ("index(user, 'age')", 36),
        ("bool(null)", False),
        ("bool(undefined)", False),
        ("str(null)", "None"),
        ("str(true)", "True"),
        ("int(true)", 1),
        ("keys(user)", ["name", "age"]),
        ("values(user)", ["Ada", 36]),
        ("floor(-2.5)", -3),
        ("ceil(-2.5)", -2),
    ],
)
def test_what_python_has_under_other_names(text: str, value: Any) -> None:
    assert same(evaluate(text), value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Math.min(2)", 2),
        ("Math.max(1, 2.5)", 2.5),
        ("Math.abs(-1)", 1),
        ("Math.round(2.5)", 3),
        ("Math.round(-2.5)", -2),
        ("Math.round(0.49999999999999994)", 0),
        ("Math.round(7)", 7),
        ("Math.floor(2.7)", 2),
        ("Math.ceil(2.1)", 3),
        ("Object.keys(user)", ["name", "age"]),
        ("Object.values(user)", ["Ada", 36]),
        ("Array.isArray(words)", True),
        ("Array.isArray(user)", False),
        ("Number('12')", 12),
        ("Number(2.5)", 2.5),
        ("Number(false)", 0),
        ("Number(null)", 0),
        ("String(2.0)", "2"),
        ("String(null)", "null"),
        ("String(undefined)", "undefined"),
        ("String(true)", "true"),
        ("Boolean(empty)", True),
        ("Boolean('')", False),
        ("'abc'.includes('bc')", True),
        ("words.includes('a')", True),
        ("mixed.includes(null)", True),
        ("mixed.includes('y')", False),
        ("'abc'.indexOf('c')", 2),
        ("'abc'.indexOf('x')", -1),
        ("words.indexOf('c')", 2),
        ("words.indexOf('x')", -1),
        ("'abc'.startsWith('ab')", True),
        ("'abc'.endsWith('ab')", False),
        ("'AbC'.toLowerCase()", "abc"),
        ("'AbC'.toUpperCase()", "ABC"),
        ("' \\u00a0x\\n'.trim()", "x"),
        ("'abcdef'.slice(1, -1)", "bcde"),
        ("'abc'.slice()", "abc"),
        ("'abc'.slice(undefined, missing)", "abc"),
        ("'abc'.slice(2, 1)", ""),
        ("words.slice(-2)", ["a", "c"]),
        ("words.slice(0, 99)", ["b", "a", "c"]),
        ("'a-b-'.split('-')", ["a", "b", ""]),
        ("'ab'.split('')", ["a", "b"]),
        ("'a b'.split()", ["a b"]),
        ("words.join()", "b,a,c"),
        ("words.join('')", "bac"),
        ("[1, null, 2.0, true, undefined].join('-')", "1--2-true-"),
        ("words.concat('d', ['e', ['f']], undefined)", ["b", "a", "c", "d", "e", ["f"], None]),
        ("words.at(-1)", "c"),
        ("words.at(3)", UNSET),
        ("words.at(0)", "b"),
    ],
)
def test_what_is_named_as_in_javascript_does_as_javascript(text: str, value: Any) -> None:
    assert same(evaluate(text), value)


def reason(text: str) -> str:
    with pytest.raises(ExpressionFailed) as caught:
        evaluate(text)
    return caught.value.reason


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("len(nothing)", "null has no length"),
        ("str(missing)", "undefined has no text"),
        ("int('1.5')", "this is not a whole number"),
        ("int(nothing)", "int() of null"),
        ("float('nan')", "this is not a finite number"),
        ("float('x')", "this is not a number"),
        ("float(nothing)", "float() of null"),
        ("float(10 ** 400)", "this is not a number"),
        ("number('0x1')", "this text is not a number"),
        ("number([])", "array is not a number"),
        ("Number(undefined)", "undefined is not a number"),
        ("String([])", "array is not made text"),
        ("keys(words)", "array has no keys"),
        ("values('x')", "string has no keys"),
        ("get(words, 0)", "array has no keys"),
        ("list(1)", "number has no length"),
        ("sum(1)", "number has no items"),
        ("min(empty)", "there is nothing to choose from"),
        ("max(1, 'a')", "`>` between string and number"),
        ("abs('1')", "string is not a number"),
        ("Math.max(1, null)", "null is not a number"),
        ("round('1')", "string is not a number"),
        ("round(1, 401)", "round() takes"),
        ("round(1, 0.5)", "the number of digits is number; it must be a whole number"),
        ("floordiv(1, 0)", "division by zero"),
        ("mod(1, 0.0)", "division by zero"),
        ("mod('%s', 1)", "`mod` of string and number"),
        ("contains(1, 2)", "number cannot contain number"),
        ("contains('1', 1)", "string cannot contain number"),
        ("contains(user, 1)", "object cannot contain number"),
        ("index(words, 3)", "there is no item 3 among 3"),
        ("index(words, -4)", "there is no item -4 among 3"),
        ("index(words, '0')", "the index is string"),
        ("index(user, 'x')", "the object has no such key"),
        ("index(user, 0)", "the object has no such key"),
        ("index(nothing, 0)", "null has no items"),
        ("sorted(mixed)", "`<` between string and number"),
        ("sorted([true])", "`<` between boolean and boolean"),
        ("sum(words)", "string is not a number"),
        ("sum([1e308, 1e308])", "this is not a finite number"),
        ("range(1, 2, 0)", "the step of range() is 0"),
        ("range('3')", "a bound of range() is string"),
        ("'abc'.includes(1)", "this method of strings takes a string, not number"),
        ("'abc'.slice('1')", "the start is string"),
        ("'abc'.slice(0, {})", "the end is object"),
        ("'abc'.slice(0, null)", "the end is null"),
        ("'abc'.split(1)", "this method of strings takes a string, not number"),
        ("mixed.join()", "array is not made text"),
        ("words.join(1)", "this method of strings takes a string"),
        ("words.at('0')", "the index is string"),
        ("user.includes('x')", "object has no method includes()"),
    ],
)
def test_what_does_not_fit_fails(text: str, why: str) -> None:
    assert reason(text).startswith(why)


def test_what_an_expression_makes_is_its_own() -> None:
    made = evaluate("[list(words), words.slice(), values({a: words}), sorted(words)]")

    assert made[0] is not VALUES["words"]
    assert made[1] is not VALUES["words"]
    assert made[3] is not VALUES["words"]
