"""The tests of own_backend.py: what it says of itself, and a class for each port.

cd examples && python -m pytest test_own_backend.py
cd examples && python -m stepwell.testing.contracts test_own_backend:Kit   # the same without pytest, and the badge
"""

import shutil
import tempfile

import own_backend

from stepwell.ports import Backend
from stepwell.testing.contracts import (
    Address,
    BlobsContract,
    Contract,
    CoordinationContract,
    QueueContract,
    StoreContract,
    StreamsContract,
)


class Kit(Contract):
    is_shared = True  # other processes can open the same directory
    is_durable = True  # what was written outlives `close`
    directories: tuple[str, ...] = ()

    async def open(self) -> Backend:
        directory = tempfile.mkdtemp()
        self.directories += (directory,)
        return await own_backend.open_directory(directory)

    def address(self, backend: Backend) -> Address:
        return Address("own_backend:open_directory", {"directory": backend.url.removeprefix("own://")})

    async def discard(self) -> None:
        for directory in self.directories:
            shutil.rmtree(directory)


class TestStore(Kit, StoreContract): ...


class TestQueue(Kit, QueueContract): ...


class TestCoordination(Kit, CoordinationContract): ...


class TestBlobs(Kit, BlobsContract): ...


class TestStreams(Kit, StreamsContract): ...
