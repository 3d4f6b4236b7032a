"""What a fork keeps: random journals, cut anywhere, replay and go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw, structs
from tests.engine.machines import Machine, late_machine, planned, random_plan

from stepwell.authoring.context import function_program
from stepwell.engine.driver import Driver
from stepwell.engine.fold import Fold
from stepwell.engine.prefix import Generation, Where, generation_start, rebased, settled_prefix, settled_steps
from stepwell.model.entries import AttemptFailed as Attempt
from stepwell.model.entries import (
    CancelChild,
    Confirmed,
    ContinuedAsNew,
    Created,
    Ended,
    Entry,
    Frame,
    Intended,
    OpenHook,
    Received,
    SendSignal,
    StartChild,
    StepCompleted,
    StepFailed,
    Subscribe,
    TimerFired,
)
from stepwell.model.failures import Failure
from stepwell.model.ids import Claim, CommandId, MessageId, RunId, child_run_id
from stepwell.model.messages import (
    CancelRequested,
    ChildEnded,
    HookCompleted,
    Message,
    PauseRequested,
    ResumeRequested,
    Signal,
    TerminateRequested,
)
from stepwell.model.runs import Head

seeds = st.integers(min_value=0, max_value=2**32)
RUN, FORK, SEED = RunId("run"), RunId("fork"), "00" * 16
OLD = Generation(RUN, 1, SEED)


class ForkMachine(Machine):
    """A machine that goes on where a prefix of another one's journal ends."""

    def __init__(self, origin: Machine, cut: CommandId | Where) -> None:
        self.choice = Random(origin.salt)
        self.salt = origin.salt
        self.registry = origin.registry
        self.now = origin.now + 10
        prefix = settled_prefix([frame for _, frame in origin.frames], cut, base=1)
        frames = [origin.frames[0][1], *rebased(prefix, Generation(FORK, 1, SEED))]
        self.frames = list(enumerate(frames, 1))
        self.mail = Fold(FORK, self.frames).mail
        self.inbox, self.running, self.acts, self.children, self.crashes = [], {}, [], [], 0
        self.driver = self.load()
        self.follow(self.driver.feed([], self.now))

    def load(self) -> Driver:
        head = Head(id=FORK, workflow="planned", created_at=self.now)
        make = lambda origin: function_program(planned, self.registry, origin)  # noqa: E731
        return Driver(head, self.frames, Claim("test:0"), make)


@contextmanager
def machine_of(choice: Random) -> Iterator[Machine]:
    machine = late_machine(["seq", *[["try", random_plan(choice, depth=3)] for _ in range(3)]], choice)
    try:
        yield machine
    finally:
        machine.driver.evict()


@contextmanager
def forked(machine: Machine, cut: CommandId | Where) -> Iterator[Machine]:
    fork = ForkMachine(machine, cut)
    try:
        yield fork
    finally:
        fork.driver.evict()


def cuts(machine: Machine) -> list[CommandId | Where]:
    steps = settled_steps([frame for _, frame in machine.frames])
    return [Where.END, Where.FAILURE, *machine.choice.sample(steps, min(4, len(steps)))]


@given(seeds)
@settings(deadline=None, max_examples=60)
def test_a_finished_run_forks_at_any_step(seed: int) -> None:
    with machine_of(Random(seed)) as machine:
        machine.finish()
        for cut in cuts(machine):
            with forked(machine, cut) as fork:
                fork.finish(crash_rate=0.1)


@given(seeds)
@settings(deadline=None, max_examples=60)
def test_a_run_that_was_paused_and_cancelled_forks_at_any_step(seed: int) -> None:
    choice = Random(seed)
    with machine_of(choice) as machine:
        for _ in range(choice.randrange(60)):
            if machine.driver.ended is None:
                if choice.random() < 0.1:
                    machine.disturb()
                machine.turn()
        for cut in cuts(machine):
            with forked(machine, cut) as fork:
                fork.finish(crash_rate=0.1)


@given(seeds)
@settings(deadline=None, max_examples=40)
def test_a_fork_without_a_cut_has_the_same_end(seed: int) -> None:
    with machine_of(Random(seed)) as machine:
        machine.finish()
        with forked(machine, Where.END) as fork:
            assert fork.driver.ended == machine.driver.ended
            assert not fork.running


