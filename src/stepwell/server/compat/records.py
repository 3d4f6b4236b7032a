"""Records of runs: from what was seen at the commits, or from the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from stepwell.codec.payloads import is_ours
from stepwell.errors import DefinitionError, RunNotFoundError
from stepwell.formats.voyant import LABELS, Labels, RunRecord, RunView, StreamItem, run_record
from stepwell.formats.voyant.labels import labels_of
from stepwell.model.entries import Ended, Frame, MetadataChanged
from stepwell.model.failures import NULL, Failure
from stepwell.model.ids import RunId
from stepwell.model.runs import Head, Wait, checked_run_id
from stepwell.runtime.app import Stepwell
from stepwell.runtime.chunks import Chunk, decode_chunk, stream_key
from stepwell.runtime.client import NewStart
from stepwell.runtime.reading import streams_of
from stepwell.runtime.remote.viewing import is_remote, remote_view
from stepwell.runtime.watching import Watch
from stepwell.server.compat.pausing import seen
from stepwell.server.endpoints import Call
from stepwell.server.shapes import run_summary
from stepwell.server.showing import opened_payload

ASYNC = {"preference-applied": "respond-async"}
"""Of answers that nobody waited for."""
_PAGE = 500
_CHUNKS_MAX = 10_000
_PARENTS_MAX = 20
_ERROR_MAX = 500


def run_of(call: Call) -> RunId:
    """The run that the path names. `RunNotFoundError` for what no run can be called."""
    name = call.path["run"]
    try:
        return checked_run_id(name)
    except DefinitionError:
        raise RunNotFoundError(f"there is no run {name[:200]!r}") from None


async def stored_record(call: Call, run: RunId, watch: Watch | None = None) -> RunRecord:
    """The record of a run as the store has it, and as is known here. `RunNotFoundError`."""
    app = call.app
    loaded, frames = await app.client.journal(run, after=0)
    head = seen(app, loaded.head, watch)
    streams = {name: await _items(app, run, name) for name in await streams_of(app.client, run)}
    return _record(
        call,
        head,
        frames,
        streams=streams,
        inherited=await _inherited(app, head),
        has_remote_parent=await _has_remote_parent(app, head),
    )


def watched_record(call: Call, start: NewStart, watch: Watch) -> RunRecord | None:
    """The record of a run that was started here, and driven here until now, without a look at the store. None: not all
    that happened was seen."""
    frames = watch.frames
    is_whole = bool(frames) and [seq for seq, _ in frames] == [*range(1, len(frames) + 1)]
    if not is_whole or watch.is_cut or watch.is_lost or watch.has_streams:
        return None
    last = frames[-1][1]
    ended = last.entries[-1] if isinstance(last.entries[-1], Ended) else None
    status, waits = _standing(start, watch, ended)
    created = start.created
    head = Head(
        id=start.id,
        workflow=created.workflow,
        version=created.version,
        status=status,
        queue=start.queue,
        priority=start.priority,
        created_at=frames[0][1].at,
        ended_at=None if ended is None else last.at,
        seq=len(frames),
        tags=created.tags,
        metadata=_metadata(start, frames),
        waiting=waits,
        error="" if ended is None or ended.failure is None else _error(call, ended.failure),
    )
    return _record(call, head, frames)


def _metadata(start: NewStart, frames: Sequence[tuple[int, Frame]]) -> dict[str, Raw]:
    """As the head has it."""
    metadata = start.created.metadata
    for _, frame in frames:
        for entry in frame.entries:
            if isinstance(entry, MetadataChanged):
                metadata = {**metadata, **entry.values}
    return {key: raw for key, raw in metadata.items() if raw != NULL}


def _error(call: Call, failure: Failure) -> str:
    """As the head has it: without the message if that is nobody's business."""
    text = str(failure)[:_ERROR_MAX]
    return text if call.app.registry.codec.cipher is None else text.partition(":")[0]


def _standing(start: NewStart, watch: Watch, ended: Ended | None) -> tuple[Any, tuple[Wait, ...]]:
    """The status, and what is waited for."""
    if ended is not None:
        return ended.status, ()
    if watch.is_resting:
        return "waiting", watch.waits
    if start.created.not_before and len(watch.frames) == 1:
        return "queued", (Wait(kind="start", name="run", until=start.created.not_before),)
    return "running", ()


def _record(
    call: Call,
    head: Head,
    frames: Sequence[tuple[int, Frame]],
    *,
    streams: Mapping[str, Sequence[StreamItem]] | None = None,
    inherited: Labels | None = None,
    has_remote_parent: bool = False,
) -> RunRecord:
    app, codec = call.app, call.app.registry.codec
    has_failed = isinstance(ended := frames[-1][1].entries[-1], Ended) and ended.status == "failed"

    def opened(raw: Raw) -> Raw:
        return opened_payload(raw, codec) if is_ours(raw) else raw

    return run_record(
        RunView(
            head=head,
            frames=frames,
            opened=opened,
            streams=streams,
            undoing=app.registry.undoing() if has_failed else (),
            inherited=inherited,
            tenant=app.namespace,
            shows_tokens=call.caller.may("signal"),
            remote=remote_view(app.registry, head, frames, opened),
            has_remote_parent=has_remote_parent,
            ext=run_summary(head, codec),
        )
    )


async def _inherited(app: Stepwell, head: Head) -> Labels | None:
    """The labels of the run at the top, from which children have what they were not given."""
    parent, first = head.parent, None
    for _ in range(_PARENTS_MAX):
        if parent is None:
            break
        created = await app.client.created(parent)
        if created is None:
            break
        first = created
        parent = None if created.parent is None else created.parent.run
    if first is None:
        return None
    payload = first.metadata.get(LABELS)
    return labels_of(None if payload is None else opened_payload(payload, app.registry.codec))


async def _has_remote_parent(app: Stepwell, head: Head) -> bool:
    """Whether the run was started by one whose body lives elsewhere, as far as this app knows."""
    created = None if head.parent is None else await app.client.created(head.parent)
    return created is not None and is_remote(app.registry, created.workflow, created.version, ())


async def _items(app: Stepwell, run: RunId, name: str) -> list[StreamItem]:
    """The chunks of a stream that count, the first ones if there are very many."""
    streams, key = app.backend.streams, stream_key(run, name)
    chunks: list[Chunk] = []
    while len(chunks) < _CHUNKS_MAX:
        page = await streams.read(key, len(chunks), _PAGE)
        chunks += [decode_chunk(body) for body in page.items]
        if len(page.items) < _PAGE:
            break
    eras = {chunk.source: chunk.era for chunk in chunks if chunk.source}
    return [_item(chunk) for chunk in chunks if not chunk.source or eras[chunk.source] == chunk.era]


def _item(chunk: Chunk) -> StreamItem:
    if chunk.record == NULL:
        return StreamItem(chunk.value, source=chunk.source)
    told = _told(chunk.record)
    return StreamItem(chunk.value, source=chunk.source, at=told.at, encoding=told.encoding)


class _Told(Struct, frozen=True):
    """What a worker elsewhere wrote of a chunk."""

    at: int = 0
    encoding: str = "json"


_told = msgspec.json.Decoder(_Told).decode
