"""What docs/expressions.md says is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from stepwell.engine.expressions import compile_expression
from stepwell.engine.expressions.functions import FUNCTIONS
from stepwell.engine.expressions.methods import METHODS
from stepwell.engine.expressions.operators import OPERATIONS
from stepwell.errors import ExpressionFailed

DOCUMENT = (Path(__file__).parents[2] / "docs" / "expressions.md").read_text(encoding="utf-8")
DATA: dict[str, Any] = json.loads(DOCUMENT.partition("```json")[2].partition("```")[0])
ROWS = re.findall(r"^\| `([^|`]*)` \| (`[^`]*`|undefined|error) \|", DOCUMENT, re.MULTILINE)


def evaluate(text: str) -> Any:
    return compile_expression(text, names=DATA).evaluate(lambda name: DATA.get(name, UNSET))


@pytest.mark.parametrize(("text", "value"), ROWS)
def test_each_row_of_the_tables_holds(text: str, value: str) -> None:
    if value == "error":
        with pytest.raises(ExpressionFailed):
            evaluate(text)
    else:
        result = evaluate(text)
        assert ("undefined" if result is UNSET else f"`{json.dumps(result)}`") == value


def test_all_rows_are_read() -> None:
    assert len(ROWS) == len(re.findall(r"^\| `.*\|$", DOCUMENT, re.MULTILINE))


@pytest.mark.parametrize("name", [*FUNCTIONS, *METHODS, *OPERATIONS])
def test_everything_there_is_stands_in_the_document(name: str) -> None:
    assert re.search(rf"[` ]{re.escape(name)}[`( ,]", DOCUMENT)
