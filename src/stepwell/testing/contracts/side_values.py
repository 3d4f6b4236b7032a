"""The small ports with any text and bytes, under contention, and to the millisecond."""

from __future__ import annotations

import asyncio
from collections import Counter

from stepwell.ports import Backend, Chunks, Job, Received
from stepwell.testing.contracts.running import Contract, becomes, on_backend
from stepwell.testing.contracts.texts import NAMES, PAYLOADS, PREFIXES, TEXTS, large

SHORT_MS = 40
JOB_BYTES = 64 * 1024
"""Jobs carry ids, so a backend need not take larger ones."""


class JobContract(Contract):
    """Jobs."""

    @on_backend
    async def test_jobs_hold_any_bytes_and_queues_have_any_name(self, backend: Backend) -> None:
        queue = backend.queue
        bodies = [*PAYLOADS, large(JOB_BYTES)]
        await queue.publish("q", [Job(body) for body in bodies])
        assert [item.body for item in await queue.receive(["q"], limit=100)] == bodies
        for name in NAMES:
            await queue.publish(name, [Job(name.encode())])
        for name in NAMES:
            received = await queue.receive([name], limit=5)
            assert [(item.queue, item.body) for item in received] == [(name, name.encode())]
            await queue.ack([item.receipt for item in received])

    @on_backend
    async def test_nothing_is_published_acked_and_hidden(self, backend: Backend) -> None:
        queue = backend.queue
        await queue.publish("q", [])
        await queue.ack([])
        await queue.hide([], 5)
        await queue.notify([])
        assert await queue.receive(["q"], limit=1) == []

    @on_backend
    async def test_a_job_belongs_to_one_receiver_while_many_ask(self, backend: Backend) -> None:
        await backend.queue.publish("q", [Job(b"%d" % k) for k in range(30)])
        for deliveries in (1, 2):
            received = [item for items in await _ask(backend, 20, 60_000) for item in items]
            assert Counter(item.body for item in received) == Counter(b"%d" % k for k in range(30))
            assert {item.deliveries for item in received} == {deliveries}
            assert len({item.receipt for item in received}) == 30
            await backend.queue.hide([item.receipt for item in received], 0)

    @on_backend
    async def test_a_job_whose_time_ended_goes_to_one_of_many(self, backend: Backend) -> None:
        await backend.queue.publish("q", [Job(b"1")])
        (stale,) = await backend.queue.receive(["q"], limit=1, visibility_ms=SHORT_MS)
        again: list[Received] = []

        async def comes() -> bool:
            again.extend(item for items in await _ask(backend, 5, 60_000) for item in items)
            return bool(again)

        await becomes(comes, "the job comes again")
        assert [(item.body, item.deliveries) for item in again] == [(b"1", 2)]
        await backend.queue.ack([stale.receipt])
        await backend.queue.hide([stale.receipt], 0)
        assert await _ask(backend, 1, 60_000) == [[]]
        await backend.queue.ack([again[0].receipt])
        await backend.queue.hide([again[0].receipt], 0)
        assert await _ask(backend, 1, 60_000) == [[]]

    @on_backend
    async def test_stale_receipts_hurt_no_other_of_their_call(self, backend: Backend) -> None:
        queue = backend.queue
        await queue.publish("q", [Job(b"a"), Job(b"b")])
        stale = await queue.receive(["q"], limit=2, visibility_ms=0)
        held = await queue.receive(["q"], limit=1)
        await queue.ack([stale[0].receipt, held[0].receipt, stale[1].receipt])
        left = await queue.receive(["q"], limit=5)
        assert [item.body for item in left] == [b"b"]
        await queue.hide([stale[1].receipt, left[0].receipt], 0)
        assert [item.body for item in await queue.receive(["q"], limit=5)] == [b"b"]

    @on_backend
    async def test_a_job_is_hidden_no_longer_than_was_said(self, backend: Backend) -> None:
        await backend.queue.publish("q", [Job(b"1")])
        (held,) = await backend.queue.receive(["q"], limit=1, visibility_ms=60_000)
        await backend.queue.hide([held.receipt], SHORT_MS)
        received = await backend.queue.receive(["q"], limit=1, wait_ms=5000)
        assert [item.deliveries for item in received] == [2]

    @on_backend
    async def test_one_job_wakes_no_more_receivers_than_one(self, backend: Backend) -> None:
        calls = [asyncio.ensure_future(backend.queue.receive(["q"], limit=5, wait_ms=300)) for _ in range(5)]
        await asyncio.sleep(0)
        await backend.queue.publish("q", [Job(b"1")])
        received = [item.body for items in await asyncio.gather(*calls) for item in items]
        assert received == [b"1"]


