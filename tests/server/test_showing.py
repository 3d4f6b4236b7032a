"""Journals as strangers may see them."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from msgspec import Raw

from stepwell.codec import AesGcm, Codec
from stepwell.model.entries import (
    AttemptFailed,
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
    Pinned,
    Received,
    Sent,
    StartChild,
    Started,
    StepCompleted,
    StepFailed,
    StepProgressed,
    TimerFired,
)
from stepwell.model.failures import Failure
from stepwell.model.ids import Claim, CommandId, MessageId, RunId
from stepwell.model.messages import Signal
from stepwell.server.catalogue import ENDPOINTS
from stepwell.server.openapi import openapi
from stepwell.server.showing import entry_json, opened

STEP, ONE = CommandId("s"), Raw(b"1")
FAILURE = Failure(types=("builtins.ValueError",), message="no")
CREATED = Created(
    workflow="w", seed="5eed", input=Raw(b'{"seed":"mine"}'), parent=Parent(run=RunId("p"), base=1, command=STEP)
)
ENTRIES: list[Entry] = [
    CREATED,
    Started(at=5),
    Pinned(blueprint=Raw(b'{"secret":1}')),
    StepCompleted(id=STEP, value=ONE),
    StepFailed(id=STEP, failure=FAILURE),
    AttemptFailed(id=STEP, failure=FAILURE, attempt=1, retry_at=9),
    StepProgressed(id=STEP, progress=ONE),
    TimerFired(n=0, due=7),
    Received(no=1, id=MessageId("m"), at=6, message=Signal(name="go", value=ONE)),
    Intended(id=STEP, act=StartChild(child=RunId("c"), workflow="w", blueprint=Raw(b'{"secret":1}'))),
    Intended(id=STEP, act=OpenHook(token="hidden-token-of-mine")),
    Confirmed(id=STEP, failure=FAILURE),
    MetadataChanged(values={"a": ONE}),
    Sent(stream="words", k=0, value=ONE),
    Patched(id="p"),
    Dropped(id=MessageId("m"), reason="does not fit"),
    ContinuedAsNew(
        created=CREATED,
        input=ONE,
        history=(Frame(1, Claim("a:1"), (StepCompleted(id=STEP, value=ONE),)),),
        names=("hidden",),
    ),
    Ended(status="failed", failure=FAILURE),
]
DOCUMENT = json.loads(json.dumps(openapi(ENDPOINTS)))
SCHEMA = jsonschema_rs.Draft202012Validator(
    {"$ref": "#/components/schemas/JournalEvent", "components": DOCUMENT["components"]}
)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), f"{pairs}: a name is there twice"
    return dict(pairs)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry.__struct_config__.tag))
def test_an_entry_is_as_the_document_says(entry: Entry) -> None:
    shown = json.loads(entry_json(entry, Codec(), seq=3, at=8), object_pairs_hook=_unique)

    SCHEMA.validate(shown)
    assert (shown["seq"], shown["at"], shown["type"]) == (3, 8, entry.__struct_config__.tag)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry.__struct_config__.tag))
def test_no_entry_shows_seeds_tokens_and_blueprints(entry: Entry) -> None:
    text = entry_json(entry, Codec(), seq=3, at=8)

    assert not any(secret in text for secret in (b"5eed", b"hidden-token", b"secret", b'"hidden"'))


def test_what_a_user_calls_seed_is_shown() -> None:
    assert b'"input":{"seed":"mine"}' in entry_json(CREATED, Codec(), seq=1, at=1)


def _ciphered() -> Codec:
    return Codec(AesGcm({"k": bytes(32)}, current="k"))


def test_payloads_are_opened() -> None:
    codec = _ciphered()
    entry = StepCompleted(id=STEP, value=codec.typed(Any).encode({"a": 1}, where="x"))

    assert b'"value":{"a":1}' in entry_json(entry, codec, seq=1, at=1)


def test_a_payload_without_its_key_is_marked_and_hides_nothing_else() -> None:
    entry = StepCompleted(id=STEP, value=_ciphered().typed(Any).encode({"a": 1}, where="x"))

    shown = json.loads(entry_json(entry, Codec(), seq=1, at=1))
    assert (shown["id"], shown["value"]) == ("s", {"$sealed": True})


def test_a_failure_without_its_key_shows_its_type() -> None:
    sealed = Failure(types=("builtins.ValueError",), message='{"$sealed":"abc"}', traceback="x")

    shown = opened(Ended(status="failed", failure=sealed), Codec())
    assert (shown.failure.types, shown.failure.message, shown.failure.traceback) == (sealed.types, "(encrypted)", "")


def test_what_looks_like_a_payload_of_ours_is_shown_as_it_was() -> None:
    value = Codec().typed(Any).encode({"$blob": "mine"}, where="x")

    assert b'"value":{"$blob":"mine"}' in entry_json(StepCompleted(id=STEP, value=value), Codec(), seq=1, at=1)
