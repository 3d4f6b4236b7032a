"""Policies refuse what makes no sense, where it is written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stepwell.errors import DefinitionError
from stepwell.model.policies import NO_RETRY, Retry, StepOptions


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"attempts": 0}, r"attempts=0.*at least once"),
        ({"backoff": 0.5}, r"backoff=0.5.*cannot shrink"),
        ({"jitter": 1.5}, r"jitter=1.5.*between 0 and 1"),
        ({"jitter": -0.1}, r"jitter=-0.1.*between 0 and 1"),
        ({"jitter": float("nan")}, r"jitter=nan.*between 0 and 1"),
        ({"first_delay": "soon"}, r"Retry\(first_delay\) is 'soon'"),
        ({"max_delay": -1}, r"Retry\(max_delay\) is -1"),
    ],
)
def test_a_policy_that_makes_no_sense_is_an_error(options: dict[str, Any], text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        Retry(**options)


def test_durations_may_be_written_in_any_form() -> None:
    assert Retry(first_delay=0.5, max_delay=timedelta(minutes=5)).max_delay == timedelta(minutes=5)


def test_a_policy_is_a_value() -> None:
    assert Retry() == Retry(attempts=3)
    with pytest.raises(AttributeError):
        Retry().attempts = 5  # type: ignore[misc]


def test_one_attempt_is_no_retry() -> None:
    assert NO_RETRY.attempts == 1


def test_a_step_is_retried_unless_told_otherwise() -> None:
    assert StepOptions(name="charge").retry.attempts == 3
