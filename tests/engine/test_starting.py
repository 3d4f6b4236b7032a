"""When a body begins, and what the journal says of it."""

from __future__ import annotations

from random import Random

from msgspec import Raw, structs
from tests.engine.machines import Machine, Plan, planned

from stepwell.authoring.context import function_program
from stepwell.engine.decisions import Arrival
from stepwell.engine.driver import Driver
from stepwell.engine.history import timeline
from stepwell.engine.prefix import Where, has_only_messages, settled_prefix, unbegun
from stepwell.engine.timeline import StartItem
from stepwell.model.entries import Frame, Started, StepCompleted, TimerFired
from stepwell.model.ids import CommandId
from stepwell.model.messages import CancelRequested, Message, PauseRequested, Signal, TerminateRequested
from stepwell.model.runs import Head, Wait

BORN = 1_000_000
ping = Signal(name="ping", value=Raw(b"7"))
IN_TIME: Plan = ["timeout", 10, ["step", "a"]]


def fed(machine: Machine, *messages: Message) -> None:
    """Hand messages over, and write what follows."""
    for message in messages:
        machine.send(message)
    arrivals, machine.inbox = machine.inbox, []
    machine.follow(machine.driver.feed(arrivals, machine.now))


def finish_step(machine: Machine, id: str) -> None:
    """A step gives its result now."""
    outcome = Arrival(machine.now, machine.outcome(machine.running.pop(id)))
    machine.follow(machine.driver.feed([outcome], machine.now))


def starts(machine: Machine) -> list[int]:
    """The late starts that the journal holds, in ms since the run's creation."""
    return [entry.at - BORN for _, frame in machine.frames for entry in frame.entries if isinstance(entry, Started)]


# --- a delay


def test_a_message_is_journaled_before_the_body_begins() -> None:
    machine = Machine(["receive", "ping", 5], Random(1), delay_ms=500)
    fed(machine, ping)
    assert (machine.driver.program, machine.driver.mail, len(machine.frames)) == (None, 1, 2)
    assert machine.driver.next_wake() == BORN + 500
    assert machine.driver.waits() == [Wait(kind="start", name="run", until=BORN + 500)]


def test_a_new_owner_gives_the_body_what_came_early() -> None:
    machine = Machine(["receive", "ping", 5], Random(1), delay_ms=500)
    fed(machine, ping)
    machine.crash()
    machine.now += 500
    fed(machine)
    assert machine.driver.ended is not None
    assert bytes(machine.driver.ended.value) == b"7"
    machine.crash()


def test_messages_of_a_pause_that_came_early_are_there_when_it_ends() -> None:
    machine = Machine(["receive", "ping", 5], Random(1), delay_ms=500)
    fed(machine, PauseRequested(), ping)
    assert machine.driver.next_wake() is None
    machine.now += 500
    fed(machine)
    machine.crash()
    machine.disturb()
    machine.inbox = machine.inbox[1:]
    fed(machine)
    assert machine.driver.ended is not None
    assert bytes(machine.driver.ended.value) == b"7"


def test_a_cancel_ends_a_run_that_has_not_begun() -> None:
    machine = Machine(["step", "a"], Random(1), delay_ms=500)
    fed(machine, ping, CancelRequested(reason="no need"))
    assert (machine.driver.ended.status, machine.driver.ended.reason) == ("cancelled", "no need")
    assert machine.driver.program is None
    assert machine.load().ended == machine.driver.ended


def test_a_terminate_ends_a_run_that_has_not_begun() -> None:
    machine = Machine(["step", "a"], Random(1), delay_ms=500)
    fed(machine, TerminateRequested())
    assert machine.driver.ended.status == "terminated"
    assert machine.driver.program is None


def test_a_fork_of_a_run_that_was_cancelled_early_gets_the_cancel_when_it_begins() -> None:
    machine = Machine(["step", "a"], Random(1), delay_ms=500)
    fed(machine, ping, CancelRequested())
    prefix = settled_prefix([frame for _, frame in machine.frames], Where.END, base=1)
    machine.frames = [machine.frames[0], *enumerate(prefix, 2)]
    machine.driver = machine.load()
    machine.now += 500
    fed(machine)
    assert machine.driver.program is not None
    assert machine.driver.ended.status == "cancelled"


def test_logs_of_a_body_that_begins_after_a_wait_are_not_taken_for_repeated() -> None:
    machine = Machine(["step", "a"], Random(1), delay_ms=500)
    head = Head(id="run", workflow="planned", created_at=BORN, waiting=(*machine.driver.waits(),), takes=1)
    driver = Driver(head, machine.frames, "test:0", lambda origin: function_program(planned, machine.registry, origin))
    assert not driver.fold.was_parked(head)
    assert not driver.fold.has_begun


