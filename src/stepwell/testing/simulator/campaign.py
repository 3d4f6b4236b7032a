"""Many seeds, over several processes, until enough has gone wrong.

Each process is `python -m stepwell.testing.simulator.campaign`: it tries its share, and writes a line for each seed. If
one takes too long, the process writes its stack and ends; then that seed has failed, and another process goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

from stepwell.testing.simulator.scenarios import random_scenario
from stepwell.testing.simulator.shrinking import BROKEN, text_of, tried

LIMIT_S = 60.0
"""A seed that takes longer, in real time, hangs. It is some thousand times what they take."""

_LINE_BYTES = 1 << 24


class Seeds(Struct, frozen=True, kw_only=True):
    """Which seeds to try, and how: `count` from `first` on, by so many processes, until `failures` have failed."""

    first: int
    count: int
    jobs: int = 1
    failures: int = 1
    limit_s: float = LIMIT_S


class Finding(Struct, frozen=True, kw_only=True):
    """What is wrong with a seed. `invariant` is 0 if the simulation itself did not come to its end."""

    seed: int
    invariant: int
    run: str
    text: str


class Tried(Struct, frozen=True, kw_only=True):
    """One seed that was tried, and how much happened in it."""

    seed: int
    calls: int = 0
    steps: int = 0
    virtual_ms: int = 0
    finding: Finding | None = None


def try_seed(seed: int) -> Tried:
    """One seed, in this process."""
    verdict = tried(random_scenario(seed))
    violation, finding = verdict.violation, None
    if violation is not None:
        finding = Finding(seed=seed, invariant=violation.invariant, run=violation.run, text=text_of(violation))
    return Tried(seed=seed, calls=verdict.calls, steps=verdict.steps, virtual_ms=verdict.virtual_ms, finding=finding)


async def campaign(seeds: Seeds) -> AsyncIterator[Tried]:
    """Every seed as it was tried, in no order. Ends early, and stops all processes, when enough have failed."""
    everything = range(seeds.first, seeds.first + seeds.count)
    shares = [everything[job :: seeds.jobs] for job in range(min(seeds.jobs, seeds.count))]
    found: asyncio.Queue[Tried] = asyncio.Queue()
    workers = [asyncio.create_task(_work(share, seeds.limit_s, found)) for share in shares]
    failed = 0
    try:
        for _ in everything:
            one = await _next(found, workers)
            yield one
            failed += one.finding is not None
            if failed >= seeds.failures:
                break
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)


async def _next(found: asyncio.Queue[Tried], workers: list[asyncio.Task[None]]) -> Tried:
    """What is found next; or the error that keeps a worker from finding anything."""
    getting = asyncio.create_task(found.get())
    try:
        busy = [worker for worker in workers if not worker.done()]
        await asyncio.wait([getting, *busy], return_when=asyncio.FIRST_COMPLETED)
        for worker in workers:
            if worker.done():
                worker.result()
        return await getting
    finally:
        getting.cancel()


async def _work(share: range, limit_s: float, found: asyncio.Queue[Tried]) -> None:
    """Try a share, in one process after another: each goes on behind the seed over which the one before it died."""
    while share:
        with tempfile.TemporaryFile() as errors:
            async for one in _lines(share, limit_s, errors):
                found.put_nowait(one)
                share = share[1:]
            if share:
                errors.seek(0)
                last_words = errors.read().decode(errors="replace").strip()
                found.put_nowait(_died(share[0], last_words))
                share = share[1:]


async def _lines(share: range, limit_s: float, errors: IO[bytes]) -> AsyncIterator[Tried]:
    """What a process has to say, until its end."""
    words = map(str, (share.start, share.stop, share.step, limit_s))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", __spec__.name, *words),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        limit=_LINE_BYTES,
    )
    assert process.stdout is not None, "it is a pipe"
    try:
        async for line in process.stdout:
            yield msgspec.json.decode(line, type=Tried)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    finally:
        await process.wait()


def _died(seed: int, last_words: str) -> Tried:
    why = "hangs" if "Timeout" in last_words else "ends its process"
    text = f"the simulation {why}; its last words:\n{last_words or '(none)'}"
    return Tried(seed=seed, finding=Finding(seed=seed, invariant=BROKEN, run="-", text=text))


def stop_when_late(limit_s: float) -> None:
    """From now on this process has so long; then it writes its stacks to stderr and ends. Each call begins anew."""
    faulthandler.dump_traceback_later(limit_s, exit=True)


def main(words: list[str]) -> None:
    """What each process of a campaign does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; whoever started us ends us
    first, stop, step, limit_s = words
    for seed in range(int(first), int(stop), int(step)):
        stop_when_late(float(limit_s))
        line = msgspec.json.encode(try_seed(seed)) + b"\n"
        try:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            os._exit(0)  # nobody listens any more


if __name__ == "__main__":
    main(sys.argv[1:])
