"""Another process locks the database again and again: for longer than we wait for locks, and than a lease."""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stepwell import Stepwell
from tests.chaos import zigzag
from tests.chaos.fleet import WITHIN, Fleet, chance, spawn, stepwell, times
from tests.chaos.journals import Journal, completed_steps, journals, received

RUNS = 6
ROUNDS = times(2, 40)
LOCK_TIMEOUT_MS = 700
LINES_MAX = 20 * ROUNDS


@contextmanager
def locker(path: Path, errors: Path) -> Iterator[subprocess.Popen[str]]:
    process = spawn("locker", str(path), errors=errors)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def say(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()
    return (await asyncio.to_thread(process.stdout.readline)).strip()


async def read_while_locked(url: str) -> None:
    for command in (["runs", "list"], ["runs", "show", "run-0-0"]):
        answer = await asyncio.to_thread(stepwell, *command, "--backend", url)
        assert answer.returncode == 0, answer.stderr
        assert "run-" in answer.stdout


async def lock_until_done(directory: Path, choice: random.Random) -> tuple[list[Journal], list[Path]]:
    path = directory / "chaos.db"
    url = f"sqlite:///{path}?lock_timeout_ms={LOCK_TIMEOUT_MS}"
    app = Stepwell(url, include=[zigzag], worker=False)
    async with app:
        with (
            locker(path, directory / "locker.err") as other,
            Fleet(url, directory / "effects.log", module="zigzag") as fleet,
        ):
            await app.start(zigzag.zigzag, 0, id="run-0-0")
            work = []
            for number in range(ROUNDS):
                assert await say(other, choice.choice(["immediate", "exclusive"])) == "held"
                work += [asyncio.ensure_future(carry_out(app, number, n)) for n in range(RUNS)]
                lease = zigzag.LEASE_MS / 1000
                await asyncio.sleep(lease + 1 if number % 3 == 1 else choice.uniform(0.2, 1.5))
                await read_while_locked(url)
                assert await say(other, "") == "free"
                assert fleet.alive()
                await asyncio.sleep(choice.uniform(0, 0.5))
            await asyncio.gather(*work)
            fleet.drain()
        return await journals(app), fleet.errors


async def carry_out(app: Stepwell, number: int, n: int) -> None:
    handle = await app.start(zigzag.zigzag, n, id=f"run-{number}-{n}")
    await handle.send(zigzag.go_on, 100, id=f"go-{handle.id}")
    assert await handle.result(timeout=WITHIN) == zigzag.expected(n)


def test_a_locked_database_loses_and_doubles_nothing(tmp_path: Path) -> None:
    log = tmp_path / "effects.log"
    log.touch()
    found, errors = asyncio.run(lock_until_done(tmp_path, chance()))
    assert len(found) == RUNS * ROUNDS
    for run, messages in received(found).items():
        assert messages == [f"signal:go-{run}"]
    done = {tuple(line.split()[:2]) for line in log.read_text().splitlines() if " done " in line}
    assert set(completed_steps(found)) == done
    texts = [path.read_text() for path in errors]
    assert any("is locked by another process for too long; end that process" in text for text in texts)
    for text in texts:
        assert len(text.splitlines()) <= LINES_MAX, text
