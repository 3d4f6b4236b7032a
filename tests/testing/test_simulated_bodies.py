"""Bodies elsewhere in the simulator: the worker that carries them out, what it suffers from, and who sees mistakes."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from stepwell.backends.memory.side import MemoryBlobs
from stepwell.backends.memory.world import World
from stepwell.engine.remote.calls import Answer, WaitRequest
from stepwell.model.entries import (
    AttemptFailed,
    Ended,
    Entry,
    Frame,
    FrameCodec,
    Received,
    StepCompleted,
    TimerFired,
)
from stepwell.model.ids import Claim, CommandId, MessageId, RunId
from stepwell.model.messages import CancelRequested
from stepwell.model.runs import Head
from stepwell.ports import NewRun
from stepwell.testing.simulator.bodies import BlockedError, Body, BrokenError, Done, Request
from stepwell.testing.simulator.counting import wrong_cleanup, wrong_marks
from stepwell.testing.simulator.dues import Dues, name_of
from stepwell.testing.simulator.files import flaw_of
from stepwell.testing.simulator.journals import Journal
from stepwell.testing.simulator.oracle import fits, fits_away, may_raise, may_return
from stepwell.testing.simulator.plans import (
    AWAY,
    UP,
    Away,
    Child,
    Collect,
    Do,
    Gather,
    Graph,
    Limit,
    Note,
    Plan,
    Race,
    Saga,
    Seq,
    Sleep,
    Try,
    Wait,
)
from stepwell.testing.simulator.reports import fault_text
from stepwell.testing.simulator.scenarios import (
    ILLNESSES,
    Action,
    Fault,
    Ill,
    RunScript,
    Scenario,
    Settings,
    plain_scenario,
    random_scenario,
)
from stepwell.testing.simulator.shrinking import shrink
from stepwell.testing.simulator.simulation import Verdict, simulate
from stepwell.testing.simulator.witness import Violation

QUIET = Settings(workers=1)
WIRED = Settings(workers=1, wired=True)
STEPS = Seq((Do("a", 50, sends=1), Do("b", 1_500), Note("x"), Sleep(300), Do("c")))


def scenario(
    plan: Plan, *actions: Action, faults: tuple[Fault, ...] = (), workflow: str = AWAY, settings: Settings = QUIET
) -> Scenario:
    return Scenario(seed=1, settings=settings, runs=(RunScript("r0", 0, plan, actions, workflow),), faults=faults)


def entries_of(verdict: Verdict, run: str = "r0") -> list[Entry]:
    return [entry for frame in verdict.journals[RunId(run)].frames for entry in frame.entries]


def value_of(verdict: Verdict, run: str = "r0") -> Any:
    ended = verdict.journals[RunId(run)].ended
    assert ended is not None
    assert ended.status == "completed", ended.failure
    return msgspec.json.decode(bytes(ended.value))


# --- scenarios


def test_some_scenarios_have_bodies_elsewhere_and_the_others_stay_what_they_were() -> None:
    scenarios = [random_scenario(seed) for seed in range(300)]
    away = [each for each in scenarios if b'"away"' in msgspec.json.encode(each)]

    assert 30 < len(away) < 90
    assert sum(each == plain_scenario(each.seed) for each in scenarios) > 120


@pytest.mark.parametrize("seed", range(40))
def test_random_plans_can_be_carried_out(seed: int) -> None:
    assert not flaw_of(random_scenario(seed))


@pytest.mark.parametrize(
    ("plan", "workflow"),
    [
        (Graph(1, 2), AWAY),
        (Child(Do("a"), "tell"), AWAY),
        (Wait("hook", 7, token="own"), AWAY),
        (Do("a", kills=1_000), AWAY),
        (Do("a", limit_ms=5), AWAY),
        (Note(UP), AWAY),
        (Note("x", "parent"), AWAY),
        (Seq(()), AWAY),
        (Try(Graph(1, 2)), AWAY),
        (Note(UP, "parent"), "play"),
        (Away(Try(Graph(1, 2))), "play"),
        (Child(Note(UP, "root"), "await"), AWAY),
    ],
)
def test_what_a_body_elsewhere_cannot_do_is_refused(plan: Plan, workflow: str) -> None:
    assert flaw_of(scenario(plan, workflow=workflow))


def test_bodies_elsewhere_shrink() -> None:
    found = Violation(7, "r0", "wrong")
    large = scenario(Seq((Away(STEPS), Note(UP, "root"))), faults=(Ill(0, 9_000, "late", 0.5),))
    smallest = shrink(large, found, judge=lambda _: found)

    assert smallest.runs[0].plan == Do("a")
    assert smallest.faults == ()


@pytest.mark.parametrize("how", sorted(set(ILLNESSES)))
def test_each_illness_is_told(how: str) -> None:
    assert fault_text(Ill(0, 9_000, how, 0.5)).startswith("of 50% of all invocations elsewhere: ")
    assert how not in ("refuses", "mute", "twice") or f": {how}," not in fault_text(Ill(0, 9_000, how, 0.5))


# --- runs


@pytest.mark.parametrize("settings", [QUIET, WIRED])
def test_without_faults_each_step_is_executed_once(settings: Settings) -> None:
    verdict = simulate(scenario(STEPS, settings=settings))
    invocations = [entry.id for entry in entries_of(verdict) if isinstance(entry, StepCompleted) and not entry.via]
    steps = [entry.id for entry in entries_of(verdict) if isinstance(entry, StepCompleted) and entry.via]

    assert verdict.violation is None
    assert value_of(verdict)[2] == {"own": {"x": 1}, "above": 0}
    assert invocations == ["@invocation[1]", "@invocation[2]"]
    assert steps == ["a@0.0", "b@0.1", "c@0.4"]
    assert verdict.steps == 5


@pytest.mark.parametrize("settings", [QUIET, WIRED])
@pytest.mark.parametrize("how", sorted(set(ILLNESSES)))
def test_whatever_a_worker_elsewhere_suffers_from_the_run_ends_well(how: str, settings: Settings) -> None:
    plan = Seq((Gather((STEPS, Wait("ping", 9_000))), Away(Note(UP, "parent")), Wait("ping", 2_000), Do("a", sends=2)))
    ill = Ill(0, 90_000, how, 1.0)
    verdict = simulate(scenario(plan, Action(100, "signal", "ping"), faults=(ill,), settings=settings))
    failed = [entry for entry in entries_of(verdict) if isinstance(entry, AttemptFailed)]

    assert verdict.violation is None
    assert fits_away(plan, value_of(verdict))
    assert bool(failed) == (how not in ("twice", "lies"))


def test_a_late_answer_changes_nothing() -> None:
    verdict = simulate(scenario(Do("a"), faults=(Ill(0, 5_000, "late", 1.0),)))
    (step,) = [entry for entry in entries_of(verdict) if isinstance(entry, StepCompleted) and entry.via]

    assert verdict.violation is None
    assert verdict.steps == 4, "two invocations, and the step in each"
    assert msgspec.json.decode(bytes(step.value)) == "a~4~"


def test_steps_that_were_saved_before_the_connection_broke_are_not_run_again() -> None:
    found = set()
    for seed in range(20):
        faults = (Ill(0, 500, "breaks", 1.0),)
        verdict = simulate(Scenario(seed=seed, settings=QUIET, runs=scenario(STEPS).runs, faults=faults))
        assert verdict.violation is None
        found.add(verdict.steps)

    assert min(found) <= 6 < max(found)


@pytest.mark.parametrize("settings", [QUIET, WIRED])
def test_a_run_that_is_cancelled_is_cleaned_up_elsewhere(settings: Settings) -> None:
    plan = Saga(Seq((Sleep(300), Sleep(60_000))), False)
    verdict = simulate(scenario(plan, Action(9_000, "cancel"), settings=settings))
    steps = [entry.id for entry in entries_of(verdict) if isinstance(entry, StepCompleted) and entry.via]
    ended = verdict.journals[RunId("r0")].ended

    assert verdict.violation is None
    assert ended is not None
    assert ended.status == "cancelled"
    assert steps == ["book-x@0", "undo-book-x@0"]


@pytest.mark.parametrize("settings", [QUIET, WIRED])
def test_a_run_elsewhere_may_be_a_child_and_have_children(settings: Settings) -> None:
    inner = Seq((Child(Do("a"), "await"), Note(UP, "root"), Child(Do("b"), "abandon")))
    verdict = simulate(scenario(Away(inner), workflow="play", settings=settings))

    assert verdict.violation is None
    kind, (name, value, told) = value_of(verdict)
    assert (kind, name, told) == ("away", AWAY, {"own": {}, "above": 1})
    assert fits(Away(inner), [kind, [name, value, told]])
    assert len(verdict.journals) == 4


@pytest.mark.parametrize("settings", [QUIET, WIRED])
@pytest.mark.parametrize("source", ["ping", "news", "hook"])
def test_whoever_waits_is_given_what_it_waits_for_in_the_end(source: str, settings: Settings) -> None:
    verdict = simulate(scenario(Wait(source), settings=settings))

    assert verdict.violation is None
    assert value_of(verdict)[1][:2] == ["got", source]


def test_a_client_completes_a_hook_of_a_body_elsewhere() -> None:
    verdict = simulate(scenario(Wait("hook"), Action(500, "hook")))

    assert value_of(verdict)[1] == ["got", "hook", "r0-0"]


# --- the body


def carried_out(plan: Plan, **known: Any) -> Any:
    """What an invocation comes to whose steps succeed at once, but for those with `fails`."""
    given: dict[str, Any] = {"steps": {}, "resolved": {}, "counted": [], "undone": frozenset(), **known}
    request = Request(
        run=RunId("r"), life="", base=1, number=1, attempt=1, plan=plan, changed=0, cancel=None, key="", **given
    )

    async def act(id: str, do: Do, attempt: int, is_last: bool) -> Done:
        return Done(attempt > do.fails, f"{do.label}~{attempt}~")

    async def main() -> Any:
        return (await Body(request, act).carry_out())[1]

    try:
        return asyncio.run(main())
    except BlockedError as error:
        return [wait.id for wait in error.waits]
    except BrokenError:
        return "broken"


def over(**told: Any) -> bytes:
    return msgspec.json.encode({"kind": "SIGNAL", "at": 0, "status": "", **told})


def test_a_body_takes_from_the_journal_what_is_in_it() -> None:
    plan = Seq((Do("a"), Wait("ping", 5), Sleep(7)))

    assert carried_out(plan) == ["signal:ping:0.1"]
    assert carried_out(plan, resolved={"signal:ping:0.1": over(value="hi")}) == ["sleep:0.2"]
    resolved = {"signal:ping:0.1": over(), "sleep:0.2": over()}
    step = msgspec.json.encode({"ok": True, "value": "a~9~"})
    known = {"steps": {"a@0.0": step}, "resolved": resolved}
    assert carried_out(plan, **known) == ["seq", ["do", "a~9~"], ["none", "ping"], ["slept"]]


def test_a_step_is_tried_again_at_once_or_after_a_wait() -> None:
    assert carried_out(Do("a", fails=2)) == ["do", "a~3~"]
    assert carried_out(Do("a", fails=3)) == "broken"
    assert carried_out(Do("b", fails=1)) == ["retry:b@0:1"]
    assert carried_out(Do("b", fails=1), resolved={"retry:b@0:1": over()}) == ["do", "b~2~"]


def test_a_failed_child_breaks_its_parent() -> None:
    resolved = {"invoke:play:0.0": over(status="failed", failure="no")}
    assert carried_out(Try(Child(Do("a"), "await")), resolved=resolved) == ["failed"]
    assert carried_out(Collect("ping", 2), resolved={"signal:ping:0:iter:0": over(value="x")}) == [
        "signal:ping:0:iter:1"
    ]


def test_a_saga_undoes_what_it_booked_when_its_plan_breaks() -> None:
    assert carried_out(Try(Saga(Do("a", fails=3), False))) == ["failed"]
    assert carried_out(Saga(Do("a"), True)) == ["undone"]


def test_the_steps_of_a_branch_run_at_once_and_the_order_of_counts_stays() -> None:
    """Of one process: branches belong to it, so they are tried in a simulation."""
    plan = Seq((Gather((Seq((Sleep(300), Note("x"))), Note("x"))), Limit(300, Race((Sleep(900_000), Wait("ping"))))))
    verdict = simulate(scenario(plan))

    assert verdict.violation is None
    assert value_of(verdict)[1] == [
        "seq",
        ["gather", ["seq", ["slept"], ["note", "x", 1, True]], ["note", "x", 0, True]],
        ["late"],
    ]


# --- the oracle


def test_what_a_run_elsewhere_gives_is_judged_as_that_of_any() -> None:
    value = [AWAY, ["do", "a~1~"], {"own": {}, "above": 0}]

    assert fits_away(Do("a"), value)
    assert not fits_away(Do("b"), value)
    assert not fits_away(Do("a"), ["do", "a~1~"])
    assert fits(Away(Do("a")), ["away", value])
    assert may_raise(Away(Do("a", fails=3)))
    assert not may_return(Away(Do("a", fails=3)))


def answered(n: int, *waits: WaitRequest, **more: Any) -> StepCompleted:
    answer = Answer(status="waiting", waits=waits, **more)
    return StepCompleted(id=CommandId(f"@invocation[{n}]"), value=Raw(msgspec.json.encode(answer)))


def test_a_timer_that_was_stamped_anew_is_seen() -> None:
    dues, wait = Dues(), WaitRequest(id="signal:ping:0", kind="SIGNAL", name="ping", delay_ms=50)
    dues.add(answered(1, wait), 1_000, is_held=False)
    dues.add(answered(2, wait), 1_020, is_held=True)
    dues.release(1_040)

    assert dues.answered_at == 1_040
    assert not dues.wrong(TimerFired(n=1, due=1_050, name=wait.id))
    assert "was to end at 1050" in dues.wrong(TimerFired(n=1, due=1_070, name=wait.id))
    assert not dues.wrong(TimerFired(n=1, due=1_070, name="another"))
    assert [name_of(text) for text in (wait.id, "token:tok_0", "ping", "sleep:0.1")] == [
        "ping",
        "tok_0",
        "ping",
        "sleep:0.1",
    ]


def test_a_mark_that_no_step_gave_is_seen() -> None:
    step = StepCompleted(id=CommandId("a@0"), value=Raw(b'"a~1~"'), via=CommandId("@invocation[1]"))
    value = ["seq", ["do", "a~1~"], ["child", ["do", "b~2~"]]]

    assert not [*wrong_marks(value, [step])]
    assert [*wrong_marks(value, [])]


def test_a_worker_that_was_not_asked_to_clean_up_is_seen() -> None:
    cancel = Received(no=1, id=MessageId("m"), at=0, message=CancelRequested())
    speaks = answered(1, speaks=("cancel",))
    ended = Ended(status="cancelled")

    assert [*wrong_cleanup([speaks, cancel], ended)]
    assert not [*wrong_cleanup([answered(1), cancel], ended)]
    assert not [*wrong_cleanup([speaks, cancel, answered(2)], ended)]


def test_a_step_of_an_invocation_that_was_given_up_is_seen() -> None:
    verdict = simulate(scenario(Seq((Sleep(300), Do("a", 12_000)))))
    journal = verdict.journals[RunId("r0")]
    last = next(n for n, frame in enumerate(journal.frames) if isinstance(frame.entries[-1], StepCompleted | Ended))
    new = NewRun(head=Head(id=journal.run, workflow=AWAY, created_at=0), frames=(journal.bodies[0],), wake_in_ms=0)
    complaints: list[str] = []
    copy = Journal(new, MemoryBlobs(World()), lambda _, __, text: complaints.append(text))
    for body in journal.bodies[1 : last + 2]:
        copy.add(body)
    cancel = Received(no=1, id=MessageId("m"), at=0, message=CancelRequested())
    late = StepCompleted(id=CommandId("a@0.1"), value=Raw(b'"a"'), via=CommandId("@invocation[2]"))
    at = copy.frames[-1].at
    for entry in (cancel, late):
        copy.add(FrameCodec.encode(Frame(at, Claim("me:1"), (entry,))))

    assert [text for text in complaints if "after its invocation @invocation[2] was over" in text]
