"""How close the SQLite store comes to SQLite itself.

    python benchmarks/store_limit.py [directory]

The raw rows write the same frames with nothing but the sqlite3 module. Compare ours with raw of the same run; the
absolute numbers say more about the disk and the neighbours than about the code.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from stepwell import backends
from stepwell.model.ids import Claim, RunId
from stepwell.model.runs import Head
from stepwell.ports import Append, Backend, HeadChange, NewRun

BODY = b'{"at":1795235705447,"by":"0123456789abcdef:1","entries":[' + b"x" * 213 + b"]}"
RUNS = 1000
STEPS = 10
SCHEMA = """
create table frames(n integer primary key, pos integer not null, body blob not null) strict;
create unique index frames_pos on frames(pos);
"""


class Raw:
    """Frames into a file, with as little Python as possible."""

    def __init__(self, path: Path) -> None:
        self._execute = sqlite3.connect(path, isolation_level=None, cached_statements=512).execute
        for statement in ("pragma journal_mode = wal", "pragma synchronous = full", "pragma wal_autocheckpoint = 8000"):
            self._execute(statement)
        for statement in SCHEMA.strip().splitlines():
            self._execute(statement)
        self._seq = 0

    def append(self, size: int) -> None:
        self._seq += 1
        values = [value for run in range(size) for value in (run << 24 | self._seq, BODY)]
        self._execute("begin immediate")
        self._execute("insert into frames(pos, body) values " + ", ".join(["(?, ?)"] * size), values)
        self._execute("commit")


class Ours:
    """The same through the port, and whole runs."""

    def __init__(self, backend: Backend) -> None:
        self._store = backend.store
        self._claim = Claim(f"{backend.store.identity}:1")
        self._now = backend.clock.now()
        self._seq = 1
        self._generation = 0

    async def create(self, ids: list[RunId]) -> None:
        head = {"workflow": "w", "status": "running", "created_at": self._now, "wake_at": self._now + 30_000}
        heads = [Head(id=id, owner=self._claim, **head) for id in ids]  # type: ignore[arg-type]
        await self._store.create([NewRun(head=head, frames=(BODY,)) for head in heads])

    async def append(self, size: int) -> None:
        self._seq += 1
        await self._store.append([Append(run=RunId(f"r{run}"), seq=self._seq, body=BODY) for run in range(size)])

    async def churn(self, size: int) -> None:
        """`size` runs of `STEPS` frames each: created, driven and ended."""
        self._generation += 1
        ids = [RunId(f"{self._generation}.{run}") for run in range(size)]
        await self.create(ids)
        for seq in range(2, STEPS + 1):
            await self._store.append([Append(run=id, seq=seq, body=BODY) for id in ids])
        end = HeadChange(status="completed", wake_at=None, release=True, ended_at=self._now)
        last = STEPS + 1
        await self._store.append(
            [Append(run=id, seq=last, body=BODY, owner=self._claim, mail=0, head=end) for id in ids]
        )


def seconds() -> Iterator[float]:
    """Yields until a second has passed."""
    started = time.perf_counter()
    while (passed := time.perf_counter() - started) < 1:
        yield passed


def raw_rate(work: Callable[[int], None], size: int) -> float:
    started, count = time.perf_counter(), 0
    for _ in seconds():
        work(size)
        count += size
    return count / (time.perf_counter() - started)


async def our_rate(work: Callable[[int], Awaitable[None]], size: int, each: int = 1) -> float:
    started, count = time.perf_counter(), 0
    for _ in seconds():
        await work(size)
        count += size * each
    return count / (time.perf_counter() - started)


async def main(directory: Path) -> None:
    raw = Raw(directory / "raw.db")
    backend = await backends.open(f"sqlite:///{directory}/ours.db")
    ours = Ours(backend)
    await ours.create([RunId(f"r{run}") for run in range(RUNS)])
    print(f"{'frames per commit':>20} {'raw/s':>12} {'ours/s':>12} {'ratio':>6}")
    for size in (1, 10, 100, 250, 1000):
        limit, reached = raw_rate(raw.append, size), await our_rate(ours.append, size)
        print(f"{size:>20} {limit:>12,.0f} {reached:>12,.0f} {reached / limit:>6.2f}")
    print(f"steps/s in runs of {STEPS}, 250 at once: {await our_rate(ours.churn, 250, STEPS):,.0f}")
    await backend.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as directory:
        asyncio.run(main(Path(directory)))
