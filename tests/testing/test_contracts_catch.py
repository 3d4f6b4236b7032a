"""The conformance kit finds backends that are wrong. Each is the memory backend with one mistake."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from stepwell.backends.clock import SystemClock
from stepwell.backends.memory import MemoryBackend
from stepwell.backends.memory.side import MemoryBlobs, MemoryCoordination, MemoryQueue, MemoryStreams
from stepwell.backends.memory.store import MemoryStore
from stepwell.backends.memory.world import World
from stepwell.errors import BackendError
from stepwell.model.ids import RunId
from stepwell.model.runs import Head, Page, RunQuery
from stepwell.ports import (
    MAX_SEQ,
    Append,
    Appended,
    Backend,
    Chunks,
    Clock,
    Delivered,
    Delivery,
    Loaded,
    NewRun,
    Park,
    Parked,
    Received,
    Wanted,
)
from stepwell.testing.contracts import (
    BlobsContract,
    Contract,
    CoordinationContract,
    QueueContract,
    StoreContract,
    StreamsContract,
)
from stepwell.testing.contracts.processes import Peer


class OverwritingAppend(MemoryStore):
    def _append(self, frame: Append) -> Appended:
        run = self._world.runs.get(frame.run)
        if run is not None and run.frames.get(frame.seq) not in (None, frame.body):
            del run.frames[frame.seq]
        return super()._append(frame)


class AppendWithoutFence(MemoryStore):
    def _append(self, frame: Append) -> Appended:
        return super()._append(replace(frame, owner=None))


class HalfAppend(MemoryStore):
    """The head changes although the frame is refused."""

    def _append(self, frame: Append) -> Appended:
        answer = super()._append(frame)
        run = self._world.runs.get(frame.run)
        if answer == "exists" and run is not None and frame.head is not None:
            self._world.put(run, replace(run.head, seq=frame.seq))
        return answer


class TakeWithoutLeases(MemoryStore):
    async def take(self, claim: Any, *, lease_ms: int, limit: int, serves: Any, runs: Any = None) -> Any:
        for run in self._world.runs.values():
            if run.head.owner is not None:
                self._world.put(run, replace(run.head, wake_at=1))
        return await super().take(claim, lease_ms=lease_ms, limit=limit, serves=serves, runs=runs)


class ForgetfulDeliver(MemoryStore):
    """Ids are forgotten when the messages were drained."""

    def _append(self, frame: Append) -> Appended:
        answer = super()._append(frame)
        if answer == "ok" and frame.mail is not None:
            self._world.runs[frame.run].ids.clear()
        return answer


class DeliverWithoutNumber(MemoryStore):
    """A message after the end is accepted."""

    def _deliver(self, message: Delivery, now: int) -> Delivered:
        answer = super()._deliver(message, now)
        return Delivered("ok") if answer.answer == "closed" else answer


class ParkOnMail(MemoryStore):
    def _park(self, park: Park) -> Parked:
        return super()._park(replace(park, mail=None))


class StrangersRenew(MemoryStore):
    async def renew(self, claims: Sequence[tuple[RunId, Any]], lease_ms: int) -> list[int | None]:
        owners = [(run, self._world.runs[run].head.owner) if run in self._world.runs else (run, c) for run, c in claims]
        return await super().renew(owners, lease_ms)  # type: ignore[arg-type]


class RacingCreate(MemoryStore):
    """Looks, and then writes."""

    async def create(self, runs: Sequence[NewRun]) -> list[Head | None]:
        there = [self._world.runs.get(new.head.id) for new in runs]
        await asyncio.sleep(0)
        for new, found in zip(runs, there, strict=True):
            if found is None:
                self._world.runs.pop(new.head.id, None)
                await super().create([new])
        return [found and found.head for found in there]


class RacingReserve(MemoryStore):
    async def reserve(self, name: str, holder: str) -> str:
        found = self._world.names.get(name)
        await asyncio.sleep(0)
        if found is None:
            self._world.names[name] = found = holder
        return found


class AnybodyReleases(MemoryStore):
    async def release(self, name: str, holder: str) -> None:
        self._world.names.pop(name, None)


class PagesByOffset(MemoryStore):
    async def search(self, query: RunQuery) -> Page:
        start = int(query.cursor) if query.cursor else 0
        rest: list[Head] = []
        page = await super().search(replace(query, cursor=None, limit=1000))
        rest += page.runs[start:]
        end = start + query.limit
        return Page(tuple(rest[: query.limit]), str(end) if len(rest) > query.limit else None)


class ForgetsNamespaces(MemoryStore):
    async def create(self, runs: Sequence[NewRun]) -> list[Head | None]:
        return await super().create([replace(new, head=replace(new.head, namespace="")) for new in runs])


class ListsAllNamespaces(MemoryStore):
    async def search(self, query: RunQuery) -> Page:
        return await super().search(replace(query, namespace=None))


class FindsNamespacesByText(MemoryStore):
    async def search(self, query: RunQuery) -> Page:
        page = await super().search(replace(query, text=None))
        return Page(tuple(head for head in page.runs if (query.text or "") in head.id), page.cursor)


class LeftoverNames(MemoryStore):
    async def delete(self, runs: Sequence[RunId]) -> list[bool]:
        names = dict(self._world.names)
        answers = await super().delete(runs)
        self._world.names.update(names)
        return answers


class TextsEndAtNul(MemoryStore):
    async def load(self, wanted: Sequence[Wanted]) -> list[Loaded | None]:
        found = await super().load(wanted)
        cut = [item and tuple((seq, body.partition(b"\0")[0]) for seq, body in item.frames) for item in found]
        return [item and Loaded(item.head, frames or (), item.mail) for item, frames in zip(found, cut, strict=True)]


class WholeSeconds(MemoryStore):
    async def create(self, runs: Sequence[NewRun]) -> list[Head | None]:
        rounded = [replace(new.head, created_at=new.head.created_at // 1000 * 1000) for new in runs]
        return await super().create([replace(new, head=head) for new, head in zip(runs, rounded, strict=True)])


class NullIsNothing(MemoryStore):
    async def create(self, runs: Sequence[NewRun]) -> list[Head | None]:
        kept = [{key: raw for key, raw in new.head.metadata.items() if bytes(raw) != b"null"} for new in runs]
        return await super().create(
            [replace(new, head=replace(new.head, metadata=data)) for new, data in zip(runs, kept, strict=True)]
        )


class LosingQueue(MemoryQueue):
    """A job that was received is gone, acked or not."""

    async def receive(self, *args: Any, **given: Any) -> list[Received]:
        received = await super().receive(*args, **given)
        for item in received:
            self._world.queues[item.queue].pop(int(item.receipt.partition(":")[0]), None)
        return received


class StaleAcks(MemoryQueue):
    def _held(self, receipt: str, now: int) -> Any:
        no, _, rest = receipt.partition(":")
        return self._world.queues.get(rest.partition(":")[2], {}).get(int(no))


class RacingIncrement(MemoryCoordination):
    async def increment(self, key: str, by: int = 1, *, ttl_ms: int | None = None) -> int:
        before = int(await self.get(key) or 0)
        await asyncio.sleep(0)
        await self.delete(key)
        return await super().increment(key, before + by, ttl_ms=ttl_ms)


class FloatCounters(MemoryCoordination):
    async def increment(self, key: str, by: int = 1, *, ttl_ms: int | None = None) -> int:
        return int(float(await super().increment(key, by, ttl_ms=ttl_ms)))


class EarlyEnds(MemoryCoordination):
    def _end(self, ttl_ms: int | None) -> int | None:
        return None if ttl_ms is None else super()._end(ttl_ms // 2)


class PatternPrefixes(MemoryBlobs):
    """`_` stands for any character, as in `like`."""

    async def delete(self, prefix: str) -> None:
        for key in list(self._world.blobs):
            if len(key) >= len(prefix) and all(p in ("_", k) for p, k in zip(prefix, key, strict=False)):
                await super().delete(key)


class PartialStreams(MemoryStreams):
    async def append(self, stream: str, index: int, chunks: Sequence[bytes]) -> bool:
        for at, chunk in enumerate(chunks, index):
            if not await super().append(stream, at, [chunk]):
                return False
        return not (await self.read(stream, index, 0)).closed


class StreamsWithoutEnd(MemoryStreams):
    async def read(self, stream: str, start: int, limit: int) -> Chunks:
        return replace(await super().read(stream, start, limit), closed=False)


class LoadsToTheEnd(MemoryStore):
    async def load(self, wanted: Sequence[Wanted]) -> list[Loaded | None]:
        return await super().load([replace(want, until=MAX_SEQ) for want in wanted])


class NeverRecovers(MemoryStore):
    """After a cut every call fails, for good."""

    is_cut = False

    async def load(self, wanted: Sequence[Wanted]) -> list[Loaded | None]:
        if self.is_cut:
            raise BackendError("no connection")
        return await super().load(wanted)


class ForeignErrors(MemoryStore):
    """After a cut the next call raises what the driver raises."""

    is_cut = False

    async def load(self, wanted: Sequence[Wanted]) -> list[Loaded | None]:
        was_cut, self.is_cut = self.is_cut, False
        if was_cut:
            raise ConnectionResetError("by peer")
        return await super().load(wanted)


MISTAKES: list[tuple[type, type[Contract], str]] = [
    (OverwritingAppend, StoreContract, "test_another_frame_at_that_place_is_refused"),
    (OverwritingAppend, StoreContract, "test_of_many_writers_of_one_frame_exactly_one_wins"),
    (AppendWithoutFence, StoreContract, "test_a_frame_for_the_owner_only_needs_the_claim"),
    (HalfAppend, StoreContract, "test_a_refused_end_changes_nothing"),
    (TakeWithoutLeases, StoreContract, "test_an_owned_run_is_not_taken_before_its_lease_ends"),
    (TakeWithoutLeases, StoreContract, "test_many_takers_take_nothing_twice_and_leave_nothing"),
    (ForgetfulDeliver, StoreContract, "test_a_message_that_was_journaled_long_ago_is_still_a_duplicate"),
    (DeliverWithoutNumber, StoreContract, "test_a_refused_message_hurts_no_other"),
    (ParkOnMail, StoreContract, "test_a_run_is_not_parked_on_a_message_that_was_not_seen"),
    (ParkOnMail, StoreContract, "test_no_run_sleeps_on_a_message"),
    (StrangersRenew, StoreContract, "test_a_lease_is_renewed_by_its_owner_only"),
    (RacingCreate, StoreContract, "test_many_starters_of_one_run_start_it_once"),
    (RacingReserve, StoreContract, "test_one_of_many_names_holders_wins"),
    (AnybodyReleases, StoreContract, "test_only_its_holder_frees_a_name"),
    (PagesByOffset, StoreContract, "test_pages_are_stable_while_runs_are_added"),
    (PagesByOffset, StoreContract, "test_no_run_comes_twice_or_is_missed_while_runs_come_change_and_go"),
    (ForgetsNamespaces, StoreContract, "test_a_run_keeps_its_namespace"),
    (ListsAllNamespaces, StoreContract, "test_the_runs_of_one_namespace_are_listed_or_those_of_all"),
    (FindsNamespacesByText, StoreContract, "test_text_is_not_looked_for_in_the_name_of_the_namespace"),
    (LeftoverNames, StoreContract, "test_a_deleted_run_is_found_by_nothing"),
    (TextsEndAtNul, StoreContract, "test_frames_and_messages_hold_any_bytes"),
    (WholeSeconds, StoreContract, "test_times_are_kept_to_the_millisecond"),
    (NullIsNothing, StoreContract, "test_null_is_a_value_and_absence_is_none"),
    (LosingQueue, QueueContract, "test_a_job_that_is_not_acked_comes_again"),
    (StaleAcks, QueueContract, "test_a_receipt_whose_visibility_has_ended_is_ignored"),
    (RacingIncrement, CoordinationContract, "test_no_increment_is_lost"),
    (FloatCounters, CoordinationContract, "test_counters_are_exact_beyond_what_a_float_holds"),
    (EarlyEnds, CoordinationContract, "test_a_key_does_not_end_before_its_time"),
    (PatternPrefixes, BlobsContract, "test_only_what_begins_with_a_prefix_is_deleted_whatever_it_holds"),
    (PartialStreams, StreamsContract, "test_a_refused_batch_leaves_none_of_its_chunks"),
    (StreamsWithoutEnd, StreamsContract, "test_a_closed_stream_has_an_end_and_takes_no_more"),
    (LoadsToTheEnd, StoreContract, "test_no_frames_come_after_the_last_that_is_wanted"),
    (NeverRecovers, StoreContract, "test_each_reading_call_answers_right_after_a_cut"),
    (ForeignErrors, StoreContract, "test_each_reading_call_answers_right_after_a_cut"),
]


def _part(kind: type, world: World, clock: Clock) -> object:
    return kind(world) if issubclass(kind, MemoryBlobs | MemoryStreams) else kind(world, clock)


class Broken(Contract):
    """The memory backend with one part in place of ours."""

    is_shared = False
    is_durable = False
    kind: type = MemoryStore

    async def open(self) -> Backend:
        world, clock = World(), SystemClock()
        backend = MemoryBackend("memory://", world, clock)
        ports: dict[type, str] = {
            MemoryStore: "store",
            MemoryQueue: "queue",
            MemoryCoordination: "coordination",
            MemoryBlobs: "blobs",
            MemoryStreams: "streams",
        }
        port = next(name for base, name in ports.items() if issubclass(self.kind, base))
        setattr(backend, port, _part(self.kind, world, clock))
        return backend

    async def disconnect(self, backend: Backend) -> None:
        if isinstance(backend.store, NeverRecovers | ForeignErrors):
            backend.store.is_cut = True


def _test_of(kind: type, contract: type[Contract], name: str) -> Callable[[], None]:
    made = type(f"Test{kind.__name__}", (Broken, contract), {"kind": kind})
    return getattr(made(), name)


@pytest.mark.parametrize(("mistake", "contract", "name"), MISTAKES)
def test_a_mistake_is_caught(
    mistake: type, contract: type[Contract], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.testing.contracts.dropping.PAUSE_S", 0.0)
    _test_of(mistake.__mro__[1], contract, name)()  # without the mistake it passes
    with pytest.raises((AssertionError, BackendError, ConnectionResetError, ValueError)):
        _test_of(mistake, contract, name)()


def test_a_backend_that_is_not_embedded_has_to_offer_everything() -> None:
    class Remote(MemoryBackend):
        is_embedded = False

    class Kit(Contract):
        is_shared = False
        is_durable = False

        async def open(self) -> Backend:
            return Remote("memory://", World(), SystemClock())

    class TestRemote(Kit, StoreContract): ...

    for name in (
        "test_only_an_embedded_backend_lives_in_one_process",
        "test_a_backend_behind_a_connection_says_how_to_cut_it",
    ):
        with pytest.raises(AssertionError):
            getattr(TestRemote(), name)()


def test_tests_of_what_a_backend_does_not_offer_do_not_exist() -> None:
    class Kit(Contract):
        is_shared = False

        async def open(self) -> Backend:
            return MemoryBackend("memory://", World(), SystemClock())

    class TestPart(Kit, StoreContract): ...

    assert TestPart.test_of_several_processes_one_creates_a_run is None
    assert TestPart.test_each_reading_call_answers_right_after_a_cut is None
    assert callable(TestPart.test_runs_are_there_after_the_next_open)
    for name in ("test_of_several_processes_one_creates_a_run", "test_each_reading_call_answers_right_after_a_cut"):
        assert callable(getattr(StoreContract, name))


@pytest.mark.parametrize(
    "name", ["test_of_several_processes_one_reserves_a_name", "test_runs_are_there_after_the_next_open"]
)
def test_a_backend_that_promises_too_much_is_caught(name: str) -> None:
    class Boastful(Contract):
        async def open(self) -> Backend:
            return MemoryBackend("memory://", World(), SystemClock())

    with pytest.raises(AssertionError):
        getattr(type("Test", (Boastful, StoreContract), {})(), name)()


def test_nothing_that_a_killed_process_said_is_lost() -> None:
    lines = "".join(f'{{"won": ["{n}"]}}\n' for n in range(900))  # more than is read at a time
    code = f"import sys, time; sys.stdout.write({lines!r}); sys.stdout.flush(); time.sleep(60)"
    peer = object.__new__(Peer)
    pipe = subprocess.PIPE
    peer._process = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True)
    heard = [peer.hear()]
    assert [answer.won for answer in heard + peer.kill()] == [[str(n)] for n in range(900)]


def test_a_test_that_hangs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(MemoryStore):
        async def create(self, runs: Sequence[NewRun]) -> list[Head | None]:
            await asyncio.Event().wait()
            return []

    monkeypatch.setattr("stepwell.testing.contracts.running.TEST_S", 0.05)
    with pytest.raises(TimeoutError):
        _test_of(Hanging, StoreContract, "test_a_due_run_is_claimed")()
