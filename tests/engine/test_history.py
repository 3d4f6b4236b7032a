"""The timeline: what happened, once each, with its begin and its end."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from stepwell.engine.history import timeline
from stepwell.engine.timeline import (
    ActItem,
    ChunkItem,
    ControlItem,
    GenerationItem,
    Item,
    MessageItem,
    MetadataItem,
    PatchItem,
    Timeline,
    TimerItem,
)
from stepwell.model.entries import (
    AttemptFailed,
    CancelChild,
    Confirmed,
    ContinuedAsNew,
    Created,
    Dropped,
    Ended,
    Entry,
    Frame,
    Intended,
    MetadataChanged,
    OpenHook,
    Parent,
    Patched,
    Received,
    SendSignal,
    Sent,
    StartChild,
    StepCompleted,
    StepFailed,
    StepProgressed,
    Subscribe,
    TimerFired,
)
from stepwell.model.failures import Failure
from stepwell.model.ids import Claim, CommandId, MessageId, RunId
from stepwell.model.messages import (
    CancelRequested,
    ChildEnded,
    Event,
    HookCompleted,
    Message,
    PauseRequested,
    ResumeRequested,
    Signal,
    TerminateRequested,
)

C, RUN = CommandId, RunId("r")
CREATED = Created(workflow="w", version="2", seed="00", metadata={"a": Raw(b"1")}, tags={"team": "x"})
FAILURE = Failure(types=("builtins.ValueError",), message="no")


def told(*frames: Entry | tuple[Entry, ...], created: Created = CREATED, seq: int = 1) -> Timeline:
    """The timeline of frames ten milliseconds apart."""
    bodies = [(created,), *(frame if isinstance(frame, tuple) else (frame,) for frame in frames)]
    return timeline(RUN, [(seq + n, Frame(1000 + 10 * n, Claim("a:1"), body)) for n, body in enumerate(bodies)])


def received(message: Message, id: str = "m1") -> Received:
    return Received(no=1, id=MessageId(id), at=990, message=message)


def test_a_run_that_only_began_is_open() -> None:
    story = told()
    assert (story.run, story.workflow, story.version, story.status, story.frames) == ("r", "w", "2", "open", 1)
    assert (story.created_at, story.at, story.tags, story.items) == (1000, 1000, {"team": "x"}, ())


def test_a_step_gathers_its_attempts() -> None:
    story = told(
        AttemptFailed(id=C("charge[7]:2"), failure=FAILURE, attempt=1, retry_at=1015, ms=4),
        StepProgressed(id=C("charge[7]:2"), progress=Raw(b"50"), attempt=2),
        StepCompleted(id=C("charge[7]:2"), value=Raw(b"9"), attempt=2, ms=3),
    )
    (step,) = story.steps
    assert (step.name, step.status, step.started_at, step.ended_at) == ("charge", "completed", 1006, 1030)
    assert (step.failure, bytes(step.value), bytes(step.progress)) == (None, b"9", b"50")
    assert [
        (item.number, item.started_at, item.ms, item.is_ok, item.error, item.retry_at) for item in step.attempts
    ] == [
        (1, 1006, 4, False, "ValueError: no", 1015),
        (2, 1027, 3, True, "", None),
    ]


def test_a_step_between_attempts_is_retrying_and_one_that_failed_has_failed() -> None:
    story = told(
        AttemptFailed(id=C("a"), failure=FAILURE, attempt=1, retry_at=9),
        StepFailed(id=C("b"), failure=FAILURE, attempt=3, ms=1),
    )
    assert [(step.id, step.status, step.failure) for step in story.steps] == [
        ("a", "retrying", FAILURE),
        ("b", "failed", FAILURE),
    ]


def test_a_child_begins_and_ends() -> None:
    act = StartChild(child=RunId("c1"), workflow="sub")
    end = ChildEnded(child=RunId("c1"), base=1, command=C("sub"), status="failed", failure=FAILURE)
    for entries, status in [
        ([], "starting"),
        ([Confirmed(id=C("sub"))], "started"),
        ([Confirmed(id=C("sub"), failure=FAILURE)], "refused"),
        ([Confirmed(id=C("sub")), received(end)], "failed"),
        ([received(end), Confirmed(id=C("sub"))], "failed"),
    ]:
        (child,) = told(Intended(id=C("sub"), act=act), *entries).children
        assert (child.run, child.workflow, child.status, child.is_detached) == ("c1", "sub", status, False)


def test_acts_say_what_they_did_to_whom() -> None:
    acts = [
        (CancelChild(child=RunId("c1")), "cancel_child", "c1"),
        (SendSignal(run=RunId("o"), name="go", value=Raw(b"1")), "send_signal", "go to o"),
        (OpenHook(token="token-123"), "open_hook", "token-123"),
        (Subscribe(event="paid", since=0), "subscribe", "paid"),
    ]
    for act, what, target in acts:
        (item,) = told(Intended(id=C("x"), act=act), Confirmed(id=C("x"))).of(ActItem)
        assert (item.what, item.target, item.status) == (what, target, "done")
    (refused,) = told(Intended(id=C("x"), act=acts[2][0]), Confirmed(id=C("x"), failure=FAILURE)).of(ActItem)
    assert (refused.status, refused.failure) == ("refused", FAILURE)


def test_messages_tell_where_they_went_and_whether_they_were_dropped() -> None:
    story = told(
        received(Signal(name="go", value=Raw(b"1")), "m1"),
        received(Event(name="paid", index=3, value=Raw(b"2")), "m2"),
        received(HookCompleted(base=1, command=C("hook"), value=Raw(b"3")), "m3"),
        Dropped(id=MessageId("m2"), reason="not an int"),
    )
    messages = [(item.source, item.name, bytes(item.value), item.dropped) for item in story.of(MessageItem)]
    assert messages == [("signal", "go", b"1", ""), ("event", "paid", b"2", "not an int"), ("hook", "hook", b"3", "")]


def test_control_messages_are_told_and_followed() -> None:
    story = told(
        received(PauseRequested(reason="audit")),
        received(ResumeRequested()),
        received(PauseRequested()),
        received(CancelRequested(reason="enough", grace_ms=5)),
        received(TerminateRequested(reason="now")),
    )
    assert [(item.action, item.reason) for item in story.of(ControlItem)] == [
        ("pause", "audit"),
        ("resume", ""),
        ("pause", ""),
        ("cancel", "enough"),
        ("terminate", "now"),
    ]
    assert not story.is_paused
    assert told(received(PauseRequested())).status == "paused"


def test_notes_of_the_body_are_told() -> None:
    story = told(
        (Sent(stream="s", k=0, value=Raw(b"1")), Sent(stream="s", k=1, value=Raw(b"2")), Patched(id="p")),
        TimerFired(n=0, due=1019, name="sleep"),
        MetadataChanged(values={"a": Raw(b"null"), "b": Raw(b"2")}),
    )
    assert [type(item) for item in story.items] == [ChunkItem, PatchItem, TimerItem, MetadataItem]
    assert story.of(ChunkItem)[0].count == 2
    assert story.metadata == {"b": Raw(b"2")}


def test_the_end_is_told() -> None:
    story = told(Ended(status="failed", failure=FAILURE))
    assert story.status == "failed"
    assert story.end is not None
    assert (story.end.at, story.end.failure) == (1010, FAILURE)


def test_generations_keep_their_steps_apart() -> None:
    again = ContinuedAsNew(created=CREATED, input=Raw(b"2"))
    story = told((StepCompleted(id=C("a")), again), StepCompleted(id=C("a")))
    assert [(step.id, step.base) for step in story.steps] == [("a", 1), ("a", 2)]
    assert (story.generations, bytes(story.of(GenerationItem)[0].input)) == (2, b"2")


def test_a_retried_generation_tells_what_it_kept_once() -> None:
    child = Intended(id=C("sub"), act=StartChild(child=RunId("c2"), workflow="sub"))
    kept = Frame(1010, Claim("a:1"), (StepCompleted(id=C("a")), child, Confirmed(id=C("sub"), redo=True)))
    again = ContinuedAsNew(created=CREATED, history=(kept,), retries=1)
    first = Intended(id=C("sub"), act=StartChild(child=RunId("c1"), workflow="sub"))
    story = told(
        (StepCompleted(id=C("a")), first, Confirmed(id=C("sub"))),
        (StepFailed(id=C("b"), failure=FAILURE), again),
        (Confirmed(id=C("sub")), StepCompleted(id=C("b"))),
    )
    assert [(step.id, step.base, step.status) for step in story.steps] == [
        ("a", 1, "completed"),
        ("b", 1, "failed"),
        ("b", 3, "completed"),
    ]
    assert [(item.run, item.status) for item in story.children] == [("c1", "started"), ("c2", "started")]


def test_a_later_generation_alone_tells_what_it_kept() -> None:
    kept = Frame(1005, Claim("a:1"), (StepCompleted(id=C("a"), ms=2),))
    again = ContinuedAsNew(created=CREATED, history=(kept,), retries=1)
    story = timeline(RUN, [(5, Frame(1020, Claim("a:1"), (again,)))])
    assert [(step.id, step.started_at) for step in story.steps] == [("a", 1003)]
    assert story.of(GenerationItem)[0].at == 1020


def test_who_it_came_from_is_told() -> None:
    parent = Parent(run=RunId("p"), base=1, command=C("sub"))
    story = told(created=Created(workflow="w", seed="00", parent=parent, forked_from=RunId("f"), deadline=5))
    assert (story.parent, story.forked_from, story.deadline) == ("p", "f", 5)


def test_a_timeline_is_json_with_payloads_as_they_are() -> None:
    story = told(StepCompleted(id=C("a"), value=Raw(b'{"x":1}')), Ended(status="completed", value=Raw(b"[1]")))
    data = msgspec.json.decode(msgspec.json.encode(story))
    assert [item["kind"] for item in data["items"]] == ["step", "end"]
    assert data["items"][0]["value"] == {"x": 1}
    assert msgspec.json.decode(msgspec.json.encode(story.items[0]), type=Item) == story.items[0]
