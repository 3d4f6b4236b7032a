"""Heads to and from rows of the table `runs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from stepwell.backends.sqlite.bulk import Value
from stepwell.model.runs import Head, Wait
from stepwell.ports import HeadChange, Park

_encode = msgspec.json.encode
tags_of = msgspec.json.Decoder(dict[str, str]).decode
"""The tags that a text in the column holds."""
_metadata = msgspec.json.Decoder(dict[str, Raw]).decode
_waiting = msgspec.json.Decoder(tuple[Wait, ...]).decode


def head_of(row: Sequence[Any]) -> Head:
    """The head that a row of `head`, `heads_by_id` or `heads_by_no` holds; the row begins with the run's number."""
    tags, metadata, waiting = row[16], row[17], row[18]
    return Head(
        id=row[1],
        workflow=row[2],
        version=row[3],
        status=row[4],
        queue=row[5],
        priority=row[6],
        created_at=row[7],
        ended_at=row[8],
        wake_at=row[9],
        owner=row[10],
        mail=row[11],
        takes=row[12],
        seq=row[13],
        base=row[14],
        parent=row[15],
        tags=tags_of(tags) if tags else {},
        metadata=_owned(_metadata(metadata)) if metadata else {},
        waiting=_waiting(waiting) if waiting else (),
        error=row[19],
        namespace=row[20],
    )


def row_of(no: int, head: Head) -> tuple[Value, ...]:
    """A row for `INSERT_RUNS`."""
    return (
        no,
        head.id,
        head.workflow,
        head.version,
        head.status,
        head.queue,
        head.priority,
        head.created_at,
        head.ended_at,
        head.wake_at,
        head.owner,
        head.mail,
        head.takes,
        head.seq,
        head.base,
        head.parent,
        text_of(head.tags),
        text_of(head.metadata),
        text_of(head.waiting),
        head.error,
        head.namespace,
    )


def text_of(value: object) -> str | None:
    """JSON text, None for what is empty."""
    return _encode(value).decode() if value else None


def changed_columns(change: HeadChange | Park, fields: Sequence[str]) -> dict[str, Value]:
    """Those of `fields` that the change sets, as the columns hold them."""
    columns: dict[str, Value] = {}
    for field in fields:
        value = getattr(change, field)
        if value is not UNSET:
            columns[field] = _AS_TEXT[field](value) if field in _AS_TEXT else value
    return columns


_AS_TEXT: dict[str, Callable[[object], str | None]] = {"tags": text_of, "metadata": text_of, "waiting": text_of}


def _owned(metadata: dict[str, Raw]) -> dict[str, Raw]:
    # A decoded Raw is a view into the whole text; a copy can be compared and kept by itself.
    return {key: value.copy() for key, value in metadata.items()}
