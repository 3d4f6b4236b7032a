"""Expressions end soon, and make nothing large, whatever their text and their data."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from stepwell.engine.expressions import compile_expression
from stepwell.errors import ExpressionError, ExpressionFailed

VALUES: dict[str, Any] = {
    "text": "x" * 1_000_000,
    "half": "x" * 600_000,
    "items": list(range(100_000)),
    "many": [None] * 150_000,
    "fields": {str(number): number for number in range(100_001)},
    "huge": 10**1500,
    "wide": [["x" * 1000] * 10] * 10,
}
LOOP: list[Any] = []
LOOP.append(LOOP)
TOWER: list[Any] = []
for _ in range(10_000):
    TOWER = [TOWER]
VALUES |= {"tower": TOWER, "loop": LOOP}


def evaluate(text: str) -> Any:
    return compile_expression(text).evaluate(lambda name: VALUES.get(name, UNSET))


@pytest.mark.parametrize(
    "text",
    [
        "(" * 4999 + "a" + ")" * 4999,
        "!" * 9999 + "a",
        "- " * 4999 + "a",
        "a+" * 4999 + "a",
        "a?" * 2400 + "b" + ":c" * 2400,
        "[" * 5000 + "]" * 5000,
        "{a:" * 2400 + "1" + "}" * 2400,
        "len(" * 1900 + "a" + ")" * 1900,
        "`${" * 1900 + "a" + "}`" * 1900,
        "a[" * 3000 + "0" + "]" * 3000,
        "a?.b" + "?.b" * 3000,
        "a&&" * 3000 + "a",
    ],
)
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="nested deeper than 100"):
        compile_expression(text)


@pytest.mark.parametrize(
    ("start", "inside", "end", "times"),
    [
        ("(", "1", ")", 98),
        ("!", "1", "", 98),
        ("1+", "1", "", 1),
        ("", "1", "+1", 98),
        ("1?", "1", ":1", 98),
        ("[", "", "]", 98),
        ("{a:", "1", "}", 48),
        ("str(", "1", ")", 48),
        ("`${", "1", "}`", 49),
        ("[0,1][", "1", "]", 98),
        ("0??(", "1", ")", 49),
    ],
)
def test_nesting_below_the_limit_is_carried_out(start: str, inside: str, end: str, times: int) -> None:
    evaluate(start * times + inside + end * times)


@pytest.mark.parametrize(
    "text", ["(" * 9999, "[" * 9999, "{" * 9999, "`${" * 3333, '"' * 9999, "<" * 9999, "(a," * 3333]
)
def test_what_is_left_open_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text)


def test_a_long_path_is_carried_out_without_recursion() -> None:
    assert evaluate("a" + ".a" * 4999) is UNSET


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ExpressionError, match=r"it has 10,001 characters; there may be 10,000"):
        compile_expression(" " * 10_000 + "a")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("text + 'x'", "a text of 1,000,001 characters"),
        ("`${half}${half}`", "a text of 1,200,000 characters"),
        ("[half, half].join()", "a text of 1,200,002 characters"),
        ("[" + "text, " * 16 + "]", "too much data"),
        ("items.concat([1])", "an array of 100,001 items"),
        ("many.slice()", "an array of 150,000 items"),
        ("list(many)", "an array of 150,000 items"),
        ("sorted(many)", "an array of 150,000 items"),
        ("keys(fields)", "an array of 100,001 items"),
        ("values(fields)", "an array of 100,001 items"),
        ("range(100001)", "range() makes at most 100,000 items"),
        ("range(10 ** 1000)", "range() makes at most 100,000 items"),
        ("text.split('x')", "an array of 1,000,001 items"),
        ("text.split('')", "an array of 1,000,000 items"),
        ("(half + 'ß' + half.slice(0, 399999)).toUpperCase()", "a text of 1,000,001 characters"),
        ("2 ** 4096", "a number of more than 4096 bits"),
        ("3 ** 3 ** 300", "a number of more than 4096 bits"),
        ("10 ** 10 ** 10 ** 10", "a number of more than 4096 bits"),
        ("(2 ** 4000) * (2 ** 4000)", "a number of more than 4096 bits"),
        ("huge + 1", "a number of more than 4096 bits"),
        ("huge + ''", "a number of more than 4096 bits"),
        ("str(huge)", "a number of more than 4096 bits"),
        ("[huge]", "a number of more than 4096 bits"),
        ("int('9' + '9'.slice() + half)", "this text is too long"),
        ("int('" + "9" * 2000 + "')", "a number of more than 4096 bits"),
        ("number(half)", "this text is not a number"),
        ("0.5 + 10 ** 400", "the result is too large"),
        ("[tower]", "this value is nested deeper than 200"),
        ("str(loop)", "this value is nested deeper than 200"),
        ("loop === [loop]", "that is too much data"),
        ("[many, many, many, many, many, many, many]", "that is too much data"),
    ],
)
def test_what_grows_too_large_fails(text: str, why: str) -> None:
    with pytest.raises(ExpressionFailed) as caught:
        evaluate(text)

    assert why in caught.value.reason


@pytest.mark.parametrize(
    "call",
    [
        "many.includes(1)",
        "many === many",
        "contains(many, 1)",
        "text.includes('y')",
        "len(text.toLowerCase())",
        "sum(items)",
        "sorted(items)",
        "any(many)",
        "len(wide.concat(many.slice(0, 90000)))",
        "'x' + text.slice(1)",
        "range(100000)",
    ],
)
def test_work_adds_up_over_an_evaluation(call: str) -> None:
    evaluate(call)
    with pytest.raises(ExpressionFailed, match="that is too much data for an expression; leave it to a node"):
        evaluate(" && ".join([f"[{call}]"] * 40))


def test_each_evaluation_begins_anew() -> None:
    expression = compile_expression("sum(items) > 0 && sum(items) > 1")

    for _ in range(2):
        assert expression.evaluate(VALUES.__getitem__) is True


def test_a_path_passes_what_is_large_through() -> None:
    assert evaluate("tower") is TOWER
    assert evaluate("true && many") is VALUES["many"]


def test_a_large_value_may_be_put_into_an_object_once() -> None:
    assert evaluate("{fields, text}") == {"fields": VALUES["fields"], "text": VALUES["text"]}
