"""Pages of a long listing: every filter alone, likely ones together; with many matches, few, and none.

`python -m benchmarks.listing listing '{"runs": 1000000}'` prints a table of all of them. The database is made once and
kept in the system's temporary directory.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from msgspec import Raw

from benchmarks.measuring import Answer, contend, percentile
from stepwell import backends
from stepwell.backends.sqlite.sql import migrations
from stepwell.model.entries import Created, Frame, FrameCodec
from stepwell.model.ids import Claim, RunId
from stepwell.model.runs import TERMINAL, Head, RunQuery, Status, Wait
from stepwell.ports import Backend, NewRun

BEGIN = 1_700_000_000_000
EVERY_MS = 100
PAGES = 20
PAGE = 100
LIVE: tuple[Status, ...] = ("queued", "running", "waiting", "paused")
SHARES: dict[Status, float] = {
    "completed": 80, "failed": 10, "waiting": 6, "cancelled": 2, "running": 1, "queued": 0.7, "paused": 0.3
}  # fmt: skip


# --- the runs


def run_of(rng: Random, n: int) -> NewRun:
    """The n-th run. Some kinds are one of 100,000."""
    namespace = "small" if n % 100_000 == 777 else rng.choices(("", "acme", "other"), (60, 30, 10))[0]
    prefix = f"{namespace} " if namespace else ""
    status = "dead" if n % 50_021 == 3 else rng.choices(list(SHARES), list(SHARES.values()))[0]
    at = BEGIN + n * EVERY_MS + rng.randrange(-1000, 1000)
    tags = {"region": rng.choice(("eu", "us", "ap")), "customer": f"c{rng.randrange(10_000)}"}
    parent = "big" if n % 10 == 0 else f"p{n // 7}" if n % 3 == 0 else None
    head = Head(
        id=RunId(f"{prefix}{at:011x}{n:014x}"),
        namespace=namespace,
        workflow="seldom" if n % 100_003 == 5 else f"w{min(int(rng.expovariate(0.3)), 18)}",
        status=status,
        created_at=at,
        ended_at=at + rng.randrange(100, 5000) if status in TERMINAL else None,
        wake_at=None if status in TERMINAL or n % 2 else BEGIN * 2 + n,
        waiting=(Wait(kind="signal", name="go"),) if status == "waiting" else (),
        error="ValueError: no such thing as this" if status == "failed" else "",
        tags={**tags, "seldom": "yes"} if n % 100_019 == 9 else tags,
        parent=None if parent is None else RunId(prefix + parent),
        metadata={"order": Raw(b"%d" % n), "plan": Raw(b'"gold"' if n % 5 else b'"basic"')},
    )
    return NewRun(head=head, frames=(FRAME,))


FRAME = FrameCodec.encode(Frame(BEGIN, Claim("benchmark"), (Created(workflow="w", input=Raw(b"0"), seed="00"),)))


async def made(runs: int) -> Path:
    """The database, made if it is not there."""
    folder = Path(tempfile.gettempdir()) / "stepwell-benchmarks"
    folder.mkdir(exist_ok=True)
    path = folder / f"listing-{runs}-{len(migrations())}.db"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}")
        backend, rng = await backends.open(f"sqlite:///{part}?relaxed=true"), Random(7)
        for start in range(0, runs, 1000):
            await backend.store.create([run_of(rng, n) for n in range(start, min(start + 1000, runs))])
        await backend.close()
        part.rename(path)
    return path


# --- the questions


def _metadata(key: str, value: bytes) -> tuple[tuple[str, Raw], ...]:
    return ((key, Raw(value)),)


def filters(runs: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each filter alone."""
    middle, end = BEGIN + runs * EVERY_MS // 2, BEGIN + runs * EVERY_MS
    yield "none", {}
    for status in ("completed", "failed", "dead", "terminated"):
        yield f"status {status}", {"status": (status,)}
    yield "status: any live", {"status": LIVE}
    for workflow in ("w0", "w18", "seldom", "absent"):
        yield f"workflow {workflow}", {"workflow": workflow}
    for key, value in (("region", "eu"), ("customer", "c77"), ("seldom", "yes"), ("seldom", "no")):
        yield f"tag {key}={value}", {"tag": ((key, value),)}
    yield "metadata: most runs", {"metadata": _metadata("plan", b'"gold"')}
    yield "metadata: one run", {"metadata": _metadata("order", b"%d" % (runs // 2))}
    yield "metadata: no run", {"metadata": _metadata("order", b"-1")}
    yield "parent of many", {"parent": RunId("big")}
    yield "parent of few", {"parent": RunId(f"p{runs // 14}")}
    yield "since: last 10 s", {"since": end - 10_000}
    yield "until: first half", {"until": middle}
    yield "until: first second", {"until": BEGIN + 1000}
    yield "since and until: a minute", {"since": middle, "until": middle + 60_000}
    yield "ended before: first half", {"ended_before": middle}
    yield "text: many runs", {"text": "0000"}
    yield "text: one run", {"text": f"{runs // 2:014x}"}
    yield "text: no run", {"text": "zz"}


def pairs(runs: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Likely combinations."""
    middle = BEGIN + runs * EVERY_MS // 2
    ended: tuple[Status, ...] = ("completed", "failed", "cancelled", "terminated", "dead")
    region = (("region", "eu"),)
    for status in ("failed", "dead"):
        yield f"workflow w0, status {status}", {"workflow": "w0", "status": (status,)}
        yield f"tag region=eu, status {status}", {"tag": region, "status": (status,)}
    yield "workflow w0, any live", {"workflow": "w0", "status": LIVE}
    yield "tag, workflow, status", {"tag": region, "workflow": "w0", "status": ("failed",)}
    yield "two tags", {"tag": (*region, ("customer", "c77"))}
    yield "metadata of one, status failed", {"metadata": _metadata("order", b"%d" % (runs // 2)), "status": ("failed",)}
    yield "text of none, status failed", {"text": "zz", "status": ("failed",)}
    yield "parent of many, status dead", {"parent": RunId("big"), "status": ("dead",)}
    yield "a minute, status failed", {"since": middle, "until": middle + 60_000, "status": ("failed",)}
    yield "half, status dead", {"since": middle, "status": ("dead",)}
    yield "ended before, any end (purge)", {"ended_before": middle, "status": ended}


async def pages(backend: Backend, query: dict[str, Any], runs: int) -> tuple[list[float], int, int]:
    """Milliseconds of pages from the first on and from deep inside; how many runs they had, and how many were short."""
    took: list[float] = []
    found = short = 0
    deep = [str(runs * n // PAGES) for n in range(1, PAGES)]
    cursor: str | None = None
    for at in range(2 * PAGES - 1):
        asked = cursor if at < PAGES else deep[at - PAGES]
        started = time.perf_counter()
        page = await backend.store.search(RunQuery(limit=PAGE, cursor=asked, **query))
        took.append((time.perf_counter() - started) * 1000)
        found += len(page.runs)
        short += page.cursor is not None and len(page.runs) < PAGE
        cursor = page.cursor
    return took, found, short


def listing(runs: int) -> Answer:
    """Every question in the default namespace, which has most runs, and in one that has nearly none."""

    async def scenario() -> Answer:
        backend = await backends.open(f"sqlite:///{await made(runs)}?read_only=true")
        worst: dict[int, float] = {50: 0.0, 95: 0.0}
        count = shorts = 0
        print(f"{'filter':44} {'p50 ms':>8} {'p95 ms':>8} {'runs':>6} {'short':>6}")
        for namespace in ("", "small"):
            for name, query in (*filters(runs), *pairs(runs)):
                if namespace and "parent" in query:
                    query["parent"] = f"{namespace} {query['parent']}"
                took, found, short = await pages(backend, {"namespace": namespace, **query}, runs)
                middle, high = percentile(took, 50), percentile(took, 95)
                worst = {50: max(worst[50], middle), 95: max(worst[95], high)}
                count, shorts = count + 1, shorts + short
                where = f"{name} (in `{namespace}`)" if namespace else name
                print(f"{where:44} {middle:8.1f} {high:8.1f} {found:6} {short:6}")
        await backend.close()
        pages_asked = count * (2 * PAGES - 1)
        return {"worst p95 ms": worst[95], "worst p50 ms": worst[50], "filters": count, "short": shorts / pages_asked}

    return asyncio.run(scenario())


if __name__ == "__main__":
    contend({"listing": listing})
