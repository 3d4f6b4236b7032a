"""HTTP requests that complete hooks: what the run gets of them, and waiting for what it answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import cast

import msgspec
from msgspec import Raw

from stepwell.errors import RunNotFoundError
from stepwell.formats.hooks import HookRequest, HookResponse, RecordedRequest, RecordedResponse, plain_value
from stepwell.model.ids import answer_stream
from stepwell.runtime.app import Stepwell
from stepwell.runtime.chunks import decode_chunk, stream_key
from stepwell.runtime.client import Client
from stepwell.runtime.hooks import FoundHook
from stepwell.runtime.reading import StreamChunk, read_stream


def payload_of(client: Client, hook: FoundHook, request: HookRequest) -> Raw | None:
    """What the hook gets of a request. None: it takes no such content type. `CodecError` for a malformed body."""
    if hook.options.request:
        data: bytes | None = msgspec.json.encode(RecordedRequest.of(request))
    else:
        data = plain_value(request)
    return None if data is None else client.codec.sealed(data)


async def answer_of(client: Client, hook: FoundHook, *, id: str, within: float) -> HookResponse | None:
    """The run's answer to what was sent under this id; the same whenever it is asked for. None: there is none within
    that time (seconds), or the run has ended without one."""
    stream = answer_stream(hook.message_id(id))
    chunks = cast(AsyncGenerator[StreamChunk, None], read_stream(client, hook.run, stream))
    with contextlib.suppress(TimeoutError, RunNotFoundError):
        async with asyncio.timeout(within), contextlib.aclosing(chunks):
            async for chunk in chunks:
                return _restored(client, hook, chunk.raw)
    return None


async def known_answer(client: Client, hook: FoundHook, *, id: str) -> HookResponse | None:
    """The answer that was given to what was sent under this id, if one was."""
    key = stream_key(hook.run, answer_stream(hook.message_id(id)))
    found = await client.repeated(lambda: client.backend.streams.read(key, 0, 1))
    return _restored(client, hook, decode_chunk(found.items[0]).value) if found.items else None


def _restored(client: Client, hook: FoundHook, raw: Raw) -> HookResponse:
    recorded: RecordedResponse = client.codec.typed(RecordedResponse).decode(
        raw, where=f"the answer of hook {hook.command}"
    )
    return recorded.restored()


def secret_of(app: Stepwell, name: str) -> str:
    """What the app's provider of secrets has under that name; raises what it raises."""
    return app._secrets(name)
