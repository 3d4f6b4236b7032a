"""The Queue, Coordination, Blobs and Streams ports in dictionaries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from stepwell.backends.memory.world import StoredJob, Stream, World
from stepwell.errors import DefinitionError
from stepwell.ports import Chunks, Clock, Job, Received


class MemoryQueue:
    """Jobs in dictionaries."""

    def __init__(self, world: World, clock: Clock) -> None:
        self._world = world
        self._clock = clock

    async def publish(self, queue: str, jobs: Sequence[Job], *, delay_ms: int = 0) -> None:
        world, visible_at = self._world, self._clock.now() + delay_ms
        with world.lock:
            there = world.queues.setdefault(queue, {})
            for job in jobs:
                world.jobs_made += 1
                there[world.jobs_made] = StoredJob(job.body, visible_at)
        world.notices.ring([_jobs_topic(queue)])

    async def receive(
        self, queues: Sequence[str], *, limit: int, visibility_ms: int = 30_000, wait_ms: int = 0
    ) -> list[Received]:
        until = self._clock.monotonic() + wait_ms / 1000
        listener = self._world.notices.listen(*map(_jobs_topic, queues)) if wait_ms else None
        while True:
            received, next_at = self._receive(queues, limit, visibility_ms)
            left = until - self._clock.monotonic()
            if received or listener is None or left <= 0:
                return received
            soon = left if next_at is None else max(0.001, (next_at - self._clock.now()) / 1000)
            await listener.wait(min(left, soon))

    def _receive(self, queues: Sequence[str], limit: int, visibility_ms: int) -> tuple[list[Received], int | None]:
        now = self._clock.now()
        received: list[Received] = []
        with self._world.lock:
            jobs = [(no, queue, job) for queue in queues for no, job in self._world.queues.get(queue, {}).items()]
            jobs.sort(key=lambda item: (item[2].visible_at, item[0]))
            for no, queue, job in jobs:
                if job.visible_at <= now and len(received) < limit:
                    job.deliveries += 1
                    job.receipt = f"{no}:{job.deliveries}:{queue}"
                    job.visible_at = now + visibility_ms
                    received.append(Received(queue, job.receipt, job.body, job.deliveries))
        return received, min((job.visible_at for _, _, job in jobs), default=None)

    async def ack(self, receipts: Sequence[str]) -> None:
        now = self._clock.now()
        with self._world.lock:
            for receipt in receipts:
                no, _, queue = _receipt(receipt)
                if self._held(receipt, now) is not None:
                    del self._world.queues[queue][no]

    async def hide(self, receipts: Sequence[str], for_ms: int) -> None:
        now = self._clock.now()
        with self._world.lock:
            for receipt in receipts:
                job = self._held(receipt, now)
                if job is not None:
                    job.visible_at = now + for_ms
        self._world.notices.ring({_jobs_topic(_receipt(receipt)[2]) for receipt in receipts})

    def _held(self, receipt: str, now: int) -> StoredJob | None:
        no, _, queue = _receipt(receipt)
        job = self._world.queues.get(queue, {}).get(no)
        return job if job is not None and job.receipt == receipt and job.visible_at > now else None

    async def notify(self, topics: Sequence[str]) -> None:
        self._world.notices.ring(topics)

    def listen(self, topic: str) -> AsyncIterator[None]:
        return self._world.notices.listen(topic)


def _jobs_topic(queue: str) -> str:
    return f"jobs\0{queue}"


def _receipt(receipt: str) -> tuple[int, int, str]:
    no, _, rest = receipt.partition(":")
    deliveries, _, queue = rest.partition(":")
    return int(no), int(deliveries), queue


class MemoryCoordination:
    """Keys with an end."""

    def __init__(self, world: World, clock: Clock) -> None:
        self._world = world
        self._clock = clock

    async def increment(self, key: str, by: int = 1, *, ttl_ms: int | None = None) -> int:
        with self._world.lock:
            value, ends_at = self._alive(key) or ("0", self._end(ttl_ms))
            try:
                total = int(value) + by
            except ValueError:
                raise DefinitionError(f"the coordination key {key!r} holds {value!r}, not a counter") from None
            self._world.keys[key] = (str(total), ends_at)
        return total

    async def set_if_not_exist(self, key: str, value: str, *, ttl_ms: int | None = None) -> bool:
        with self._world.lock:
            if self._alive(key) is not None:
                return False
            self._world.keys[key] = (value, self._end(ttl_ms))
        return True

    async def extend_ttl(self, key: str, ttl_ms: int) -> bool:
        with self._world.lock:
            there = self._alive(key)
            if there is None:
                return False
            self._world.keys[key] = (there[0], self._end(ttl_ms))
        return True

    async def delete(self, key: str) -> bool:
        with self._world.lock:
            existed = self._alive(key) is not None
            self._world.keys.pop(key, None)
        return existed

    async def get(self, key: str) -> str | None:
        with self._world.lock:
            there = self._alive(key)
        return None if there is None else there[0]

    def _alive(self, key: str) -> tuple[str, int | None] | None:
        there = self._world.keys.get(key)
        if there is None or there[1] is None or there[1] > self._clock.now():
            return there
        del self._world.keys[key]
        return None

    def _end(self, ttl_ms: int | None) -> int | None:
        return None if ttl_ms is None else self._clock.now() + ttl_ms


class MemoryBlobs:
    """Payloads by key."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def put(self, key: str, data: bytes) -> None:
        with self._world.lock:
            self._world.blobs[key] = data

    async def get(self, key: str) -> bytes | None:
        return self._world.blobs.get(key)

    async def delete(self, prefix: str) -> None:
        with self._world.lock:
            for key in [key for key in self._world.blobs if key.startswith(prefix)]:
                del self._world.blobs[key]


class MemoryStreams:
    """Chunks by stream and index."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def append(self, stream: str, index: int, chunks: Sequence[bytes]) -> bool:
        with self._world.lock:
            there = self._world.streams.get(stream) or Stream()
            new = dict(enumerate(chunks, index))
            if there.closed or not there.chunks.keys().isdisjoint(new):
                return False
            if new:
                there.chunks |= new
                self._world.streams[stream] = there
        return True

    async def read(self, stream: str, start: int, limit: int) -> Chunks:
        with self._world.lock:
            there = self._world.streams.get(stream)
            if there is None:
                return Chunks((), max(start, 0))
            end = there.end
            first = max(start + end, 0) if start < 0 else start
            if there.closed:
                first = min(first, end)
            items: list[bytes] = []
            while len(items) < limit and (chunk := there.chunks.get(first + len(items))) is not None:
                items.append(chunk)
        after = first + len(items)
        return Chunks(tuple(items), after, there.closed and after == end)

    async def close(self, stream: str) -> None:
        with self._world.lock:
            self._world.streams.setdefault(stream, Stream()).closed = True

    async def delete(self, prefix: str) -> None:
        with self._world.lock:
            for name in [name for name in self._world.streams if name.startswith(prefix)]:
                del self._world.streams[name]
