"""Everything in dictionaries: the reference for what the ports mean, and the backend of tests.

One lock makes each call atomic, so that `renew` may come from another thread. Nothing here ever waits for the world.
"""

from __future__ import annotations

import heapq
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from threading import Lock

from msgspec import UNSET
from msgspec.structs import replace

from stepwell.backends.notices import Notices
from stepwell.errors import BackendError, DefinitionError
from stepwell.model.ids import Claim, MessageId, RunId
from stepwell.model.runs import TERMINAL, Head, Page, RunQuery
from stepwell.ports import (
    Append,
    Appended,
    Backend,
    Chunks,
    Clock,
    Delivered,
    Delivery,
    Due,
    HeadChange,
    Job,
    Loaded,
    Mail,
    NewRun,
    Park,
    Parked,
    Received,
    Serves,
    StoreLimits,
    Taken,
    Wanted,
)

_CHANGES = ("status", "wake_at", "takes", "base", "version", "ended_at", "tags", "metadata", "waiting", "error")


class _Run:
    """One run: its head, frames by seq, messages in order, and the ids of those."""

    __slots__ = ("frames", "head", "ids", "inbox", "no")

    def __init__(self, no: int, new: NewRun) -> None:
        self.no = no
        self.head = new.head
        self.frames = dict(enumerate(new.frames, 1))
        self.inbox: list[Mail] = []
        self.ids: set[MessageId] = set()


class _Job:
    """One job: `receipt` names its last delivery, which ends at `visible_at`."""

    __slots__ = ("body", "deliveries", "receipt", "visible_at")

    def __init__(self, body: bytes, visible_at: int) -> None:
        self.body = body
        self.visible_at = visible_at
        self.deliveries = 0
        self.receipt = ""


class _Stream:
    """Chunks by index."""

    __slots__ = ("chunks", "closed")

    def __init__(self) -> None:
        self.chunks: dict[int, bytes] = {}
        self.closed = False

    @property
    def end(self) -> int:
        return max(self.chunks, default=-1) + 1


class _World:
    """What all backends opened under one name share."""

    def __init__(self) -> None:
        self.opened = 0
        self.lock = Lock()
        self.notices = Notices()
        self.runs: dict[RunId, _Run] = {}
        self.runs_made = 0
        self.due: list[tuple[int, int, int, RunId]] = []
        self.names: dict[str, str] = {}
        self.queues: dict[str, dict[int, _Job]] = {}
        self.jobs_made = 0
        self.keys: dict[str, tuple[str, int | None]] = {}
        self.blobs: dict[str, bytes] = {}
        self.streams: dict[str, _Stream] = {}

    def put(self, run: _Run, head: Head) -> None:
        """Write a head. `due` is a heap of hints: an entry counts while it agrees with the head."""
        if head.wake_at is not None:
            heapq.heappush(self.due, (head.wake_at, -head.priority, run.no, head.id))
        run.head = head


_named: weakref.WeakValueDictionary[str, _World] = weakref.WeakValueDictionary()
"""Weak, so that a named world also goes when its backends were dropped without being closed."""