@given(seeds)
@settings(deadline=None, max_examples=40)
def test_a_fork_runs_no_step_again_that_it_has_kept(seed: int) -> None:
    with machine_of(Random(seed)) as machine:
        machine.finish()
        for cut in cuts(machine):
            with forked(machine, cut) as fork:
                settled = {entry.id for entry in entries_of(fork) if isinstance(entry, StepCompleted | StepFailed)}
                assert not settled & set(fork.driver.steps)
                fork.finish()
                outcomes = [entry.id for entry in entries_of(fork) if isinstance(entry, StepCompleted | StepFailed)]
                assert len(outcomes) == len(set(outcomes))


def entries_of(machine: Machine) -> list[Entry]:
    return [entry for _, frame in machine.frames for entry in frame.entries]


# --- one rule at a time

C = CommandId


def journal(*frames: Entry | tuple[Entry, ...]) -> list[Frame]:
    """Frames one millisecond apart, the first of which begins the run."""
    created = Created(workflow="w", seed=SEED)
    bodies = [(created,), *(frame if isinstance(frame, tuple) else (frame,) for frame in frames)]
    return [Frame(1000 + index, Claim("a:1"), body) for index, body in enumerate(bodies)]


def kept(frames: list[Frame], cut: CommandId | Where = Where.END) -> list[Entry]:
    return [entry for frame in settled_prefix(frames, cut, base=1) for entry in frame.entries]


def done(id: str, value: str = "1") -> StepCompleted:
    return StepCompleted(id=C(id), value=Raw(value.encode()))


def failed(id: str) -> StepFailed:
    return StepFailed(id=C(id), failure=Failure(types=("E",)))


def attempt(id: str) -> Attempt:
    return Attempt(id=C(id), failure=Failure(types=("E",)), attempt=1, retry_at=0)


def received(message: Message, no: int = 1) -> Received:
    return Received(no=no, id=MessageId(f"m{no}"), at=1000, message=message)


def started(id: str, **options: Any) -> Intended:
    child = RunId(options.pop("child", child_run_id(RUN, 1, C(id), SEED)))
    return Intended(id=C(id), act=StartChild(child=child, workflow="c", **options))  # type: ignore[arg-type]


def ended(id: str, status: str = "completed", *, base: int = 1, no: int = 9) -> Received:
    child = child_run_id(RUN, 1, C(id), SEED)
    return received(ChildEnded(child=child, base=base, command=C(id), status=status), no)


SIGNAL = received(Signal(name="s", value=Raw(b"1")), 5)


def test_a_cut_drops_the_outcome_of_the_step_and_all_that_followed() -> None:
    frames = journal(done("a"), (done("b"), done("c")), done("d"))
    assert kept(frames, C("c")) == [done("a"), done("b")]


def test_times_are_kept() -> None:
    frames = journal(done("a"), done("b"))
    assert [frame.at for frame in settled_prefix(frames, Where.END, base=1)] == [1001, 1002]


def test_a_step_that_failed_is_cut_at_its_outcome_and_tried_from_its_first_attempt() -> None:
    frames = journal(attempt("a"), done("a"), attempt("b"), done("other"), failed("b"), Ended(status="failed"))
    assert kept(frames, Where.FAILURE) == [attempt("a"), done("a"), done("other")]


def test_messages_after_the_cut_come_last() -> None:
    frames = journal(done("a"), done("b"), SIGNAL)
    assert kept(frames, C("a")) == [SIGNAL]
    assert settled_prefix(frames, C("a"), base=1)[-1].at == 1003


def test_a_cancel_ends_what_a_stopped_run_keeps() -> None:
    cancel = received(CancelRequested(), 2)
    frames = journal(done("a"), cancel, done("undo"), Ended(status="cancelled"))
    assert kept(frames, Where.FAILURE) == [done("a")]


