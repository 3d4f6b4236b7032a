"""The listing of runs: newest first, by number, which is the order of creation."""

from __future__ import annotations

import sqlite3

from stepwell.backends.sqlite.bulk import Value
from stepwell.backends.sqlite.rows import head_of
from stepwell.errors import DefinitionError
from stepwell.model.runs import Head, Page, RunQuery

_SCAN_MAX = 20_000
"""Rows that one page looks at for conditions that no index helps with. Then it is a short page."""

_COLUMNS = """r.no, r.id, r.workflow, r.version, r.status, r.queue, r.priority, r.created_at, r.ended_at, r.wake_at,
  r.owner, r.mail, r.takes, r.seq, r.base, r.parent, r.tags, r.metadata, r.waiting, r.error,
  r.namespace"""


def search(connection: sqlite3.Connection, query: RunQuery) -> Page:
    """One page."""
    below = _below(query)
    text, values = _statement(query)
    heads: list[Head] = []
    scanned, last = 0, below
    with_metadata = bool(query.metadata)
    most = _SCAN_MAX if with_metadata else query.limit + 1
    cursor = connection.execute(text, (*values, below, most))
    for row in cursor:
        scanned += 1
        head = head_of(row)
        if with_metadata and not _has_metadata(head, query):
            last = row[0]
            continue
        if len(heads) == query.limit:
            return Page(tuple(heads), str(last))
        heads.append(head)
        last = row[0]
    return Page(tuple(heads), str(last) if scanned == most else None)


def _below(query: RunQuery) -> int:
    """The number below which the page begins."""
    if not 1 <= query.limit <= 1000:
        raise DefinitionError(f"RunQuery(limit={query.limit}): give 1 to 1000")
    if query.cursor is None:
        return 2**63 - 1
    if not (query.cursor.isascii() and query.cursor.isdigit() and len(query.cursor) < 19):
        raise DefinitionError(f"the cursor {query.cursor!r} was not made by this store")
    return int(query.cursor)


def _statement(query: RunQuery) -> tuple[str, list[Value]]:
    """The query made of fixed conditions; values only ever travel as parameters."""
    conditions: list[str] = []
    values: list[Value] = []
    pairs: list[tuple[str, Value]] = [
        ("r.namespace = ?", query.namespace),
        ("r.workflow = ?", query.workflow),
        ("r.parent = ?", query.parent),
        ("r.created_at >= ?", query.since),
        ("r.created_at < ?", query.until),
        ("r.ended_at < ?", query.ended_before),
        ("instr(iif(r.namespace = '', r.id, substr(r.id, length(r.namespace) + 2)), ?) > 0", query.text),
    ]
    for condition, value in pairs:
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if query.status:
        conditions.append(f"r.status in ({', '.join('?' * len(query.status))})")
        values += query.status
    for key, value in query.tag:
        conditions.append("exists (select 1 from tags as t where t.key = ? and t.value = ? and t.run = r.no)")
        values += [key, value]
    conditions.append("r.no < ?")
    where = " and ".join(conditions)
    return f"select {_COLUMNS} from runs as r where {where} order by r.no desc limit ?", values  # noqa: S608


def _has_metadata(head: Head, query: RunQuery) -> bool:
    return all(
        (there := head.metadata.get(key)) is not None and bytes(there) == bytes(value) for key, value in query.metadata
    )
