"""Event streams as bytes (text/event-stream, WHATWG HTML 9.2): what has arrived, as events."""

from __future__ import annotations

import re

from msgspec import Struct

from stepwell.errors import BackendError

MAX_EVENT = 256 * 2**20
"""The bytes that one event may take: some more than a value."""

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r)")
_BOM = b"\xef\xbb\xbf"


class FeedEvent(Struct, frozen=True):
    """One event. `id` is the last that was told, by this one or one before it."""

    name: str
    data: bytes
    id: str | None = None


class Feed:
    """Cuts bytes, as they come, into events. What is unfinished at the end of a connection is lost, as it must be."""

    def __init__(self, last_id: str | None = None) -> None:
        self._unfinished: list[bytes] = []
        self._is_first = True
        self._name = ""
        self._data: list[bytes] = []
        self._id = last_id
        self._size = 0

    def take(self, chunk: bytes) -> list[FeedEvent]:
        """The events that are complete now. `BackendError` if one is too large."""
        self._size += len(chunk)
        self._unfinished.append(chunk)
        if self._size > MAX_EVENT:
            raise BackendError(f"the server sent an event of more than {MAX_EVENT} bytes; values are smaller")
        if b"\n" not in chunk and b"\r" not in chunk and len(self._unfinished) > 1:
            return []  # a long line is put together once
        text = b"".join(self._unfinished)
        if self._is_first and _BOM.startswith(text):
            return []
        text = text.removeprefix(_BOM) if self._is_first else text
        self._is_first = False
        events: list[FeedEvent] = []
        at = 0
        while (match := _LINE.match(text, at)) is not None:
            if match[2] == b"\r" and match.end() == len(text):
                break  # the other half of the line end may come
            at = match.end()
            event = self._line(match[1])
            if event is not None:
                events.append(event)
        self._unfinished = [text[at:]]
        self._size = len(text) - at + sum(map(len, self._data))
        return events

    def _line(self, line: bytes) -> FeedEvent | None:
        if not line:
            return self._end()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        return None

    def _end(self) -> FeedEvent | None:
        name, data = self._name or "message", self._data
        self._name, self._data = "", []
        return FeedEvent(name, b"\n".join(data), self._id) if data else None
