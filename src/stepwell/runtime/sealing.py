"""What a cipher hides besides payloads: texts of failures and reasons, in frames and messages.

The engine and the body work with them, and so does who reads a journal; only the store has no need to. So they are
sealed on the way into it and opened on the way out, at its port, and only if the app has a cipher. A text whose key is
not here stays sealed: who needs it for a decision gets `SealedError` from `Failure.opened`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, structs

from stepwell.codec import Codec
from stepwell.errors import CodecError
from stepwell.model.entries import FrameCodec
from stepwell.model.failures import Failure
from stepwell.model.ids import Claim, RunId
from stepwell.model.messages import MessageCodec
from stepwell.model.runs import Head, Page, RunQuery
from stepwell.ports import (
    Append,
    Appended,
    Backend,
    Blobs,
    Clock,
    Coordination,
    Delivered,
    Delivery,
    Due,
    HeadChange,
    Loaded,
    NewRun,
    Park,
    Parked,
    Queue,
    Serves,
    Store,
    StoreLimits,
    Streams,
    Taken,
    Wanted,
)

_MARKS = (b'"failure":', b'"reason":')
_KEPT = 10_000
_texts = msgspec.json.Decoder(tuple[str, ...])
S = TypeVar("S", bound=Struct)


def sealed_backend(backend: Backend, codec: Codec) -> Backend:
    """The backend, whose store gets no text in clear if the codec encrypts."""
    return backend if codec.cipher is None else _SealedBackend(backend, codec)


def sealed(value: S, codec: Codec) -> S:
    """A frame, an entry or a message as the store holds it."""
    return value if codec.cipher is None else _converted(value, lambda failure: _sealed_failure(failure, codec))


def opened(value: S, codec: Codec) -> S:
    """The same with its texts, as far as the keys for them are here."""
    return value if codec.cipher is None else _converted(value, lambda failure: _opened_failure(failure, codec))


def _converted(value: S, convert: Callable[[Failure], Failure]) -> S:
    """The struct with every failure and every reason in it converted, at any depth. A reason is a message alone."""
    changes: dict[str, object] = {}
    for name in value.__struct_fields__:
        item = getattr(value, name)
        if isinstance(item, Failure):
            changes[name] = convert(item)
        elif isinstance(item, Struct):
            changes[name] = _converted(item, convert)
        elif isinstance(item, tuple) and item and isinstance(item[0], Struct):
            changes[name] = tuple([_converted(part, convert) for part in item])
        elif name == "reason" and item:
            changes[name] = convert(Failure(types=(), message=item)).message
    return structs.replace(value, **changes) if changes else value


def _sealed_failure(failure: Failure, codec: Codec) -> Failure:
    texts = (failure.message, failure.traceback, failure.code)
    if failure.is_sealed or not any(texts):
        return failure
    payload = codec.sealed(msgspec.json.encode(texts))
    return structs.replace(failure, message=bytes(payload).decode(), traceback="", code="")


def _opened_failure(failure: Failure, codec: Codec) -> Failure:
    if not failure.is_sealed:
        return failure
    try:
        payload = codec.opened(Raw(failure.message.encode()), where="the text of a failure")
        message, traceback, *more = _texts.decode(payload)
    except (CodecError, msgspec.MsgspecError, ValueError):
        return failure
    return structs.replace(failure, message=message, traceback=traceback, code="".join(more[:1]))


def _has_text(body: bytes) -> bool:
    return any(mark in body for mark in _MARKS)


class _SealedBackend:
    """A backend with another store."""

    def __init__(self, backend: Backend, codec: Codec) -> None:
        self._backend = backend
        self.url: str = backend.url
        self.is_embedded: bool = backend.is_embedded
        self.store: Store = SealedStore(backend.store, codec)
        self.queue: Queue = backend.queue
        self.coordination: Coordination = backend.coordination
        self.blobs: Blobs = backend.blobs
        self.streams: Streams = backend.streams
        self.clock: Clock = backend.clock

    async def close(self) -> None:
        await self._backend.close()


class SealedStore:
    """A store that gets no text in clear. See `Store` for what its methods promise."""

    def __init__(self, store: Store, codec: Codec) -> None:
        self._store = store
        self._codec = codec
        # A repeated append must be the identical frame, and a cipher gives other bytes each time.
        self._unanswered: dict[bytes, bytes] = {}

    @property
    def limits(self) -> StoreLimits:
        """Those of the store."""
        return self._store.limits

    @property
    def identity(self) -> str:
        """That of the store."""
        return self._store.identity

    async def create(self, runs: Sequence[NewRun]) -> list[Head | None]:
        """Seals the frames. Of an error, the head gets the type alone."""
        return await self._store.create([self._sealed_run(run) for run in runs])

    async def append(self, frames: Sequence[Append]) -> list[Appended]:
        """Seals the frames. Of an error, the head gets the type alone."""
        answers = await self._store.append([self._sealed_append(item) for item in frames])
        for item in frames:
            self._unanswered.pop(item.body, None)
        return answers

    async def deliver(self, messages: Sequence[Delivery]) -> list[Delivered]:
        """Seals the messages."""
        return await self._store.deliver(
            [
                structs.replace(item, body=MessageCodec.encode(sealed(MessageCodec.decode(item.body), self._codec)))
                if _has_text(item.body)
                else item
                for item in messages
            ]
        )

    async def load(self, wanted: Sequence[Wanted]) -> list[Loaded | None]:
        """Opens frames and messages."""
        return [None if item is None else self._opened(item) for item in await self._store.load(wanted)]

    async def take(
        self, claim: Claim, *, lease_ms: int, limit: int, serves: Serves, runs: Sequence[RunId] | None = None
    ) -> Taken:
        """As it is."""
        return await self._store.take(claim, lease_ms=lease_ms, limit=limit, serves=serves, runs=runs)

    async def peek_due(self, until: int, limit: int) -> list[Due]:
        """As it is."""
        return await self._store.peek_due(until, limit)

    async def park(self, parks: Sequence[Park]) -> list[Parked]:
        """As it is."""
        return await self._store.park(parks)

    async def renew(self, claims: Sequence[tuple[RunId, Claim]], lease_ms: int) -> list[int | None]:
        """As it is."""
        return await self._store.renew(claims, lease_ms)

    async def search(self, query: RunQuery) -> Page:
        """As it is."""
        return await self._store.search(query)

    async def delete(self, runs: Sequence[RunId]) -> list[bool]:
        """As it is."""
        return await self._store.delete(runs)

    async def reserve(self, name: str, holder: str) -> str:
        """As it is."""
        return await self._store.reserve(name, holder)

    async def resolve(self, name: str) -> str | None:
        """As it is."""
        return await self._store.resolve(name)

    async def release(self, name: str, holder: str) -> None:
        """As it is."""
        await self._store.release(name, holder)

    def _sealed_run(self, run: NewRun) -> NewRun:
        head = structs.replace(run.head, error=_type_of(run.head.error)) if run.head.error else run.head
        return structs.replace(run, head=head, frames=tuple([self._sealed_frame(body) for body in run.frames]))

    def _sealed_append(self, item: Append) -> Append:
        change = item.head
        if change is not None and change.error is not UNSET and change.error:
            change = structs.replace(change, error=_type_of(change.error))
        if not _has_text(item.body):
            return item if change is item.head else _with(item, item.body, change)
        body = self._unanswered.get(item.body)
        if body is None:
            if len(self._unanswered) >= _KEPT:
                del self._unanswered[next(iter(self._unanswered))]
            body = self._unanswered[item.body] = self._sealed_frame(item.body)
        return _with(item, body, change)

    def _sealed_frame(self, body: bytes) -> bytes:
        return FrameCodec.encode(sealed(FrameCodec.decode(body), self._codec)) if _has_text(body) else body

    def _opened(self, loaded: Loaded) -> Loaded:
        codec = self._codec
        frames = [
            (seq, FrameCodec.encode(opened(FrameCodec.decode(body), codec)) if _has_text(body) else body)
            for seq, body in loaded.frames
        ]
        mail = [
            structs.replace(item, body=MessageCodec.encode(opened(MessageCodec.decode(item.body), codec)))
            if _has_text(item.body)
            else item
            for item in loaded.mail
        ]
        return structs.replace(loaded, frames=tuple(frames), mail=tuple(mail))


def _type_of(error: str) -> str:
    """Of a failure as text, what is before its message."""
    return error.partition(":")[0]


def _with(item: Append, body: bytes, change: HeadChange | None) -> Append:
    return structs.replace(item, body=body, head=change)
