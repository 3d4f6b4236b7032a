"""Makes a scenario smaller, as long as the same thing goes wrong in it.

It knows the form of scenarios, not their operations: a branch may become one of its parts, whatever it does with them;
a member of any tuple may go; any number may come nearer to its floor. So a new operation, fault or setting is shrunk
without a line here. What a generator would never make is thrown away by `files.flaw_of` before it is tried.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from stepwell.testing.simulator.files import flaw_of, parts_of, scenario_json
from stepwell.testing.simulator.plans import Do, Plan
from stepwell.testing.simulator.scenarios import Fault, RunScript, Scenario, Settings
from stepwell.testing.simulator.simulation import Verdict, simulate
from stepwell.testing.simulator.witness import Violation

S = TypeVar("S", bound=Struct)
V = TypeVar("V")
Judge = Callable[[Scenario], Violation | None]

TRIES = 400
BROKEN = 0
"""Stands for the invariant when the simulation itself failed."""

_OTHER_SEEDS = (1, 2, 3)
_SIMPLEST = {"latency_ms": 0, "workers": 1}
_KEPT = frozenset({"worker", "seed"})
"""Numbers that are names."""
_FLOORS = {"concurrency": 1, "down_ms": 1, "size": 1}
"""What a number may not be less than; all others end at 0."""
_FLOOR_OF_WAITS = 1
_FRAME = re.compile(r"^frame \d+: ")


def tried(scenario: Scenario, *, keeps_log: bool = False) -> Verdict:
    """`simulate`, for scenarios that may do anything: a simulation that breaks is a verdict too."""
    try:
        return simulate(scenario, keeps_log=keeps_log)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = f"the simulation itself failed: {type(error).__name__}: {error} ({last.filename}:{last.lineno})"
        broken = Violation(BROKEN, "-", text)
        return Verdict(scenario=scenario, violation=broken, journals={}, calls=0, steps=0, virtual_ms=0, log=[])


def violation_of(scenario: Scenario) -> Violation | None:
    """What is wrong in a scenario."""
    return tried(scenario).violation


def shrink(
    scenario: Scenario,
    violation: Violation,
    *,
    tries: int = TRIES,
    judge: Judge = violation_of,
    on_try: Callable[[int, Scenario], object] | None = None,
) -> Scenario:
    """The smallest scenario found within so many tries in which the same kind of thing goes wrong.

    `judge` carries scenarios out. `on_try` hears the number of each try, and the best scenario so far. The same
    question has the same answer.
    """
    search = _Search(scenario, violation, tries, judge)
    search.on_try = on_try
    # What is not written down in a scenario is drawn from its seed, so another seed may do where this one does not.
    while search.improves() or any(search.improves(seed) for seed in _OTHER_SEEDS):
        pass
    return search.best


class _Search:
    def __init__(self, scenario: Scenario, violation: Violation, tries: int, judge: Judge) -> None:
        self.best = scenario
        self.on_try: Callable[[int, Scenario], object] | None = None
        self._kind = _kind(violation)
        self._left = self._tries = tries
        self._judge = judge
        self._seen = {scenario_json(scenario)}

    def improves(self, seed: int | None = None) -> bool:
        """Whether some smaller scenario will do, then it is the best. With another seed, only large cuts are tried."""
        cuts = _cuts(self.best)
        candidates = chain(cuts, _trims(self.best)) if seed is None else (replace(cut, seed=seed) for cut in cuts)
        for smaller in candidates:
            if self._left <= 0:
                return False
            if self._fails(smaller):
                return True
        return False

    def _fails(self, scenario: Scenario) -> bool:
        key = scenario_json(scenario)
        if key in self._seen or flaw_of(scenario):
            return False
        self._seen.add(key)
        self._left -= 1
        violation = self._judge(scenario)
        is_same = violation is not None and _kind(violation) == self._kind
        if is_same:
            self.best = scenario
        if self.on_try is not None:
            self.on_try(self._tries - self._left, self.best)
        return is_same


def text_of(violation: Violation) -> str:
    """What is wrong, without number and run."""
    return str(violation).removeprefix(f"invariant {violation.invariant}, run {violation.run}: ")


def _kind(violation: Violation) -> tuple[int, str]:
    """What makes two violations the same for shrinking: number, and how the sentence begins."""
    return violation.invariant, _FRAME.sub("", text_of(violation)).partition(" ")[0]


# --- what is smaller than a scenario, the largest cuts first


def _cuts(scenario: Scenario) -> Iterator[Scenario]:
    """With fewer members of anything."""
    for runs in _fewer(scenario.runs, least=1):
        yield replace(scenario, runs=runs)
    for faults in _fewer(scenario.faults):
        yield replace(scenario, faults=faults)
    yield from _each(scenario, "runs", _with_fewer_actions)
    yield from _each(scenario, "runs", _with_smaller_plan)


def _trims(scenario: Scenario) -> Iterator[Scenario]:
    """With the same members, simpler."""
    yield from _simpler_settings(scenario)
    yield from _each(scenario, "faults", _smaller_numbers)
    yield from _each(scenario, "runs", _with_smaller_numbers)


def _fewer(members: tuple[V, ...], *, least: int = 0) -> Iterator[tuple[V, ...]]:
    """Without all, without half of them, without each."""
    count = len(members)
    if count > least == 0:
        yield ()
    if count > 3:
        yield members[: count // 2]
        yield members[count // 2 :]
    if count > max(least, 1):
        yield from (members[:i] + members[i + 1 :] for i in range(count))


def _each(whole: S, field: str, smaller: Callable[[Any], Iterator[Any]]) -> Iterator[S]:
    """With one member of a tuple smaller."""
    members: tuple[Any, ...] = getattr(whole, field)
    for i, member in enumerate(members):
        for less in smaller(member):
            yield replace(whole, **{field: (*members[:i], less, *members[i + 1 :])})


def _with_fewer_actions(script: RunScript) -> Iterator[RunScript]:
    for actions in _fewer(script.actions):
        yield replace(script, actions=actions)


def _with_smaller_plan(script: RunScript) -> Iterator[RunScript]:
    for plan in _smaller_plans(script.plan):
        yield replace(script, plan=plan)


def _smaller_plans(plan: Plan) -> Iterator[Plan]:
    """Its parts, a plain step, fewer members, and the same inside."""
    parts = parts_of(plan)
    yield from parts
    if parts:
        yield Do("a")
    for field in plan.__struct_fields__:
        value = getattr(plan, field)
        if isinstance(value, Struct):
            yield from (replace(plan, **{field: less}) for less in _smaller_plans(value))  # type: ignore[arg-type]
        elif isinstance(value, tuple):
            yield from (replace(plan, **{field: fewer}) for fewer in _fewer(value, least=1))
            yield from _each(plan, field, _smaller_plans)


def _simpler_settings(scenario: Scenario) -> Iterator[Scenario]:
    usual = Settings()
    for field in Settings.__struct_fields__:
        simplest = _SIMPLEST.get(field, getattr(usual, field))
        value = getattr(scenario.settings, field)
        if value != simplest:
            is_nothing = not (any(simplest) if isinstance(simplest, tuple) else simplest)
            for simpler in (simplest, *(_less(value) if is_nothing else ())):
                settings = replace(scenario.settings, **{field: simpler})
                faults = tuple(_of_worker(fault, settings.workers) for fault in scenario.faults)
                yield replace(scenario, settings=settings, faults=faults)


def _of_worker(fault: Fault, workers: int) -> Fault:
    worker = getattr(fault, "worker", 0)
    return replace(fault, worker=worker % workers) if worker >= workers else fault


def _with_smaller_numbers(script: RunScript) -> Iterator[RunScript]:
    yield from (replace(script, at=at) for at in _nearer(script.at, 0))
    after = 0
    for i, action in enumerate(script.actions):
        for at in _nearer(action.at, after):
            earlier = replace(action, at=at)
            yield replace(script, actions=(*script.actions[:i], earlier, *script.actions[i + 1 :]))
        after = action.at
    yield from (replace(script, plan=plan) for plan in _smaller_numbers(script.plan))


def _smaller_numbers(whole: S) -> Iterator[S]:
    """With one number, here or inside, nearer to its floor; and what is set, unset."""
    for field in whole.__struct_fields__:
        floor = _FLOOR_OF_WAITS if hasattr(whole, "source") else _FLOORS.get(field, 0)
        if field not in _KEPT:
            yield from (replace(whole, **{field: less}) for less in _less(getattr(whole, field), floor))


def _less(value: Any, floor: int = 0) -> Iterator[Any]:
    match value:
        case bool():
            yield from (False,) * value
        case int():
            yield from _nearer(value, floor)
        case Struct():
            yield from _smaller_numbers(value)
        case tuple():
            for i, member in enumerate(value):
                yield from ((*value[:i], less, *value[i + 1 :]) for less in _less(member))


def _nearer(value: int, floor: int) -> Iterator[int]:
    """The floor, half way to it, and a rounder number; negative ones come from below."""
    if value < 0:
        yield from (-less for less in _nearer(-value, 0))
        return
    half, round_ms = floor + (value - floor) // 2, value // 1000 * 1000
    yield from (less for less in dict.fromkeys((floor, half, round_ms)) if floor <= less < value)
