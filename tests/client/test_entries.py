"""Entries of journals come over HTTP as what they are."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw

from stepwell.client.entries import event_of, events_of
from stepwell.codec import Codec
from stepwell.errors import BackendError
from stepwell.model.entries import (
    Confirmed,
    ContinuedAsNew,
    Created,
    Dropped,
    Ended,
    Entry,
    Intended,
    MetadataChanged,
    OpenHook,
    Parent,
    Patched,
    Pinned,
    Received,
    Sent,
    StartChild,
    Started,
    StepCompleted,
    StepFailed,
    TimerFired,
)
from stepwell.model.failures import Failure
from stepwell.model.ids import CommandId, MessageId, RunId
from stepwell.model.messages import Signal
from stepwell.runtime.following import RunEvent
from stepwell.server.showing import entry_json

ONE = Raw(b"1")
STEP = CommandId("charge")

AS_THEY_ARE: list[Entry] = [
    Started(at=7),
    StepCompleted(id=STEP, value=Raw(b'{"a":[1]}'), attempt=2, ms=3),
    StepFailed(id=STEP, failure=Failure(types=("a.B",), message="no", step="charge", attempts=3)),
    TimerFired(n=1, due=4),
    Received(no=1, at=3, id=MessageId("signal:x"), message=Signal(name="go", value=ONE)),
    Intended(id=STEP, act=StartChild(child=RunId("c"), workflow="w", input=ONE)),
    Confirmed(id=STEP),
    MetadataChanged(values={"k": ONE}),
    Sent(stream="s", k=0, value=ONE),
    Patched(id="p"),
    Dropped(id=MessageId("m"), reason="r"),
    Ended(status="failed", failure=Failure(types=("a.B",), message="no")),
]
SECRET = "ab" * 16


def over_http(entry: Entry) -> Entry:
    event = event_of(entry_json(entry, Codec(), seq=3, at=9), "GET /events")
    assert (event.seq, event.at) == (3, 9)
    return event.entry


@pytest.mark.parametrize("entry", AS_THEY_ARE, ids=lambda entry: type(entry).__name__)
def test_an_entry_comes_as_it_is(entry: Entry) -> None:
    assert over_http(entry) == entry


def test_a_first_entry_comes_without_its_seed() -> None:
    parent = Parent(run=RunId("p"), base=4, command=STEP)
    created = Created(workflow="w", version="2", input=ONE, seed=SECRET, parent=parent, tags={"a": "b"})

    assert over_http(created) == msgspec.structs.replace(
        created, seed="", parent=Parent(run=RunId("p"), base=0, command=CommandId(""))
    )


def test_a_new_generation_comes_without_what_it_began_with() -> None:
    created = Created(workflow="w", version="2", seed=SECRET, metadata={"k": ONE})
    found = over_http(ContinuedAsNew(created=created, input=ONE, retries=2, previous=1))

    assert isinstance(found, ContinuedAsNew)
    assert (found.input, found.retries, found.previous) == (ONE, 2, 1)
    assert (found.created.version, found.created.metadata, found.created.seed) == ("2", {"k": ONE}, "")


def test_a_pin_comes_without_its_blueprint_and_a_hook_without_its_token() -> None:
    hook = over_http(Intended(id=STEP, act=OpenHook(token="averylongtoken")))

    assert over_http(Pinned(blueprint=Raw(b'{"id":"flow"}'))) == Pinned(blueprint=Raw(b"null"))
    assert isinstance(hook, Intended)
    assert isinstance(hook.act, OpenHook)
    assert "long" not in hook.act.token


def test_a_page_says_whether_there_is_more() -> None:
    entry = entry_json(TimerFired(n=1, due=4), Codec(), seq=3, at=9)
    page = events_of(b'{"events":[' + entry + b'],"next":3,"done":true}', "GET /events")

    assert (page.events, page.next, page.done) == ([RunEvent(3, 9, TimerFired(n=1, due=4))], 3, True)


@pytest.mark.parametrize("data", [b"{}", b'{"seq":1,"at":2,"type":"news"}', b'{"seq":"x","at":2,"type":"timer"}'])
def test_an_entry_of_a_newer_server_is_named(data: bytes) -> None:
    with pytest.raises(BackendError, match="does not know"):
        event_of(data, "GET /events")
