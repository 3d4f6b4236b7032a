"""What is due and has not been taken: how much of it, in which queues, and for how long."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from stepwell.model.ids import RunId
from stepwell.model.runs import Head
from stepwell.ports import MAX_SEQ, Backend, Serves, Wanted

LIMIT = 1_000


class Overdue(Struct, frozen=True):
    """A run that waits for a worker since `since` (ms)."""

    head: Head
    since: int


class QueueDepth(Struct, frozen=True, kw_only=True):
    """How many runs of a queue are due, and since when (ms) the oldest of them is."""

    queue: str
    due: int
    oldest: int


class Backlog(Struct, frozen=True, kw_only=True):
    """What was due at `now` (ms), the oldest first. Not `is_complete`: there may be more than `limit`."""

    now: int
    runs: tuple[Overdue, ...] = ()
    is_complete: bool = True

    def queues(self) -> list[QueueDepth]:
        """By queue, in the order of their names. The counts are "at least", if this is not complete."""
        by_queue: dict[str, list[int]] = {}
        for run in self.runs:
            by_queue.setdefault(run.head.queue, []).append(run.since)
        return [QueueDepth(queue=name, due=len(all), oldest=min(all)) for name, all in sorted(by_queue.items())]

    def oldest_for(self, serves: Serves) -> Overdue | None:
        """The one that waits longest, of those that a worker could take."""
        return next((run for run in self.runs if _is_served(run.head, serves)), None)


async def backlog(backend: Backend, *, now: int | None = None, limit: int = LIMIT) -> Backlog:
    """Look. `now` is the time of a worker, if there is one: the store's may differ from this machine's."""
    if now is None:
        now = backend.clock.now()
    due = await backend.store.peek_due(now, limit)
    if not due:
        return Backlog(now=now)
    # What `peek_due` says may be stale, or a lease that is held: the heads tell.
    loaded = await _heads(backend, [hint.run for hint in due])
    runs = [Overdue(head, hint.wake_at) for hint, head in zip(due, loaded, strict=True) if head is not None]
    return Backlog(now=now, runs=tuple(run for run in runs if _is_due(run.head, now)), is_complete=len(due) < limit)


async def _heads(backend: Backend, runs: Sequence[RunId]) -> list[Head | None]:
    wanted = [Wanted(run, MAX_SEQ, MAX_SEQ) for run in runs]
    group = backend.store.limits.group
    heads: list[Head | None] = []
    for start in range(0, len(wanted), group):
        found = await backend.store.load(wanted[start : start + group])
        heads += [None if loaded is None else loaded.head for loaded in found]
    return heads


def _is_due(head: Head, now: int) -> bool:
    return head.wake_at is not None and head.wake_at <= now


def _is_served(head: Head, serves: Serves) -> bool:
    if head.queue not in serves.queues:
        return False
    return serves.kinds is None or f"{head.workflow}@{head.version}" in serves.kinds