class MemoryStore:
    """Runs in dictionaries."""

    limits = StoreLimits()

    def __init__(self, world: _World, clock: Clock) -> None:
        self._world = world
        self._clock = clock
        self.identity = clock.random_bytes(8).hex()

    async def create(self, runs: Sequence[NewRun]) -> list[Head | None]:
        world = self._world
        answers: list[Head | None] = []
        with world.lock:
            for new in runs:
                found = world.runs.get(new.head.id)
                answers.append(None if found is None else found.head)
                if found is None:
                    world.runs_made += 1
                    run = world.runs[new.head.id] = _Run(world.runs_made, new)
                    world.put(run, new.head)
        return answers

    async def take(
        self, claim: Claim, *, lease_ms: int, limit: int, serves: Serves, runs: Sequence[RunId] | None = None
    ) -> Taken:
        now = self._clock.now()
        with self._world.lock:
            found = self._due(now, limit, serves) if runs is None else self._named(now, limit, serves, runs)
            heads = tuple(self._claim(run, claim, now + lease_ms) for run in found)
        return Taken(heads, now)

    def _due(self, now: int, limit: int, serves: Serves) -> list[_Run]:
        due, others = self._world.due, []
        found: dict[RunId, _Run] = {}
        while due and due[0][0] <= now and len(found) < limit:
            hint = heapq.heappop(due)
            run = self._world.runs.get(hint[3])
            if run is None or run.no != hint[2] or run.head.wake_at != hint[0]:
                continue
            if _serves(serves, run.head):
                found[hint[3]] = run
            else:
                others.append(hint)
        for hint in others:
            heapq.heappush(due, hint)
        return list(found.values())

    def _named(self, now: int, limit: int, serves: Serves, ids: Sequence[RunId]) -> list[_Run]:
        runs = [run for id in dict.fromkeys(ids) if (run := self._world.runs.get(id)) is not None]
        takeable = [run for run in runs if _is_takeable(run.head, now) and _serves(serves, run.head)]
        takeable.sort(key=lambda run: (_due_order(run.head), run.no))
        return takeable[:limit]

    def _claim(self, run: _Run, claim: Claim, until: int) -> Head:
        head = run.head
        status = "running" if head.status in ("queued", "waiting") else head.status
        self._world.put(run, replace(head, owner=claim, wake_at=until, takes=head.takes + 1, status=status))
        return run.head

    async def peek_due(self, until: int, limit: int) -> list[Due]:
        with self._world.lock:
            due = [
                (run.head.wake_at, run.no, run.head.id)
                for run in self._world.runs.values()
                if run.head.wake_at is not None and run.head.wake_at <= until
            ]
        return [Due(id, wake_at) for wake_at, _, id in heapq.nsmallest(limit, due)]

    async def load(self, wanted: Sequence[Wanted]) -> list[Loaded | None]:
        with self._world.lock:
            return [self._load(want) for want in wanted]

    def _load(self, want: Wanted) -> Loaded | None:
        run = self._world.runs.get(want.run)
        if run is None:
            return None
        after = 0 if want.after < 0 else max(want.after, run.head.base - 1)
        count = len(run.frames)
        try:
            frames = tuple((seq, run.frames[seq]) for seq in range(after + 1, count + 1))
        except KeyError as hole:
            raise BackendError(f"the journal of run {want.run} has {count} frames, but not frame {hole}") from None
        return Loaded(run.head, frames, tuple(run.inbox[want.mail :]))

    async def append(self, frames: Sequence[Append]) -> list[Appended]:
        with self._world.lock:
            return [self._append(frame) for frame in frames]

    def _append(self, frame: Append) -> Appended:
        run = self._world.runs.get(frame.run)
        if run is None:
            return "missing"
        there = run.frames.get(frame.seq)
        if there is not None:
            return "ok" if there == frame.body else "exists"
        if frame.owner is not None and frame.owner != run.head.owner:
            return "lost"
        if frame.mail is not None and frame.mail != run.head.mail:
            return "mail"
        run.frames[frame.seq] = frame.body
        if frame.head is not None:
            self._world.put(run, _changed(run.head, frame.seq, frame.head))
        return "ok"

    async def park(self, parks: Sequence[Park]) -> list[Parked]:
        with self._world.lock:
            return [self._park(park) for park in parks]

    def _park(self, park: Park) -> Parked:
        run = self._world.runs.get(park.run)
        if run is None or run.head.owner != park.owner:
            return "lost"
        if park.mail is not None and park.mail != run.head.mail:
            return "mail"
        fields = {name: getattr(park, name) for name in ("seq", "status", "waiting", "metadata")}
        given = {name: value for name, value in fields.items() if value is not UNSET}
        self._world.put(run, replace(run.head, owner=None, wake_at=park.wake_at, takes=park.takes, **given))
        return "ok"

    async def renew(self, claims: Sequence[tuple[RunId, Claim]], lease_ms: int) -> list[int | None]:
        until = self._clock.now() + lease_ms
        answers: list[int | None] = []
        with self._world.lock:
            for id, claim in claims:
                run = self._world.runs.get(id)
                owned = run is not None and run.head.owner == claim
                if run is not None and owned:
                    self._world.put(run, replace(run.head, wake_at=until))
                answers.append(run.head.mail if run is not None and owned else None)
        return answers

    async def deliver(self, messages: Sequence[Delivery]) -> list[Delivered]:
        now = self._clock.now()
        with self._world.lock:
            return [self._deliver(message, now) for message in messages]

    def _deliver(self, message: Delivery, now: int) -> Delivered:
        run = self._world.runs.get(message.run)
        if run is None:
            return Delivered("missing")
        head = run.head
        if message.id in run.ids:
            return Delivered("duplicate", head.owner)
        if head.status in TERMINAL:
            return Delivered("closed")
        last = run.inbox[-1].accepted_at if run.inbox else head.created_at
        no = head.mail + 1
        run.inbox.append(Mail(no, message.id, max(now, last), message.body))
        run.ids.add(message.id)
        if head.owner is not None:
            run.head = replace(head, mail=no)
        else:
            wake_at = now if head.wake_at is None else min(head.wake_at, now)
            self._world.put(run, replace(head, mail=no, wake_at=wake_at))
        return Delivered("ok", head.owner)

    async def search(self, query: RunQuery) -> Page:
        limit, below = page_bounds(query)
        with self._world.lock:
            runs = [run for run in self._world.runs.values() if run.no < below and _matches(query, run.head)]
        runs.sort(key=lambda run: run.no, reverse=True)
        page = runs[:limit]
        return Page(tuple(run.head for run in page), str(page[-1].no) if len(runs) > limit else None)

    async def delete(self, runs: Sequence[RunId]) -> list[bool]:
        world = self._world
        answers = []
        with world.lock:
            for id in runs:
                run = world.runs.get(id)
                gone = run is None or run.head.is_settled
                if run is not None and gone:
                    del world.runs[id]
                    for name in [name for name, holder in world.names.items() if holder == id]:
                        del world.names[name]
                answers.append(gone)
        return answers

    async def reserve(self, name: str, holder: str) -> str:
        with self._world.lock:
            return self._world.names.setdefault(name, holder)

    async def resolve(self, name: str) -> str | None:
        return self._world.names.get(name)

    async def release(self, name: str, holder: str) -> None:
        with self._world.lock:
            if self._world.names.get(name) == holder:
                del self._world.names[name]


