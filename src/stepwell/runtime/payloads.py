"""Large payloads live in the blob store; the journal and the inbox hold references.

Keys are made of the run and a checksum of the content, so that writing one twice is harmless, and a message's payload
that moves from the inbox to the journal is stored once. The blueprints that runs are pinned to are shared by all runs:
there are few of them, and they stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from hashlib import sha256
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import msgspec
from msgspec import Raw, Struct

from stepwell.codec import SPILL_THRESHOLD, blob_key, blob_ref, is_blob_ref, spill
from stepwell.errors import BackendError
from stepwell.model.entries import Created, Frame, FrameCodec, Intended, Pinned, Received, StartChild
from stepwell.model.ids import RunId
from stepwell.model.messages import Message, MessageCodec
from stepwell.ports import Blobs, Mail
from stepwell.runtime.observe import no_gc

_LONG = 200
"""From how many frames on the collector, which would visit each of them again and again, waits."""
_MARK = b'"$blob"'
SHARED_BLUEPRINTS = "blueprints of all runs"
"""Where blueprints are: no run's, for the id of a run has no spaces."""
_SMALL = 400
"""Up to this size (bytes) a blueprint stays in the frame."""
_KEPT = 256
_blueprints: WeakKeyDictionary[Blobs, dict[str, bytes]] = WeakKeyDictionary()
"""By their keys, those that this process has put or read lately."""
S = TypeVar("S", bound=Struct)


async def spilled_frame(blobs: Blobs, run: RunId, frame: Frame) -> bytes:
    """The bytes of a frame, its large payloads and blueprints moved out."""
    body = FrameCodec.encode(frame)
    if len(body) <= SPILL_THRESHOLD and not pins(frame):
        return body
    entries = tuple([await _spilled(blobs, run, entry) for entry in frame.entries])
    return FrameCodec.encode(msgspec.structs.replace(frame, entries=entries))


def pins(frame: Frame) -> bool:
    """Whether a frame pins a run, this one or a child, to a blueprint that is to be moved out."""
    for entry in frame.entries:
        if type(entry) is Created or type(entry) is Pinned:
            raw = entry.blueprint
        elif type(entry) is Intended and type(entry.act) is StartChild:
            raw = entry.act.blueprint
        else:
            continue
        if _is_shared(raw):
            return True
    return False


def _is_shared(blueprint: Raw) -> bool:
    return len(blueprint) > _SMALL and not is_blob_ref(blueprint)


async def spilled_message(blobs: Blobs, run: RunId, message: Message) -> bytes:
    """The bytes of a message, a large payload moved out."""
    body = MessageCodec.encode(message)
    if len(body) <= SPILL_THRESHOLD:
        return body
    return MessageCodec.encode(await _spilled(blobs, run, message))


async def loaded_frames(blobs: Blobs, frames: Sequence[tuple[int, bytes]]) -> list[tuple[int, Frame]]:
    """Frames from bytes, with the payloads that were moved out."""
    with no_gc() if len(frames) > _LONG else nullcontext():
        decoded = [(seq, FrameCodec.decode(body)) for seq, body in frames]
    for index, (seq, body) in enumerate(frames):
        if _MARK in body:
            frame = decoded[index][1]
            entries = tuple([await _restored(blobs, entry) for entry in frame.entries])
            decoded[index] = (seq, msgspec.structs.replace(frame, entries=entries))
    return decoded


async def loaded_mail(blobs: Blobs, mail: Sequence[Mail]) -> list[Received]:
    """Messages of an inbox as the journal holds them, with their payloads."""
    return [
        Received(no=item.no, id=item.id, at=item.accepted_at, message=await _loaded_message(blobs, item.body))
        for item in mail
    ]


async def _loaded_message(blobs: Blobs, body: bytes) -> Message:
    message = MessageCodec.decode(body)
    return await _restored(blobs, message) if _MARK in body else message


async def _spilled(blobs: Blobs, run: RunId, value: S) -> S:
    async def convert(name: str, raw: Raw) -> Raw:
        if name == "blueprint" and _is_shared(raw):
            return await _shared(blobs, bytes(memoryview(raw)))
        if not spill(raw):
            return raw
        data = bytes(memoryview(raw))
        key = f"{run}/{sha256(data).hexdigest()[:40]}"
        await blobs.put(key, data)
        return blob_ref(key, len(data))

    return await _converted(value, convert)  # type: ignore[no-any-return]


async def _shared(blobs: Blobs, data: bytes) -> Raw:
    """A reference to a blueprint, which is put if this process has not put it yet."""
    key = f"{SHARED_BLUEPRINTS}/{sha256(data).hexdigest()[:40]}"
    if key not in _blueprints.get(blobs, ()):
        await blobs.put(key, data)
        _keep(blobs, key, data)
    return blob_ref(key, len(data))


def _keep(blobs: Blobs, key: str, data: bytes) -> None:
    kept = _blueprints.setdefault(blobs, {})
    if len(kept) >= _KEPT:
        del kept[next(iter(kept))]
    kept[key] = data


async def _restored(blobs: Blobs, value: S) -> S:
    async def convert(_: str, raw: Raw) -> Raw:
        if not is_blob_ref(raw):
            return raw
        key = blob_key(raw)
        data = _blueprints.get(blobs, {}).get(key)
        if data is None:
            data = await blobs.get(key)
            if data is None:
                raise BackendError(f"the blob {key} is missing; the run that refers to it cannot go on")
            if key.startswith(f"{SHARED_BLUEPRINTS}/"):
                _keep(blobs, key, data)
        return Raw(data)

    return await _converted(value, convert)  # type: ignore[no-any-return]


async def _converted(value: Any, convert: Any) -> Any:
    """The struct with every payload in it, at any depth of structs, converted."""
    changes = {}
    for name in value.__struct_fields__:
        item = getattr(value, name)
        if isinstance(item, Raw):
            changes[name] = await convert(name, item)
        elif isinstance(item, Struct):
            changes[name] = await _converted(item, convert)
        elif isinstance(item, tuple) and item and isinstance(item[0], Struct):
            changes[name] = tuple([await _converted(part, convert) for part in item])
        elif isinstance(item, dict):
            changes[name] = {k: await convert("", v) if isinstance(v, Raw) else v for k, v in item.items()}
    return msgspec.structs.replace(value, **changes)
