"""A scenario as a file: readable JSON that a person may edit, and what is wrong with it if it cannot be carried out."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from stepwell.errors import DefinitionError
from stepwell.testing.simulator.plans import (
    AWAY,
    GRAPH,
    UP,
    Again,
    Away,
    Child,
    Collect,
    Do,
    Gather,
    Graph,
    Limit,
    Map,
    Note,
    Plan,
    Race,
    Saga,
    Seq,
    Sleep,
    Try,
    Wait,
)
from stepwell.testing.simulator.scenarios import Scenario

_FEW_KILLS = 2
_ENDLESS_KILLS = 100

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
        if script.workflow == GRAPH and not isinstance(script.plan, Graph):
            yield f'the plan of {script.id} is no "graph", as its workflow says'
        if isinstance(script.plan, Again):
            yield f'the plan of {script.id}: "again" stands alone; put it last in a "seq"'
        flaws = away_flaws(script.plan) if script.workflow == AWAY else _plan_flaws(script.plan, is_last=True)
        for text in flaws:
            yield f"the plan of {script.id}: {text}"


def _plan_flaws(plan: Plan, *, is_last: bool = False) -> Iterator[str]:
    """`is_last`: nothing of its run comes after it."""
    parts = parts_of(plan)
    if not parts and hasattr(plan, "plans"):
        yield "a branch without parts"
    if isinstance(plan, Graph) and plan.size < 1:
        yield "a graph without nodes"
    if isinstance(plan, Map) and plan.concurrency < 1:
        yield "a map with no concurrency"
    if isinstance(plan, Do) and _FEW_KILLS < plan.kills < _ENDLESS_KILLS:
        yield f"a step that kills {plan.kills} workers: say at most {_FEW_KILLS}, or {_ENDLESS_KILLS} to have it dead"
    if isinstance(plan, Note) and plan.to:
        yield 'a "note" to another run: only a body elsewhere makes one'
    if isinstance(plan, Away):
        yield from away_flaws(plan.plan)
        return
    for number, part in enumerate(parts, 1):
        ends = isinstance(plan, Child | Again) or (isinstance(plan, Seq) and is_last and number == len(parts))
        if isinstance(part, Again) and not (ends and isinstance(plan, Seq)):
            yield '"again" may only be the last of a "seq" that ends its run'
        yield from _plan_flaws(part, is_last=ends)


def away_flaws(plan: Plan) -> Iterator[str]:
    """What a body elsewhere cannot do."""
    if isinstance(plan, Child | Away) and getattr(plan, "how", "await") in ("await", "abandon"):
        yield from _plan_flaws(plan, is_last=True)
        return
    if not _is_possible_away(plan):
        yield f"a body elsewhere cannot do {plan}"
    if not parts_of(plan) and hasattr(plan, "plans"):
        yield "a branch without parts"
    for part in parts_of(plan):
        yield from away_flaws(part)


def _is_possible_away(plan: Plan) -> bool:
    match plan:
        case Note(key=key, to=to):
            return to in ("parent", "root") if key == UP else not to
        case Do(limit_ms=limit_ms, kills=kills):
            return not limit_ms and kills <= _FEW_KILLS
        case Wait(token=token):
            return not token
        case _:
            return isinstance(plan, Sleep | Collect | Seq | Gather | Race | Limit | Try | Saga)


def parts_of(plan: Plan) -> tuple[Plan, ...]:
    """The plans right inside a plan, whatever its operation is."""
    parts: list[Plan] = []
    for name in plan.__struct_fields__:
        value = getattr(plan, name)
        members = value if isinstance(value, tuple) else (value,)
        parts += [member for member in members if isinstance(member, Struct)]  # type: ignore[misc]
    return tuple(parts)
