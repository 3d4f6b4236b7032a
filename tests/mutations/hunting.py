"""Seeds tried one after another, until one shows that something is wrong."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from stepwell.testing.simulator.processes import SimLoop
from stepwell.testing.simulator.scenarios import Scenario
from stepwell.testing.simulator.simulation import simulate
from tests.mutations.registry import Mutation

MAX_TURNS = 150_000
"""Turns of the loop that one simulation may take. Without a bug it takes a tenth at most."""
MAX_SECONDS = 20
"""The last resort, for a bug that makes a single turn endless."""


class EndlessError(KeyboardInterrupt):
    """A simulation that does not end. Nothing that runs in a loop stops this kind of exception on its way."""


class Found(Struct, frozen=True):
    """What a seed showed: after how many `seeds`, by whom, and in which words."""

    seeds: int
    by: str
    text: str


def hunt(mutation: Mutation, limit: int, *, start: int = 0) -> Found | None:
    """Try at most `limit` seeds from `start` on."""
    with mutation.applied():
        for seed in range(start, start + limit):
            found = look(mutation.scenario(seed), seed - start + 1)
            if found is not None:
                return found
    return None


def look(scenario: Scenario, seeds: int) -> Found | None:
    """What one simulation shows, if something."""
    try:
        with _bounded():
            violation = simulate(scenario).violation
    except EndlessError as error:
        return Found(seeds, "the bound", str(error))
    except Exception as error:
        return Found(seeds, type(error).__name__, str(error))
    if violation is None:
        return None
    return Found(seeds, f"invariant {violation.invariant}", str(violation))


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Within this, no simulation goes on for ever."""
    turns = 0
    run_once: Any = SimLoop._run_once  # type: ignore[attr-defined]

    def counted(loop: SimLoop) -> None:
        nonlocal turns
        turns += 1
        if turns > MAX_TURNS:
            raise EndlessError(f"goes on for {MAX_TURNS} turns of the loop")
        run_once(loop)

    def ring(number: int, frame: object) -> None:
        raise EndlessError(f"one turn of the loop goes on for {MAX_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(MAX_SECONDS)
    SimLoop._run_once = counted  # type: ignore[attr-defined]
    try:
        yield
    finally:
        SimLoop._run_once = run_once  # type: ignore[attr-defined]
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
