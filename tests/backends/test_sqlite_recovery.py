"""What becomes of runs and listeners when the connections to the file are cut."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from tests.backends.support import connections, open_sqlite, run_async

from stepwell import Context, Signal, Stepwell, step, workflow
from stepwell.backends.sqlite import SqliteBackend
from stepwell.backends.sqlite.errors import is_spoiled
from stepwell.testing.contracts.running import created, new_run

go = Signal("go", int)
app: Stepwell
ran: list[int] = []


def cut() -> None:
    assert isinstance(app._opened, SqliteBackend)
    for connection in connections(app._opened):
        connection.close()


@step
async def cut_off(n: int) -> int:
    ran.append(n)
    cut()
    return n


@workflow
async def often_cut_off(ctx: Context) -> int:
    total = await cut_off(1)
    total += sum(await asyncio.gather(*[cut_off(n) for n in range(5)]))
    await ctx.sleep("20ms")
    return total + await ctx.receive(go)


@run_async
async def test_a_run_that_is_cut_off_in_each_step_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    global app
    async with Stepwell(f"sqlite:///{tmp_path}/a.db", include=[often_cut_off]) as app:
        handle = await app.start(often_cut_off)
        cut()
        await handle.send(go, 100)
        cut()
        assert await handle.result(timeout="30s") == 111
    assert sorted(ran) == [0, 1, 1, 2, 3, 4]  # no step began twice, because none had lost its result


@run_async
async def test_a_process_that_only_listens_hears_of_others_after_it_was_cut_off(tmp_path: Path) -> None:
    here, there = await open_sqlite(tmp_path / "a.db"), await open_sqlite(tmp_path / "a.db")
    listener = here.queue.listen("t")
    for connection in connections(here):
        connection.close()
    async with asyncio.timeout(10):
        await anext(listener)  # it cannot know what it missed meanwhile
        heard = asyncio.ensure_future(anext(listener))
        await asyncio.sleep(0.2)
        assert not heard.done()
        await created(there, new_run())
        await heard
    await there.close()
    await here.close()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_IOERR_FSTAT, True),  # somebody closed the files of this process
        (sqlite3.SQLITE_PROTOCOL, True),  # what the other connections of that process meet
        (sqlite3.SQLITE_FULL, False),
        (sqlite3.SQLITE_BUSY, False),
        (sqlite3.SQLITE_CORRUPT, False),
        (sqlite3.SQLITE_READONLY, False),
    ],
)
def test_a_connection_is_replaced_after_errors_that_it_does_not_outlive(code: int, expected: bool) -> None:
    error = sqlite3.OperationalError("as the library says it")
    error.sqlite_errorcode = code
    assert is_spoiled(error) == expected
