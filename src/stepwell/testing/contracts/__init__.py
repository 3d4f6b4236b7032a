"""The conformance kit: what a backend must do, as tests that anybody can run against theirs.

    import pytest

    pytest.register_assert_rewrite("stepwell.testing.contracts")  # in conftest.py: failures then show their values

    class Kit(Contract):
        async def open(self) -> Backend:
            return await connect_to_an_empty_database()

    class TestStore(Kit, StoreContract): ...

The tests are plain methods that run their own event loop, so pytest needs no plugin; any runner that calls methods
named `test_...` will do, and `python -m stepwell.testing.contracts module:Kit` is one. `open` must give a backend that
holds nothing; each test closes it. `Contract` says what else a backend may tell of itself.
"""

from stepwell.testing.contracts.running import Address, Contract
from stepwell.testing.contracts.side import BlobsContract, CoordinationContract, QueueContract, StreamsContract
from stepwell.testing.contracts.store import StoreContract

__all__ = [
    "Address",
    "BlobsContract",
    "Contract",
    "CoordinationContract",
    "QueueContract",
    "StoreContract",
    "StreamsContract",
]
