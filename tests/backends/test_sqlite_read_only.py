"""`read_only=true`: looking at a file that others work with, without changing anything."""

import sqlite3
from pathlib import Path

import pytest
from tests.backends.support import open_sqlite, run_async

from stepwell import backends
from stepwell.errors import BackendError, BackendVersionError
from stepwell.model.runs import RunQuery
from stepwell.testing.contracts.running import created, new_run


def _url(path: Path) -> str:
    return f"sqlite:///{path}?read_only=true"


@run_async
async def test_what_is_there_can_be_read(tmp_path: Path) -> None:
    writing = await open_sqlite(tmp_path / "a.db")
    await created(writing, new_run("r", b"1"))
    reading = await backends.open(_url(tmp_path / "a.db"))

    page = await reading.store.search(RunQuery())

    assert [head.id for head in page.runs] == ["r"]
    await reading.close()
    await writing.close()


@run_async
async def test_nothing_can_be_written(tmp_path: Path) -> None:
    await (await open_sqlite(tmp_path / "a.db")).close()
    before = (tmp_path / "a.db").read_bytes()
    reading = await backends.open(_url(tmp_path / "a.db"))

    with pytest.raises(BackendError, match="read-only"):
        await created(reading, new_run("r", b"1"))
    await reading.close()

    assert (tmp_path / "a.db").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


@run_async
async def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="cannot be opened"):
        await backends.open(_url(tmp_path / "nowhere.db"))

    assert list(tmp_path.iterdir()) == []


@run_async
async def test_an_older_schema_is_left_as_it_is(tmp_path: Path) -> None:
    await (await open_sqlite(tmp_path / "a.db")).close()
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("pragma user_version = 0")
    connection.close()

    with pytest.raises(BackendVersionError, match=r"has schema version 0, this Stepwell needs \d+.*use a copy"):
        await backends.open(_url(tmp_path / "a.db"))


@run_async
async def test_an_empty_file_has_no_runs(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()

    with pytest.raises(BackendError, match="is empty"):
        await backends.open(_url(tmp_path / "a.db"))

    assert (tmp_path / "a.db").read_bytes() == b""
