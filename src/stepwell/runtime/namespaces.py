"""A namespace: a view of a backend that holds only what is its own.

Whatever goes in gets the namespace before its name, `acme r1`, and whatever comes out loses it: run ids, queues, names
of hooks, streams, blobs, topics, keys. So two namespaces may use the same names and share nothing, and nobody else
knows that there are any. What is in frames and messages is the namespace's own business and is not touched.

The default namespace has no prefix: its names are as they always were. A name in it that looks like one of another
namespace gets a space in front, so that no id, token or queue that somebody makes up leads out of it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from msgspec.structs import replace

from stepwell.errors import DefinitionError
from stepwell.model.ids import Claim, RunId
from stepwell.model.runs import Head, Page, RunQuery
from stepwell.ports import (
    Append,
    Appended,
    Backend,
    Blobs,
    Chunks,
    Clock,
    Coordination,
    Delivered,
    Delivery,
    Due,
    Job,
    Loaded,
    NewRun,
    Park,
    Parked,
    Queue,
    Received,
    Serves,
    Store,
    StoreLimits,
    Streams,
    Taken,
    Wanted,
)
from stepwell.runtime.payloads import SHARED_BLUEPRINTS

_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FOREIGN = re.compile(r"[a-z0-9][a-z0-9-]{0,62} ")
_PREFIX_OF_ANY = re.compile(r"[a-z0-9-]{0,63}")
_SHARED = f"{SHARED_BLUEPRINTS}/"
_TAKEN = SHARED_BLUEPRINTS.partition(" ")[0]
_HINTS_MAX = 4096
"""Due runs of everybody among which those of one namespace are looked for."""

Item = TypeVar("Item", Wanted, Append, Park, Delivery)


def checked_namespace(name: str) -> str:
    """The name of a namespace, if it may be one."""
    if not isinstance(name, str) or (name and not _NAMESPACE.fullmatch(name)):
        raise DefinitionError(
            f"namespace {name!r}: give 1 to 63 characters of a-z, 0-9 and '-', the first no '-'; or '', the default one"
        )
    if name == _TAKEN:
        raise DefinitionError(f"namespace {name!r}: this name is taken; choose another")
    return name


def view_of(backend: Backend, namespace: str) -> Backend:
    """The namespace of the backend. Closing it closes the backend."""
    return _View(backend, _Names(checked_namespace(namespace)))


def _is_foreign(name: str) -> bool:
    """Whether a name is that of something in a namespace."""
    return _FOREIGN.match(name) is not None and not name.startswith(_SHARED)


class _Names:
    """Names as the namespace knows them, to and from those in the backend."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._prefix = f"{namespace} " if namespace else ""

    def inward(self, name: str) -> str:
        """As the backend knows it."""
        if self._prefix:
            return self._prefix + name
        is_plain = " " not in name or (name[0] != " " and not _is_foreign(name))
        return name if is_plain else " " + name

    def outward(self, name: str) -> str:
        """As the namespace knows it."""
        if self._prefix:
            return name[len(self._prefix) :]
        return name[1:] if name[:1] == " " else name

    def is_ours(self, name: str) -> bool:
        """Whether a name in the backend is of this namespace."""
        return name.startswith(self._prefix) if self._prefix else not _is_foreign(name)

    def prefix(self, prefix: str) -> str:
        """What all that begins with this begins with in the backend. `DefinitionError` if others do, too."""
        if not self._prefix and _PREFIX_OF_ANY.fullmatch(prefix):
            raise DefinitionError(f"the prefix {prefix!r} may begin names of other namespaces, too; end it with '/'")
        return self.inward(prefix)

    def run(self, run: RunId) -> RunId:
        """A run's id, as the backend knows it."""
        return RunId(self.inward(run))

    def head(self, head: Head) -> Head:
        """A head of the backend."""
        parent = None if head.parent is None else RunId(self.outward(head.parent))
        id, queue = RunId(self.outward(head.id)), self.outward(head.queue)
        if not self._prefix and id == head.id and queue == head.queue and parent == head.parent:
            return head
        return replace(head, id=id, queue=queue, parent=parent)

    def new(self, new: NewRun) -> NewRun:
        """A run to create, as the backend shall know it."""
        head = new.head
        parent = None if head.parent is None else self.run(head.parent)
        id, queue, namespace = self.run(head.id), self.inward(head.queue), self.namespace
        if (id, queue, parent, namespace) == (head.id, head.queue, head.parent, head.namespace):
            return new
        return replace(new, head=replace(head, id=id, queue=queue, parent=parent, namespace=namespace))

    def of_runs(self, items: Sequence[Item]) -> list[Item]:
        """What is asked about runs."""
        return [item if (run := self.run(item.run)) == item.run else replace(item, run=run) for item in items]

    def serves(self, serves: Serves) -> Serves:
        """What a worker of this namespace can run."""
        return replace(serves, queues=tuple([self.inward(queue) for queue in serves.queues]))


