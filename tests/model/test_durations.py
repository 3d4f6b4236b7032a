"""Durations as users write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.errors import DefinitionError
from stepwell.model.durations import duration_ms, format_ms

CENTURY_MS = 100 * 365 * 86_400_000


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        ("250ms", 250),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        ("1.5s", 1500),
        ("2w1d", 1_296_000_000),
        ("0s", 0),
        (0, 0),
        (2, 2000),
        (0.25, 250),
        (timedelta(minutes=1), 60_000),
        (timedelta(microseconds=1), 1),
        (0.0001, 1),
        (0.1 + 0.2, 300),
        ("36500d", CENTURY_MS),
    ],
    ids=repr,
)
def test_a_duration_is_whole_milliseconds_rounded_up(written: Any, ms: int) -> None:
    assert duration_ms(written) == ms


@pytest.mark.parametrize(
    "written",
    ["", "5", "h", "1x", "1m1h", "1s1s", "-1s", "1h!", "1,5s", -1, float("nan"), timedelta(-1), True, "36501d", 1e300],
    ids=repr,
)
def test_anything_else_is_an_error_that_names_the_option(written: Any) -> None:
    with pytest.raises(DefinitionError, match=r"^@step\(timeout=\) is "):
        duration_ms(written, what="@step(timeout=)")


def test_a_duration_without_end_is_an_error() -> None:
    with pytest.raises(DefinitionError, match="longest"):
        duration_ms(float("inf"))


@given(st.integers(0, CENTURY_MS))
def test_the_text_for_people_says_the_same_duration(ms: int) -> None:
    assert duration_ms(format_ms(ms)) == ms


@given(st.integers(0, CENTURY_MS))
def test_all_ways_to_write_a_duration_agree(ms: int) -> None:
    assert duration_ms(f"{ms}ms") == duration_ms(timedelta(milliseconds=ms)) == ms


@pytest.mark.parametrize(("ms", "text"), [(0, "0s"), (250, "250ms"), (5_400_000, "1h30m"), (604_800_001, "1w1ms")])
def test_the_text_for_people_is_short(ms: int, text: str) -> None:
    assert format_ms(ms) == text
