"""Scenarios become smaller, and stay scenarios in which the same goes wrong."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from stepwell import DefinitionError
from stepwell.backends.memory.store import MemoryStore
from stepwell.ports import Park
from stepwell.testing.simulator.files import flaw_of, parse_scenario, parts_of, scenario_json
from stepwell.testing.simulator.plans import Again, Child, Do, Gather, Map, Plan, Race, Seq, Sleep, Wait
from stepwell.testing.simulator.scenarios import (
    Action,
    Bells,
    Crash,
    Freeze,
    RunScript,
    Scenario,
    Settings,
    random_scenario,
)
from stepwell.testing.simulator.shrinking import BROKEN, Judge, shrink, text_of, tried, violation_of
from stepwell.testing.simulator.witness import Violation

LARGE = Scenario(
    seed=1,
    settings=Settings(workers=3, latency_ms=400, cached_runs=2),
    runs=(
        RunScript(
            "r0", 0, Seq((Do("a", 50), Child(Seq((Sleep(1), Do("b"))), "cancel"), Sleep(300))), (Action(900, "look"),)
        ),
        RunScript("r1", 500, Gather((Do("a"), Map(2, 1))), (Action(0, "pause"), Action(5_000, "resume"))),
    ),
    faults=(Freeze(2, 60_000, 3_000), Bells(0, 200, 0.5, 0.0, 0.5)),
)
SMALL = Scenario(seed=1, settings=Settings(), runs=(RunScript("r0", 0, Do("a")),))


def _judge(*needed: str) -> Judge:
    """Something is wrong where these words are."""
    found = Violation(7, "r0", "goes wrong")
    return lambda scenario: found if all(word in scenario_json(scenario) for word in needed) else None


def _first(judge: Judge, scenarios: Iterable[Scenario]) -> tuple[Scenario, Violation]:
    for scenario in scenarios:
        violation = judge(scenario)
        if violation is not None:
            return scenario, violation
    raise AssertionError("no seed has it")


def _plans(plan: Plan) -> list[Plan]:
    return [plan, *(inner for part in parts_of(plan) for inner in _plans(part))]


@pytest.fixture
def parks_blindly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that lets a run go although it has mail."""
    park = MemoryStore.park

    async def blindly(store: MemoryStore, parks: list[Park]) -> object:
        return await park(store, [replace(each, mail=None) for each in parks])

    monkeypatch.setattr(MemoryStore, "park", blindly)


def test_only_what_the_failure_needs_is_left() -> None:
    judge = _judge('"saga"', '"freeze"')
    scenario, violation = _first(judge, map(random_scenario, range(10_000)))

    smallest = shrink(scenario, violation, tries=2_000, judge=judge)

    (script,) = smallest.runs
    assert len(_plans(script.plan)) == 2
    assert script.actions == ()
    assert smallest.faults == (Freeze(0, 0, 0),)
    assert smallest.settings == Settings(workers=1, latency_ms=0)


def test_a_real_violation_is_made_smaller(parks_blindly: None) -> None:
    scenario, violation = _first(violation_of, (replace(LARGE, seed=seed) for seed in range(200)))

    smallest = shrink(scenario, violation)

    found = violation_of(smallest)
    assert found is not None
    assert found.invariant == violation.invariant
    assert len(smallest.runs) == 1
    assert smallest.faults == ()


def test_the_same_question_has_the_same_answer(parks_blindly: None) -> None:
    scenario, violation = _first(violation_of, (replace(LARGE, seed=seed) for seed in range(200)))

    assert shrink(scenario, violation, tries=60) == shrink(scenario, violation, tries=60)


def test_tries_are_bounded_and_told() -> None:
    judge, told = _judge('"do"'), list[int]()
    scenario, violation = _first(judge, map(random_scenario, range(10_000)))

    shrink(scenario, violation, tries=7, judge=judge, on_try=lambda number, _: told.append(number))

    assert told == [1, 2, 3, 4, 5, 6, 7]


def test_what_cannot_be_smaller_stays() -> None:
    smallest = replace(SMALL, settings=Settings(workers=1, latency_ms=0))

    assert shrink(smallest, Violation(7, "r0", "goes wrong"), judge=_judge()) == smallest


