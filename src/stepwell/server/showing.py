"""What the journal holds, as strangers may see it: payloads opened, secrets left out.

A payload whose key is not here becomes `{"$sealed": true}`: the rest of the answer is there all the same. The seed of a
run and the tokens of its hooks are never shown, since who knows them can complete its hooks.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from stepwell.codec import Codec
from stepwell.errors import CodecError
from stepwell.model.entries import (
    AttemptFailed,
    Confirmed,
    ContinuedAsNew,
    Created,
    Dropped,
    Ended,
    Entry,
    Intended,
    MetadataChanged,
    OpenHook,
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
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import MessageId, RunId
from stepwell.model.messages import Message

SEALED = Raw(b'{"$sealed":true}')
_HIDDEN = "(encrypted)"
_TAG = b'{"t":'


class _Shown(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t"):
    """An entry without what nobody may see."""


class CreatedEvent(_Shown, tag="created", frozen=True, kw_only=True, omit_defaults=True):
    """The run was created."""

    workflow: str
    version: str = ""
    input: Raw = NULL
    parent: RunId | None = None
    deadline: int | None = None
    not_before: int = 0
    forked_from: RunId | None = None
    tags: dict[str, str] = {}
    metadata: dict[str, Raw] = {}


class PinnedEvent(_Shown, tag="pinned", frozen=True, kw_only=True, omit_defaults=True):
    """A worker fixed the blueprint that the run goes by."""


class ContinuedEvent(_Shown, tag="continued", frozen=True, kw_only=True, omit_defaults=True):
    """The run started again: by `continue_as_new`, or as its `retries`-th retry, with what was settled before."""

    input: Raw = NULL
    version: str = ""
    metadata: dict[str, Raw] = {}
    retries: int = 0
    not_before: int = 0
    previous: int = 0


class StartedEvent(_Shown, tag="started", frozen=True, kw_only=True, omit_defaults=True):
    """The body began, later than it could."""

    began_at: int


class ReceivedEvent(_Shown, tag="received", frozen=True, kw_only=True, omit_defaults=True):
    """A message, drained from the inbox. `no` is its number there, `accepted_at` when the store took it."""

    no: int
    id: MessageId
    accepted_at: int
    message: Message


JournalEntry = (
    CreatedEvent
    | PinnedEvent
    | ContinuedEvent
    | StartedEvent
    | StepCompleted
    | StepFailed
    | AttemptFailed
    | StepProgressed
    | TimerFired
    | ReceivedEvent
    | Intended
    | Confirmed
    | MetadataChanged
    | Sent
    | Patched
    | Dropped
    | Ended
)
"""The entries of a journal as `entry_json` writes them; the tag `t` is called `type` there."""


def opened_payload(raw: Raw, codec: Codec) -> Raw:
    """The JSON of a payload, or a mark in its place."""
    try:
        return codec.opened(raw, where="a payload")
    except CodecError:
        return SEALED


def opened(value: Any, codec: Codec) -> Any:
    """The value with every payload in it opened, at any depth of structs, tuples, lists and dicts."""
    if isinstance(value, Raw):
        return opened_payload(value, codec)
    if isinstance(value, Failure) and value.is_sealed:
        value = msgspec.structs.replace(value, message=_HIDDEN, traceback="")
    if getattr(value, "what", None) == "open_hook":  # an act of a timeline
        value = msgspec.structs.replace(value, target=_masked(value.target))
    if isinstance(value, OpenHook):
        value = msgspec.structs.replace(value, token=_masked(value.token))
    if isinstance(value, StartChild) and value.blueprint is not NULL:
        value = msgspec.structs.replace(value, blueprint=NULL)
    if isinstance(value, Struct):
        return _converted(value, codec)
    if isinstance(value, tuple | list):
        return type(value)([opened(item, codec) for item in value])
    if isinstance(value, dict):
        return {key: opened(item, codec) for key, item in value.items()}
    return value


def entry_json(entry: Entry, codec: Codec, *, seq: int, at: int) -> bytes:
    """One entry as JSON: `{"seq": ..., "at": ..., "type": ..., ...}`."""
    body = msgspec.json.encode(opened(_shown(entry), codec))
    assert body.startswith(_TAG), "the tag comes first"
    return b'{"seq":%d,"at":%d,"type":' % (seq, at) + body[len(_TAG) :]


def _shown(entry: Entry) -> Struct:
    match entry:
        case Created():
            return CreatedEvent(
                workflow=entry.workflow,
                version=entry.version,
                input=entry.input,
                parent=None if entry.parent is None else entry.parent.run,
                deadline=entry.deadline,
                not_before=entry.not_before,
                forked_from=entry.forked_from,
                tags=entry.tags,
                metadata=entry.metadata,
            )
        case ContinuedAsNew():
            return ContinuedEvent(
                input=entry.input,
                version=entry.created.version,
                metadata=entry.created.metadata,
                retries=entry.retries,
                not_before=entry.not_before,
                previous=entry.previous,
            )
        case Pinned():
            return PinnedEvent()
        case Started():
            return StartedEvent(began_at=entry.at)
        case Received():
            return ReceivedEvent(no=entry.no, id=entry.id, accepted_at=entry.at, message=entry.message)
        case _:
            return entry


def _converted(value: Struct, codec: Codec) -> Struct:
    changes = {}
    for name in value.__struct_fields__:
        item = getattr(value, name)
        # NULL is the default, and is known by its identity.
        if item is not NULL and isinstance(item, Raw | Struct | tuple | list | dict):
            new = opened(item, codec)
            if new is not item:
                changes[name] = new
    return msgspec.structs.replace(value, **changes) if changes else value


def _masked(token: str) -> str:
    return f"{token[:4]}…"
