"""A scenario as a file: readable JSON that a person may edit, and what is wrong with it if it cannot be carried out."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from stepwell.errors import DefinitionError
from stepwell.testing.simulator.plans import Again, Map, Plan, Seq
from stepwell.testing.simulator.scenarios import Scenario

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Scenario).decode


def scenario_json(scenario: Scenario) -> str:
    """In lines, for a file."""
    return msgspec.json.format(_encode(scenario), indent=2).decode() + "\n"


def parse_scenario(data: bytes, *, place: str) -> Scenario:
    """The scenario in a file called `place`; `DefinitionError` says what is wrong with it."""
    try:
        scenario = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        cure = "`stepwell sim` writes such files when it finds something"
        raise DefinitionError(f"{place} holds no scenario: {error}; {cure}") from None
    flaw = flaw_of(scenario)
    if flaw:
        raise DefinitionError(f"{place} holds a scenario that cannot be carried out: {flaw}")
    return scenario


def flaw_of(scenario: Scenario) -> str:
    """Why a scenario is none that can be carried out and judged; empty if it can."""
    return next(_flaws(scenario), "")


def _flaws(scenario: Scenario) -> Iterator[str]:
    settings = scenario.settings
    if settings.workers < 1 or len(settings.skews_ms) < settings.workers:
        yield f"{settings.workers} workers with {len(settings.skews_ms)} skews; each worker needs one in skews_ms"
    for fault in scenario.faults:
        worker = getattr(fault, "worker", 0)
        if not -1 <= worker < settings.workers:
            yield f"a fault of worker {worker}, but there are {settings.workers}, counted from 0"
    if not scenario.runs:
        yield "no runs"
    for script in scenario.runs:
        for text in _plan_flaws(script.plan, is_root=True):
            yield f"the plan of {script.id}: {text}"


def _plan_flaws(plan: Plan, *, is_root: bool = False) -> Iterator[str]:
    if isinstance(plan, Again):
        yield '"again" may only be the last of the "seq" that is the whole plan'
        return
    if isinstance(plan, Map) and plan.concurrency < 1:
        yield "a map with no concurrency"
    parts = parts_of(plan)
    if not parts and hasattr(plan, "plans"):
        yield "a branch without parts"
    if is_root and isinstance(plan, Seq) and parts and isinstance(parts[-1], Again):
        yield from _plan_flaws(parts[-1].plan, is_root=True)
        parts = parts[:-1]
    for part in parts:
        yield from _plan_flaws(part)


def parts_of(plan: Plan) -> tuple[Plan, ...]:
    """The plans right inside a plan, whatever its operation is."""
    parts: list[Plan] = []
    for name in plan.__struct_fields__:
        value = getattr(plan, name)
        members = value if isinstance(value, tuple) else (value,)
        parts += [member for member in members if isinstance(member, Struct)]  # type: ignore[misc]
    return tuple(parts)
