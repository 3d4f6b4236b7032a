"""What was acknowledged is there when the data is opened again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Raw

from stepwell.model.ids import RunId
from stepwell.model.runs import RunQuery, Wait
from stepwell.ports import Backend, Chunks, Job
from stepwell.testing.contracts.running import (
    ANY,
    DAY_MS,
    LEASE_MS,
    Contract,
    becomes,
    bodies,
    claim_of,
    claimed,
    created,
    frame,
    head_of,
    inbox,
    message,
    new_run,
    on_backend,
    opened_at,
    owned_run,
    parked,
)


class LastingContract(Contract):
    """Closing and opening again; for all ports."""

    @asynccontextmanager
    async def reopened(self, backend: Backend) -> AsyncIterator[Backend]:
        """Close, and open the same data."""
        address = self.address(backend)
        await backend.close()
        again = await opened_at(address)
        try:
            yield again
        finally:
            await again.close()


class StoreLastingContract(LastingContract, needs="is_durable"):
    """Runs."""

    @on_backend
    async def test_runs_are_there_after_the_next_open(self, backend: Backend) -> None:
        wake_at = backend.clock.now() + DAY_MS
        new = new_run(
            "r", b"1", b"", version="3", queue="q", priority=7, parent=RunId("p"), tags={"a": "b"}, seq=2,
            wake_at=wake_at, metadata={"k": Raw(b"{\"x\":1.50}")}, waiting=(Wait(kind="event", name="e", until=9),),
            error="e", takes=3,
        )  # fmt: skip
        await created(backend, new)
        await backend.store.append([frame(3, b"3\0")])
        async with self.reopened(backend) as again:
            assert await head_of(again) == new.head
            assert await bodies(again) == [b"1", b"", b"3\0"]
            assert [head.id for head in (await again.store.search(RunQuery(tag=(("a", "b"),)))).runs] == ["r"]
            assert [item.run for item in await again.store.peek_due(wake_at, 5)] == ["r"]
            assert await again.store.append([frame(3, b"3\0")]) == ["ok"]
            assert await again.store.append([frame(3, b"other")]) == ["exists"]

    @on_backend
    async def test_messages_and_their_ids_are_there_after_the_next_open(self, backend: Backend) -> None:
        await created(backend, new_run())
        await backend.store.deliver([message("a", b"1"), message("b", b"")])
        before = await inbox(backend)
        async with self.reopened(backend) as again:
            assert await inbox(again) == before
            answers = await again.store.deliver([message("a"), message("c")])
            assert [item.answer for item in answers] == ["duplicate", "ok"]
            assert [item.id for item in await inbox(again)] == ["a", "b", "c"]

    @on_backend
    async def test_a_claim_is_there_after_the_next_open(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        async with self.reopened(backend) as again:
            assert again.store.identity != backend.store.identity
            assert (await head_of(again)).owner == claim
            assert await again.store.append([frame(2, owner=claim)]) == ["ok"]
            assert await again.store.renew([(RunId("r"), claim)], LEASE_MS) == [0]
            assert await parked(again, claim) == "ok"

    @on_backend
    async def test_a_lease_of_a_closed_store_ends_by_itself(self, backend: Backend) -> None:
        await created(backend, new_run())
        await claimed(backend, lease_ms=100)
        async with self.reopened(backend) as again:

            async def is_taken() -> bool:
                taken = await again.store.take(claim_of(again, 1), lease_ms=LEASE_MS, limit=1, serves=ANY)
                return len(taken.heads) == 1

            await becomes(is_taken, "the lease ends")

    @on_backend
    async def test_names_and_deletions_are_there_after_the_next_open(self, backend: Backend) -> None:
        store = backend.store
        await created(backend, new_run("gone", status="failed", wake_at=None))
        for name in ("kept", "freed"):
            await store.reserve(name, "h")
        await store.reserve("of gone", "gone")
        await store.release("freed", "h")
        assert await store.delete([RunId("gone")]) == [True]
        async with self.reopened(backend) as again:
            names = ("kept", "freed", "of gone")
            assert [await again.store.resolve(name) for name in names] == ["h", None, None]
            assert await again.store.reserve("kept", "other") == "h"
            await created(again, new_run("gone", b"new"))
            assert await bodies(again, "gone") == [b"new"]

    @on_backend
    async def test_a_cursor_is_good_after_the_next_open(self, backend: Backend) -> None:
        await created(backend, *[new_run(f"r{k}", created_at=k + 1) for k in range(3)])
        page = await backend.store.search(RunQuery(limit=1))
        async with self.reopened(backend) as again:
            rest = await again.store.search(RunQuery(cursor=page.cursor))
            assert {head.id for head in (*page.runs, *rest.runs)} == {"r0", "r1", "r2"}
            assert len(rest.runs) == 2


class QueueLastingContract(LastingContract, needs="is_durable"):
    """Jobs."""

    @on_backend
    async def test_jobs_are_there_after_the_next_open(self, backend: Backend) -> None:
        queue = backend.queue
        await queue.publish("q", [Job(b"1"), Job(b"2\0")])
        received = await queue.receive(["q"], limit=1)
        await queue.publish("acked", [Job(b"x")])
        await queue.ack([item.receipt for item in await queue.receive(["acked"], limit=1)])
        async with self.reopened(backend) as again:
            assert [item.body for item in await again.queue.receive(["q"], limit=5)] == [b"2\0"]
            await again.queue.hide([received[0].receipt], 0)
            assert [item.deliveries for item in await again.queue.receive(["q"], limit=5)] == [2]
            assert await again.queue.receive(["acked"], limit=5) == []

    @on_backend
    async def test_a_delayed_job_keeps_its_time_over_the_next_open(self, backend: Backend) -> None:
        await backend.queue.publish("later", [Job(b"1")], delay_ms=DAY_MS)
        await backend.queue.publish("soon", [Job(b"2")], delay_ms=150)
        async with self.reopened(backend) as again:
            received = await again.queue.receive(["later", "soon"], limit=5, wait_ms=5000)
            assert [item.body for item in received] == [b"2"]


class BlobsLastingContract(LastingContract, needs="is_durable"):
    """Blobs."""

    @on_backend
    async def test_blobs_are_there_after_the_next_open(self, backend: Backend) -> None:
        for key in ("run/a", "run/b", "other/a"):
            await backend.blobs.put(key, b"\0" + key.encode())
        await backend.blobs.delete("run/a")
        async with self.reopened(backend) as again:
            found = [await again.blobs.get(key) for key in ("run/a", "run/b", "other/a")]
            assert found == [None, b"\0run/b", b"\0other/a"]


class StreamsLastingContract(LastingContract, needs="is_durable"):
    """Streams."""

    @on_backend
    async def test_streams_are_there_after_the_next_open(self, backend: Backend) -> None:
        streams = backend.streams
        await streams.append("open", 0, [b"0", b""])
        await streams.append("closed", 0, [b"0"])
        await streams.close("closed")
        await streams.append("gone", 0, [b"0"])
        await streams.delete("gone")
        async with self.reopened(backend) as again:
            assert await again.streams.read("open", 0, 5) == Chunks((b"0", b""), 2)
            assert await again.streams.read("closed", 0, 5) == Chunks((b"0",), 1, closed=True)
            assert await again.streams.read("gone", 0, 5) == Chunks((), 0)
            assert not await again.streams.append("open", 1, [b"1"])
            assert not await again.streams.append("closed", 1, [b"1"])
