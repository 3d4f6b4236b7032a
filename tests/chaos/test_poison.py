"""A run that keeps killing its workers ends visibly, and takes no innocent run with it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from stepwell import RunError, Stepwell
from tests.chaos import poison
from tests.chaos.fleet import ROOT


async def respawn_until_dead(url: str) -> tuple[RunError, list[int], int]:
    app = Stepwell(url, include=[poison], worker=False)
    async with app:
        bad = await app.start(poison.poison, id="bad")
        good = [await app.start(poison.good, n) for n in range(8)]
        deaths = 0
        command = [sys.executable, "-m", "tests.chaos.poison", url]
        environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": ""}
        worker = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment)
        result = asyncio.ensure_future(bad.result(timeout=60))
        while not result.done():
            died = asyncio.ensure_future(worker.wait())
            await asyncio.wait([result, died], return_when=asyncio.FIRST_COMPLETED)
            if died.done() and not result.done():
                deaths += 1
                worker = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment)
        with pytest.raises(RunError) as caught:
            await result
        values = [await handle.result(timeout=30) for handle in good]
        worker.terminate()
        await worker.wait()
        return caught.value, values, deaths


def test_a_run_that_kills_its_workers_ends_as_dead(tmp_path: Path) -> None:
    error, values, deaths = asyncio.run(respawn_until_dead(f"sqlite:///{tmp_path / 'poison.db'}"))
    assert "claimed 10 times without progress" in str(error)
    assert values == list(range(8))
    assert deaths <= 12
