"""What a Store must do."""

from __future__ import annotations

from stepwell.ports import Backend
from stepwell.testing.contracts.atomicity import AtomicityContract
from stepwell.testing.contracts.claims import CreateContract, ParkContract, TakeContract
from stepwell.testing.contracts.dropping import StoreDroppingContract
from stepwell.testing.contracts.inboxes import DeliverContract
from stepwell.testing.contracts.journals import AppendContract, LoadContract
from stepwell.testing.contracts.lasting import StoreLastingContract
from stepwell.testing.contracts.listings import DeleteContract, NamesContract, NamespacesContract, SearchContract
from stepwell.testing.contracts.paging import CleanupContract, PagingContract
from stepwell.testing.contracts.processes import StoreProcessContract
from stepwell.testing.contracts.races import RaceContract
from stepwell.testing.contracts.running import claim_of, on_backend
from stepwell.testing.contracts.values import (
    AbsenceContract,
    ForkContract,
    NumberContract,
    PayloadContract,
    TextContract,
)


class StoreContract(
    CreateContract,
    TakeContract,
    ParkContract,
    AppendContract,
    LoadContract,
    DeliverContract,
    SearchContract,
    NamespacesContract,
    DeleteContract,
    NamesContract,
    RaceContract,
    TextContract,
    PayloadContract,
    NumberContract,
    AbsenceContract,
    ForkContract,
    AtomicityContract,
    PagingContract,
    CleanupContract,
    StoreProcessContract,
    StoreLastingContract,
    StoreDroppingContract,
):
    """Every sentence of `stepwell.ports.Store`, and the counter-examples that were found to simpler rules."""

    @on_backend
    async def test_the_identity_is_the_first_part_of_a_claim(self, backend: Backend) -> None:
        identity = backend.store.identity
        assert identity
        assert ":" not in identity
        assert claim_of(backend, 1).startswith(identity)

    @on_backend
    async def test_limits_are_positive(self, backend: Backend) -> None:
        limits = backend.store.limits
        assert min(limits.frame, limits.message, limits.group) > 0

    def test_each_open_has_an_identity_of_its_own(self) -> None:
        @on_backend
        async def compare(self: StoreContract, backend: Backend) -> None:
            other = await self.open()
            await other.close()
            assert other.store.identity != backend.store.identity

        compare(self)

    @on_backend
    async def test_a_backend_may_be_closed_twice(self, backend: Backend) -> None:
        await backend.close()
        await backend.close()

    @on_backend
    async def test_only_an_embedded_backend_lives_in_one_process(self, backend: Backend) -> None:
        assert self.is_shared or backend.is_embedded

    def test_only_a_backend_of_one_process_forgets(self) -> None:
        assert self.is_durable or not self.is_shared

    @on_backend
    async def test_a_backend_behind_a_connection_says_how_to_cut_it(self, backend: Backend) -> None:
        assert self.offers("disconnect") or backend.is_embedded
