"""Deleting runs that have ended: one by one, or by age.

A child goes only when its parent owes nothing any more, and a day after its own end: a parent that crashed long ago, or
a worker that was suspended, might otherwise start it a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import structs

from stepwell.errors import DefinitionError, RunConflictError, RunNotFoundError
from stepwell.model.durations import Duration, duration_ms, format_ms
from stepwell.model.ids import RunId
from stepwell.model.runs import TERMINAL, Head, RunQuery
from stepwell.ports import MAX_SEQ, Wanted
from stepwell.runtime.bulk import RunResult, all_runs, for_each
from stepwell.runtime.client import Client

CHILD_FLOOR_MS = 86_400_000
_GROUP = 500


async def delete_run(client: Client, run: RunId, *, force: bool) -> None:
    """Remove a settled run with its blobs and streams. `RunNotFoundError`; `RunConflictError` if it may not go yet.

    `force` waives the day that a child is kept, nothing else.
    """
    head = await client.find(run)
    if head is None:
        raise RunNotFoundError(f"there is no run {run} in {client.backend.url}")
    parent = None if head.parent is None else await client.find(head.parent)
    if (reason := _kept_because(head, parent, client.backend.clock.now(), force=force)) is not None:
        raise RunConflictError(reason)
    await _remove(client, head)


async def purge(
    client: Client, query: RunQuery, *, older_than: Duration, dry_run: bool, force: bool
) -> list[RunResult]:
    """Delete the runs that match and ended longer ago than `older_than`; parents first. With `dry_run`, only say which.

    Answers a result per run that matches; the error of a run that stays says why.
    """
    if any(status not in TERMINAL for status in query.status):
        raise DefinitionError("only runs that have ended are purged; cancel or terminate the others first")
    now = client.backend.clock.now()
    before = now - duration_ms(older_than, what="purge(older_than)")
    query = structs.replace(query, status=query.status or tuple(sorted(TERMINAL)), ended_before=before)
    heads = [head async for head in all_runs(client.backend.store, query)]
    heads.sort(key=lambda head: (head.parent is not None, head.created_at))
    results: list[RunResult] = []
    for start in range(0, len(heads), _GROUP):
        group = heads[start : start + _GROUP]
        parents = await _parents(client, group)
        kept = {
            head.id: reason
            for head in group
            if (reason := _kept_because(head, parents.get(head.parent), now, force=force)) is not None
        }
        results += await _purge_group(client, group, kept, dry_run=dry_run)
    return results


async def _purge_group(
    client: Client, group: Sequence[Head], kept: dict[RunId, str], *, dry_run: bool
) -> list[RunResult]:
    heads = {head.id: head for head in group}

    async def one(run: RunId) -> None:
        if run in kept:
            raise RunConflictError(kept[run])
        if not dry_run:
            await _remove(client, heads[run])

    return await for_each(list(heads), one)


async def _remove(client: Client, head: Head) -> None:
    backend = client.backend
    await client.repeated(lambda: backend.blobs.delete(f"{head.id}/"))
    await client.repeated(lambda: backend.streams.delete(f"{head.id}/"))
    (is_gone,) = await client.repeated(lambda: backend.store.delete([head.id]))
    if not is_gone:
        raise RunConflictError(f"run {head.id} is not settled any more; somebody started it anew")


async def _parents(client: Client, heads: Iterable[Head]) -> dict[RunId | None, Head]:
    ids = list({head.parent for head in heads if head.parent is not None})
    loaded = await client.backend.store.load([Wanted(id, MAX_SEQ, MAX_SEQ) for id in ids])
    return {item.head.id: item.head for item in loaded if item is not None}


def _kept_because(head: Head, parent: Head | None, now: int, *, force: bool) -> str | None:
    """Why the run has to stay, or None."""
    if not head.is_terminal:
        return f"run {head.id} has not ended ({head.status}); cancel or terminate it first"
    if not head.is_settled:
        return f"run {head.id} has ended, but is not settled yet: a worker still has to tell others of it"
    if head.parent is None:
        return None
    if parent is not None and not parent.is_settled:
        return f"run {head.id} is a child of {head.parent}, which has not ended ({parent.status})"
    age = now - (head.ended_at or 0)
    if age < CHILD_FLOOR_MS and not force:
        return (
            f"run {head.id} is a child, and is kept for another {format_ms(CHILD_FLOOR_MS - age)}; force=True waives it"
        )
    return None
