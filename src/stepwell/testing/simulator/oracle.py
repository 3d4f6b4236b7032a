"""Which results a plan may have when nothing goes wrong. Faults may change nothing about that.

A wait that races a timer, or tasks that race each other, have several right answers: any execution without faults that
is slow in the right places gives each of them. Everything else has one, up to the marks of executions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stepwell.testing.simulator.flowing import fits_graph, may_complete, may_fail
from stepwell.testing.simulator.ledger import MARK
from stepwell.testing.simulator.plans import (
    AWAY,
    Again,
    Away,
    Child,
    Collect,
    Do,
    Gather,
    Graph,
    Group,
    Limit,
    Map,
    Note,
    Plan,
    Race,
    Saga,
    Seq,
    Shield,
    Try,
    Wait,
)
from stepwell.testing.simulator.playing import ATTEMPTS

FOR_EVER = 100
"""From so many on, a step kills whoever runs it, and its run is dead in the end."""


def may_raise(plan: Plan) -> bool:
    """Whether it can fail."""
    match plan:
        case Do(fails=fails, limit_ms=limit_ms):
            return fails >= ATTEMPTS or fails < 0 or limit_ms > 0
        case Seq(plans=plans) | Gather(plans=plans):
            return any(may_raise(each) for each in plans)
        case Limit(plan=inner) | Saga(plan=inner) | Shield(plan=inner) | Again(plan=inner) | Away(plan=inner):
            return may_raise(inner)
        case Child(how="cancel" | "leave" | "abandon"):
            return False
        case Child(plan=inner):
            return may_raise(inner)
        case Graph():
            return may_fail(plan)
        case _:
            return False


def may_return(plan: Plan) -> bool:
    """Whether it can come to a value."""
    match plan:
        case Do(fails=fails, kills=kills):
            return fails < ATTEMPTS and kills < FOR_EVER
        case Seq(plans=plans) | Gather(plans=plans):
            return all(may_return(each) for each in plans)
        case Saga(plan=inner) | Shield(plan=inner) | Again(plan=inner) | Away(plan=inner):
            return may_return(inner)
        case Child(how="await" | "tell", plan=inner):
            return may_return(inner)
        case Graph():
            return may_complete(plan)
        case _:
            return True


def fits_run(plan: Plan, value: Any) -> bool:
    """Whether a run of this plan can answer this: as its last generation does."""
    return may_return(plan) and fits(last_generation(plan), value)


def fits_away(plan: Plan, value: Any) -> bool:
    """Whether a run of this plan can answer this whose body is elsewhere: beside the value, it says what it counted."""
    return isinstance(value, list) and len(value) == 3 and value[0] == AWAY and fits_run(plan, value[1])


def last_generation(plan: Plan) -> Plan:
    """The plan whose value is the run's."""
    if not isinstance(plan, Seq) or not plan.plans:
        return plan
    last = plan.plans[-1]
    if isinstance(last, Again):
        return last_generation(last.plan)
    inner = last_generation(last)
    return plan if inner is last else inner


def fits(plan: Plan, value: Any) -> bool:
    """Whether an execution without faults can answer this."""
    if not isinstance(value, list) or not value:
        return False
    kind, *rest = value
    match plan:
        case Do(label=label, fails=fails):
            return kind == "do" and fails < ATTEMPTS and _is_marked(label, rest)
        case Wait(source=source, ms=ms):
            if kind == "refused":
                return plan.token == "shared"
            if kind == "none":
                return ms is not None and rest == [source]
            return kind == "got" and len(rest) == 2 and rest[0] == source and isinstance(rest[1], str)
        case Map(count=count):
            return kind == "map" and len(rest) == count and all(_is_marked(f"m{i}", [v]) for i, v in enumerate(rest))
        case Collect(source=source, count=count):
            return kind == "collected" and len(rest) == count and all(item[:2] == ["got", source] for item in rest)
        case Note(key=key):
            return kind == "note" and rest[0] == key and isinstance(rest[2], bool)
        case Again():
            return False
        case _:
            return _branch_fits(plan, kind, rest)


def _branch_fits(plan: Plan, kind: str, rest: Sequence[Any]) -> bool:
    match plan:
        case Seq(plans=plans) | Gather(plans=plans):
            return kind == type(plan).__name__.lower() and _all_fit(plans, rest)
        case Group(plans=plans):
            if kind == "group failed":
                return any(may_raise(each) for each in plans)
            return kind == "group" and _all_fit(plans, rest)
        case Race(plans=plans):
            return kind == "race" and bool(rest) and all(_won(plans, item) for item in rest)
        case Shield(plan=inner):
            return fits(inner, [kind, *rest])
        case Limit(plan=inner):
            return kind == "late" or (kind == "in time" and fits(inner, rest[0]))
        case Try(plan=inner):
            return may_raise(inner) if kind == "failed" else kind == "fine" and fits(inner, rest[0])
        case Saga(plan=inner, fails=fails):
            return kind == "undone" if fails else kind == "saga" and fits(inner, rest[1])
        case Child() | Graph() | Away():
            return _child_fits(plan, kind, rest)
        case _:
            return kind == "slept"


def _child_fits(plan: Child | Graph | Away, kind: str, rest: Sequence[Any]) -> bool:
    if isinstance(plan, Away):
        return kind == "away" and len(rest) == 1 and fits_away(plan.plan, rest[0])
    if isinstance(plan, Graph):
        return kind == "graph" and len(rest) == 1 and fits_graph(plan, rest[0])
    match plan.how:
        case "await":
            return kind == "child" and fits_run(plan.plan, rest[0])
        case "cancel":
            if kind == "stopped":
                return rest[0] == "RunCancelledError" or may_raise(plan.plan)
            return kind == "child" and fits_run(plan.plan, rest[0])
        case "tell":
            return kind == "told" and fits_run(Seq((Wait("ping", 20_000), plan.plan)), rest[1])
        case _:
            return kind == "started"


def _all_fit(plans: Sequence[Plan], values: Sequence[Any]) -> bool:
    return len(plans) == len(values) and all(map(fits, plans, values))


def _won(plans: Sequence[Plan], item: Any) -> bool:
    index, value = item
    return may_raise(plans[index]) if value == "raised" else fits(plans[index], value)


def _is_marked(label: str, values: Sequence[Any]) -> bool:
    return len(values) == 1 and isinstance(values[0], str) and MARK.sub("", values[0]) == label
