"""Workers are stopped past their leases and wake up late, with steps in flight, as zombies."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import NamedTuple

from stepwell import Stepwell
from tests.chaos import zigzag
from tests.chaos.fleet import WITHIN, Fleet, chance, times
from tests.chaos.journals import Journal, completed_steps, journals, received

STOPS = times(3, 40)
RUNS = 8 * STOPS


class Window(NamedTuple):
    """A process stood still from then to then (ms)."""

    pid: int
    start: int
    end: int


class Line(NamedTuple):
    """What an execution of a step says of itself."""

    run: str
    step: str
    pid: int
    execution: str
    what: str
    at: int


def now() -> int:
    return time.time_ns() // 1_000_000


def read(log: Path) -> list[Line]:
    return [Line(a, b, int(c), d, e, int(f)) for a, b, c, d, e, f in map(str.split, log.read_text().splitlines())]


def busy(fleet: Fleet, log: Path) -> list[int]:
    """The workers that are in the middle of steps."""
    under_way: dict[str, int] = {}
    for line in read(log):
        if line.what == "begun":
            under_way[line.execution] = line.pid
        else:
            under_way.pop(line.execution, None)
    pids = set(under_way.values())
    return [index for index, process in enumerate(fleet.processes) if process.pid in pids]


async def stop_and_go_on(fleet: Fleet, log: Path, choice: random.Random) -> list[Window]:
    """One or two busy workers stand still for longer than a lease, so that the others take their runs."""
    async with asyncio.timeout(WITHIN):
        while not (candidates := busy(fleet, log)):
            await asyncio.sleep(0.02)
    indexes = choice.sample(candidates, min(choice.choice([1, 1, 2]), len(candidates)))
    stopped = [(index, fleet.stop(index), now()) for index in indexes]
    await asyncio.sleep(zigzag.LEASE_MS / 1000 + choice.uniform(0.5, 1.2))
    windows = []
    for index, pid, start in stopped:
        fleet.go_on(index)
        windows.append(Window(pid, start, now()))
    await asyncio.sleep(choice.uniform(0, 0.3))
    return windows


async def stop_until_done(url: str, log: Path, choice: random.Random) -> tuple[list[Journal], list[Window]]:
    app = Stepwell(url, include=[zigzag], worker=False)
    windows: list[Window] = []
    async with app:
        with Fleet(url, log, module="zigzag") as fleet:
            handles = []
            for stops in range(STOPS):
                # Fresh runs each time, so that there is something in flight when a worker stops.
                for n in range(RUNS * stops // STOPS, RUNS * (stops + 1) // STOPS):
                    handles.append(await app.start(zigzag.zigzag, n, id=f"run-{n}"))
                    await handles[-1].send(zigzag.go_on, 100, id=f"go-{n}")
                windows += await stop_and_go_on(fleet, log, choice)
            for n, handle in enumerate(handles):
                assert await handle.result(timeout=WITHIN) == zigzag.expected(n)
            fleet.drain()
        return await journals(app), windows


def test_zombies_change_no_outcome_and_are_told_to_stop(tmp_path: Path) -> None:
    log = tmp_path / "effects.log"
    log.touch()
    found, windows = asyncio.run(stop_until_done(f"sqlite:///{tmp_path / 'chaos.db'}", log, chance()))
    assert len(found) == RUNS
    for messages in received(found).values():
        assert len(messages) == len(set(messages)) == 1

    lines = read(log)
    completed = completed_steps(found)
    done = {(line.run, line.step) for line in lines if line.what == "done"}
    assert set(completed) <= done, "a result without its effect"
    ended = {line.execution for line in lines if line.what in ("done", "told")}
    assert ended == {line.execution for line in lines}, "a step that neither ended nor was told to stop"
    assert any(line.what == "told" for line in lines), "no zombie was told"
    print(f"{sum(line.what == 'told' for line in lines)} of {len(ended)} executions were told to stop")
    for line in lines:
        at = completed[line.run, line.step]
        if line.what == "begun" and line.at > at + 1:
            slept = [w for w in windows if w.pid == line.pid and w.start <= at and w.end <= line.at]
            assert slept, f"{line} began after its result was journaled at {at}, in a process that was awake"