async def _ask(backend: Backend, receivers: int, visibility_ms: int) -> list[list[Received]]:
    calls = [backend.queue.receive(["q"], limit=7, visibility_ms=visibility_ms) for _ in range(receivers)]
    return await asyncio.gather(*calls)


class KeyContract(Contract):
    """Keys."""

    @on_backend
    async def test_keys_and_values_may_be_any_text(self, backend: Backend) -> None:
        keys = backend.coordination
        for name in NAMES:
            assert await keys.set_if_not_exist(name, name)
        assert [await keys.get(name) for name in NAMES] == list(NAMES)
        for at, text in enumerate(TEXTS):
            assert await keys.set_if_not_exist(f"v{at}", text)
            assert await keys.get(f"v{at}") == text
        assert await keys.delete("a%c")
        assert [await keys.get(name) for name in ("abc", "a%c", "a_c")] == ["abc", None, "a_c"]

    @on_backend
    async def test_an_empty_value_is_there(self, backend: Backend) -> None:
        keys = backend.coordination
        assert await keys.set_if_not_exist("k", "")
        assert not await keys.set_if_not_exist("k", "1")
        assert await keys.get("k") == ""
        assert await keys.delete("k")
        assert await keys.get("k") is None

    @on_backend
    async def test_counters_are_exact_beyond_what_a_float_holds(self, backend: Backend) -> None:
        keys = backend.coordination
        assert await keys.increment("k", 2**53) == 2**53
        assert await keys.increment("k") == 2**53 + 1
        assert await keys.increment("k", 2**62) == 2**62 + 2**53 + 1
        assert await keys.get("k") == str(2**62 + 2**53 + 1)
        assert await keys.increment("k", -(2**62) - 2**53 - 2) == -1
        assert await keys.increment("k", 0) == -1
        assert await keys.increment("zero", 0) == 0
        assert await keys.get("zero") == "0"

    @on_backend
    async def test_a_key_does_not_end_before_its_time(self, backend: Backend) -> None:
        keys, clock = backend.coordination, backend.clock
        began = clock.monotonic()
        await keys.set_if_not_exist("k", "1", ttl_ms=SHORT_MS)
        while await keys.get("k") is not None:
            await asyncio.sleep(0.001)
        assert (clock.monotonic() - began) * 1000 >= SHORT_MS - 1  # times are cut to milliseconds

    @on_backend
    async def test_one_of_many_sets_a_key_that_has_ended(self, backend: Backend) -> None:
        keys = backend.coordination
        await keys.set_if_not_exist("k", "old", ttl_ms=1)

        async def is_gone() -> bool:
            return await keys.get("k") is None

        await becomes(is_gone, "the key ends")
        answers = await asyncio.gather(*[keys.set_if_not_exist("k", str(n)) for n in range(20)])
        assert answers.count(True) == 1
        assert await keys.get("k") == str(answers.index(True))

    @on_backend
    async def test_one_of_many_deletes_a_key(self, backend: Backend) -> None:
        keys = backend.coordination
        await keys.set_if_not_exist("k", "1")
        answers = await asyncio.gather(*[keys.delete("k") for _ in range(20)])
        assert answers.count(True) == 1

    @on_backend
    async def test_a_deleted_counter_begins_anew_without_its_old_end(self, backend: Backend) -> None:
        keys = backend.coordination
        await keys.increment("k", 5, ttl_ms=SHORT_MS)
        await keys.delete("k")
        assert await keys.increment("k") == 1
        await asyncio.sleep(SHORT_MS / 1000 * 2)
        assert await keys.get("k") == "1"