def test_another_violation_does_not_count() -> None:
    def judge(scenario: Scenario) -> Violation:
        is_whole = scenario == SMALL
        return Violation(7, "r0", "goes wrong") if is_whole else Violation(7, "r0", "fails for another reason")

    assert shrink(SMALL, Violation(7, "r0", "goes wrong"), judge=judge) == SMALL


def test_another_seed_is_tried_where_the_own_one_does_not_do() -> None:
    def judge(scenario: Scenario) -> Violation | None:
        return Violation(7, "r0", "goes wrong") if len(scenario.runs) == 2 or scenario.seed == 2 else None

    scenario = replace(SMALL, runs=(*SMALL.runs, RunScript("r1", 0, Do("b"))))
    smallest = shrink(scenario, Violation(7, "r0", "goes wrong"), judge=judge)

    assert (smallest.seed, len(smallest.runs)) == (2, 1)


def test_only_scenarios_that_can_be_carried_out_are_tried() -> None:
    flaws = []

    def judge(scenario: Scenario) -> Violation:
        flaws.append(flaw_of(scenario))
        return Violation(7, "r0", "goes wrong")

    for seed in range(60):
        shrink(random_scenario(seed), Violation(7, "r0", "goes wrong"), tries=60, judge=judge)

    assert len(flaws) > 500
    assert set(flaws) == {""}


def test_faults_of_workers_that_are_gone_strike_another() -> None:
    scenario = replace(SMALL, faults=(Crash(1, 0, 0, 1),))

    smallest = shrink(scenario, Violation(7, "r0", "goes wrong"), judge=_judge('"crash"'))

    assert smallest.settings.workers == 1
    assert smallest.faults == (Crash(0, 0, 0, 1),)


def test_a_simulation_that_breaks_is_a_verdict() -> None:
    broken = replace(SMALL, settings=replace(SMALL.settings, skews_ms=()))

    violation = tried(broken).violation

    assert violation is not None
    assert violation.invariant == BROKEN
    assert text_of(violation).startswith("the simulation itself failed: ValueError")


@pytest.mark.parametrize("seed", range(20))
def test_scenarios_go_to_files_and_back(seed: int) -> None:
    scenario = random_scenario(seed)

    assert parse_scenario(scenario_json(scenario).encode(), place="x.json") == scenario


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "x.json holds no scenario: Input data was truncated"),
        ("{}", "missing required field `seed`"),
        (
            scenario_json(SMALL).replace('"workers": 2', '"workers": 4'),
            "4 workers with 3 skews; each worker needs one in skews_ms",
        ),
        (scenario_json(replace(SMALL, runs=())), "no runs"),
        (
            scenario_json(replace(SMALL, faults=(Freeze(2, 0, 0),))),
            "a fault of worker 2, but there are 2, counted from 0",
        ),
        (
            scenario_json(replace(SMALL, runs=(RunScript("r0", 0, Seq((Again(Do("a")), Do("b")))),))),
            'the plan of r0: "again" may only be the last of a "seq" that ends its run',
        ),
        (scenario_json(replace(SMALL, runs=(RunScript("r0", 0, Again(Do("a"))),))), '"again" stands alone'),
        (scenario_json(replace(SMALL, runs=(RunScript("r0", 0, Do("a", kills=50)),))), "a step that kills 50 workers"),
        (scenario_json(replace(SMALL, runs=(RunScript("r0", 0, Race(())),))), "a branch without parts"),
        (scenario_json(replace(SMALL, runs=(RunScript("r0", 0, Map(1, 0)),))), "a map with no concurrency"),
    ],
)
def test_a_file_that_cannot_be_carried_out_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        parse_scenario(text.encode(), place="x.json")

    assert complaint in str(refused.value)


def test_a_generation_may_follow_at_the_end_of_the_whole_plan() -> None:
    child = Child(Seq((Do("a"), Again(Do("b")))), "await")
    plan = Seq((Sleep(1), Again(Seq((Wait("ping"), Seq((Do("a"), Again(child))))))))

    assert flaw_of(replace(SMALL, runs=(RunScript("r0", 0, plan),))) == ""