def test_a_cancel_before_the_cut_stays_without_its_grace() -> None:
    cancel = received(CancelRequested(reason="r", grace_ms=5), 2)
    frames = journal(done("a"), cancel, done("undo"), Ended(status="cancelled"))
    assert kept(frames, C("undo")) == [done("a"), received(CancelRequested(reason="r"), 2)]


def test_a_terminate_is_dropped() -> None:
    frames = journal(done("a"), (received(TerminateRequested()), Ended(status="terminated")))
    assert kept(frames, Where.FAILURE) == [done("a")]


def test_a_pause_that_was_not_ended_is_ended() -> None:
    pause, resume = received(PauseRequested(), 2), received(ResumeRequested(), 3)
    assert kept(journal(pause, resume, done("a"))) == [pause, resume, done("a")]
    last = kept(journal(pause, done("a")))[-1]
    assert isinstance(last, Received)
    assert last.message == ResumeRequested()


def test_the_time_of_a_whole_run_does_not_run_out_in_its_retry() -> None:
    frames = journal(done("a"), (TimerFired(n=0, due=5, name="run timeout"), Ended(status="failed")))
    assert kept(frames, Where.FAILURE) == [done("a")]


def test_an_open_child_is_started_again_under_a_new_id() -> None:
    frames = journal(started("c"), Confirmed(id=C("c")), done("a"))
    prefix = rebased(settled_prefix(frames, Where.END, base=1), Generation(FORK, 1, SEED))
    first, second = prefix[0].entries[0], prefix[1].entries[0]
    assert isinstance(first, Intended)
    assert isinstance(first.act, StartChild)
    assert first.act.child == child_run_id(FORK, 1, C("c"), SEED)
    assert second == Confirmed(id=C("c"), redo=True)


def test_a_child_that_is_known_by_a_name_of_the_body_is_started_again_under_a_new_id() -> None:
    act = StartChild(child=OLD.child(C("ship#k")), workflow="ship", name=C("ship#k"))
    frames = journal(Intended(id=C("c"), act=act), Confirmed(id=C("c")))
    prefix = rebased(settled_prefix(frames, Where.END, base=1), Generation(FORK, 1, SEED))
    first = prefix[0].entries[0]
    assert isinstance(first, Intended)
    assert first.act == structs.replace(act, child=child_run_id(FORK, 1, C("ship#k"), SEED))


def test_a_child_that_a_fork_took_over_is_started_again_under_a_new_id() -> None:
    frames = journal(started("c"), Confirmed(id=C("c")), done("a"), ended("c", "failed"))
    fork = rebased(settled_prefix(frames, Where.END, base=1), Generation(FORK, 1, SEED))
    again = rebased(settled_prefix([frames[0], *fork], C("a"), base=1), Generation(RunId("again"), 1, SEED))
    assert again[0].entries[0] == started("c", child=child_run_id(RunId("again"), 1, C("c"), SEED))


def test_an_id_that_the_author_chose_stays() -> None:
    frames = journal(started("c", child="mine", is_chosen=True), Confirmed(id=C("c")))
    prefix = rebased(settled_prefix(frames, Where.END, base=1), Generation(FORK, 1, SEED))
    assert prefix[0].entries[0] == started("c", child="mine", is_chosen=True)


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_child_that_had_ended_is_a_value(status: str) -> None:
    entries = [started("c"), Confirmed(id=C("c")), ended("c", status), done("a")]
    assert kept(journal(*entries)) == entries


def test_a_child_that_completed_after_the_cut_is_a_value_too() -> None:
    entries = [started("c"), Confirmed(id=C("c")), done("a"), ended("c")]
    assert kept(journal(*entries), C("a")) == [entries[0], entries[1], entries[3]]


def test_a_child_whose_end_came_before_its_confirmation_is_a_value_and_counts_as_started() -> None:
    entries = [started("c"), ended("c"), done("a")]
    assert kept(journal(*entries)) == [*entries, Confirmed(id=C("c"))]
    assert kept(journal(*entries), C("a")) == [*entries[:2], Confirmed(id=C("c"))]
    assert kept(journal(*entries, Confirmed(id=C("c")))) == [*entries, Confirmed(id=C("c"))]


