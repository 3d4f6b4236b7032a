"""What expressions say about values: a table for each part of the language."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from stepwell.engine.expressions import compile_expression
from stepwell.errors import ExpressionError, ExpressionFailed

VALUES: dict[str, Any] = {
    "result": {"output": {"total": 150, "items": [1, 2, {"deep": None}], "word": "héllo"}, "action": None},
    "tier": "gold",
    "my-node": {"total": 5},
    "nothing": None,
    "_outputs.A": 7,
    "_outputs.my-node": 9,
    "counter": 5,
}


def evaluate(text: str, **more: Any) -> Any:
    values = {**VALUES, **more}
    return compile_expression(text, names=values).evaluate(lambda name: values.get(name, UNSET))


def test_the_expressions_of_existing_blueprints_hold() -> None:
    assert evaluate('result.output.total > 100 && context["tier"] === "gold"') is True


def test_a_syntax_error_says_where() -> None:
    with pytest.raises(ExpressionError, match=r"^expression 'a \+ \* b', column 3: it does not parse here: '\+ \* b'$"):
        evaluate("a + * b")


def test_a_failure_says_where_and_why() -> None:
    with pytest.raises(ExpressionFailed, match="column 13: nothing is null, which has no properties"):
        evaluate("1 + nothing.total")
