"""Waiting until a run has paused: it has ended, or nothing goes on without somebody outside.

Who drives the run here tells of it. Of a run that another process drives, the store is asked now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from msgspec import structs

from stepwell.model.entries import ContinuedAsNew
from stepwell.model.ids import MessageId, RunId
from stepwell.model.runs import Head, Wait
from stepwell.runtime.app import Stepwell
from stepwell.runtime.client import Client
from stepwell.runtime.watching import Watch
from stepwell.server.endpoints import Call

_LOOK_FIRST_S, _LOOK_LAST_S, _SLOWER = 0.02, 1.0, 1.5
_NESTED_MAX = 20
_INSIDE = frozenset({"retry", "child"})
"""What a run waits for, and nobody outside can give."""


async def paused(call: Call, watch: Watch, *, after: tuple[MessageId, int] | None = None) -> bool:
    """Wait until the run of this watch has paused; with `after`, after this message is in its journal, in a frame past
    this seq. False: not in time."""
    loop, client, patience = asyncio.get_running_loop(), call.app.client, call.server.patience
    until, look = loop.time() + call.server.options.wait, _LOOK_FIRST_S
    while True:
        if watch.is_over or (_is_resting(watch, after) and await _is_outward(client, watch.waits)):
            return True
        is_here = _is_here(client, watch.run)
        if not is_here and await _has_paused(client, watch.run, after):
            return True
        left = until - loop.time()
        if left <= 0 or patience.is_over:
            return False
        # A parent is not told when its child begins to wait, so it is looked for.
        is_told = is_here and not watch.is_resting
        await watch.changed(min(left, _LOOK_LAST_S if is_told else look), by_frames=not is_told)
        look = min(look * _SLOWER, _LOOK_LAST_S)


def seen(app: Stepwell, head: Head, watch: Watch | None = None) -> Head:
    """The head with what is known better here: of a run that is held through a short wait, the store only knows that
    somebody has it."""
    waits = watch.waits if watch is not None and watch.is_resting and not watch.is_over else None
    if waits is None:
        waits = resting_waits(app.client, head.id)
    if waits is None or head.is_terminal or head.status == "paused":
        return head
    return structs.replace(head, status="waiting", waiting=tuple(waits))


def resting_waits(client: Client, run: RunId) -> tuple[Wait, ...] | None:
    """What a run waits for that is held here, and has nothing under way; None: there is no such run here."""
    worker = client.worker
    activation = None if worker is None else worker.active.get(run)
    if activation is None or activation.is_gone:
        return None
    driver = activation.driver
    if activation.running or driver.steps or driver.fold.open_acts or driver.ended is not None:
        return None
    waits = tuple(driver.waits())
    return waits or None


def is_outward(waits: Iterable[Wait]) -> bool:
    """Whether somebody outside, or time, can end one of these."""
    return any(wait.kind not in _INSIDE for wait in waits)


def _is_here(client: Client, run: RunId) -> bool:
    return client.worker is not None and run in client.worker.active


def _is_resting(watch: Watch, after: tuple[MessageId, int] | None) -> bool:
    return watch.is_resting and (after is None or after[0] in watch.messages)


async def _is_outward(client: Client, waits: Iterable[Wait], depth: int = 0) -> bool:
    """Whether nothing goes on: a run that waits for children has paused when they have."""
    children = [RunId(wait.detail) for wait in waits if wait.kind == "child" and wait.detail]
    if not children:
        return is_outward(waits)
    if depth >= _NESTED_MAX:
        return True
    for child in children:
        head = await client.find(child)
        if head is None or head.is_terminal:
            return False  # the parent is about to hear of it
        own = resting_waits(client, child)
        if own is None:
            if not _is_parked(client, head):
                return False
            own = head.waiting
        if not await _is_outward(client, own, depth + 1):
            return False
    return True


async def _has_paused(client: Client, run: RunId, after: tuple[MessageId, int] | None) -> bool:
    head = await client.find(run)
    if head is None or head.is_terminal:
        return True
    if not _is_parked(client, head) or (after is not None and not await _is_journaled(client, run, *after)):
        return False
    return head.status == "paused" or await _is_outward(client, head.waiting)


async def _is_journaled(client: Client, run: RunId, message: MessageId, seq: int) -> bool:
    """Whether the run has taken the message: another machine's clock does not tell when a parked run is due."""
    _, frames = await client.journal(run, after=seq)
    entries = [entry for _, frame in frames for entry in frame.entries]
    return any(isinstance(entry, ContinuedAsNew) or getattr(entry, "id", None) == message for entry in entries)


def _is_parked(client: Client, head: Head) -> bool:
    is_due = head.wake_at is not None and head.wake_at <= client.clock.now()
    is_waiting = head.status in ("waiting", "paused") or (head.status == "queued" and bool(head.waiting))
    return head.owner is None and is_waiting and not is_due
