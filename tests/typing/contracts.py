"""What a backend tells the conformance kit of itself."""

from stepwell.ports import Backend
from stepwell.testing.contracts import Address, Contract, StoreContract


class Kit(Contract):
    is_shared = True
    is_durable = False

    async def open(self) -> Backend:
        raise NotImplementedError

    def address(self, backend: Backend) -> Address:
        return Address("m:f", {"a": "b"})

    async def disconnect(self, backend: Backend) -> None: ...

    async def discard(self) -> None: ...


class TestStore(Kit, StoreContract): ...