# --- a late start


def test_time_limits_begin_with_the_body() -> None:
    machine = Machine(IN_TIME, Random(1), taken_after_ms=600_000)
    assert machine.driver.next_wake() == machine.now + 10
    finish_step(machine, "work")
    assert starts(machine) == [600_000]
    assert isinstance(machine.frames[1][1].entries[0], Started)
    assert isinstance(machine.frames[1][1].entries[1], StepCompleted)


def test_a_body_that_begins_in_time_writes_nothing_of_it() -> None:
    for after, delay in ((0, 0), (1000, 0), (1500, 500)):
        machine = Machine(IN_TIME, Random(1), taken_after_ms=after, delay_ms=delay)
        machine.finish()
        assert starts(machine) == []


def test_a_body_that_lost_its_worker_before_the_first_frame_begins_anew() -> None:
    machine = Machine(IN_TIME, Random(1), taken_after_ms=600_000)
    machine.now += 300_000
    machine.crash()
    assert machine.driver.next_wake() == machine.now + 10
    machine.now += 5
    finish_step(machine, "work")
    assert starts(machine) == [900_000]


def test_a_new_owner_counts_from_the_start_that_the_journal_holds() -> None:
    machine = Machine(["gather", ["step", "a"], IN_TIME], Random(1), taken_after_ms=600_000)
    finish_step(machine, "work")
    machine.crash()
    assert machine.driver.next_wake() == BORN + 600_010
    machine.now += 10
    fed(machine)
    assert isinstance(machine.frames[-1][1].entries[0], TimerFired)
    machine.crash()


def test_a_late_start_that_is_not_durable_is_not_shown_as_a_wait() -> None:
    machine = Machine(["sleep", 1000], Random(1), taken_after_ms=600_000)
    driver = machine.driver
    assert driver.waits() == []
    decision = driver.feed([], machine.now)
    decision.add_notes(driver.program.take_notes())
    machine.follow(decision)
    assert starts(machine) == [600_000]
    assert [wait.until for wait in driver.waits()] == [machine.now + 1000]
    machine.now += 900
    machine.crash()


def test_a_run_that_was_parked_by_its_body_began_in_time() -> None:
    machine = Machine(["sleep", 1000], Random(1))
    head = Head(id="run", workflow="planned", created_at=BORN, waiting=(*machine.driver.waits(),))
    driver = Driver(head, machine.frames, "test:0", lambda origin: function_program(planned, machine.registry, origin))
    driver.feed([], BORN + 600_000)
    assert driver.origin.started_at == BORN
    assert driver.ended is not None


def test_a_wait_tells_its_timer_and_since_when_it_waits() -> None:
    machine = Machine(["gather", ["sleep", 1000], ["receive", "ping", 5000]], Random(1))
    waits = machine.driver.waits()
    assert [(wait.kind, wait.until, wait.n, wait.since) for wait in waits] == [
        ("signal", BORN + 5000, 2, BORN),
        ("timer", BORN + 1000, 1, BORN),
    ]


def test_a_late_start_comes_first_in_the_frame_that_ends_the_run() -> None:
    machine = Machine(["note", "x"], Random(1), taken_after_ms=600_000)
    kinds = [type(entry).__name__ for entry in machine.frames[1][1].entries]
    assert (kinds[0], kinds[-1]) == ("Started", "Ended")


def test_a_timeline_says_how_late_a_body_began() -> None:
    machine = Machine(IN_TIME, Random(1), taken_after_ms=600_000, delay_ms=200_000)
    machine.finish()
    story = timeline("run", machine.frames)  # type: ignore[arg-type]
    assert story.items[0] == StartItem(seq=2, at=BORN + 600_000, late_ms=400_000)
    assert story.not_before == BORN + 200_000


# --- prefixes


def test_a_prefix_in_which_the_body_did_nothing_does_not_say_when_it_began() -> None:
    machine = Machine(["step", "a"], Random(1), taken_after_ms=600_000)
    fed(machine, ping)
    finish_step(machine, "work")
    journal = [frame for _, frame in machine.frames]
    prefix = settled_prefix(journal, CommandId("work"), base=1)
    assert not has_only_messages(prefix)
    assert unbegun(prefix) == (structs.replace(prefix[0], entries=prefix[0].entries[1:]),)


def test_a_prefix_with_results_keeps_the_start() -> None:
    machine = Machine(["seq", ["step", "a"], ["step", "b"]], Random(1), taken_after_ms=600_000)
    finish_step(machine, "work")
    prefix: tuple[Frame, ...] = settled_prefix([frame for _, frame in machine.frames], Where.END, base=1)
    assert unbegun(prefix) == prefix
    assert isinstance(prefix[0].entries[0], Started)
