"""The simulator: seeds pass, chance is theirs alone, faults do what they say, and what is wrong is seen."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from stepwell.backends.memory.side import MemoryBlobs
from stepwell.backends.memory.world import World
from stepwell.model.entries import Ended, Entry, Frame, FrameCodec, StepCompleted
from stepwell.model.failures import NULL
from stepwell.model.ids import Claim, CommandId, RunId
from stepwell.model.runs import Head
from stepwell.ports import NewRun
from stepwell.testing.simulator.campaign import Seeds, Tried, campaign, try_seed
from stepwell.testing.simulator.journals import Journal
from stepwell.testing.simulator.plans import Do, Gather, Note, Plan, Seq, Sleep, Wait
from stepwell.testing.simulator.reports import plan_text, report, story
from stepwell.testing.simulator.scenarios import (
    Action,
    Bells,
    Crash,
    Cut,
    Drain,
    Fault,
    Flaky,
    Freeze,
    Full,
    Jump,
    RunScript,
    Scenario,
    Settings,
    Slow,
    poison_scenario,
    random_scenario,
)
from stepwell.testing.simulator.shrinking import shrink, tried
from stepwell.testing.simulator.simulation import Verdict, simulate

ROOT = Path(__file__).parents[2]
FINGERPRINTS = """
import sys
from stepwell.testing.simulator.scenarios import random_scenario
from stepwell.testing.simulator.simulation import simulate
for seed in map(int, sys.argv[1:]):
    print(seed, simulate(random_scenario(seed)).fingerprint)
