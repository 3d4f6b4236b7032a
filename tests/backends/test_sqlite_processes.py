"""Several processes on one file, and processes that are killed."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.backends.support import open_sqlite, output, run_async, start_process

from stepwell.model.ids import RunId
from stepwell.ports import MAX_SEQ, Job, Wanted
from stepwell.testing.contracts.running import (
    ANY,
    LEASE_MS,
    bodies,
    claim_of,
    created,
    frame,
    head_of,
    new_run,
    owned_run,
)

OPEN = 'backend = await backends.open(f"sqlite:///{sys.argv[1]}")\n'

RACE = (
    OPEN
    + """
name, wins = sys.argv[2], 0
await backend.store.create([new_run("shared")])
await created(backend, new_run(name))
for seq in range(2, 152):
    wins += await backend.store.append([frame(seq, name.encode(), run="shared")]) == ["ok"]
    assert await backend.store.append([frame(seq, run=name)]) == ["ok"]
    assert (await backend.store.deliver([message(f"{name}{seq}", run="shared")]))[0].answer == "ok"
print(wins)
await backend.close()
"""
)

WRITE = (
    OPEN
    + """
store, claim = backend.store, claim_of(backend, 1)
await created(backend, *[new_run(f"r{k}", owner=claim) for k in range(20)])
async def steps(run):
    for seq in range(2, 100_000):
        assert await store.append([frame(seq, b"%d" % seq, run=run)]) == ["ok"]
        print(run, seq, flush=True)
await asyncio.gather(*[steps(f"r{k}") for k in range(20)])
"""
)

TAKE = (
    OPEN
    + """
taken = await backend.store.take(claim_of(backend, 1), lease_ms=LEASE_MS, limit=1000, serves=ANY)
print(len(taken.heads), flush=True)
"""
)
DIE = "os.kill(os.getpid(), signal.SIGKILL)\n"
FORK = """
if (child := os.fork()) == 0:
    os.close(1)
    signal.pause()
print(child, flush=True)
"""


@run_async
async def test_processes_that_race_agree_on_one_winner_per_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.db"  # Which they also create at the same moment.
    processes = [start_process(RACE, path, name) for name in ("one", "two", "three")]
    wins = [int(output(process)[-1]) for process in processes]
    backend = await open_sqlite(path)
    assert sum(wins) == 150
    assert len(await bodies(backend, "shared")) == 151
    assert len(await bodies(backend, "two")) == 151
    assert (await head_of(backend, "shared")).mail == 450
    await backend.close()


@run_async
async def test_no_accepted_frame_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    process = start_process(WRITE, path)
    assert process.stdout is not None
    text = "".join(process.stdout.readline() for _ in range(2000))
    process.kill()
    text += process.communicate()[0]
    accepted = dict(line.split() for line in text.split("\n")[:-1])  # The last line may be half a line.
    backend = await open_sqlite(path)
    for run, seq in accepted.items():
        frames = await bodies(backend, run)
        assert frames[1:] == [b"%d" % at for at in range(2, len(frames) + 1)]
        assert len(frames) >= int(seq)
    await backend.close()


@run_async
async def test_runs_of_a_killed_process_are_due_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    first = await open_sqlite(path)
    await created(first, *[new_run(f"r{k}") for k in range(100)], new_run("sleeping", wake_at=None))
    await first.close()
    process = start_process(TAKE + DIE, path)
    assert process.communicate(timeout=60)[0] == "100\n"
    second = await open_sqlite(path)
    taken = await second.store.take(claim_of(second, 2), lease_ms=LEASE_MS, limit=1000, serves=ANY)
    assert len(taken.heads) == 100
    await second.close()
    assert not (tmp_path / "a.db-live").exists()


@run_async
async def test_runs_of_a_living_store_stay_its_own(tmp_path: Path) -> None:
    first, second = await open_sqlite(tmp_path / "a.db"), await open_sqlite(tmp_path / "a.db")
    claim = await owned_run(first)
    taken = await second.store.take(claim_of(second, 2), lease_ms=LEASE_MS, limit=10, serves=ANY)
    assert taken.heads == ()
    assert (await head_of(second)).owner == claim
    await second.close()
    await first.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@run_async
async def test_a_forked_child_does_not_keep_its_dead_parent_alive(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    first = await open_sqlite(path)
    await created(first, new_run())
    await first.close()
    process = start_process(TAKE + FORK + DIE, path)
    taken, child = process.communicate(timeout=60)[0].split()
    try:
        second = await open_sqlite(path)
        assert taken == "1"
        again = await second.store.take(claim_of(second, 2), lease_ms=LEASE_MS, limit=10, serves=ANY)
        assert len(again.heads) == 1
        await second.close()
    finally:
        os.kill(int(child), signal.SIGKILL)


@run_async
async def test_a_commit_of_another_process_wakes_listeners_and_receivers(tmp_path: Path) -> None:
    here, there = await open_sqlite(tmp_path / "a.db"), await open_sqlite(tmp_path / "a.db")
    listener = here.queue.listen("t")
    receiver = asyncio.ensure_future(here.queue.receive(["q"], limit=1, wait_ms=5000))
    await asyncio.sleep(0)
    await there.queue.publish("q", [Job(b"1")])
    async with asyncio.timeout(5):
        await anext(listener)
        assert [item.body for item in await receiver] == [b"1"]
    await there.close()
    await here.close()


@run_async
async def test_a_late_frame_of_a_run_that_another_process_deleted_is_missing(tmp_path: Path) -> None:
    here, there = await open_sqlite(tmp_path / "a.db"), await open_sqlite(tmp_path / "a.db")
    await created(here, new_run(status="failed", wake_at=None))
    assert await here.store.append([frame(2)]) == ["ok"]
    assert await there.store.delete([RunId("r")]) == [True]
    assert await here.store.append([frame(3)]) == ["missing"]
    assert await here.store.load([Wanted(RunId("r"), MAX_SEQ)]) == [None]
    await there.close()
    await here.close()


@run_async
async def test_a_look_that_fails_does_not_end_the_watch(tmp_path: Path) -> None:
    here, there = await open_sqlite(tmp_path / "a.db"), await open_sqlite(tmp_path / "a.db")
    listener = here.queue.listen("t")
    looks = 0

    def fail() -> int:
        nonlocal looks
        looks += 1
        return 1

    connection = here.queue._writer._session.connection
    connection.set_progress_handler(fail, 1)
    while not looks:
        await asyncio.sleep(0.01)
    connection.set_progress_handler(None, 1)
    await created(there, new_run())
    async with asyncio.timeout(60):
        await anext(aiter(listener))
    await there.close()
    await here.close()