class BlobValuesContract(Contract):
    """Blobs."""

    @on_backend
    async def test_blobs_hold_any_bytes_and_keys_are_any_text(self, backend: Backend) -> None:
        blobs = backend.blobs
        for at, body in enumerate(PAYLOADS):
            await blobs.put(f"run/{at}", body)
        assert [await blobs.get(f"run/{at}") for at in range(len(PAYLOADS))] == list(PAYLOADS)
        for name in NAMES:
            await blobs.put(f"r/{name}", name.encode())
        assert [await blobs.get(f"r/{name}") for name in NAMES] == [name.encode() for name in NAMES]

    @on_backend
    async def test_a_blob_of_ten_megabytes_comes_back(self, backend: Backend) -> None:
        data, other = large(2**40), large(2**40, 1)
        await backend.blobs.put("run/large", data)
        assert (await backend.blobs.get("run/large") == data) is True  # a comparison of values would take minutes
        await backend.blobs.put("run/large", other)
        assert (await backend.blobs.get("run/large") == other) is True
        await backend.blobs.put("run/large", b"")
        assert await backend.blobs.get("run/large") == b""

    @on_backend
    async def test_a_key_may_be_the_beginning_of_another(self, backend: Backend) -> None:
        keys = ["run", "run/a", "run/a/b", "run/ab", "run/a/b/c", "run//", "run/"]
        for key in keys:
            await backend.blobs.put(key, key.encode())
        assert [await backend.blobs.get(key) for key in keys] == [key.encode() for key in keys]
        await backend.blobs.delete("run/a/")
        left = [key for key in keys if await backend.blobs.get(key) is not None]
        assert left == ["run", "run/a", "run/ab", "run//", "run/"]

    @on_backend
    async def test_of_many_writers_of_one_key_one_is_last_and_none_is_mixed(self, backend: Backend) -> None:
        bodies = [bytes([k]) * 100_000 for k in range(20)]
        await asyncio.gather(*[backend.blobs.put("run/k", body) for body in bodies])
        assert await backend.blobs.get("run/k") in bodies

    @on_backend
    async def test_only_what_begins_with_a_prefix_is_deleted_whatever_it_holds(self, backend: Backend) -> None:
        blobs = backend.blobs
        keys = [f"{prefix}/{end}" for prefix in PREFIXES for end in ("", "1", "\U0010ffff")]
        for prefix in PREFIXES:
            for key in keys:
                await blobs.put(key, b"x")
            await blobs.delete(f"{prefix}/")
            left = [key for key in keys if await blobs.get(key) is not None]
            assert left == [key for key in keys if not key.startswith(f"{prefix}/")]
        await blobs.delete("absent")


