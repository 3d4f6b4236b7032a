"""Seeds tried one after another, until one shows that something is wrong."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from stepwell.testing.simulator.processes import SimLoop
from stepwell.testing.simulator.simulation import simulate
from tests.mutations.loops import LOOPS, look_at_play, prepare
from tests.mutations.registry import Mutation
from tests.mutations.weather import WEATHERS

MAX_TURNS = 60_000
"""Turns of the loop that one simulation may take. Without a bug it takes a quarter at most."""
MAX_SECONDS = 10
"""The last resort, for a bug that makes a single turn endless."""


OVER = ("", "")


class EndlessError(KeyboardInterrupt):
    """A simulation that does not end. Nothing that runs in a loop stops this kind of exception on its way."""


class Found(Struct, frozen=True):
    """What a seed showed: in which weather, after how many `seeds`, by whom, and in which words."""

    weather: str
    seeds: int
    by: str
    text: str


def hunt(mutation: Mutation, limit: int, weathers: Sequence[str] = ("random",)) -> Found | None:
    """Try the first `limit` seeds of each weather, turn by turn; what shows something first."""
    for weather in weathers:
        if weather in LOOPS:
            prepare(weather)
    left = list(weathers)
    with mutation.applied():
        for seed in range(limit):
            for weather in list(left):
                found = look(weather, seed)
                if found == OVER:
                    left.remove(weather)
                elif found is not None:
                    return Found(weather, seed + 1, *found)
    return None


def look(weather: str, seed: int) -> tuple[str, str] | None:
    """What one seed shows, if something: by whom it was found, and in which words. `OVER`: there are no more seeds."""
    try:
        with _bounded():
            return _played(weather, seed) if weather in LOOPS else _simulated(weather, seed)
    except EndlessError as error:
        return "the bound", str(error)
    except Exception as error:
        return type(error).__name__, str(error)


def _simulated(weather: str, seed: int) -> tuple[str, str] | None:
    violation = simulate(WEATHERS[weather](seed)).violation
    if violation is None:
        return None
    return f"invariant {violation.invariant}", str(violation).partition(": ")[2]


def _played(weather: str, seed: int) -> tuple[str, str] | None:
    wrong = look_at_play(weather, seed)
    if wrong is None:
        return OVER
    return ("the n-th failure loop", wrong) if wrong else None


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
        raise EndlessError(f"goes on for {MAX_SECONDS} s of real time")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(MAX_SECONDS)
    SimLoop._run_once = counted  # type: ignore[attr-defined]
    try:
        yield
    finally:
        SimLoop._run_once = run_once  # type: ignore[attr-defined]
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
