"""The Store port in dictionaries."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from msgspec import UNSET
from msgspec.structs import replace

from stepwell.backends.memory.world import Run, World
from stepwell.errors import BackendError, DefinitionError
from stepwell.model.ids import Claim, RunId
from stepwell.model.runs import TERMINAL, Head, Page, RunQuery
from stepwell.ports import (
    Append,
    Appended,
    Clock,
    Delivered,
    Delivery,
    Due,
    HeadChange,
    Loaded,
    Mail,
    NewRun,
    Park,
    Parked,
    Serves,
    StoreLimits,
    Taken,
    Wanted,
)

_CHANGES = ("status", "wake_at", "takes", "base", "version", "ended_at", "tags", "metadata", "waiting", "error")


class MemoryStore:
    """Runs in dictionaries."""

    limits = StoreLimits(is_immediate=True)

    def __init__(self, world: World, clock: Clock) -> None:
        self._world = world
        self._clock = clock
        self.identity = clock.random_bytes(8).hex()

    async def create(self, runs: Sequence[NewRun]) -> list[Head | None]:
        world = self._world
        answers: list[Head | None] = []
        now = self._clock.now()
        with world.lock:
            for new in runs:
                head = new.head if new.wake_in_ms is None else replace(new.head, wake_at=now + new.wake_in_ms)
                found = world.runs.get(head.id)
                answers.append(None if found is None else found.head)
                if found is None:
                    world.runs_made += 1
                    run = world.runs[head.id] = Run(world.runs_made, new)
                    world.put(run, head)
        return answers

    async def take(
        self, claim: Claim, *, lease_ms: int, limit: int, serves: Serves, runs: Sequence[RunId] | None = None
    ) -> Taken:
        now = self._clock.now()
        with self._world.lock:
            found = self._due(now, limit, serves) if runs is None else self._named(now, limit, serves, runs)
            heads = tuple(self._claim(run, claim, now + lease_ms) for run in found)
        return Taken(heads, now)

    def _due(self, now: int, limit: int, serves: Serves) -> list[Run]:
        due, others = self._world.due, []
        found: dict[RunId, Run] = {}
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

    def _named(self, now: int, limit: int, serves: Serves, ids: Sequence[RunId]) -> list[Run]:
        runs = [run for id in dict.fromkeys(ids) if (run := self._world.runs.get(id)) is not None]
        takeable = [run for run in runs if _is_takeable(run.head, now) and _serves(serves, run.head)]
        takeable.sort(key=lambda run: (_due_order(run.head), run.no))
        return takeable[:limit]

    def _claim(self, run: Run, claim: Claim, until: int) -> Head:
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
            frames = tuple((seq, run.frames[seq]) for seq in range(after + 1, min(count, want.until) + 1))
        except KeyError as hole:
            raise BackendError(f"the journal of run {want.run} has {count} frames, but not frame {hole}") from None
        inbox = run.inbox
        known = want.mail + 1 - inbox[0].no if inbox else 0  # a fork's numbers go on where its origin's ended
        return Loaded(run.head, frames, tuple(inbox[max(known, 0) :]))

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
        fields = {name: getattr(park, name) for name in ("seq", "status", "waiting", "metadata", "error")}
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
        (query.namespace is None or head.namespace == query.namespace)
        and (query.workflow is None or head.workflow == query.workflow)
        and (not query.status or head.status in query.status)
        and (query.parent is None or head.parent == query.parent)
        and (query.since is None or head.created_at >= query.since)
        and (query.until is None or head.created_at < query.until)
        and (query.ended_before is None or (head.ended_at is not None and head.ended_at < query.ended_before))
        and (query.text is None or head.id.find(query.text, len(head.namespace) + bool(head.namespace)) >= 0)
        and _has_pairs(query, head)
    )


def _has_pairs(query: RunQuery, head: Head) -> bool:
    tags = all(head.tags.get(key) == value for key, value in query.tag)
    found = ((head.metadata.get(key), value) for key, value in query.metadata)
    return tags and all(there is not None and bytes(there) == bytes(value) for there, value in found)
