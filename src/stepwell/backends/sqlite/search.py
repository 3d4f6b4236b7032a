"""The listing of runs: newest first, by number, which is the order of creation.

A page walks down the numbers of one index, the one that seems to have the fewest, and looks at those runs for what the
index does not know. It looks at so many and no more; then it is a short page, whose cursor goes on from there. Numbers
of runs that are too old or too young are left out before: the table `spans` knows when they were made.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from stepwell.backends.sqlite.bulk import Value
from stepwell.backends.sqlite.rows import head_of, text_of
from stepwell.backends.sqlite.session import as_json
from stepwell.backends.sqlite.sql import SQL
from stepwell.errors import DefinitionError
from stepwell.model.runs import STATUSES, Head, Page, RunQuery

SPAN_BITS = 10
"""A span of the table `spans` is `no >> SPAN_BITS`."""

_LAST_NO = 2**63 - 1
_LOOKS_MAX = 25_000
"""How much one page looks at: runs that lie side by side, or half as many that lie apart."""
_LOOKS_FIRST = 1000
_LOOKS_PER_RANGE = 50
"""What one more range of numbers costs, in runs."""
_COUNT_MAX = 20_000
_TEXT = "instr(iif(r.namespace = '', r.id, substr(r.id, length(r.namespace) + 2)), ?) > 0"
_TAG = "exists (select 1 from tags as t where t.namespace = r.namespace and t.key = ? and t.value = ? and t.run = r.no)"
_ALL: tuple[tuple[str, tuple[Value, ...]], ...] = (("select no from runs where no", ()),)
_decode = msgspec.json.decode


class _Condition(NamedTuple):
    """Something that a run `r` has to fulfil."""

    name: str
    text: str
    values: tuple[Value, ...]


class _Source(NamedTuple):
    """Numbers of runs from indexes, as queries whose results are merged, each in order; what they imply by name.

    `cost` is that of a look at one of its runs.
    """

    implies: frozenset[str]
    parts: tuple[tuple[str, tuple[Value, ...]], ...]
    cost: int = 2

    def within(self, low: int, high: int) -> tuple[str, list[Value]]:
        """The numbers in that range, both ends included."""
        text = " union all ".join(f"{part} between ? and ?" for part, _ in self.parts)
        return text, [value for _, values in self.parts for value in (*values, low, high)]


def search(connection: sqlite3.Connection, query: RunQuery) -> Page:
    """One page, as of one moment."""
    below = _below(query)
    connection.execute("begin")
    try:
        return _Walk(connection, query, below).page()
    finally:
        connection.execute("commit")


def _below(query: RunQuery) -> int:
    """The number below which the page begins."""
    if not 1 <= query.limit <= 1000:
        raise DefinitionError(f"RunQuery(limit={query.limit}): give 1 to 1000")
    if query.cursor is None:
        return _LAST_NO
    if not (query.cursor.isascii() and query.cursor.isdigit() and len(query.cursor) < 19):
        raise DefinitionError(f"the cursor {query.cursor!r} was not made by this store")
    return int(query.cursor)


class _Walk:
    """One page in the making."""

    def __init__(self, connection: sqlite3.Connection, query: RunQuery, below: int) -> None:
        self._connection = connection
        self._query = query
        self._below = below
        self._heads: list[tuple[int, Head]] = []
        self._looks = _LOOKS_MAX
        self._chunk = _LOOKS_FIRST

    def page(self) -> Page:
        """Walk until the page is full, all is seen, or enough was looked at."""
        limit, ranges = self._query.limit, self._ranges()
        if not ranges:
            return Page(())
        source = self._source(ranges[-1][0], ranges[0][1])
        conditions = [item for item in _conditions(self._query) if item.name not in source.implies]
        for low, high in ranges:
            self._below = high + 1
            while self._below > low:
                if self._looks <= 0:
                    return self._page(str(self._below))
                self._step(source, conditions, low)
                if len(self._heads) > limit:
                    return self._page(str(self._heads[limit - 1][0]))
            self._looks -= _LOOKS_PER_RANGE
        return self._page(None)

    def _page(self, cursor: str | None) -> Page:
        return Page(tuple([head for _, head in self._heads[: self._query.limit]]), cursor)

    def _step(self, source: _Source, conditions: Sequence[_Condition], low: int) -> None:
        """Look at the next runs of the source, and move on."""
        missing = self._query.limit + 1 - len(self._heads)
        most = max(1, min(self._chunk, self._looks // source.cost)) if conditions else missing
        text, values = source.within(low, self._below - 1)
        checked = "walk"
        if conditions:
            where = " and ".join(item.text for item in conditions)
            checked = f"walk cross join runs as r on r.no = walk.no where {where}"
        row = self._connection.execute(
            f"with walk(no) as materialized ({text} order by no desc limit ?) "  # noqa: S608 (texts of this module)
            f"select (select json_group_array(no) from (select walk.no from {checked} order by walk.no desc limit ?)), "
            "count(*), min(no) from walk",
            (*values, most, *(value for item in conditions for value in item.values), missing),
        ).fetchone()
        found: list[int] = _decode(row[0])
        self._keep(found)
        self._looks -= row[1] * source.cost
        self._chunk *= 4
        if len(found) == missing:
            self._below = found[-1]
        else:
            self._below = row[2] if row[1] == most else low

    def _keep(self, numbers: Sequence[int]) -> None:
        if numbers:
            ((text,),) = self._connection.execute(SQL["heads_by_no"], (as_json(numbers),))
            heads = [(row[0], head_of(row)) for row in _decode(text)]
            self._heads += [item for item in heads if _has_metadata(item[1], self._query)]

    # --- where

    def _ranges(self) -> list[tuple[int, int]]:
        """The numbers between which there may be runs of the wanted times, newest first; both ends included."""
        query, last = self._query, self._below - 1
        if query.since is None and query.until is None and query.ended_before is None:
            return [(1, last)] if last else []
        times = (query.since, query.until, query.ended_before)
        ((text, first_open),) = self._connection.execute(SQL["spans_of_times"], times)
        ranges = [(first_open << SPAN_BITS, _LAST_NO)]
        for span in _decode(text):
            low = span << SPAN_BITS
            if low + (1 << SPAN_BITS) == ranges[-1][0]:
                ranges[-1] = (low, ranges[-1][1])
            else:
                ranges.append((low, low + (1 << SPAN_BITS) - 1))
        return [(low, min(high, last)) for low, high in ranges if low <= last]

    def _source(self, low: int, high: int) -> _Source:
        """The source to walk: that with the fewest numbers."""
        ((first, last),) = self._connection.execute(SQL["first_and_last_namespace"])
        namespace = self._query.namespace
        is_only = first == last and namespace in (None, first)
        sources = list(_sources(self._query, first if is_only else namespace, is_only=is_only))
        best, most = sources[0], _COUNT_MAX
        for source in sources if len(sources) > 1 else ():
            text, values = source.within(low, high)
            counted = self._connection.execute(f"select count(*) from ({text} limit ?)", (*values, most))  # noqa: S608
            ((count,),) = counted
            if count < most:
                best, most = source, count
        return best


def _sources(query: RunQuery, namespace: str | None, *, is_only: bool) -> Iterator[_Source]:
    """Indexes that know some of the conditions, at least one. Most begin with a namespace. `is_only`: it is the only
    one that there is."""
    if query.parent is not None:
        text = "select no from runs indexed by runs_parent where parent = ? and no"
        yield _Source(frozenset({"parent"}), ((text, (query.parent,)),))
    if namespace is None:
        yield _Source(frozenset(), _ALL, cost=1)
        return
    for at, (key, value) in enumerate(query.tag):
        text = "select run as no from tags where namespace = ? and key = ? and value = ? and run"
        yield _Source(frozenset({"namespace", f"tag {at}"}), ((text, (namespace, key, value)),))
    if query.workflow is not None:
        text = "select no from runs indexed by runs_workflow where namespace = ? and workflow = ? and status = ? and no"
        yield _by_status(query, text, {"namespace": namespace, "workflow": query.workflow})
    elif query.status or not is_only:
        text = "select no from runs indexed by runs_status where namespace = ? and status = ? and no"
        yield _by_status(query, text, {"namespace": namespace})
    else:
        yield _Source(frozenset({"namespace"}), _ALL, cost=1)


def _by_status(query: RunQuery, text: str, key: dict[str, Value]) -> _Source:
    """The entries of an index that ends with the status, of each that is asked for."""
    statuses = dict.fromkeys(query.status or STATUSES)
    return _Source(frozenset({*key, "status"}), tuple([(text, (*key.values(), status)) for status in statuses]))


def _conditions(query: RunQuery) -> Iterator[_Condition]:
    """What runs have to fulfil; values only ever travel as parameters."""
    single: tuple[tuple[str, str, Value], ...] = (
        ("namespace", "r.namespace = ?", query.namespace),
        ("parent", "r.parent = ?", query.parent),
        ("workflow", "r.workflow = ?", query.workflow),
        ("since", "r.created_at >= ?", query.since),
        ("until", "r.created_at < ?", query.until),
        ("ended_before", "r.ended_at < ?", query.ended_before),
        ("text", _TEXT, query.text),
    )
    for name, text, value in single:
        if value is not None:
            yield _Condition(name, text, (value,))
    if query.status:
        yield _Condition("status", f"r.status in ({', '.join('?' * len(query.status))})", query.status)
    for at, pair in enumerate(query.tag):
        yield _Condition(f"tag {at}", _TAG, pair)
    for key, raw in query.metadata:
        # Of the whole text only what it says of this key: found in it if the run has it, and seldom else.
        pair_text = text_of({key: raw})
        assert pair_text is not None
        yield _Condition("metadata", "instr(r.metadata, ?) > 0", (pair_text[1:-1],))


def _has_metadata(head: Head, query: RunQuery) -> bool:
    return all(
        (there := head.metadata.get(key)) is not None and bytes(there) == bytes(value) for key, value in query.metadata
    )
