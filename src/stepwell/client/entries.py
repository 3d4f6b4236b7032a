"""Entries of a journal as a server shows them: as in process, without what is secret."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct

from stepwell.client.shapes import reader
from stepwell.errors import BackendError
from stepwell.model.entries import Entry
from stepwell.runtime.following import RunEvent

_Members = dict[str, Raw]
_SECRETS: Mapping[str, Mapping[str, object]] = {"created": {"seed": ""}, "pinned": {"blueprint": None}}
"""What is left out, and has no default."""
_TIMES: Mapping[str, str] = {"received": "accepted_at", "started": "began_at"}
"""What the entry's own time is called, beside that of its frame."""


class EventPage(Struct, frozen=True):
    """Part of a journal. `next` is where to go on; `done`: there is nothing more."""

    events: list[RunEvent]
    next: int
    done: bool


class _Page(Struct, frozen=True):
    events: list[_Members]
    next: int
    done: bool


_read_page = reader(_Page)
_read_members = reader(_Members)
_decode_entry = msgspec.json.Decoder(Entry).decode
_decode_int = msgspec.json.Decoder(int).decode
_decode_str = msgspec.json.Decoder(str).decode


def events_of(body: bytes, asked: str) -> EventPage:
    """A page of a journal."""
    page = _read_page(body, asked)
    return EventPage([_event(members, asked) for members in page.events], page.next, page.done)


def event_of(data: bytes, asked: str) -> RunEvent:
    """One entry."""
    return _event(_read_members(data, asked), asked)


def _event(members: _Members, asked: str) -> RunEvent:
    try:
        kind = _decode_str(members["type"])
        return RunEvent(_decode_int(members["seq"]), _decode_int(members["at"]), _entry(kind, members))
    except (KeyError, msgspec.DecodeError) as error:
        raise BackendError(f"{asked} told of an entry that this client does not know: {error}") from None


def _entry(kind: str, members: _Members) -> Entry:
    shown = {name: raw for name, raw in members.items() if name not in ("type", "seq")}
    whole: dict[str, object] = {"t": kind, **shown}
    whole.update(_SECRETS.get(kind, {}))
    if kind in _TIMES:
        whole["at"] = whole.pop(_TIMES[kind])
    if kind == "created" and "parent" in shown:
        whole["parent"] = {"run": shown["parent"], "base": 0, "command": ""}
    if kind == "continued":
        known = {name: shown[name] for name in ("version", "metadata") if name in shown}
        created: dict[str, object] = {"workflow": "", "seed": ""}
        created.update(**known)
        whole["created"] = created
    entry: Entry = _decode_entry(msgspec.json.encode(whole))
    return entry
