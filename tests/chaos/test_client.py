"""Clients are killed while they start runs and send to them: what they were promised is carried out."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

from stepwell import RunClosedError, Stepwell
from tests.chaos import program
from tests.chaos.fleet import WITHIN, Fleet, chance, spawn, times
from tests.chaos.journals import Journal, completed_steps, journals, received

CLIENTS = times(6, 100)
ENOUGH = 5


async def one_life(url: str, log: Path, number: int, choice: random.Random) -> list[str]:
    """What a client was told before it was killed, at a random moment after its first few calls."""
    kind = choice.choice(["worker", "alone"])
    process = spawn("starter", url, f"client{number}", kind, errors=log.with_name("clients.err"), log=log)
    assert process.stdout is not None
    told = [await asyncio.to_thread(process.stdout.readline) for _ in range(ENOUGH)]
    await asyncio.sleep(choice.uniform(0, 0.05))
    process.kill()
    told += process.communicate()[0].splitlines(keepends=True)
    return [line.strip() for line in told if line.endswith("\n")]  # the last line may be half a line


async def live_and_die(url: str, log: Path, choice: random.Random) -> tuple[set[str], list[Journal]]:
    told: set[str] = set()
    async with Stepwell(url, include=[program], worker=False) as app:
        with Fleet(url, log, workers=2) as fleet:
            for number in range(CLIENTS):
                told.update(await one_life(url, log, number, choice))
            started = [head.id for head, _ in await journals(app) if head.parent is None]
            for id in started:
                # Perhaps its client died before it sent. Who repeats with the same id doubles nothing.
                with contextlib.suppress(RunClosedError):
                    await app.handle(id).send(program.go_on, 100, id=f"go-{id}")
            for id in started:
                result = await app.handle(id, program.tree).result(timeout=WITHIN)
                assert result == program.expected(int(id.rpartition("-")[2]))
            fleet.drain()
        return told, await journals(app)


def test_what_a_killed_client_was_promised_is_carried_out(tmp_path: Path) -> None:
    log = tmp_path / "effects.log"
    log.touch()
    told, found = asyncio.run(live_and_die(f"sqlite:///{tmp_path / 'chaos.db'}", log, chance()))
    messages = received(found)
    for line in told:
        what, run = line.split()
        assert run in messages, f"{run} was started"
        if what == "sent":
            assert f"signal:go-{run}" in messages[run]
    assert all(len(set(ids)) == len(ids) for ids in messages.values())
    begun = {tuple(line.split()[:2]) for line in log.read_text().splitlines()}
    assert set(completed_steps(found)) == begun
    assert (tmp_path / "clients.err").read_text() == ""
