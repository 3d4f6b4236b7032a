"""What expressions say about values: a table for each part of the language."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from msgspec import UNSET

from stepwell.engine.expressions import compile_expression, parsing, truthy
from stepwell.errors import DefinitionError, ExpressionFailed

VALUES: dict[str, Any] = {
    "result": {"output": {"total": 150, "items": [1, 2, {"deep": None}], "word": "héllo"}, "action": None},
    "tier": "gold",
    "my-node": {"total": 5},
    "a-b-c": 100,
    "a-b": 10,
    "a": 7,
    "b": 3,
    "c": 1,
    "nothing": None,
    "_outputs.A": 7,
    "_outputs.my-node": 9,
    "counter": 5,
    "key": "tier",
    "field-of": {"length": "own", "0": "zero", "my-node": 8, "my": 20},
    "node": 2,
    "größe": 3,
    "len": [1],
}

PARSING = parsing.__name__


def evaluate(text: str, **more: Any) -> Any:
    values = {**VALUES, **more}
    return compile_expression(text, names=values).evaluate(lambda name: values.get(name, UNSET))


def reason(text: str, **more: Any) -> str:
    """Why it fails for these values."""
    with pytest.raises(ExpressionFailed) as caught:
        evaluate(text, **more)
    return f"{caught.value.column}: {caught.value.reason}"


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same types; 1 is not True, and not 1.0."""
    return repr(left) == repr(right)