def page_bounds(query: RunQuery) -> tuple[int, int]:
    """The limit, and the number below which the page begins."""
    if not 1 <= query.limit <= 1000:
        raise DefinitionError(f"RunQuery(limit={query.limit}): give 1 to 1000")
    if query.cursor is None:
        return query.limit, 2**63 - 1
    if not (query.cursor.isascii() and query.cursor.isdigit() and len(query.cursor) < 19):
        raise DefinitionError(f"the cursor {query.cursor!r} was not made by this store")
    return query.limit, int(query.cursor)


def _is_takeable(head: Head, now: int) -> bool:
    is_due = head.wake_at is not None and head.wake_at <= now
    return is_due or (head.owner is None and not head.is_settled)


def _due_order(head: Head) -> tuple[bool, int, int]:
    return head.wake_at is None, head.wake_at or 0, -head.priority


def _serves(serves: Serves, head: Head) -> bool:
    if head.queue not in serves.queues:
        return False
    return serves.kinds is None or f"{head.workflow}@{head.version}" in serves.kinds


def _changed(head: Head, seq: int, change: HeadChange) -> Head:
    fields = {name: value for name in _CHANGES if (value := getattr(change, name)) is not UNSET}
    return replace(head, seq=seq, owner=None if change.release else head.owner, **fields)


def _matches(query: RunQuery, head: Head) -> bool:
    return (
        (query.workflow is None or head.workflow == query.workflow)
        and (not query.status or head.status in query.status)
        and (query.parent is None or head.parent == query.parent)
        and (query.since is None or head.created_at >= query.since)
        and (query.until is None or head.created_at < query.until)
        and (query.ended_before is None or (head.ended_at is not None and head.ended_at < query.ended_before))
        and (query.text is None or query.text in head.id)
        and _has_pairs(query, head)
    )


def _has_pairs(query: RunQuery, head: Head) -> bool:
    tags = all(head.tags.get(key) == value for key, value in query.tag)
    found = ((head.metadata.get(key), value) for key, value in query.metadata)
    return tags and all(there is not None and bytes(there) == bytes(value) for there, value in found)


class MemoryQueue:
    """Jobs in dictionaries."""

    def __init__(self, world: _World, clock: Clock) -> None:
        self._world = world
        self._clock = clock

    async def publish(self, queue: str, jobs: Sequence[Job], *, delay_ms: int = 0) -> None:
        world, visible_at = self._world, self._clock.now() + delay_ms
        with world.lock:
            there = world.queues.setdefault(queue, {})
            for job in jobs:
                world.jobs_made += 1
                there[world.jobs_made] = _Job(job.body, visible_at)
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

    def _held(self, receipt: str, now: int) -> _Job | None:
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

    def __init__(self, world: _World, clock: Clock) -> None:
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

    def __init__(self, world: _World) -> None:
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

    def __init__(self, world: _World) -> None:
        self._world = world

    async def append(self, stream: str, index: int, chunks: Sequence[bytes]) -> bool:
        with self._world.lock:
            there = self._world.streams.get(stream) or _Stream()
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
            self._world.streams.setdefault(stream, _Stream()).closed = True

    async def delete(self, prefix: str) -> None:
        with self._world.lock:
            for name in [name for name in self._world.streams if name.startswith(prefix)]:
                del self._world.streams[name]


class MemoryBackend:
    """All ports over one world."""

    is_embedded = True

    def __init__(self, url: str, world: _World, clock: Clock) -> None:
        self.url = url
        self.clock = clock
        self.store = MemoryStore(world, clock)
        self.queue = MemoryQueue(world, clock)
        self.coordination = MemoryCoordination(world, clock)
        self.blobs = MemoryBlobs(world)
        self.streams = MemoryStreams(world)
        self._world: _World | None = world
        world.opened += 1

    async def close(self) -> None:
        """Let go of the world; a named one goes with its last backend."""
        if self._world is None:
            return
        self._world.opened -= 1
        if not self._world.opened:
            _named.pop(_name(self.url), None)
        self._world = None


async def connect(url: str, clock: Clock, options: Mapping[str, object]) -> Backend:
    """`memory://`: a new world. `memory://name`: the world of that name in this process."""
    if options:
        raise DefinitionError(f"memory:// has no options, but was given {', '.join(sorted(options))}")
    name = _name(url)
    world = (_named.get(name) if name else None) or _World()
    if name:
        _named[name] = world
    return MemoryBackend(url, world, clock)


def _name(url: str) -> str:
    return url.partition("://")[2]
