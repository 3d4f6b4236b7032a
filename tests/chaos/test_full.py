"""The disk fills up under working workers, stays full for longer than a lease, and gets room again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import pytest

from stepwell import BackendError, Stepwell
from tests.chaos import zigzag
from tests.chaos.disks import Disk, few_pages, small_file_system
from tests.chaos.fleet import WITHIN, Fleet, stepwell, times
from tests.chaos.journals import Journal, completed_steps, journals, received

T = TypeVar("T")
RUNS = 8
OUTAGES = times(1, 5)
LINES_MAX = 40 * OUTAGES


async def accepted(call: Callable[[], Awaitable[T]], refusals: list[str]) -> T:
    """What a careful client does: it repeats with the same id."""
    while True:
        try:
            return await call()
        except BackendError as error:
            refusals.append(str(error))
            await asyncio.sleep(0.1)


async def until_begun(log: Path, lines: int) -> None:
    async with asyncio.timeout(WITHIN):
        while log.read_text().count("\n") < lines:
            await asyncio.sleep(0.02)


def complaints(fleet: Fleet) -> int:
    return sum(path.read_text().count("disk is full") for path in fleet.errors)


async def until_complaint(fleet: Fleet, before: int) -> None:
    async with asyncio.timeout(WITHIN):
        while complaints(fleet) <= before:
            await asyncio.sleep(0.05)


async def read_while_full(url: str, run: str) -> None:
    for command in (["runs", "list"], ["runs", "show", run], ["runs", "explain", run]):
        answer = await asyncio.to_thread(stepwell, *command, "--backend", url)
        assert answer.returncode == 0, answer.stderr
        assert run in answer.stdout + answer.stderr


async def outage(number: int, app: Stepwell, disk: Disk, fleet: Fleet, log: Path) -> None:
    """Runs from before it and from within it all end as they should."""
    refusals: list[str] = []
    before, told = len(log.read_text().splitlines()), complaints(fleet)
    early = [await app.start(zigzag.zigzag, n, id=f"early-{number}-{n}") for n in range(RUNS)]
    await until_begun(log, before + RUNS)
    await disk.fill(app)

    def start(n: int) -> Awaitable[object]:
        return accepted(lambda: app.start(zigzag.zigzag, n, id=f"late-{number}-{n}"), refusals)

    def send(run: str) -> Awaitable[object]:
        handle = app.handle(run, zigzag.zigzag)
        return accepted(lambda: handle.send(zigzag.go_on, 100, id=f"go-{run}"), refusals)

    sends = [asyncio.ensure_future(send(handle.id)) for handle in early]
    starts = [asyncio.ensure_future(start(n)) for n in range(RUNS)]
    await until_complaint(fleet, before=told)
    fleet.kill(0)  # The next one opens a full disk.
    await asyncio.sleep(zigzag.LEASE_MS / 1000 + 0.5)
    await read_while_full(disk.url, early[0].id)
    with pytest.raises(BackendError, match=r"the disk is full.*: make room"):
        await app.backend.blobs.put("run/blob", bytes(1 << 20))
    assert fleet.alive()
    await disk.free(app)
    await asyncio.gather(*sends, *starts)
    assert all("disk is full" in text and "make room" in text for text in refusals), refusals
    await asyncio.gather(*(send(f"late-{number}-{n}") for n in range(RUNS)))
    for kind in ("early", "late"):
        for n in range(RUNS):
            result = await app.handle(f"{kind}-{number}-{n}", zigzag.zigzag).result(timeout=WITHIN)
            assert result == zigzag.expected(n)


async def live_through(disk: Disk, log: Path) -> tuple[list[Journal], list[Path]]:
    async with Stepwell(disk.url, include=[zigzag], worker=False) as app:
        with Fleet(disk.url, log, workers=2, module="zigzag") as fleet:
            for number in range(OUTAGES):
                await outage(number, app, disk, fleet, log)
            fleet.drain()
        return await journals(app), fleet.errors


@pytest.mark.parametrize("disk_in", [small_file_system, few_pages])
def test_a_full_disk_loses_and_doubles_nothing(
    disk_in: Callable[[Path], AbstractContextManager[Disk]], tmp_path: Path
) -> None:
    log = tmp_path / "effects.log"
    log.touch()
    with disk_in(tmp_path / "disk") as disk:
        found, errors = asyncio.run(live_through(disk, log))
    assert len(found) == 2 * RUNS * OUTAGES
    for run, messages in received(found).items():
        assert messages == [f"signal:go-{run}"]
    done = {tuple(line.split()[:2]) for line in log.read_text().splitlines() if " done " in line}
    assert set(completed_steps(found)) == done
    for path in errors:
        assert len(path.read_text().splitlines()) <= LINES_MAX, path.read_text()
