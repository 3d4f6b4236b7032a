"""Our embedded backends keep every contract."""

import shutil
import tempfile

from tests.backends.support import connections

from stepwell import backends
from stepwell.backends.sqlite import SqliteBackend
from stepwell.ports import Backend
from stepwell.testing.contracts import (
    BlobsContract,
    Contract,
    CoordinationContract,
    QueueContract,
    StoreContract,
    StreamsContract,
)


class Memory(Contract):
    is_shared = False
    is_durable = False

    async def open(self) -> Backend:
        return await backends.open("memory://")


class Sqlite(Contract):
    directories: tuple[str, ...] = ()

    async def open(self) -> Backend:
        directory = tempfile.mkdtemp()
        self.directories += (directory,)
        return await backends.open(f"sqlite:///{directory}/runs.db")

    async def discard(self) -> None:
        for directory in self.directories:
            shutil.rmtree(directory)

    async def disconnect(self, backend: Backend) -> None:
        """A file has no connection to lose, but handles of it can become useless."""
        assert isinstance(backend, SqliteBackend)
        for connection in connections(backend):
            connection.close()


class TestMemoryStore(Memory, StoreContract): ...


class TestMemoryQueue(Memory, QueueContract): ...


class TestMemoryCoordination(Memory, CoordinationContract): ...


class TestMemoryBlobs(Memory, BlobsContract): ...


class TestMemoryStreams(Memory, StreamsContract): ...


class TestSqliteStore(Sqlite, StoreContract): ...


class TestSqliteQueue(Sqlite, QueueContract): ...


class TestSqliteCoordination(Sqlite, CoordinationContract): ...


class TestSqliteBlobs(Sqlite, BlobsContract): ...


class TestSqliteStreams(Sqlite, StreamsContract): ...
