"""Worker processes are killed with SIGKILL at random moments, and nothing is lost or repeated."""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from pathlib import Path

from stepwell import Stepwell
from tests.chaos import program
from tests.chaos.fleet import WITHIN, Fleet, chance, times
from tests.chaos.journals import completed_steps, journals

RUNS = 60
KILLS = int(os.environ.get("STEPWELL_CHAOS_KILLS", times(60, 1000)))


async def kill_until_done(url: str, log: Path, choice: random.Random) -> tuple[list[int], int]:
    app = Stepwell(url, include=[program], worker=False)
    async with app:
        kills = 0
        with Fleet(url, log) as fleet:
            handles = []
            for n in range(RUNS):
                handle = await app.start(program.tree, n, id=f"tree-{n}")
                await handle.send(program.go_on, 100)
                handles.append(handle)
            results = asyncio.gather(*(handle.result(timeout=WITHIN) for handle in handles))
            while kills < KILLS:
                await asyncio.sleep(choice.uniform(0.02, 0.25))
                fleet.kill(choice.randrange(3))
                kills += 1
                if results.done():
                    # Keep something alive to be killed: a fresh round of runs.
                    extra = [await app.start(program.tree, n, id=f"extra-{kills}-{n}") for n in range(RUNS)]
                    for handle in extra:
                        await handle.send(program.go_on, 100)
                    handles += extra
                    results = asyncio.gather(*(handle.result(timeout=WITHIN) for handle in handles))
            values = await results
            for handle in handles:
                head = await handle.head()
                assert head.status == "completed"
            return [
                v - program.expected(int(h.id.rpartition("-")[2])) for v, h in zip(values, handles, strict=True)
            ], kills


async def look(url: str) -> dict[tuple[str, str], int]:
    async with Stepwell(url, include=[program], worker=False) as app:
        return completed_steps(await journals(app))


def executions(log: Path) -> dict[tuple[str, str], list[int]]:
    """When each step began, as its own log lines say."""
    begun = defaultdict(list)
    for line in log.read_text().splitlines():
        run, step, when = line.split()
        begun[run, step].append(int(when))
    return begun


def test_workers_killed_at_random_lose_and_repeat_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chaos.db'}"
    log = tmp_path / "effects.log"
    log.touch()
    errors, kills = asyncio.run(kill_until_done(url, log, chance()))
    assert errors == [0] * len(errors)
    completed = asyncio.run(look(url))
    begun = executions(log)
    assert set(completed) == set(begun), "every completed step was executed, and no other"
    repeated = {key: times for key, times in begun.items() if max(times) > completed[key] + 1}
    assert not repeated, f"steps that ran again after they were completed: {repeated}"
    assert kills == KILLS
