"""Many rows in one statement, that is, in one `sqlite3_step`.

The sqlite3 module gives up the interpreter lock around each step. A writer thread that inserts row by row while the
main thread is busy waits up to 5 ms for the lock *per row*, so rows go in as one `values (...), (...)` of 2**k rows.
What is missing to 2**k is filled up with nulls, which match nothing and, being forbidden, are ignored.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

Value = int | str | bytes | float | None
"""What SQLite stores."""

_MAX_VALUES = 4096
_MAX_ROWS = 1024


def _most_rows(width: int) -> int:
    return min(_MAX_ROWS, 1 << (_MAX_VALUES // width).bit_length() - 1)


def _groups(width: int, size: int) -> str:
    return ", ".join(["(" + ", ".join("?" * width) + ")"] * size)


class BulkInsert:
    """`insert or ignore into table (columns)`; at least one of the columns is not null."""

    def __init__(self, table: str, *columns: str) -> None:
        self._start = f"insert or ignore into {table} ({', '.join(columns)}) values "  # noqa: S608 (constant names)
        self._width = len(columns)
        self._texts: dict[int, str] = {}
        self.most = _most_rows(self._width)

    def statement(self, rows: Sequence[tuple[Value, ...]]) -> tuple[str, list[Value]]:
        """The statement for up to `most` rows, and its parameters."""
        count = len(rows)
        size = 1 << (count - 1).bit_length()
        text = self._texts.get(size)
        if text is None:
            text = self._texts[size] = self._start + _groups(self._width, size)
        values = [value for row in rows for value in row]
        if size > count:
            values += [None] * ((size - count) * self._width)
        return text, values


class BulkUpdate:
    """`update runs set columns` of runs that are named by number; each row begins with that number."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self._columns = columns
        self._texts: dict[int, str] = {}
        self.most = _most_rows(len(columns) + 1)

    def statement(self, rows: Sequence[tuple[Value, ...]]) -> tuple[str, list[Value]]:
        """The statement for up to `most` rows, and its parameters."""
        count, width = len(rows), len(self._columns) + 1
        size = 1 << (count - 1).bit_length()
        text = self._texts.get(size)
        if text is None:
            text = self._texts[size] = self._text(size)
        values = [value for row in rows for value in row]
        if size > count:
            values += [None] * ((size - count) * width)
        return text, values

    def _text(self, size: int) -> str:
        if size == 1:
            sets = ", ".join(f"{column} = ?{at}" for at, column in enumerate(self._columns, 2))
            return f"update runs set {sets} where no = ?1"  # noqa: S608
        sets = ", ".join(f"{column} = v.column{at}" for at, column in enumerate(self._columns, 2))
        groups = _groups(len(self._columns) + 1, size)
        return f"update runs set {sets} from (values {groups}) as v where runs.no = v.column1"  # noqa: S608


@functools.cache
def update_runs(columns: tuple[str, ...]) -> BulkUpdate:
    """The bulk update of these columns."""
    return BulkUpdate(columns)


INSERT_FRAMES = BulkInsert("frames", "pos", "body")
INSERT_RUNS = BulkInsert(
    "runs", "no", "id", "workflow", "version", "status", "queue", "priority", "created_at", "ended_at", "wake_at",
    "owner", "mail", "takes", "seq", "base", "parent", "tags", "metadata", "waiting", "error",
    "namespace",
)  # fmt: skip
INSERT_MAIL = BulkInsert("inbox", "run", "no", "id", "accepted_at", "body")
INSERT_TAGS = BulkInsert("tags", "namespace", "key", "value", "run")
INSERT_JOBS = BulkInsert("jobs", "queue", "visible_at", "deliveries", "body")
INSERT_CHUNKS = BulkInsert("chunks", "stream", "no", "data")