def test_the_expressions_of_existing_blueprints_hold() -> None:
    assert evaluate('result.output.total > 100 && context["tier"] === "gold"') is True


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("result.output.total", 150),
        (" result.output.total\n", 150),
        ("result.output.items.1", 2),
        ("result.output.items.7", UNSET),
        ("result.output.items.length", 3),
        ("result.output.word.length", 5),
        ("result.output.word.1", "é"),
        ("result.output.word.first", UNSET),
        ("result.output.total.digits", UNSET),
        ("field-of.0", "zero"),
        ("field-of.length", "own"),
        ("nothing.at.all", UNSET),
        ("missing.at.all", UNSET),
        ("missing", UNSET),
        ("context.tier", "gold"),
        ("context.result.action", None),
        ("context.my-node.total", 5),
        ("_outputs.A", 7),
        ("_outputs.my-node", 9),
        ("_outputs", UNSET),
        ("len", [1]),
        ("new.target", UNSET),
        ("result.output.items.99999999999999999999", UNSET),
    ],
)
def test_a_path_that_leads_nowhere_is_undefined(text: str, value: Any) -> None:
    expression = compile_expression(text, names=VALUES)

    assert expression.is_path
    assert same(expression.evaluate(lambda name: VALUES.get(name, UNSET)), value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("undefined", UNSET),
        ("12", 12),
        ("-12", -12),
        ("1_000", 1000),
        ("2.5", 2.5),
        ("5.", 5.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.5E-3", 0.0015),
        ("0xfF", 255),
        ("0b101", 5),
        ("0o17", 15),
        ("123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_constants_are_what_they_say(text: str, value: Any) -> None:
    expression = compile_expression(text)

    assert not expression.is_path
    assert same(expression.evaluate(dict[str, Any]().__getitem__), value)
    assert same(evaluate(f"[{text}][0]"), None if value is UNSET else value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"plain"', "plain"),
        ("'it\\'s'", "it's"),
        ('"\\n\\t\\r\\b\\f\\v\\0\\\\\\q"', "\n\t\r\b\f\v\0\\q"),
        ('"\\x41\\u0042\\u{43}"', "ABC"),
        ('"\\ud83d\\ude00"', "😀"),
        ('"two\\\nlines"', "twolines"),
        ('"my-node, tier"', "my-node, tier"),
        ('"\\uA7F7 my-node"', "\ua7f7 my-node"),
        ("`plain`", "plain"),
        ("``", ""),
        ("`\\ud83d\\ude00\\``", "😀`"),
        ("`${tier}: ${result.output.total + 1}, ${true}!`", "gold: 151, true!"),
        ("`${my-node.total} of my-node`", "5 of my-node"),
        ("`a${`b${1}`}`", "ab1"),
    ],
)
def test_texts(text: str, value: str) -> None:
    assert evaluate(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[]", []),
        ("[1, 'two', [null],]", [1, "two", [None]]),
        ("[undefined, missing]", [None, None]),
        ("{}", {}),
        ("{a: 1, 'b c': 2, 3: 4, 1.5: 6, [key]: 5}", {"a": 1, "b c": 2, "3": 4, "1.5": 6, "tier": 5}),
        ("{tier, my-node, context}", {"tier": "gold", "my-node": {"total": 5}}),
        ("{a: 1, b: missing, a: undefined}", {}),
        ("{new: 1, undefined: 2}", {"new": 1, "undefined": 2}),
        ("({a: {b: [{}]}})", {"a": {"b": [{}]}}),
    ],
)
def test_arrays_and_objects(text: str, value: Any) -> None:
    assert same(evaluate(text), value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 === 1.0", True),
        ("1 === true", False),
        ("1 === '1'", False),
        ("1 == '1'", False),
        ("null === undefined", False),
        ("null == undefined", True),
        ("nothing != undefined", False),
        ("0 == null", False),
        ("[1, {a: [2]}] === [1.0, {a: [2]}]", True),
        ("[1, 2] !== [1]", True),
        ("{a: 1} === {b: 1}", False),
        ("{a: 1, b: 2} === {b: 2, a: 1}", True),
        ("[true] === [1]", False),
        ("1 < 2", True),
        ("2 <= 2.0", True),
        ("'b' > 'a'", True),
        ("'10' >= '9'", False),
        ("1 + 2 * 3 - 4", 3),
        ("7 / 2", 3.5),
        ("6 / 2", 3),
        ("6.0 / 2", 3.0),
        ("7 % 3", 1),
        ("-7 % 3", -1),
        ("7 % -3", 1),
        ("-7.5 % 2", -1.5),
        ("2 ** 3 ** 2", 512),
        ("2 ** -1", 0.5),
        ("(-2) ** 2", 4),
        ("0 ** 0", 1),
        ("(-1) ** 4097", -1),
        ("9007199254740993 + 2", 9007199254740995),
        ("- counter", -5),
        ("-my-node.total", -5),
        ("+'12'", 12),
        ("+' 1.5e1 '", 15.0),
        ("+''", 0),
        ("+true", 1),
        ("+null", 0),
        ("+-3", -3),
        ("'a' + 1", "a1"),
        ("1 + 'a' + true", "1atrue"),
        ("2.0 + 'x'", "2x"),
        ("(0 * -1.0) + 'x'", "0x"),
        ("1e21 + ''", "1e+21"),
        ("1.5e-7 + ''", "1.5e-7"),
        ("0.000001 + ''", "0.000001"),
        ("123456789012345680000.0 + ''", "123456789012345680000"),
        ("true && 'yes'", "yes"),
        ("0 && missing.total", 0),
        ("'' || 'other'", "other"),
        ("1 || missing.total", 1),
        ("null ?? 'other'", "other"),
        ("0 ?? missing.total", 0),
        ("missing ?? (0 || 'x')", "x"),
        ("!''", True),
        ("!![]", True),
        ("true ? 1 : missing.total", 1),
        ("[] ? {} ? 'both' : 1 : 2", "both"),
        ("0 ? missing.total : 2", 2),
        ("'tier' in {tier}", True),
        ("'x' in result", False),
        ("1 in {1: 2}", True),
        ("typeof missing", "undefined"),
        ("missing > 1", False),
        ("1 >= missing", False),
        ("missing <= missing", False),
        ("typeof null + typeof [] + typeof {}", "objectobjectobject"),
        ("typeof 1 + typeof '' + typeof !1", "numberstringboolean"),
    ],
)
def test_operators(text: str, value: Any) -> None:
    assert same(evaluate(text), value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("result.output.items[2].deep", None),
        ("result['output'].items[0 + 1]", 2),
        ("result.output.items[1.0]", 2),
        ("result.output.items['1']", 2),
        ("result.output.items[-1]", UNSET),
        ("result.output.items[9]", UNSET),
        ("result.output.items.length + 0", 3),
        ("'abc'[1]", "b"),
        ("'abc'.length", 3),
        ("'😀'.length", 1),
        ("(5).length", UNSET),
        ("true['x']", UNSET),
        ("missing?.a.b.c[1]", UNSET),
        ("nothing?.['a'].b", UNSET),
        ("result?.action?.name", UNSET),
        ("result?.output?.total", 150),
        ("missing?.trim().length", UNSET),
        ("(missing)?.a", UNSET),
        ("{length: 1}.length", 1),
        ("result.constructor === undefined", True),
        ("''.constructor", UNSET),
        ("context[key]", "gold"),
        ("context['_outputs.A']", 7),
        ("context['_outputs']['A']", 7),
        ("_outputs['my-node'] + 0", 9),
        ("context?.tier + ''", "gold"),
        ("context.new === undefined", True),
        ("context[`tier`]", "gold"),
        ("context['result'].output.total", 150),
        ("größe + 1", 4),
        ("_outputs[key] === undefined", True),
    ],
)
def test_properties(text: str, value: Any) -> None:
    assert same(evaluate(text, _outputs={}), value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("my-node.total > 3", True),
        ("a-b", 10),
        ("a-b-c", 100),
        ("a - b", 4),
        ("a-c", 6),
        ("a-b - c", 9),
        ("a-c-b", 3),
        ("b- a", -4),
        ("-a-b", -10),
        ("field-of.my-node", 18),
        ("context.a-b + 0", 10),
        ("(field-of).my-node", 18),
        ("context?.my-node.total", 5),
        ("2-1", 1),
    ],
)
def test_a_name_with_hyphens_beats_subtraction(text: str, value: Any) -> None:
    assert evaluate(text) == value


def test_without_names_a_hyphen_subtracts() -> None:
    assert compile_expression("a-b").evaluate({"a": 3, "b": 1}.__getitem__) == 2


