"""Replay equals live: random workflows, random interleavings, crashes anywhere."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from tests.engine.machines import Machine, late_machine, leaf, random_plan

from stepwell import Context, workflow
from stepwell.authoring.context import function_program
from stepwell.authoring.registry import Registry
from stepwell.codec import Codec
from stepwell.engine.decisions import Arrival
from stepwell.engine.driver import Driver
from stepwell.model.entries import AttemptFailed, CancelChild, Confirmed, Created, Frame, Intended, Received, StartChild
from stepwell.model.failures import Failure
from stepwell.model.messages import ChildEnded, PauseRequested, ResumeRequested, Signal
from stepwell.model.runs import Head

seeds = st.integers(min_value=0, max_value=2**32)


def machine_of(choice: Random) -> Machine:
    """A machine with a workflow of some dozens of commands."""
    return late_machine(["seq", *[["try", random_plan(choice, depth=4)] for _ in range(3)]], choice)


@given(seeds)
@settings(deadline=None, max_examples=150)
def test_a_crash_at_any_moment_changes_nothing(seed: int) -> None:
    """`Machine.crash` compares the replayed run with the live one: open steps, timers, waits, metadata."""
    choice = Random(seed)
    machine = machine_of(choice)
    machine.finish(crash_rate=0.3)
    machine.crash()


@given(seeds)
@settings(deadline=None, max_examples=100)
def test_pauses_and_cancels_anywhere_change_nothing_on_replay(seed: int) -> None:
    choice = Random(seed)
    machine = machine_of(choice)
    for _ in range(200):
        if machine.driver.ended is not None:
            break
        if choice.random() < 0.15:
            machine.disturb()
        if choice.random() < 0.3:
            machine.crash()
        machine.turn()
    else:
        machine.finish(crash_rate=0.1)
    machine.crash()


@given(seeds)
@settings(deadline=None, max_examples=50)
def test_a_replayed_journal_issues_nothing(seed: int) -> None:
    choice = Random(seed)
    machine = machine_of(choice)
    machine.finish()
    replayed = machine.load()
    assert replayed.ended == machine.driver.ended
    assert not replayed.steps


def test_a_step_that_ended_during_a_pause_does_not_run_again_when_a_new_owner_resumes() -> None:
    machine = Machine(["seq", ["step", "a"], ["step", "b"]], Random(1))
    machine.send(PauseRequested())
    machine.follow(machine.driver.feed(machine.inbox, machine.now))
    machine.inbox = []
    outcome = Arrival(machine.now, machine.outcome(machine.running.pop("work")))
    machine.follow(machine.driver.feed([outcome], machine.now))
    machine.crash()
    machine.send(ResumeRequested())
    machine.follow(machine.driver.feed(machine.inbox, machine.now))
    assert list(machine.running) == ["work:2"]


def test_a_message_that_two_looks_into_the_inbox_found_is_journaled_once() -> None:
    machine = Machine(["step", "a"], Random(1))
    decision = machine.driver.feed([Arrival(machine.now, machine.outcome(machine.running.pop("work")))], machine.now)
    late = Received(no=1, id="m1", at=machine.now, message=Signal(name="ping", value=b"1"))
    machine.driver.add_mail(decision, [late, late])
    assert decision.entries.count(late) == 1
    assert machine.driver.mail == 1


def test_what_the_body_noted_in_the_frame_of_a_pause_is_known_to_the_next_owner() -> None:
    machine = Machine(["seq", ["note", "x"], ["step", "a"]], Random(1))
    machine.send(PauseRequested())
    machine.follow(machine.driver.feed(machine.inbox, machine.now))
    machine.inbox = []
    before = machine.driver.program.metadata
    machine.crash()
    assert machine.driver.program.outcome is None
    assert machine.driver.program.metadata == before
    assert machine.driver.program.take_notes() == []


@workflow
async def leaving(ctx: Context, n: int) -> int:
    await ctx.start(leaf, n)
    ctx.continue_as_new(n + 1)


def test_a_new_owner_cancels_for_the_old_generation_what_has_ended_meanwhile() -> None:
    registry = Registry([leaving, leaf], Codec())
    start = StartChild(child="c1", workflow="leaf", input=Raw(b"[1]"))
    entries = (
        Created(workflow="leaving", input=registry.input_of(leaving, (1,)), seed="00" * 16),
        Intended(id="leaf", act=start),
        Confirmed(id="leaf"),
        Intended(id="leaf/cancel", act=CancelChild(child="c1")),
    )
    frames = [(seq, Frame(1_000, "test:0", (entry,))) for seq, entry in enumerate(entries, 1)]
    head = Head(id="run", workflow="leaving", created_at=1_000)
    driver = Driver(head, frames, "test:1", lambda origin: function_program(leaving, registry, origin))
    ended = ChildEnded(child="c1", base=1, command="leaf", status="completed", value=Raw(b"1"))
    decision = driver.feed([Arrival(1_000, Received(no=1, id="m1", at=1_000, message=ended))], 1_000)
    assert [act.id for act in decision.acts] == ["leaf/cancel"]
    driver.evict()


def test_a_resume_starts_no_step_that_has_just_failed_before_its_time() -> None:
    machine = Machine(["step", "a"], Random(1))
    for message in (PauseRequested(), ResumeRequested()):
        machine.send(message)
    failure = Failure(types=("builtins.ValueError",), message="no")
    failed = AttemptFailed(id="work", failure=failure, attempt=1, retry_at=machine.now + 1_000)
    arrivals = [*machine.inbox, Arrival(machine.now, failed)]
    decision = machine.driver.feed(arrivals, machine.now)
    assert decision.start == []


def test_a_resume_of_a_run_that_is_not_paused_starts_nothing() -> None:
    machine = Machine(["step", "a"], Random(1))
    machine.send(ResumeRequested())
    assert machine.driver.feed(machine.inbox, machine.now).start == []
