"""Files that are damaged, foreign, newer, read-only or full."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.backends.support import connections, open_sqlite, run_async

from stepwell.backends.sqlite.database import APPLICATION_ID
from stepwell.backends.sqlite.sql import migrations
from stepwell.errors import BackendError, BackendVersionError
from stepwell.model.runs import RunQuery
from stepwell.testing.contracts.running import bodies, created, frame, new_run, owned_run


def _query(path: Path, *statements: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        rows = [row for statement in statements for row in connection.execute(statement)]
        connection.commit()
        return rows
    finally:
        connection.close()


@contextmanager
def _unprivileged() -> Iterator[None]:
    """Root may write everything, so be nobody."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@run_async
async def test_the_file_says_whose_it_is_and_which_version(tmp_path: Path) -> None:
    await (await open_sqlite(tmp_path / "a.db")).close()
    assert _query(tmp_path / "a.db", "pragma application_id", "pragma user_version", "pragma journal_mode") == [
        (APPLICATION_ID,),
        (len(migrations()),),
        ("wal",),
    ]


@run_async
async def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    first = await open_sqlite(tmp_path / "a.db")
    await created(first, new_run("r", b"1"))
    await first.close()
    second = await open_sqlite(tmp_path / "a.db")
    assert await bodies(second) == [b"1"]
    await second.close()


@run_async
async def test_a_database_of_version_1_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    connection.executescript(migrations()[0])
    connection.execute("pragma user_version = 1")
    connection.execute(f"pragma application_id = {APPLICATION_ID}")
    connection.execute(
        "insert into runs (id, workflow, version, status, queue, priority, created_at, wake_at, mail, takes, seq, "
        "base, tags, error) values ('old', 'w', '', 'queued', 'default', 0, 7, 7, 0, 0, 1, 1, '{\"t\":\"1\"}', '')"
    )
    connection.executescript("insert into tags values ('t', '1', 1); insert into frames values (1, 1 << 24 | 1, x'31')")
    connection.close()

    backend = await open_sqlite(path)
    await created(backend, new_run("acme new", namespace="acme"))
    assert await bodies(backend, "old") == [b"1"]
    for query in (RunQuery(namespace=""), RunQuery(tag=(("t", "1"),)), RunQuery(workflow="w", since=7)):
        assert [head.id for head in (await backend.store.search(query)).runs] == ["old"]
    await backend.close()


@run_async
async def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await (await open_sqlite(path)).close()
    _query(path, "pragma user_version = 999")
    before = path.read_bytes()
    with pytest.raises(BackendVersionError, match="version 999"):
        await open_sqlite(path)
    assert path.read_bytes() == before


@run_async
async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    _query(path, "create table theirs (x)")
    before = path.read_bytes()
    with pytest.raises(BackendError, match="another program"):
        await open_sqlite(path)
    assert path.read_bytes() == before


@run_async
async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"dear diary, " * 1000)
    with pytest.raises(BackendError, match="is not a database"):
        await open_sqlite(path)
    assert path.read_bytes() == b"dear diary, " * 1000


@run_async
async def test_a_damaged_database_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await (await open_sqlite(path)).close()
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * (path.stat().st_size - 100))
    with pytest.raises(BackendError, match="is corrupt"):
        await open_sqlite(path)


@run_async
async def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"absent/a\.db cannot be opened; check that its directory"):
        await open_sqlite(tmp_path / "absent" / "a.db")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX permissions")
@pytest.mark.parametrize(("file_mode", "directory_mode"), [(0o444, 0o777), (0o666, 0o555), (0o444, 0o555)])
def test_a_file_or_directory_that_is_read_only_is_reported_at_once(file_mode: int, directory_mode: int) -> None:
    @run_async
    async def opened(path: Path) -> None:
        await (await open_sqlite(path)).close()

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.db"
        opened(path)
        path.chmod(file_mode)
        os.chmod(directory, directory_mode)
        with _unprivileged(), pytest.raises(BackendError, match=r"a\.db.*writable"):
            opened(path)
        os.chmod(directory, 0o755)


@run_async
async def test_a_full_disk_refuses_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db", max_pages=200)
    await created(backend, new_run("r", b"1"))
    await backend.blobs.put("ballast", bytes(400_000))
    with pytest.raises(BackendError, match="disk is full"):
        await backend.store.append([frame(2, bytes(500_000))])
    assert await bodies(backend) == [b"1"]
    await backend.blobs.delete("ballast")
    assert await backend.store.append([frame(2, bytes(300_000))]) == ["ok"]
    await backend.close()


@run_async
async def test_a_lock_that_is_held_too_long_is_reported(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db", lock_timeout_ms=20)
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(BackendError, match="locked by another process"):
        await created(backend, new_run())
    other.execute("rollback")
    await created(backend, new_run())
    other.close()
    await backend.close()


@run_async
async def test_a_file_on_a_full_disk_can_be_opened_and_read(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    await created(backend, new_run("r", b"1"))
    wrote = (tmp_path / "a.db-wal").stat().st_size
    reader = await open_sqlite(tmp_path / "a.db")
    assert await bodies(reader) == [b"1"]
    assert (tmp_path / "a.db-wal").stat().st_size == wrote
    await reader.close()
    await backend.close()


@run_async
async def test_a_file_that_is_locked_can_be_opened_and_read(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db", lock_timeout_ms=60_000)
    await created(backend, new_run("r", b"1"))
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("begin immediate")
    reader = await open_sqlite(tmp_path / "a.db", lock_timeout_ms=20)
    assert await bodies(reader) == [b"1"]
    other.close()
    await reader.close()
    await backend.close()


@run_async
async def test_a_closed_backend_says_so(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    await backend.close()
    with pytest.raises(BackendError, match="was closed"):
        await created(backend, new_run())
    with pytest.raises(BackendError, match="was closed"):
        await backend.store.peek_due(1, 1)


@run_async
async def test_a_relative_path_stays_where_it_was_when_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    backend = await open_sqlite(Path("a.db"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    await owned_run(backend)
    assert [head.id for head in (await backend.store.search(RunQuery())).runs] == ["r"]
    await backend.close()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@run_async
async def test_a_file_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    backend = await open_sqlite(path)
    await created(backend, new_run())
    for connection in connections(backend):
        connection.close()
    for file in tmp_path.glob("a.db*"):
        if file.is_file():
            file.unlink()
    for call in (backend.store.resolve, backend.blobs.get, backend.coordination.increment):
        with pytest.raises(BackendError, match=r"a\.db"):
            await call("n")
    with pytest.raises(BackendError, match=r"a\.db cannot be opened"):
        await backend.store.resolve("n")
    assert not path.exists()
    await backend.close()


@run_async
async def test_the_log_is_moved_although_its_connection_was_closed(tmp_path: Path) -> None:
    backend = await open_sqlite(tmp_path / "a.db")
    checkpointer = backend._checkpointer
    checkpointer.finish()
    checkpointer._connection.close()
    checkpointer.finish()
    assert backend.store.stats.checkpoints == 1
    checkpointer.finish()
    assert backend.store.stats.checkpoints == 2
    await backend.close()
