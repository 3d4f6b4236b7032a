"""Blueprints of few nodes, played in virtual time."""

from __future__ import annotations

from typing import Any

from stepwell import Blueprint
from stepwell.testing import StepwellTest
from stepwell.testing.outcomes import TestRun


def play(flow: Blueprint[Any, Any], input: Any = None, **setup: Any) -> TestRun[Any]:
    """What a run of it comes to, in a world of its own."""
    with StepwellTest(**setup) as test:
        return test.run_sync(flow, input)


def one(implementation: Any, **options: Any) -> Blueprint[Any, Any]:
    """A blueprint of this node."""
    return Blueprint[Any, Any]("one").node("it", implementation, uses="it", **options)
