"""What expressions do not have is refused when they are compiled, with its place."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.engine.expressions import compile_expression, parsing
from stepwell.errors import ExpressionError

NAMES = {"my-node"}


def mistake(text: str) -> str:
    """Why it does not compile."""
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, names=NAMES)
    return f"{caught.value.column}: {caught.value.reason}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "1: it is empty"),
        ("  \n", "1: it is empty"),
        ("a = 1", "1: an assignment"),
        ("a += 1", "1: an assignment"),
        ("a++", "1: `++` or `--`"),
        ("x => x", "1: a function"),
        ("function() {}", "1: a function"),
        ("new Date()", "1: `new`"),
        ("/x/", "1: a regular expression"),
        ("[...a]", "2: `...`"),
        ("this", "1: 'this' is no name here"),
        ("this + 1", "1: `this`"),
        ("a, b", "1: a comma"),
        ("await a", "1: `await`"),
        ("yield* a", "1: "),
        ("delete a.b", "1: `delete`"),
        ("void 0", "1: `void`"),
        ("~a", "1: `~`"),
        ("a & b", "3: `&`"),
        ("a instanceof b", "3: `instanceof`"),
        ("a // b", "3: a comment"),
        ("class {}", "1: a class"),
        ("1n + 1", "1: '1n' is not a number"),
        ("012 + 1", "1: '012' is not a number"),
        ("012", "1: '012' begins with a digit"),
        ("1st.total", "1: '1st' begins with a digit; write context[\"1st\"]"),
        ("a..b", "1: between two dots"),
        (".a", "1: between two dots"),
        ("a.", "1: between two dots"),
        ("null.a", "1: 'null' is no name"),
        ("NaN", "1: 'NaN' is no name"),
        ("-Infinity", "2: Infinity is not part"),
        ("1e999", "1: this is not a finite number"),
        ("9" * 5000, "1: the number has 5000 digits"),
        ("9" * 2000 + "+ 1", "1: a number of more than 4096 bits"),
        ("-2 ** 2", "1: write (-a) ** b"),
        ("a ?? b || c", "3: `??` beside"),
        ("a && b ?? c", "8: `??` beside"),
        ("[1,,2]", "4: a hole"),
        ("[,]", "2: a hole"),
        ("'\\ud800'", "2: an escape"),
        ("'\\1'", "2: an escape"),
        ("'\\01'", "2: an escape"),
        ("'\\u{110000}'", "2: an escape"),
        ("\\u0061 + 1", "1: a name with an escape"),
        ("__class__", "1: __class__: names of that form"),
        ("context.__class__", "9: __class__"),
        ("(1).__class__", "5: __class__"),
        ("{__proto__: 1}", "2: __proto__"),
        ("a.#b", "3: '#b' is not part"),
        ("<a/>", "1: '<a/>' is not part"),
        ("f(1)", "1: there is no function f()"),
        ("eval('1')", "1: there is no function eval()"),
        ("constructor('x')", "1: there is no function"),
        ("Math.pow(1, 2)", "1: there is no function Math.pow()"),
        ("a.b()", "3: there is no method b()"),
        ("a.replace('x', 'y')", "3: there is no method replace()"),
        ("a['trim']()", "1: a call of anything but"),
        ("(a)()", "1: a call of anything but"),
        ("len`x`", "4: this way to call"),
        ("a?.(1)", "4: this way to call"),
        ("tier.includes?.('x')", "16: this way to call"),
        ("len()", "1: len() takes 1 arguments, not 0"),
        ("a.slice(1, 2, 3)", "1: slice() takes 0 to 2 arguments, not 3"),
        ("a)", "3: it ends too early"),
        ("a) + (b", "1: its parentheses do not match"),
        ("(a", "1: it does not parse here"),
        ("my-node.total + 'a", "19: it ends too early"),
        ("a b", "3: it does not parse here: 'b'"),
        ("a\nb", "1: it does not parse here: 'b'"),
        ("'a", "3: it ends too early"),
        ("if (a) {}", "1: it does not parse"),
        ("a; b", "1: it does not parse"),
        ("{get a() {}}", "2: a function"),
        ("{a = 1}", "1: it does not parse here: '{a = 1}'"),
        ("`${}`", "4: it does not parse"),
        ("a \x00", "3: '\\x00' cannot stand here"),
        ("'\ud800'", "2: '\\ud800' cannot stand here"),
    ],
)
def test_all_else_is_refused_with_its_place(text: str, why: str) -> None:
    assert mistake(text).startswith(why)


def test_a_long_text_is_shortened_in_messages() -> None:
    with pytest.raises(ExpressionError, match=r"^expression '1 \+ 1[ +1]{194}…', column 1: "):
        compile_expression("1 + " * 200 + "1 = 2")


def test_the_letters_that_stand_for_hyphens_may_run_out() -> None:
    letters = "".join(map(chr, range(0xA7F7, 0xA800)))

    assert compile_expression(f"'{letters[:-1]}' + my-node", names=NAMES).reads() == {"my-node"}
    assert "all letters" in mistake(f"'{letters}' + my-node")


@pytest.mark.parametrize("handler", [None, parsing._HANDLERS["unary_expression"]])
def test_a_tree_that_the_grammar_should_not_make_is_refused(monkeypatch: pytest.MonkeyPatch, handler: Any) -> None:
    monkeypatch.setitem(parsing._HANDLERS, "null", handler)

    assert mistake("1 + null").startswith("5: 'null' is not part of expressions")