class StreamValuesContract(Contract):
    """Streams."""

    @on_backend
    async def test_chunks_hold_any_bytes_and_streams_have_any_name(self, backend: Backend) -> None:
        streams = backend.streams
        assert await streams.append("s", 0, PAYLOADS)
        assert await streams.read("s", 0, 100) == Chunks(PAYLOADS, len(PAYLOADS))
        for name in NAMES:
            assert await streams.append(f"event/{name}", 0, [name.encode()])
        for name in NAMES:
            assert await streams.read(f"event/{name}", 0, 5) == Chunks((name.encode(),), 1)

    @on_backend
    async def test_a_chunk_of_ten_megabytes_or_the_limit_comes_back(self, backend: Backend) -> None:
        data = large(backend.store.limits.message)
        assert await backend.streams.append("s", 0, [b"before", data, b"after"])
        found = await backend.streams.read("s", 0, 10)
        assert (found.items[0], found.items[1] == data, found.items[2], found.next) == (b"before", True, b"after", 3)

    @on_backend
    async def test_an_empty_chunk_takes_its_place(self, backend: Backend) -> None:
        assert await backend.streams.append("s", 0, [b"", b"1"])
        assert not await backend.streams.append("s", 0, [b""])
        assert await backend.streams.read("s", 0, 10) == Chunks((b"", b"1"), 2)
        assert await backend.streams.read("s", 0, 1) == Chunks((b"",), 1)

    @on_backend
    async def test_many_chunks_are_read_in_pages_without_a_gap(self, backend: Backend) -> None:
        chunks = [b"%d" % k for k in range(300)]
        for at in range(0, 300, 50):
            assert await backend.streams.append("s", at, chunks[at : at + 50])
        found: list[bytes] = []
        while len(found) < 300:
            page = await backend.streams.read("s", len(found), 70)
            assert page.next == len(found) + len(page.items)
            found += page.items
        assert found == chunks

    @on_backend
    async def test_a_refused_batch_leaves_none_of_its_chunks(self, backend: Backend) -> None:
        streams = backend.streams
        await streams.append("s", 2, [b"2"])
        assert not await streams.append("s", 0, [b"a", b"b", b"c", b"d"])
        assert await streams.read("s", 0, 10) == Chunks((), 0)
        assert await streams.read("s", 3, 10) == Chunks((), 3)
        assert await streams.append("s", 0, [b"0", b"1"])
        assert await streams.read("s", 0, 10) == Chunks((b"0", b"1", b"2"), 3)

    @on_backend
    async def test_of_overlapping_batches_each_place_has_one_writer(self, backend: Backend) -> None:
        streams = backend.streams
        batches = [(at, [b"%d.%d" % (at, k) for k in range(at, at + 3)]) for at in range(12)]
        answers = await asyncio.gather(*[streams.append("s", at, chunks) for at, chunks in batches])
        expected: dict[int, bytes] = {}
        for (at, chunks), is_written in zip(batches, answers, strict=True):
            places = dict(enumerate(chunks, at))
            assert not is_written or not places.keys() & expected.keys()
            expected |= places if is_written else {}
        assert any(answers)
        for at in range(14):
            items = (await streams.read("s", at, 1)).items
            assert items == ((expected[at],) if at in expected else ())

    @on_backend
    async def test_a_stream_that_is_read_while_it_grows_has_no_half_written_batch(self, backend: Backend) -> None:
        streams = backend.streams

        async def look() -> None:
            for _ in range(40):
                found = (await streams.read("s", 0, 1000)).items
                assert len(found) % 3 == 0
                assert list(found) == [b"%d" % k for k in range(len(found))]

        async def write() -> None:
            for k in range(0, 60, 3):
                assert await streams.append("s", k, [b"%d" % at for at in range(k, k + 3)])

        await asyncio.gather(write(), look(), look())

    @on_backend
    async def test_a_close_and_an_append_at_once_agree(self, backend: Backend) -> None:
        streams = backend.streams
        for round in range(10):
            stream = f"s{round}"
            calls = [streams.append(stream, 0, [b"x"]), streams.close(stream)]
            answers = await asyncio.gather(*calls[:: round % 2 * 2 - 1])
            items = (b"x",) if True in answers else ()
            assert await streams.read(stream, 0, 10) == Chunks(items, len(items), closed=True)

    @on_backend
    async def test_only_streams_that_begin_with_a_prefix_are_deleted_whatever_it_holds(self, backend: Backend) -> None:
        streams = backend.streams
        names = [f"{prefix}/{end}" for prefix in PREFIXES for end in ("", "1")]
        for prefix in PREFIXES:
            for name in names:
                await streams.append(name, 0, [b"x"])
            await streams.close(f"{prefix}/1")
            await streams.delete(f"{prefix}/")
            left = [name for name in names if (await streams.read(name, 0, 1)).items]
            assert left == [name for name in names if not name.startswith(f"{prefix}/")]
            assert await streams.append(f"{prefix}/1", 0, [b"anew"])
            await streams.delete(f"{prefix}/")
        await streams.delete("absent")
