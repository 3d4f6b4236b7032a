"""The limit: the same rows, written by hand with nothing but the sqlite3 module."""

from __future__ import annotations

import sqlite3
import time

from benchmarks.measuring import Answer, Stopwatch, contend, percentile

BODY = b"x" * 180
"""About what a frame with one small result takes."""

SCHEMA = (
    "create table runs (no integer primary key, id text not null unique, head text not null)",
    "create table frames (n integer primary key, pos integer not null, body blob not null)",
    "create unique index frames_pos on frames (pos)",
)


def opened(path: str = "limit.db", *, relaxed: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute(f"pragma synchronous = {'normal' if relaxed else 'full'}")
    connection.execute("pragma wal_autocheckpoint = 8000")
    for statement in SCHEMA:
        connection.execute(statement)
    return connection


def sequential(steps: int, relaxed: bool = False) -> Answer:
    """One row per commit."""
    execute = opened(relaxed=relaxed).execute
    watch = Stopwatch()
    for step in range(steps):
        execute("begin immediate")
        execute("insert into frames (pos, body) values (?, ?)", (1 << 24 | step, BODY))
        execute("commit")
    return watch.rate(steps)


def concurrent(runs: int, steps: int) -> Answer:
    """All runs move in lockstep: one commit per step, of one row per run."""
    connection = opened()
    watch = Stopwatch()
    heads = [(run, f"run-{run}", "x" * 100) for run in range(runs)]
    connection.execute("begin immediate")
    connection.executemany("insert into runs (no, id, head) values (?, ?, ?)", heads)
    connection.executemany("insert into frames (pos, body) values (?, ?)", [(run << 24, BODY) for run in range(runs)])
    connection.execute("commit")
    for step in range(1, steps + 1):
        connection.execute("begin immediate")
        rows = [(run << 24 | step, BODY) for run in range(runs)]
        connection.executemany("insert into frames (pos, body) values (?, ?)", rows)
        if step == steps:
            connection.executemany("update runs set head = ? where no = ?", [("y" * 100, run) for run in range(runs)])
        connection.execute("commit")
    return watch.rate(runs * steps)


def sustained(runs: int, total: int) -> Answer:
    """Long histories that grow side by side, so that the index is written everywhere."""
    connection = opened()
    marks = []
    for step in range(total // runs):
        connection.execute("begin immediate")
        rows = [(run << 24 | step, BODY) for run in range(runs)]
        connection.executemany("insert into frames (pos, body) values (?, ?)", rows)
        connection.execute("commit")
        marks.append(time.perf_counter())
    return pace(marks, runs)


def pace(marks: list[float], each: int) -> Answer:
    """The rate, and how the last tenth compares with the first."""
    tenth = max(1, len(marks) // 10)
    first, last = marks[tenth] - marks[0], marks[-1] - marks[-1 - tenth]
    return {"steps/s": each * (len(marks) - 1) / (marks[-1] - marks[0]), "last/first tenth": first / last}


def latency(times: int, relaxed: bool = False) -> Answer:
    """One commit: nothing durable is faster."""
    execute = opened(relaxed=relaxed).execute
    taken = []
    for step in range(times):
        started = time.perf_counter()
        execute("insert into frames (pos, body) values (?, ?)", (step, BODY))
        taken.append((time.perf_counter() - started) * 1000)
    return {"first step p50 ms": percentile(taken, 50), "first step p99 ms": percentile(taken, 99)}


if __name__ == "__main__":
    contend({"sequential": sequential, "concurrent": concurrent, "sustained": sustained, "latency": latency})
