"""Worker processes are killed with SIGKILL at random moments, and nothing is lost or repeated."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from stepwell import RunQuery, Stepwell
from stepwell.model.entries import StepCompleted
from tests.chaos import program

RUNS = 60
WORKERS = 3
KILLS = int(os.environ.get("STEPWELL_CHAOS_KILLS", "200"))
ROOT = Path(__file__).parents[2]


class Fleet:
    """Worker processes over one database file."""

    def __init__(self, url: str, log: Path) -> None:
        self._command = [sys.executable, "-m", "tests.chaos.program", url]
        self._env = {**os.environ, "CHAOS_LOG": str(log), "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
        self.errors = log.with_name("workers.err")
        self.processes = [self._spawn() for _ in range(WORKERS)]

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.errors.open("ab") as errors:
            return subprocess.Popen(self._command, env=self._env, cwd=ROOT, stderr=errors)

    def kill_one(self, choice: random.Random) -> None:
        index = choice.randrange(WORKERS)
        self.processes[index].send_signal(signal.SIGKILL)
        self.processes[index].wait()
        self.processes[index] = self._spawn()

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


async def kill_until_done(url: str, log: Path, choice: random.Random) -> tuple[list[int], int]:
    app = Stepwell(url, include=[program], worker=False)
    async with app:
        fleet = Fleet(url, log)
        kills = 0
        try:
            handles = []
            for n in range(RUNS):
                handle = await app.start(program.tree, n, id=f"tree-{n}")
                await handle.send(program.go_on, 100)
                handles.append(handle)
            results = asyncio.gather(*(handle.result(timeout=120) for handle in handles))
            while kills < KILLS:
                await asyncio.sleep(choice.uniform(0.02, 0.25))
                fleet.kill_one(choice)
                kills += 1
                if results.done():
                    # Keep something alive to be killed: a fresh round of runs.
                    extra = [await app.start(program.tree, n, id=f"extra-{kills}-{n}") for n in range(RUNS)]
                    for handle in extra:
                        await handle.send(program.go_on, 100)
                    handles += extra
                    results = asyncio.gather(*(handle.result(timeout=120) for handle in handles))
            values = await results
            for handle in handles:
                head = await handle.head()
                assert head.status == "completed"
            return [
                v - program.expected(int(h.id.rpartition("-")[2])) for v, h in zip(values, handles, strict=True)
            ], kills
        finally:
            fleet.stop()


async def completed_steps(url: str) -> dict[tuple[str, str], int]:
    """When each step of each run was journaled as completed (ms)."""
    completed = {}
    app = Stepwell(url, include=[program], worker=False)
    async with app:
        cursor = None
        while True:
            page = await app.runs.list(RunQuery(limit=500, cursor=cursor))
            for head in page.runs:
                _, frames = await app.client.journal(head.id)
                assert [seq for seq, _ in frames] == list(range(1, len(frames) + 1)), f"{head.id} has gaps"
                for _, frame in frames:
                    for entry in frame.entries:
                        if isinstance(entry, StepCompleted):
                            assert (head.id, entry.id) not in completed, f"{head.id} {entry.id} completed twice"
                            completed[head.id, entry.id] = frame.at
            cursor = page.cursor
            if cursor is None:
                return completed


def executions(log: Path) -> dict[tuple[str, str], list[int]]:
    """When each step began, as its own log lines say."""
    begun = defaultdict(list)
    for line in log.read_text().splitlines():
        run, step, when = line.split()
        begun[run, step].append(int(when))
    return begun


def test_workers_killed_at_random_lose_and_repeat_nothing(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    url = f"sqlite:///{tmp_path / 'chaos.db'}"
    log = tmp_path / "effects.log"
    log.touch()
    errors, kills = asyncio.run(kill_until_done(url, log, random.Random(seed)))
    assert errors == [0] * len(errors)
    completed = asyncio.run(completed_steps(url))
    begun = executions(log)
    assert set(completed) == set(begun), "every completed step was executed, and no other"
    repeated = {key: times for key, times in begun.items() if max(times) > completed[key] + 1}
    assert not repeated, f"steps that ran again after they were completed: {repeated}"
    assert kills == KILLS
