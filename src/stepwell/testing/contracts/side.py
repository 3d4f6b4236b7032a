"""What Queue, Coordination, Blobs and Streams must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from stepwell.errors import DefinitionError
from stepwell.ports import Backend, Chunks, Job, Received
from stepwell.testing.contracts.dropping import (
    BlobsDroppingContract,
    CoordinationDroppingContract,
    QueueDroppingContract,
    StreamsDroppingContract,
)
from stepwell.testing.contracts.lasting import BlobsLastingContract, QueueLastingContract, StreamsLastingContract
from stepwell.testing.contracts.processes import (
    BlobsProcessContract,
    CoordinationProcessContract,
    QueueProcessContract,
    StreamsProcessContract,
)
from stepwell.testing.contracts.running import becomes, on_backend, refused
from stepwell.testing.contracts.side_values import BlobValuesContract, JobContract, KeyContract, StreamValuesContract

SOON_MS = 30


def _jobs(*bodies: bytes) -> list[Job]:
    return [Job(body) for body in bodies]


async def _receive(backend: Backend, *queues: str, limit: int = 10, visibility_ms: int = 30_000) -> list[Received]:
    return await backend.queue.receive(queues or ("q",), limit=limit, visibility_ms=visibility_ms)


async def _next(listener: AsyncIterator[None]) -> None:
    async with asyncio.timeout(5):
        await anext(listener)


class QueueContract(JobContract, QueueProcessContract, QueueLastingContract, QueueDroppingContract):
    """Every sentence of `stepwell.ports.Queue`."""

    @on_backend
    async def test_jobs_are_received_oldest_first_up_to_the_limit(self, backend: Backend) -> None:
        await backend.queue.publish("q", _jobs(b"1", b"2", b"3"))
        assert [item.body for item in await _receive(backend, limit=2)] == [b"1", b"2"]
        (last,) = await _receive(backend)
        assert (last.queue, last.body, last.deliveries) == ("q", b"3", 1)
        assert await _receive(backend) == []

    @on_backend
    async def test_several_queues_are_received_from_and_others_are_not(self, backend: Backend) -> None:
        for queue in ("a", "b", "c"):
            await backend.queue.publish(queue, _jobs(queue.encode()))
        assert {(item.queue, item.body) for item in await _receive(backend, "a", "c")} == {("a", b"a"), ("c", b"c")}

    @on_backend
    async def test_a_job_that_is_not_acked_comes_again(self, backend: Backend) -> None:
        await backend.queue.publish("q", _jobs(b"1"))
        (first,) = await _receive(backend, visibility_ms=0)
        (second,) = await _receive(backend)
        assert (second.body, second.deliveries) == (b"1", 2)
        assert second.receipt != first.receipt

    @on_backend
    async def test_an_acked_job_is_gone_for_good(self, backend: Backend) -> None:
        await backend.queue.publish("q", _jobs(b"1", b"2"))
        received = await _receive(backend, visibility_ms=SOON_MS * 100)
        await backend.queue.ack([item.receipt for item in received])
        await backend.queue.hide([item.receipt for item in received], 0)
        assert await _receive(backend) == []

    @on_backend
    async def test_a_receipt_whose_visibility_has_ended_is_ignored(self, backend: Backend) -> None:
        await backend.queue.publish("q", _jobs(b"1"))
        (stale,) = await _receive(backend, visibility_ms=0)
        await backend.queue.ack([stale.receipt])
        (again,) = await _receive(backend)
        await backend.queue.ack([stale.receipt])
        await backend.queue.hide([stale.receipt], 0)
        assert await _receive(backend) == []
        await backend.queue.hide([again.receipt], 0)
        assert len(await _receive(backend)) == 1

    @on_backend
    async def test_a_job_can_be_given_back_and_held_longer(self, backend: Backend) -> None:
        await backend.queue.publish("q", _jobs(b"1"))
        (held,) = await _receive(backend, visibility_ms=SOON_MS * 10)
        await backend.queue.hide([held.receipt], 60_000)
        await asyncio.sleep(SOON_MS / 1000 * 11)
        assert await _receive(backend) == []
        await backend.queue.hide([held.receipt], 0)
        assert [item.deliveries for item in await _receive(backend)] == [2]

    @on_backend
    async def test_a_delayed_job_comes_later(self, backend: Backend) -> None:
        await backend.queue.publish("q", _jobs(b"later"), delay_ms=SOON_MS * 10)
        assert await _receive(backend) == []
        received = await backend.queue.receive(["q"], limit=1, wait_ms=5000)
        assert [item.body for item in received] == [b"later"]

    @on_backend
    async def test_a_receiver_waits_for_the_first_job(self, backend: Backend) -> None:
        waiting = asyncio.ensure_future(backend.queue.receive(["q"], limit=5, wait_ms=5000))
        await asyncio.sleep(0)
        await backend.queue.publish("q", _jobs(b"1"))
        assert [item.body for item in await waiting] == [b"1"]

    @on_backend
    async def test_a_receiver_does_not_wait_for_ever(self, backend: Backend) -> None:
        assert await backend.queue.receive(["q"], limit=5, wait_ms=SOON_MS) == []

    @on_backend
    async def test_many_receivers_get_each_job_once(self, backend: Backend) -> None:
        await backend.queue.publish("q", _jobs(*[b"%d" % k for k in range(50)]))
        received = await asyncio.gather(*[_receive(backend, limit=7) for _ in range(20)])
        bodies = [item.body for items in received for item in items]
        assert sorted(bodies) == sorted(b"%d" % k for k in range(50))

    @on_backend
    async def test_listeners_hear_of_their_topic_after_they_began_to_listen(self, backend: Backend) -> None:
        first, second = backend.queue.listen("t"), backend.queue.listen("t")
        await backend.queue.notify(["other", "t"])
        await _next(first)
        await _next(second)
        await backend.queue.notify(["t"])
        await _next(first)

    @on_backend
    async def test_several_notices_may_come_as_one(self, backend: Backend) -> None:
        listener = backend.queue.listen("t")
        for _ in range(1000):
            await backend.queue.notify(["t"])
        await _next(listener)


class CoordinationContract(KeyContract, CoordinationProcessContract, CoordinationDroppingContract):
    """Every sentence of `stepwell.ports.Coordination`."""

    @on_backend
    async def test_a_counter_begins_at_zero(self, backend: Backend) -> None:
        keys = backend.coordination
        assert [await keys.increment("k"), await keys.increment("k", 5), await keys.increment("k", -10)] == [1, 6, -4]
        assert await keys.get("k") == "-4"
        assert await keys.get("other") is None

    @on_backend
    async def test_no_increment_is_lost(self, backend: Backend) -> None:
        sums = await asyncio.gather(*[backend.coordination.increment("k") for _ in range(20)])
        assert sorted(sums) == list(range(1, 21))

    @on_backend
    async def test_text_is_not_counted(self, backend: Backend) -> None:
        keys = backend.coordination
        await keys.set_if_not_exist("k", "text")
        answers = await asyncio.gather(keys.increment("k"), keys.increment("n"), return_exceptions=True)
        assert isinstance(answers[0], DefinitionError)
        assert answers[1] == 1
        assert await keys.get("k") == "text"
        await refused(keys.increment("k"), DefinitionError)

    @on_backend
    async def test_one_of_many_sets_a_key(self, backend: Backend) -> None:
        keys = backend.coordination
        answers = await asyncio.gather(*[keys.set_if_not_exist("k", str(n)) for n in range(20)])
        assert answers.count(True) == 1
        assert await keys.get("k") == str(answers.index(True))

    @on_backend
    async def test_a_deleted_key_is_free(self, backend: Backend) -> None:
        keys = backend.coordination
        await keys.set_if_not_exist("k", "1")
        assert [await keys.delete("k"), await keys.delete("k")] == [True, False]
        assert await keys.set_if_not_exist("k", "2")

    @on_backend
    async def test_a_key_ends_with_its_time(self, backend: Backend) -> None:
        keys = backend.coordination
        await keys.set_if_not_exist("set", "1", ttl_ms=SOON_MS)
        await keys.increment("counted", 7, ttl_ms=SOON_MS)
        for key in ("set", "counted"):
            await _ends(backend, key)
            assert not await keys.extend_ttl(key, 1000)
            assert not await keys.delete(key)
        assert await keys.set_if_not_exist("set", "2")
        assert await keys.increment("counted") == 1

    @on_backend
    async def test_a_counters_end_is_set_by_the_call_that_creates_it(self, backend: Backend) -> None:
        keys = backend.coordination
        await keys.increment("short", ttl_ms=SOON_MS)
        await keys.increment("short", ttl_ms=60_000)
        await keys.increment("long")
        await keys.increment("long", ttl_ms=1)
        await _ends(backend, "short")
        assert await keys.get("long") == "2"

    @on_backend
    async def test_an_end_can_be_moved(self, backend: Backend) -> None:
        keys = backend.coordination
        await keys.set_if_not_exist("k", "1", ttl_ms=60_000)
        await keys.set_if_not_exist("for ever", "1")
        assert await keys.extend_ttl("k", SOON_MS)
        assert await keys.extend_ttl("for ever", SOON_MS)
        assert not await keys.extend_ttl("absent", SOON_MS)
        await _ends(backend, "k")
        await _ends(backend, "for ever")


async def _ends(backend: Backend, key: str) -> None:
    async def is_gone() -> bool:
        return await backend.coordination.get(key) is None

    await becomes(is_gone, f"the key {key!r} ends")


class BlobsContract(BlobValuesContract, BlobsProcessContract, BlobsLastingContract, BlobsDroppingContract):
    """Every sentence of `stepwell.ports.Blobs`."""

    @on_backend
    async def test_what_was_put_is_got(self, backend: Backend) -> None:
        data = bytes(range(256)) * 4096
        await backend.blobs.put("run/a", data)
        await backend.blobs.put("run/empty", b"")
        assert await backend.blobs.get("run/a") == data
        assert await backend.blobs.get("run/empty") == b""
        assert await backend.blobs.get("run") is None

    @on_backend
    async def test_the_last_put_wins(self, backend: Backend) -> None:
        await backend.blobs.put("k", b"1")
        await backend.blobs.put("k", b"2")
        assert await backend.blobs.get("k") == b"2"

    @on_backend
    async def test_a_prefix_is_deleted_literally(self, backend: Backend) -> None:
        keys = ["a_b/1", "a_b/2", "a_b", "aXb/1", "a%/1", "A_b/1", "a_c", "é/1"]
        for key in keys:
            await backend.blobs.put(key, b"x")
        await backend.blobs.delete("a_b/")
        await backend.blobs.delete("a%")
        await backend.blobs.delete("é")
        left = [key for key in keys if await backend.blobs.get(key) is not None]
        assert left == ["a_b", "aXb/1", "A_b/1", "a_c"]


class StreamsContract(StreamValuesContract, StreamsProcessContract, StreamsLastingContract, StreamsDroppingContract):
    """Every sentence of `stepwell.ports.Streams`."""

    @on_backend
    async def test_chunks_are_read_in_order_from_any_index(self, backend: Backend) -> None:
        streams = backend.streams
        assert await streams.append("s", 0, [b"0", b"1"])
        assert await streams.append("s", 2, [b"2"])
        assert await streams.read("s", 0, 10) == Chunks((b"0", b"1", b"2"), 3)
        assert await streams.read("s", 1, 1) == Chunks((b"1",), 2)
        assert await streams.read("s", 3, 10) == Chunks((), 3)

    @on_backend
    async def test_a_negative_start_counts_from_the_end(self, backend: Backend) -> None:
        await backend.streams.append("s", 0, [b"0", b"1", b"2"])
        assert await backend.streams.read("s", -2, 10) == Chunks((b"1", b"2"), 3)
        assert await backend.streams.read("s", -9, 2) == Chunks((b"0", b"1"), 2)

    @on_backend
    async def test_a_stream_that_does_not_exist_is_empty_and_open(self, backend: Backend) -> None:
        assert await backend.streams.read("s", 0, 10) == Chunks((), 0)
        assert await backend.streams.read("s", -5, 10) == Chunks((), 0)

    @on_backend
    async def test_chunks_are_put_all_or_none(self, backend: Backend) -> None:
        streams = backend.streams
        await streams.append("s", 1, [b"1"])
        assert not await streams.append("s", 0, [b"a", b"b"])
        assert not await streams.append("s", 1, [b"1"])
        assert await streams.append("s", 0, [b"0"])
        assert await streams.read("s", 0, 10) == Chunks((b"0", b"1"), 2)

    @on_backend
    async def test_of_many_writers_of_one_index_one_wins(self, backend: Backend) -> None:
        calls = [backend.streams.append("s", 0, [b"%d" % k, b"x"]) for k in range(20)]
        answers = await asyncio.gather(*calls)
        assert answers.count(True) == 1
        assert await backend.streams.read("s", 0, 10) == Chunks((b"%d" % answers.index(True), b"x"), 2)

    @on_backend
    async def test_a_closed_stream_has_an_end_and_takes_no_more(self, backend: Backend) -> None:
        streams = backend.streams
        await streams.append("s", 0, [b"0", b"1"])
        await streams.close("s")
        await streams.close("s")
        assert not await streams.append("s", 2, [b"2"])
        assert await streams.read("s", 0, 1) == Chunks((b"0",), 1)
        assert await streams.read("s", 1, 1) == Chunks((b"1",), 2, closed=True)
        assert await streams.read("s", 2, 10) == Chunks((), 2, closed=True)

    @on_backend
    async def test_a_stream_may_be_closed_before_its_first_chunk(self, backend: Backend) -> None:
        await backend.streams.close("s")
        assert await backend.streams.read("s", 0, 10) == Chunks((), 0, closed=True)
        assert not await backend.streams.append("s", 0, [b"0"])

    @on_backend
    async def test_a_prefix_is_deleted(self, backend: Backend) -> None:
        streams = backend.streams
        await streams.append("a/1", 0, [b"x"])
        await streams.close("a/2")
        await streams.append("ab", 0, [b"x"])
        await streams.delete("a/")
        assert await streams.read("a/1", 0, 10) == Chunks((), 0)
        assert await streams.read("a/2", 0, 10) == Chunks((), 0)
        assert await streams.read("ab", 0, 10) == Chunks((b"x",), 1)