def test_a_child_that_failed_or_was_sent_something_after_the_cut_starts_again() -> None:
    begin = [started("c"), Confirmed(id=C("c")), done("a")]
    child = child_run_id(RUN, 1, C("c"), SEED)
    signal = Intended(id=C("s"), act=SendSignal(run=child, name="s", value=Raw(b"1")))
    again = [started("c"), Confirmed(id=C("c"), redo=True)]
    assert kept(journal(*begin, ended("c", "failed")), C("a")) == again
    assert kept(journal(*begin, signal, ended("c")), C("a")) == again


def test_a_failed_child_is_where_a_retry_begins() -> None:
    frames = journal(done("a"), started("c"), Confirmed(id=C("c")), (ended("c", "failed"), Ended(status="failed")))
    assert kept(frames, Where.FAILURE) == [done("a"), started("c"), Confirmed(id=C("c"), redo=True)]


def test_a_child_started_after_the_cut_leaves_no_result() -> None:
    frames = journal(done("a"), started("c"), Confirmed(id=C("c")), ended("c"))
    assert kept(frames, C("a")) == []


def test_a_detached_child_stays_started() -> None:
    entries = [started("c", on_parent_end="abandon"), Confirmed(id=C("c"))]
    assert kept(journal(*entries)) == entries


def test_acts_without_confirmation_are_asked_for_again() -> None:
    subscribe = Intended(id=C("e"), act=Subscribe(event="e", since=0))
    frames = journal(started("c"), subscribe, Confirmed(id=C("e")), Intended(id=C("h"), act=OpenHook(token="t" * 8)))
    assert kept(frames) == []


def test_a_hook_is_opened_again_and_a_refused_one_is_not() -> None:
    hook = Intended(id=C("h"), act=OpenHook(token="t" * 8))
    no = Confirmed(id=C("h"), failure=Failure(types=("E",)))
    assert kept(journal(hook, Confirmed(id=C("h")))) == [hook, Confirmed(id=C("h"), redo=True)]
    assert kept(journal(hook, no)) == [hook, no]


def test_a_cancel_of_a_child_that_starts_again_is_sent_again() -> None:
    child = child_run_id(RUN, 1, C("c"), SEED)
    cancel = Intended(id=C("c/cancel"), act=CancelChild(child=child))
    frames = journal(started("c"), Confirmed(id=C("c")), cancel, Confirmed(id=C("c/cancel")), done("a"))
    assert kept(frames) == [started("c"), Confirmed(id=C("c"), redo=True), done("a")]


def test_answers_to_older_generations_are_dropped() -> None:
    hook = received(HookCompleted(base=7, command=C("h"), value=Raw(b"1")))
    begin = [started("c"), Confirmed(id=C("c"))]
    frames = journal(*begin, ended("c", "cancelled", base=7), hook, done("a"), failed("b"))
    assert kept(frames, Where.FAILURE) == [begin[0], Confirmed(id=C("c"), redo=True), done("a")]


def test_edits_replace_results_and_may_end_the_prefix() -> None:
    frames = journal(done("a"), done("b"), done("c"))
    edits = {C("a"): Raw(b"10"), C("b"): Raw(b"20")}
    prefix = settled_prefix(frames, C("b"), base=1, edits=edits)
    assert [entry for frame in prefix for entry in frame.entries] == [done("a", "10"), done("b", "20")]


def test_the_first_frame_of_a_generation_brings_nothing_from_the_one_before() -> None:
    created = Created(workflow="w", seed=SEED)
    first = Frame(5, Claim("a:1"), (done("old"), ContinuedAsNew(created=created)))
    assert isinstance(generation_start(first), ContinuedAsNew)
    frames = [first, Frame(6, Claim("a:1"), (done("a"),))]
    assert settled_steps(frames) == ["a"]
    assert settled_prefix(frames, Where.END, base=7) == (frames[1],)


def test_messages_are_rebased() -> None:
    frames = settled_prefix(journal(started("c"), Confirmed(id=C("c")), ended("c")), Where.END, base=1)
    last = rebased(frames, Generation(FORK, 4, SEED))[-1].entries[0]
    assert isinstance(last, Received)
    assert structs.asdict(last.message)["base"] == 4
