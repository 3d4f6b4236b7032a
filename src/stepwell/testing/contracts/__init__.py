"""The conformance kit: what a backend must do, as tests that anybody can run against theirs.

    import pytest

    pytest.register_assert_rewrite("stepwell.testing.contracts")  # in conftest.py: failures then show their values

    class TestMyStore(StoreContract):
        async def open(self) -> Backend:
            return await connect_to_an_empty_database()

The tests are plain methods that run their own event loop, so pytest needs no plugin; any runner that calls methods
named `test_...` will do. `open` must give a backend that holds nothing; each test closes it.
"""

from stepwell.testing.contracts.running import Contract
from stepwell.testing.contracts.side import BlobsContract, CoordinationContract, QueueContract, StreamsContract
from stepwell.testing.contracts.store import StoreContract

__all__ = ["BlobsContract", "Contract", "CoordinationContract", "QueueContract", "StoreContract", "StreamsContract"]
