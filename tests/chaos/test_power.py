"""Everything ends at once: all processes die, also in the middle of a checkpoint, or the machine goes."""

from __future__ import annotations

import asyncio
import random
import subprocess
from pathlib import Path

from stepwell import Stepwell
from tests.chaos import zigzag
from tests.chaos.fleet import WITHIN, Fleet, chance, spawn, stepwell, times
from tests.chaos.journals import Journal, completed_steps, journals, received

RUNS = times(16, 100)
OUTAGES = times(3, 50)
COPIES = times(1, 20)


async def start_all(app: Stepwell) -> None:
    for n in range(RUNS):
        handle = await app.start(zigzag.zigzag, n, id=f"run-{n}")
        await handle.send(zigzag.go_on, 100, id=f"go-{n}")


async def finish(app: Stepwell, fleet: Fleet) -> list[Journal]:
    """All runs end as they should, and the file is sound."""
    for n in range(RUNS):
        result = await app.handle(f"run-{n}", zigzag.zigzag).result(timeout=WITHIN)
        assert result == zigzag.expected(n)
    fleet.drain()
    found = await journals(app)
    assert len(found) == RUNS
    assert all(len(messages) == 1 for messages in received(found).values())
    await examine(app.url)
    return found


async def examine(url: str) -> None:
    answer = await asyncio.to_thread(stepwell, "doctor", "--backend", url)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "no damage found" in answer.stdout


async def die_and_go_on(path: Path, log: Path, choice: random.Random) -> list[Journal]:
    url = f"sqlite:///{path}"
    async with Stepwell(url, include=[zigzag], worker=False) as app:
        await start_all(app)
        with Fleet(url, log, module="zigzag") as fleet:
            for _ in range(OUTAGES):
                other = spawn("checkpoints", str(path), errors=log.with_name("checkpoints.err"))
                await asyncio.sleep(choice.uniform(0.4, 1.2))
                other.kill()
                fleet.kill_all()
                other.communicate()
                await examine(url)
                fleet.restart()
            return await finish(app, fleet)


def test_runs_go_on_after_all_processes_died(tmp_path: Path) -> None:
    log = tmp_path / "effects.log"
    log.touch()
    found = asyncio.run(die_and_go_on(tmp_path / "chaos.db", log, chance()))
    done = {tuple(line.split()[:2]) for line in log.read_text().splitlines() if " done " in line}
    assert set(completed_steps(found)) == done
    assert (tmp_path / "checkpoints.err").read_text() == ""


async def copy_now_and_then(path: Path, log: Path, choice: random.Random) -> list[Path]:
    """What another disk would hold, had the machine gone at such a moment: the file and its log, no locks, no index."""
    url = f"sqlite:///{path}"
    copies = []
    async with Stepwell(url, include=[zigzag], worker=False) as app:
        await start_all(app)
        with Fleet(url, log, module="zigzag") as fleet:
            for number in range(COPIES):
                await asyncio.sleep(choice.uniform(0.3, 1.2))
                copy = path.with_name(f"copy-{number}.db")
                with fleet.standstill():
                    # Not by this process: closing a file would give up the locks that SQLite has on it here.
                    subprocess.run(["cp", path, copy], check=True)
                    subprocess.run(["cp", f"{path}-wal", f"{copy}-wal"], check=True)
                copies.append(copy)
            await finish(app, fleet)
    return copies


async def go_on_with(copy: Path, log: Path) -> list[Journal]:
    url = f"sqlite:///{copy}"
    await examine(url)
    async with Stepwell(url, include=[zigzag], worker=False) as app:
        with Fleet(url, log, workers=2, module="zigzag") as fleet:
            return await finish(app, fleet)


def test_runs_go_on_from_what_was_on_the_disk_at_any_moment(tmp_path: Path) -> None:
    log = tmp_path / "effects.log"
    log.touch()
    for copy in asyncio.run(copy_now_and_then(tmp_path / "chaos.db", log, chance())):
        other = tmp_path / f"{copy.name}.log"
        other.touch()
        found = asyncio.run(go_on_with(copy, other))
        done = {tuple(line.split()[:2]) for text in (log, other) for line in text.read_text().splitlines()}
        assert set(completed_steps(found)) <= done, "a result without its effect"