class _View:
    """A backend whose ports know the names of one namespace."""

    def __init__(self, backend: Backend, names: _Names) -> None:
        self._backend = backend
        self.url: str = backend.url
        self.is_embedded: bool = backend.is_embedded
        self.store: Store = ViewedStore(backend.store, names)
        self.queue: Queue = _ViewedQueue(backend.queue, names)
        self.coordination: Coordination = _ViewedCoordination(backend.coordination, names)
        self.blobs: Blobs = _ViewedBlobs(backend.blobs, names)
        self.streams: Streams = _ViewedStreams(backend.streams, names)
        self.clock: Clock = backend.clock

    async def close(self) -> None:
        await self._backend.close()


class ViewedStore:
    """The runs of one namespace. See `Store` for what its methods promise."""

    def __init__(self, store: Store, names: _Names) -> None:
        self._store = store
        self._names = names

    @property
    def inner(self) -> Store:
        """The store of all namespaces."""
        return self._store

    @property
    def limits(self) -> StoreLimits:
        """Those of the store."""
        return self._store.limits

    @property
    def identity(self) -> str:
        """That of the store: a claim has to name the process that holds it."""
        return self._store.identity

    async def create(self, runs: Sequence[NewRun]) -> list[Head | None]:
        """Says of each run whose it is."""
        there = await self._store.create([self._names.new(run) for run in runs])
        return [None if head is None else self._names.head(head) for head in there]

    async def take(
        self, claim: Claim, *, lease_ms: int, limit: int, serves: Serves, runs: Sequence[RunId] | None = None
    ) -> Taken:
        """By the queues, which are the namespace's own."""
        names = self._names
        named = None if runs is None else [names.run(run) for run in runs]
        taken = await self._store.take(claim, lease_ms=lease_ms, limit=limit, serves=names.serves(serves), runs=named)
        return Taken(tuple([names.head(head) for head in taken.heads]), taken.now)

    async def peek_due(self, until: int, limit: int) -> list[Due]:
        """Those of the namespace among the first that are due. Where thousands of others are ahead, none."""
        names, wanted = self._names, limit
        while True:
            found = await self._store.peek_due(until, wanted)
            ours = [Due(RunId(names.outward(due.run)), due.wake_at) for due in found if names.is_ours(due.run)]
            if len(ours) >= limit or len(found) < wanted or wanted >= _HINTS_MAX:
                return ours[:limit]
            wanted = min(max(wanted * 8, 64), _HINTS_MAX)

    async def load(self, wanted: Sequence[Wanted]) -> list[Loaded | None]:
        """By ids."""
        names = self._names
        found = await self._store.load(names.of_runs(wanted))
        return [None if item is None else replace(item, head=names.head(item.head)) for item in found]

    async def append(self, frames: Sequence[Append]) -> list[Appended]:
        """By ids."""
        return await self._store.append(self._names.of_runs(frames))

    async def park(self, parks: Sequence[Park]) -> list[Parked]:
        """By ids."""
        return await self._store.park(self._names.of_runs(parks))

    async def renew(self, claims: Sequence[tuple[RunId, Claim]], lease_ms: int) -> list[int | None]:
        """By ids."""
        return await self._store.renew([(self._names.run(run), claim) for run, claim in claims], lease_ms)

    async def deliver(self, messages: Sequence[Delivery]) -> list[Delivered]:
        """By ids."""
        return await self._store.deliver(self._names.of_runs(messages))

    async def search(self, query: RunQuery) -> Page:
        """Among the runs of the namespace, which here are all that there are."""
        names = self._names
        if query.namespace not in (None, names.namespace):
            return Page(())
        parent = None if query.parent is None else names.run(query.parent)
        page = await self._store.search(replace(query, namespace=names.namespace, parent=parent))
        return Page(tuple([names.head(head) for head in page.runs]), page.cursor)

    async def delete(self, runs: Sequence[RunId]) -> list[bool]:
        """By ids."""
        return await self._store.delete([self._names.run(run) for run in runs])

    async def reserve(self, name: str, holder: str) -> str:
        """By names and the ids of their holders."""
        names = self._names
        return names.outward(await self._store.reserve(names.inward(name), names.inward(holder)))

    async def resolve(self, name: str) -> str | None:
        """By names."""
        holder = await self._store.resolve(self._names.inward(name))
        return None if holder is None else self._names.outward(holder)

    async def release(self, name: str, holder: str) -> None:
        """By names and the ids of their holders."""
        await self._store.release(self._names.inward(name), self._names.inward(holder))