def test_names_with_hyphens_leave_places_alone() -> None:
    assert reason("my-node.total + my-node").startswith("15: `+` of number and object")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1 + 1", set()),
        ("result.output.total + tier", {"result", "tier"}),
        ('context["x"] + context.y', {"x", "y"}),
        ("context[key]", {"context", "key"}),
        ("context", {"context"}),
        ("my-node.total", {"my-node"}),
        ("_outputs.A.b + _inputs['x'].y", {"_outputs.A", "_inputs.x"}),
        ("{tier, a: len(b)}", {"tier", "b"}),
    ],
)
def test_what_an_expression_reads_is_known(text: str, names: set[str]) -> None:
    assert compile_expression(text, names=VALUES).reads() == names


def test_only_the_names_that_are_needed_are_looked_up() -> None:
    asked: list[str] = []

    def lookup(name: str) -> Any:
        asked.append(name)
        return False

    assert compile_expression("a && b ? c : d || (e ?? f)").evaluate(lookup) is False
    assert asked == ["a", "d", "e"]


def test_a_failure_says_where_and_why() -> None:
    with pytest.raises(ExpressionFailed) as caught:
        evaluate("1 +\n nothing.total")

    assert str(caught.value) == (
        "expression '1 +\\n nothing.total', line 2, column 10: "
        "nothing is null, which has no properties; `?.` gives undefined instead"
    )
    assert (caught.value.line, caught.value.column, caught.value.text) == (2, 10, "1 +\n nothing.total")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("result.action.name + 1", "15: result.action is null"),
        ("(missing?.a).b", "14: (missing?.a) is undefined"),
        ("missing[0]", "9: missing is undefined"),
        ("1 < '2'", "3: `<` between number and string"),
        ("null >= 1", "6: `>=` between null and number"),
        ("true < 2", "6: `<` between boolean and number"),
        ("[] <= []", "4: `<=` between array and array"),
        ("1 + null", "3: `+` of number and null"),
        ("'a' + null", "5: null is not made text"),
        ("{} + 'a'", "4: object is not made text"),
        ("1 - '1'", "3: `-` of number and string"),
        ("true * 2", "6: `*` of boolean and number"),
        ("1 / 0", "3: division by zero"),
        ("1.5 % 0", "5: division by zero"),
        ("0 ** -1", "3: division by zero"),
        ("(-8) ** 0.5", "6: this is not a finite number"),
        ("1e308 * 10", "7: this is not a finite number"),
        ("10.5 ** 5000", "6: the result is too large"),
        ("-'1'", "1: `-` of string"),
        ("+[]", "1: array is not a number"),
        ("+'1x'", "1: this text is not a number"),
        ("+'1e999'", "1: this is not a finite number"),
        ("`${1}${missing}`", "8: undefined is not made text"),
        ("{[null]: 1}", "3: a key is a string or a number, not null"),
        ("result[true]", "8: a key is a string or a number, not boolean"),
        ("context[nothing]", "9: a key is a string or a number, not null"),
        ("'a' in [1]", "5: `in` asks an object for a key, not array"),
        ("nothing in {}", "9: a key is a string"),
        ("tier.join()", "6: string has no method join()"),
        ("counter.includes(1)", "9: number has no method includes()"),
        ("missing.trim()", "9: undefined has no method trim()"),
        ("len(5)", "1: number has no length"),
    ],
)
def test_what_has_no_result_fails(text: str, why: str) -> None:
    assert reason(text).startswith(why)


def test_a_value_that_is_not_json_is_named() -> None:
    assert "set, which is not JSON" in reason("x + 1", x={1})


def test_names_may_come_from_any_collection() -> None:
    for names in (["my-node"], iter(["my-node"]), {"my-node": 1}.keys(), {"my-node"}):
        assert compile_expression("my-node + 1", names=names).evaluate({"my-node": 1}.__getitem__) == 2


def test_an_expression_shows_its_text() -> None:
    assert repr(compile_expression("a > 1")) == "Expression('a > 1')"


@pytest.mark.parametrize("value", [None, UNSET, False, 0, -0.0, float("nan"), ""])
def test_what_javascript_takes_for_false(value: Any) -> None:
    assert truthy(value) is False


@pytest.mark.parametrize("value", [True, 1, -0.5, "0", [], {}, [0]])
def test_what_javascript_takes_for_true(value: Any) -> None:
    assert truthy(value) is True


def test_without_the_extra_paths_and_constants_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tree_sitter", None)
    monkeypatch.delitem(sys.modules, PARSING, raising=False)

    assert evaluate("my-node.total") == 5
    assert evaluate("-1") == -1
    with pytest.raises(
        DefinitionError, match=r"'a > 1' is more .* tree_sitter, .* pip install 'stepwell\[expressions\]'"
    ):
        evaluate("a > 1")


def test_an_accident_of_the_parser_is_not_taken_for_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PARSING, None)

    with pytest.raises(ModuleNotFoundError):
        evaluate("a > 1")
