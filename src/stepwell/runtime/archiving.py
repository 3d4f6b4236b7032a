"""Starting a run anew under the id of one that failed: the old one is kept under another id first.

The order makes a crash harmless at every point: the archive is complete before anything is removed, the old run is
removed before the new one is there, and whoever repeats the start goes on where this one stopped.
"""

from __future__ import annotations

import asyncio

from msgspec import structs

from stepwell.errors import RunConflictError
from stepwell.model.ids import RunId
from stepwell.model.runs import Head
from stepwell.ports import MAX_SEQ, NewRun, Wanted
from stepwell.runtime.client import Client, NewStart
from stepwell.runtime.payloads import spilled_frame

_SETTLES_WITHIN = 30.0
_LOOK_EVERY = 0.05
_GROUP = 50


async def restart(client: Client, start: NewStart) -> None:
    """Replace the ended run of this id by a new one. `RunConflictError` if it is not settled in time, or if somebody
    else started another one meanwhile."""
    head = await _settled(client, start.id)
    if head is not None:
        await _archive(client, head)
        # Chunks of the old run would be taken for the beginning of the new one's streams.
        await client.backend.streams.delete(f"{head.id}/")
        (is_gone,) = await client.backend.store.delete([head.id])
        if not is_gone:
            raise RunConflictError(f"run {start.id} was started anew by somebody else meanwhile")
    (present,) = await client.create([start])
    if present is not None:
        await client.check_same(start)


async def _settled(client: Client, run: RunId) -> Head | None:
    """The run's head once it owes nothing to others; None if there is no such run (any more)."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _SETTLES_WITHIN
    while True:
        head = await client.find(run)
        if head is None or head.is_settled:
            return head
        if not head.is_terminal:
            raise RunConflictError(f"run {run} was started anew by somebody else meanwhile ({head.status})")
        if loop.time() > until:
            raise RunConflictError(f"run {run} has ended ({head.status}), but is not settled yet; try again")
        await asyncio.sleep(_LOOK_EVERY)


async def _archive(client: Client, head: Head) -> None:
    """Keep the run as `<id>~1`, `<id>~2`, ...: the same run gets the same number however often this is repeated."""
    _, frames = await client.journal(head.id)
    number = 1
    while True:
        ids = [RunId(f"{head.id}~{n}") for n in range(number, number + _GROUP)]
        for id, present in zip(ids, await _heads(client, ids), strict=True):
            if present is None:
                blobs = client.backend.blobs
                bodies = tuple([await spilled_frame(blobs, id, frame) for _, frame in frames])
                present = await client.create_run(NewRun(head=structs.replace(head, id=id), frames=bodies))
            if present is None or _is_same(present, head):
                return
        number += _GROUP


async def _heads(client: Client, ids: list[RunId]) -> list[Head | None]:
    loaded = await client.backend.store.load([Wanted(id, MAX_SEQ, MAX_SEQ) for id in ids])
    return [None if item is None else item.head for item in loaded]


def _is_same(archived: Head, head: Head) -> bool:
    return (archived.created_at, archived.ended_at, archived.seq) == (head.created_at, head.ended_at, head.seq)
