"""What a remote program makes of answers, messages and time."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET, Raw
from tests.engine.remote.bodies import START, Body, Cleanup, json, signal, sleep, waiting

from stepwell.engine.program import Abandon, ActCommand, Cancelled, Completed, Failed, StepCommand
from stepwell.engine.remote.calls import Answer, Change, ChildRequest, Resolution, WaitRequest
from stepwell.engine.remote.program import IDLE_MAX
from stepwell.errors import NonDeterminismError, WorkerError
from stepwell.model.entries import Confirmed, Parent, SendMetadata, StartChild, StepCompleted, StepFailed, Subscribe
from stepwell.model.failures import Failure
from stepwell.model.ids import CommandId, RunId
from stepwell.model.messages import CancelRequested, ChildEnded, Event, HookCompleted, MetadataSent, Signal
from stepwell.model.metadata import MetadataOp


def resolved(body: Body, id: str) -> Resolution:
    found = body.program.journal.resolved[id]
    assert isinstance(found, Resolution)
    return found


def test_the_first_invocation_begins_at_once_with_an_empty_journal() -> None:
    body = Body()
    assert body.call is not None
    assert (body.call.id, body.call.number, body.call.cancel) == ("@invocation[1]", 1, None)
    assert (body.call.journal.steps, body.call.journal.resolved) == ({}, {})


def test_a_result_ends_the_run() -> None:
    body = Body()
    body.answer(Answer(status="completed", output=Raw(b"7")))
    assert body.program.outcome == Completed(Raw(b"7"))


def test_a_result_that_does_not_fit_fails_the_run() -> None:
    body = Body()
    body.answer(Answer(status="completed", output=Raw(b'"misfit"')))
    assert isinstance(body.program.outcome, Failed)
    assert body.program.outcome.failure.message == "the result does not fit"


def test_steps_of_the_worker_are_in_the_journal_of_the_next_invocation() -> None:
    body = Body()
    body.answer(waiting(sleep("sleep:1", 10)), body.step("load", {"a": 1}))
    body.tick(10)
    assert body.call is not None
    assert body.call.number == 2
    assert bytes(body.call.journal.steps["load"].entry.value) == b'{"a":1}'  # type: ignore[union-attr,arg-type]
    assert resolved(body, "sleep:1") == Resolution(kind="DATETIME", at=START + 10)


def test_a_step_keeps_its_first_outcome() -> None:
    body = Body()
    body.apply(body.step("load", 1))
    body.answer(waiting(sleep("sleep:1", 10)), body.step("load", 2))
    assert bytes(body.program.journal.steps["load"].entry.value) == b"1"  # type: ignore[union-attr,arg-type]


def test_a_wait_ends_when_it_was_first_said_to_however_often_it_is_named_again() -> None:
    body = Body()
    body.answer(waiting(sleep("sleep:1", 1_000), signal("signal:go:2", "go")))
    body.tick(600)
    body.receive(Signal(name="go", value=json(1)))
    body.answer(waiting(sleep("sleep:1", 1_000)))
    assert body.program.next_due() == START + 1_000
    body.tick(400)
    assert "sleep:1" in body.program.journal.resolved


def test_a_wait_that_was_over_during_an_invocation_ends_at_once_when_it_is_named_again() -> None:
    body = Body()
    body.answer(waiting(sleep("sleep:1", 1_000), signal("signal:go:2", "go")))
    body.receive(Signal(name="go", value=json(1)))
    body.at += 5_000
    body.answer(waiting(sleep("sleep:1", 1_000)))
    assert body.program.due_timers(body.at) == [(2, START + 1_000, "sleep:1")]


def test_an_absolute_time_is_taken_as_it_is() -> None:
    body = Body()
    body.answer(waiting(WaitRequest(id="sleep:1", kind="DATETIME", delay_ms=5, wake_at=START + 77)))
    assert body.program.next_due() == START + 77


def test_messages_that_come_while_the_worker_runs_are_kept_in_order() -> None:
    body = Body()
    body.receive(Signal(name="go", value=json(1)))
    body.receive(Signal(name="go", value=json(2)))
    body.answer(waiting(signal("signal:go:1", "go")))
    assert bytes(resolved(body, "signal:go:1").value) == b"1"
    body.answer(waiting(signal("signal:go:2", "go")))
    assert bytes(resolved(body, "signal:go:2").value) == b"2"


def test_one_message_ends_one_wait() -> None:
    body = Body()
    body.answer(waiting(signal("signal:go:1", "go"), signal("signal:go:2", "go")))
    body.receive(Signal(name="go", value=json(1)))
    assert list(body.program.journal.resolved) == ["signal:go:1"]


def test_a_wait_with_a_time_ends_without_a_value() -> None:
    body = Body()
    body.answer(waiting(signal("signal:go:1", "go", 50)))
    body.tick(50)
    assert resolved(body, "signal:go:1") == Resolution(kind="SIGNAL", at=START + 50, name="go", value=UNSET)


def test_a_message_that_came_after_the_time_of_its_wait_does_not_end_it() -> None:
    body = Body()
    body.answer(waiting(signal("signal:go:1", "go", 50), signal("signal:no:2", "no")))
    body.receive(Signal(name="no", value=json(0)))
    body.at += 100
    body.receive(Signal(name="go", value=json(1)))
    body.answer(waiting(signal("signal:go:1", "go", 50)))
    body.tick(0)
    assert resolved(body, "signal:go:1").value is UNSET


def test_an_event_is_subscribed_to_once_and_must_have_the_fields() -> None:
    body = Body()
    wait = WaitRequest(id="event:paid:1", kind="EVENT", name="paid", where=json({"order": 7}))
    body.answer(waiting(wait))
    assert [act.act for act in body.acts] == [Subscribe(event="paid", since=START)]
    body.receive(Event(name="paid", index=0, value=json({"order": 6})))
    assert body.call is None
    body.receive(Event(name="paid", index=1, value=json({"order": 7})))
    assert bytes(resolved(body, "event:paid:1").value) == b'{"order":7}'
    body.answer(waiting(WaitRequest(id="event:paid:2", kind="EVENT", name="paid")))
    assert bytes(resolved(body, "event:paid:2").value) == b'{"order":6}'
    assert len(body.acts) == 1


def test_a_token_is_completed_by_its_id() -> None:
    body = Body()
    body.answer(waiting(WaitRequest(id="token:tok_1", kind="MANUAL", name="tok_1")))
    assert [(wait.kind, wait.name, wait.detail) for wait in body.program.waits()] == [("token", "tok_1", "")]
    body.receive(HookCompleted(base=1, command=CommandId("tok_1"), value=json("yes")))
    assert bytes(resolved(body, "token:tok_1").value) == b'"yes"'


def child(id: str = "invoke:ship:1", **more: object) -> WaitRequest:
    request = ChildRequest(workflow="ship", input=json(5), **more)  # type: ignore[arg-type]
    return WaitRequest(id=id, kind="RUN", child=request)


def start_of(act: ActCommand) -> StartChild:
    assert isinstance(act.act, StartChild)
    return act.act


def test_a_child_is_started_once_however_often_its_wait_is_named() -> None:
    body = Body()
    body.answer(waiting(child(), signal("signal:go:2", "go")))
    body.receive(Signal(name="go", value=json(1)))
    body.answer(waiting(child()))
    (act,) = body.acts
    start = start_of(act)
    assert (act.id, start.workflow, bytes(start.input), start.on_parent_end) == (
        "invoke:ship:1",
        "ship",
        b"5",
        "cancel",
    )
    end = ChildEnded(child=start.child, base=1, command=act.id, status="completed", value=json("done"))
    body.receive(end)
    assert bytes(resolved(body, "invoke:ship:1").value) == b'"done"'


def test_a_child_that_ended_while_the_worker_ran_is_not_forgotten() -> None:
    body = Body()
    body.answer(waiting(child(), signal("signal:go:2", "go")))
    body.receive(Signal(name="go", value=json(1)))
    start = start_of(body.acts[0])
    failure = Failure(types=("Boom",), message="boom")
    body.receive(ChildEnded(child=start.child, base=1, command=body.acts[0].id, status="failed", failure=failure))
    body.answer(waiting(child()))
    found = resolved(body, "invoke:ship:1")
    assert (found.status, found.failure, found.value) == ("failed", failure, UNSET)


def test_children_are_told_apart_by_their_waits_and_by_their_keys() -> None:
    ids = []
    for requests in (
        (child("invoke:ship:1"), child("invoke:ship:2")),
        (child(key="k"), child("invoke:ship:2", key="k")),
    ):
        body = Body()
        body.answer(waiting(*requests))
        ids.append([start_of(act).child for act in body.acts])
    assert ids[0][0] != ids[0][1]
    assert ids[1][0] == ids[1][1]


def test_a_detached_child_is_over_for_its_parent_when_it_is_started() -> None:
    body = Body()
    body.answer(waiting(child(is_detached=True)))
    assert start_of(body.acts[0]).on_parent_end == "abandon"
    assert body.call is None
    body.apply(Confirmed(id=body.acts[0].id))
    assert (resolved(body, "invoke:ship:1").status, resolved(body, "invoke:ship:1").value) == ("started", UNSET)


def test_a_child_that_cannot_be_started_has_failed() -> None:
    body = Body()
    body.answer(waiting(child()))
    body.apply(Confirmed(id=body.acts[0].id, failure=Failure(types=("x.RunConflictError",), message="taken")))
    assert resolved(body, "invoke:ship:1").status == "failed"
    body = Body()
    body.answer(waiting(WaitRequest(id="invoke:picky:1", kind="RUN", child=ChildRequest(workflow="picky"))))
    found = resolved(body, "invoke:picky:1")
    assert found.failure is not None
    assert found.failure.message == "the input of picky does not fit"


@pytest.mark.parametrize("failure", [None, Failure(types=("x.RunConflictError",), message="taken")])
def test_a_child_that_was_started_or_refused_while_the_worker_ran_is_over_when_it_is_named_again(
    failure: Failure | None,
) -> None:
    body = Body()
    detached = child(is_detached=failure is None)
    body.answer(waiting(detached, signal("signal:go:2", "go")))
    body.receive(Signal(name="go", value=json(1)))
    body.apply(Confirmed(id=body.acts[0].id, failure=failure))
    body.answer(waiting(detached))
    found = resolved(body, "invoke:ship:1")
    assert (found.status, found.failure) == ("started" if failure is None else "failed", failure)


def test_changes_of_metadata_are_applied_once() -> None:
    body = Body(metadata={"n": json(1)})
    changes = (Change(op="increment", key="n"), Change(op="append", key="log", value=json("a")))
    body.answer(waiting(sleep("sleep:1", 5), changes=changes, changed=2))
    body.tick(5)
    assert body.call is not None
    assert body.call.journal.changed == 2
    body.answer(Answer(status="completed", changes=(Change(op="remove", key="log"),), changed=3))
    assert body.program.metadata == {"n": json(2)}


def test_changes_for_runs_above_are_sent_to_them() -> None:
    parent = Parent(run=RunId("p"), base=1, command=CommandId("pay"), root=RunId("top"))
    body = Body(parent=parent)
    changes = (
        Change(op="set", key="a", value=json(1), target="parent"),
        Change(op="increment", key="b", target="root"),
    )
    body.answer(waiting(sleep("sleep:1", 5), changes=changes, changed=2))
    assert [act.act for act in body.acts] == [
        SendMetadata(run=RunId("p"), ops=(MetadataOp(op="set", key="a", value=json(1)),)),
        SendMetadata(run=RunId("top"), ops=(MetadataOp(op="increment", key="b"),)),
    ]
    assert body.program.metadata == {}


def test_a_run_without_a_parent_has_nobody_to_send_changes_to() -> None:
    body = Body()
    change = Change(op="set", key="a", value=json(1), target="parent")
    body.answer(waiting(sleep("sleep:1", 5), changes=(change,), changed=1))
    assert body.acts == []


def test_a_run_below_may_change_the_metadata() -> None:
    body = Body()
    body.receive(MetadataSent(ops=(MetadataOp(op="increment", key="done"), MetadataOp(op="increment", key="done"))))
    assert body.program.metadata == {"done": json(2)}


@pytest.mark.parametrize("status", ["failed", "compensated", "compensation_failed"])
def test_a_body_that_failed_fails_the_run_with_its_error(status: str) -> None:
    body = Body()
    failure = Failure(types=("Error",), message="card refused", code="E_CARD")
    body.answer(Answer(status=status, failure=failure))  # type: ignore[arg-type]
    assert body.program.outcome == Failed(failure)
    assert body.program.status == status


def test_a_body_that_undid_its_steps_without_an_error_says_so() -> None:
    body = Body()
    body.answer(Answer(status="compensated"))
    assert isinstance(body.program.outcome, Failed)
    assert body.program.outcome.failure.code == "COMPENSATED"


def test_an_invocation_that_failed_for_good_fails_the_run() -> None:
    body = Body()
    failure = Failure(types=("stepwell.errors.WorkerError",), message="handler returned HTTP 400")
    assert body.call is not None
    body.apply(StepFailed(id=body.call.id, failure=failure))
    assert body.program.outcome == Failed(failure)


def test_a_worker_that_waits_for_nothing_has_failed() -> None:
    body = Body()
    body.answer(waiting())
    assert isinstance(body.program.outcome, Failed)
    assert body.program.outcome.failure.code == "empty_waitpoint_list"
    assert body.program.outcome.failure.is_(WorkerError)


def test_a_worker_that_brings_nothing_new_is_stopped_after_a_bounded_number_of_invocations() -> None:
    body = Body()
    for n in range(IDLE_MAX + 1):
        body.answer(waiting(sleep(f"sleep:{n}", 0)))
        body.tick(0)
    assert isinstance(body.program.outcome, Failed)
    assert body.program.outcome.failure.code == "max_invocations_exceeded"
    assert body.program.invocations == IDLE_MAX + 1


@pytest.mark.parametrize("what", ["sleeps", "steps", "signals"])
def test_a_run_may_have_as_many_invocations_as_it_makes_progress(what: str) -> None:
    body = Body()
    for n in range(3 * IDLE_MAX):
        if what == "sleeps":
            body.answer(waiting(sleep(f"sleep:{n}", 1)))
            body.tick(1)
        elif what == "steps":
            body.answer(waiting(sleep(f"sleep:{n}", 0)), body.step(f"load:{n}"))
            body.tick(0)
        else:
            body.answer(waiting(signal(f"signal:go:{n}", "go")))
            body.receive(Signal(name="go", value=json(n)))
    assert body.program.outcome is None


def test_a_cancel_ends_a_run_whose_worker_cannot_clean_up() -> None:
    body = Body()
    body.answer(waiting(signal("signal:go:1", "go")), body.step("load"))
    body.receive(CancelRequested(reason="enough"))
    assert body.program.outcome == Cancelled()


def test_a_cancel_stops_the_invocation_that_is_under_way() -> None:
    body = Body()
    body.receive(CancelRequested())
    assert body.asked[-1] == Abandon(CommandId("@invocation[1]"))
    assert body.program.outcome == Cancelled()


def test_a_worker_that_knows_cancels_is_asked_to_clean_up_first() -> None:
    body = Body()
    body.answer(waiting(signal("signal:go:1", "go"), speaks=("cancel",)))
    body.receive(CancelRequested(reason="enough"))
    assert body.program.outcome is None
    assert body.call is not None
    assert (body.call.number, body.call.cancel) == (2, "enough")
    assert isinstance(body.asked[-1].definition, Cleanup)  # type: ignore[union-attr]
    body.answer(Answer(status="cancelled"), body.step("refund"))
    assert body.program.outcome == Cancelled()
    assert "refund" in body.program.journal.steps


def test_a_step_that_came_ahead_of_the_answer_shows_that_the_worker_knows_cancels() -> None:
    body = Body()
    assert body.call is not None
    body.apply(StepCompleted(id=CommandId("load"), via=body.call.id, record=json({"after": 0})))
    body.receive(CancelRequested(reason="enough"))
    assert body.call.cancel == "enough"


def test_a_cancel_that_cannot_be_delivered_to_the_worker_ends_the_run_all_the_same() -> None:
    body = Body()
    body.answer(waiting(signal("signal:go:1", "go"), speaks=("cancel",)))
    body.receive(CancelRequested(reason="enough"))
    assert body.call is not None
    body.apply(StepFailed(id=body.call.id, failure=Failure(types=("x",))))
    assert body.program.outcome == Cancelled()


def test_a_run_past_its_deadline_fails() -> None:
    body = Body(deadline=START + 100)
    body.answer(waiting(signal("signal:go:1", "go")))
    body.tick(100)
    assert isinstance(body.program.outcome, Failed)
    assert body.program.outcome.failure.is_(TimeoutError)


def test_results_that_the_run_was_created_with_are_in_the_first_journal() -> None:
    body = Body(seeds={"load": json({"total": 120}), "count": json(2)})
    assert body.call is not None
    assert [(id, line.at) for id, line in body.call.journal.steps.items()] == [("load", START), ("count", START + 1)]


def test_what_happened_replays_to_the_same_state() -> None:
    body = Body()
    body.receive(Signal(name="go", value=json(1)))
    body.answer(waiting(signal("signal:go:1", "go"), sleep("sleep:2", 30)), body.step("load", 1))
    body.answer(waiting(sleep("sleep:2", 30), child("invoke:ship:3")), body.step("pack", 2))
    body.apply(Confirmed(id=body.acts[0].id))
    body.tick(30)
    body.apply(body.step("charge", 3))
    again = body.replayed()
    assert again.journal.steps == body.program.journal.steps
    assert again.journal.resolved == body.program.journal.resolved
    assert again.waits() == body.program.waits()
    (open_call,) = (item for item in again.take_commands() if isinstance(item, StepCommand))
    assert open_call.id == body.call.id  # type: ignore[union-attr]


def test_a_history_of_something_else_is_refused() -> None:
    body = Body()
    with pytest.raises(NonDeterminismError, match="pay"):
        body.apply(StepCompleted(id=CommandId("charge"), value=msgspec.Raw(b"1")))


def test_an_invocation_that_was_given_up_changes_nothing_when_it_answers() -> None:
    body = Body(deadline=START + 100)
    body.tick(100)
    outcome = body.program.outcome
    body.answer(Answer(status="completed", output=Raw(b"7")))
    assert body.program.outcome is outcome


def test_what_a_run_waits_for_is_told_as_of_any_run() -> None:
    body = Body()
    body.answer(waiting(sleep("sleep:1", 10), signal("signal:go:2", "go", 20), child("invoke:ship:3")))
    found = [(wait.kind, wait.name, wait.detail, wait.until) for wait in body.program.waits()]
    ship = start_of(body.acts[0]).child
    assert found == [
        ("timer", "sleep:1", "", START + 10),
        ("signal", "go", "", START + 20),
        ("child", "invoke:ship:3", ship, None),
    ]
    assert body.program.is_racing(START + 10)