"""
_TRIES = 100
"""As many as a busy machine has time for: a test that takes two minutes ends all of them, and says nothing."""
TWO_STEPS = Seq((Do("a", 12_000), Do("b")))


# --- seeds


def _ensure_all_hold(seeds: range) -> None:
    for seed in seeds:
        if try_seed(seed).finding is not None:
            verdict = tried(random_scenario(seed))
            assert verdict.violation is not None
            smallest = tried(shrink(verdict.scenario, verdict.violation, tries=_TRIES), keeps_log=True)
            lines = [f"replay it: stepwell sim --seed {seed} (these seeds began with {seeds.start})"]
            pytest.fail("\n".join(lines + report(smallest)), pytrace=False)


@pytest.mark.parametrize("first", range(0, 300, 100))
def test_all_invariants_hold_for_fixed_seeds(first: int) -> None:
    _ensure_all_hold(range(first, first + 100))


@pytest.mark.parametrize("part", range(2))
def test_all_invariants_hold_for_random_seeds(part: int) -> None:
    first = secrets.randbelow(1_000_000_000)

    _ensure_all_hold(range(first, first + 100))


def test_the_same_seed_does_the_same_in_any_process_and_order() -> None:
    def fingerprints(hash_seed: str, seeds: range) -> list[str]:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT / "src")}
        words = [sys.executable, "-c", FINGERPRINTS, *map(str, seeds)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        return sorted(done.stdout.splitlines())

    assert fingerprints("1", range(30)) == fingerprints("2", range(29, -1, -1))


def test_another_seed_does_something_else() -> None:
    prints = {simulate(random_scenario(seed)).fingerprint for seed in range(5)}

    assert len(prints) == 5


# --- campaigns


def _campaign(seeds: Seeds) -> list[Tried]:
    async def carried_out() -> list[Tried]:
        return [one async for one in campaign(seeds)]

    return asyncio.run(carried_out())


def test_a_campaign_tries_each_seed_once_over_several_processes() -> None:
    found = _campaign(Seeds(first=5, count=7, jobs=2))

    assert sorted(one.seed for one in found) == list(range(5, 12))
    assert {one.seed: one for one in found}[7] == try_seed(7)


def test_a_seed_that_takes_too_long_fails_and_the_others_go_on() -> None:
    found = _campaign(Seeds(first=0, count=2, limit_s=0.000_1, failures=5))

    assert [one.seed for one in found] == [0, 1]
    for one in found:
        assert one.finding is not None
        assert one.finding.text.startswith("the simulation hangs; its last words:\nTimeout")


def test_a_campaign_stops_when_enough_have_failed() -> None:
    found = _campaign(Seeds(first=0, count=1_000, limit_s=0.000_1, failures=2))

    assert len(found) == 2


# --- faults


def _verdict(*faults: Fault, plan: Plan = TWO_STEPS, workers: int = 1, seed: int = 1) -> Verdict:
    settings = Settings(workers=workers, latency_ms=5)
    verdict = simulate(
        Scenario(seed=seed, settings=settings, runs=(RunScript("r0", 0, plan),), faults=faults), keeps_log=True
    )
    assert verdict.violation is None
    return verdict


def _writers(verdict: Verdict) -> int:
    return len({frame.by for frame in verdict.journals[RunId("r0")].frames})


def _says(verdict: Verdict, text: str) -> bool:
    return any(text in line for line in verdict.log)


def test_without_faults_each_step_runs_once() -> None:
    verdict = _verdict()

    assert verdict.steps == 2
    assert verdict.log == []


@pytest.mark.parametrize("fault", [Crash(0, 5_000, 0, 2_000), Drain(0, 5_000)], ids=lambda fault: type(fault).__name__)
def test_a_worker_that_goes_is_followed_by_another_one(fault: Fault) -> None:
    verdict = _verdict(fault)

    assert verdict.steps == 3
    assert _writers(verdict) == _writers(_verdict()) + 1


def test_a_frozen_worker_becomes_a_zombie_that_changes_nothing() -> None:
    zombies = 0
    for seed in range(8):
        verdict = _verdict(Freeze(1, 5_000, 40_000), workers=2, seed=seed)
        if verdict.steps > 2:  # that worker had the run
            zombies += 1
            assert _writers(verdict) == _writers(_verdict(workers=2, seed=seed)) + 1
            assert verdict.log
    assert zombies


def test_slow_calls_cost_time() -> None:
    assert _verdict(Slow(0, 0, 60_000, 500)).virtual_ms > _verdict().virtual_ms


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (Cut(0, 5_000, 15_000, False), "does not reach the backend"),
        (Cut(0, 5_000, 15_000, True), "is lost, on purpose"),
        (Full(5_000, 20_000), "does not reach the backend"),
        (Flaky(0, 60_000, "before", 0.3), "does not reach the backend"),
        (Flaky(0, 60_000, "after", 0.3), "is lost, on purpose"),
    ],
    ids=["cut", "unanswered", "full", "before", "after"],
)
def test_calls_that_fail_are_complained_of_and_repeated(fault: Fault, complaint: str) -> None:
    verdict = _verdict(fault)

    assert _says(verdict, complaint)
    assert _says(verdict, "the backend answers again")


@pytest.mark.parametrize("how", ["twice", "late"])
def test_calls_that_happen_again_change_nothing(how: str) -> None:
    calm, verdict = _verdict(), _verdict(Flaky(0, 60_000, how, 1.0))

    assert verdict.steps == calm.steps
    assert verdict.fingerprint != calm.fingerprint


def test_a_late_call_does_not_create_a_run_that_has_been_deleted() -> None:
    run = RunScript("r0", 0, Do("a"), (Action(1_000, "delete"),))
    for seed in range(8):
        late = Flaky(0, 200, "late", 1.0)
        verdict = simulate(Scenario(seed=seed, settings=Settings(workers=1), runs=(run,), faults=(late,)))
        assert (verdict.violation, verdict.journals) == (None, {})


def test_calls_may_kill_their_process() -> None:
    assert _verdict(Flaky(0, 60_000, "dies", 0.3)).steps > 2


def test_the_backends_clock_may_jump_over_a_timer() -> None:
    verdict = _verdict(Jump(-1, 5_000, 3_600_000), plan=Sleep(45_000))

    assert verdict.virtual_ms > 3_600_000


def test_lost_doorbells_cost_time_and_nothing_else() -> None:
    actions = (Action(1_500, "signal", "ping"),)

    def ended_at(*faults: Fault) -> int:
        run = RunScript("r0", 0, Wait("ping"), actions)
        verdict = simulate(Scenario(seed=1, settings=Settings(latency_ms=5), runs=(run,), faults=faults))
        assert verdict.violation is None
        return verdict.journals[RunId("r0")].frames[-1].at

    assert ended_at(Bells(0, 60_000, 1.0, 0.0, 0.0)) >= ended_at()


def test_a_run_that_kills_its_workers_ends_dead_and_hurts_no_other() -> None:
    verdict = simulate(poison_scenario(1))

    assert verdict.violation is None
    bad, good = verdict.journals[RunId("bad")], verdict.journals[RunId("good")]
    assert bad.ended is not None
    assert bad.ended.status == "dead"
    assert good.ended is not None
    assert good.ended.status == "completed"
    assert verdict.steps < 30


def test_a_run_that_killed_its_workers_still_tells_what_it_noted() -> None:
    verdict = _verdict(plan=Seq((Note("x"), Do("a"), Do("b", kills=1_000))))
    ended = verdict.journals[RunId("r0")].ended

    assert verdict.violation is None
    assert ended is not None
    assert ended.status == "dead"


# --- what is wrong is seen


def _complaints(*frames: tuple[int, str, tuple[Entry, ...]]) -> list[str]:
    """What is said of a journal to which these frames (at, by, entries) are added."""
    heard: list[str] = []
    created = _verdict().journals[RunId("r0")].frames[0]
    head = Head(id=RunId("r0"), workflow="play", created_at=created.at)
    new = NewRun(head=head, frames=(FrameCodec.encode(created),))
    journal = Journal(new, MemoryBlobs(World()), lambda invariant, _, text: heard.append(f"{invariant}: {text}"))
    for at, by, entries in frames:
        journal.add(FrameCodec.encode(Frame(created.at + at, Claim(by), entries)))
    return heard


STEP = StepCompleted(id=CommandId("act"))
AGAIN = StepCompleted(id=CommandId("act"), attempt=2)
END = Ended(status="completed", value=NULL)


def test_a_good_journal_is_not_complained_of() -> None:
    assert _complaints((1, "a", (STEP,)), (2, "a", (END,))) == []


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        ([(5, "a", (STEP,)), (4, "a", (END,))], "1: frame 3: time goes back"),
        ([(1, "a", (STEP,)), (2, "a", (STEP,))], "2: frame 3: step act has a second outcome"),
        ([(1, "a", (END,)), (2, "a", (STEP,))], "5: frame 3: StepCompleted comes after the end"),
        ([(1, "a", (STEP,)), (2, "b", ()), (3, "a", ())], "6: frame 4: a writes again, after b has written"),
        ([(1, "a", (AGAIN,))], "2: frame 2: attempt 2 of step act follows"),
    ],
)
def test_frames_that_break_a_rule_are_seen(frames: list[tuple[int, str, tuple[Entry, ...]]], complaint: str) -> None:
    heard = _complaints(*frames)

    assert len(heard) == 1
    assert heard[0].startswith(complaint)


# --- telling


def test_a_story_is_told_in_order_of_time() -> None:
    run = RunScript(
        "r0", 500, Seq((Do("a", 3_000, fails=1), Gather((Wait("ping", 40), Sleep(7))))), (Action(900, "pause"),)
    )
    scenario = Scenario(seed=1, settings=Settings(skews_ms=(0, -300, 0)), runs=(run,), faults=(Freeze(1, 700, 15_000),))

    assert story(scenario) == [
        "     always  2 workers, leases of 10s, calls take up to 20ms; clocks are off: worker 1 by -300 ms",
        "    0.500 s  a client starts r0, which does: seq (do a 3s fails=1, gather (wait ping 40ms, sleep 7ms))",
        "    0.700 s  worker 1 is frozen for 15s",
        "    1.400 s  a client asks to pause r0",
    ]


@pytest.mark.parametrize("seed", range(60))
def test_every_scenario_can_be_told(seed: int) -> None:
    scenario = random_scenario(seed)

    lines = story(scenario)

    assert len(lines) == 1 + len(scenario.faults) + sum(1 + len(run.actions) for run in scenario.runs)
    assert all(plan_text(run.plan) in "\n".join(lines) for run in scenario.runs)
