"""Replay equals live: random workflows, random interleavings, crashes anywhere."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.machines import Machine, random_plan

seeds = st.integers(min_value=0, max_value=2**32)


def machine_of(choice: Random) -> Machine:
    """A machine with a workflow of some dozens of commands."""
    return Machine(["seq", *[["try", random_plan(choice, depth=4)] for _ in range(3)]], choice)


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