class _ViewedQueue:
    """Queues and topics of one namespace. A receipt belongs to who received it, and is passed on."""

    def __init__(self, queue: Queue, names: _Names) -> None:
        self._queue = queue
        self._names = names

    async def publish(self, queue: str, jobs: Sequence[Job], *, delay_ms: int = 0) -> None:
        await self._queue.publish(self._names.inward(queue), jobs, delay_ms=delay_ms)

    async def receive(
        self, queues: Sequence[str], *, limit: int, visibility_ms: int = 30_000, wait_ms: int = 0
    ) -> list[Received]:
        names = self._names
        inward = [names.inward(queue) for queue in queues]
        found = await self._queue.receive(inward, limit=limit, visibility_ms=visibility_ms, wait_ms=wait_ms)
        return [replace(item, queue=names.outward(item.queue)) for item in found]

    async def ack(self, receipts: Sequence[str]) -> None:
        await self._queue.ack(receipts)

    async def hide(self, receipts: Sequence[str], for_ms: int) -> None:
        await self._queue.hide(receipts, for_ms)

    async def notify(self, topics: Sequence[str]) -> None:
        await self._queue.notify([self._names.inward(topic) for topic in topics])

    def listen(self, topic: str) -> AsyncIterator[None]:
        return self._queue.listen(self._names.inward(topic))


class _ViewedCoordination:
    """Keys of one namespace."""

    def __init__(self, coordination: Coordination, names: _Names) -> None:
        self._coordination = coordination
        self._names = names

    async def increment(self, key: str, by: int = 1, *, ttl_ms: int | None = None) -> int:
        return await self._coordination.increment(self._names.inward(key), by, ttl_ms=ttl_ms)

    async def set_if_not_exist(self, key: str, value: str, *, ttl_ms: int | None = None) -> bool:
        return await self._coordination.set_if_not_exist(self._names.inward(key), value, ttl_ms=ttl_ms)

    async def extend_ttl(self, key: str, ttl_ms: int) -> bool:
        return await self._coordination.extend_ttl(self._names.inward(key), ttl_ms)

    async def delete(self, key: str) -> bool:
        return await self._coordination.delete(self._names.inward(key))

    async def get(self, key: str) -> str | None:
        return await self._coordination.get(self._names.inward(key))


class _ViewedBlobs:
    """Blobs of one namespace; blueprints, too, are shared by its own runs alone."""

    def __init__(self, blobs: Blobs, names: _Names) -> None:
        self._blobs = blobs
        self._names = names

    async def put(self, key: str, data: bytes) -> None:
        await self._blobs.put(self._names.inward(key), data)

    async def get(self, key: str) -> bytes | None:
        return await self._blobs.get(self._names.inward(key))

    async def delete(self, prefix: str) -> None:
        await self._blobs.delete(self._names.prefix(prefix))


class _ViewedStreams:
    """Streams of one namespace."""

    def __init__(self, streams: Streams, names: _Names) -> None:
        self._streams = streams
        self._names = names

    async def append(self, stream: str, index: int, chunks: Sequence[bytes]) -> bool:
        return await self._streams.append(self._names.inward(stream), index, chunks)

    async def read(self, stream: str, start: int, limit: int) -> Chunks:
        return await self._streams.read(self._names.inward(stream), start, limit)

    async def close(self, stream: str) -> None:
        await self._streams.close(self._names.inward(stream))

    async def delete(self, prefix: str) -> None:
        await self._streams.delete(self._names.prefix(prefix))
