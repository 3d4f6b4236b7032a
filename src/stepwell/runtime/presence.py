"""Which workers are there: each keeps a key of the coordination port alive, and says there who it is.

The port cannot list keys, so they are slots: `worker/0`, `worker/1`, ... A worker takes the first that is free, and who
looks for workers reads on until several in a row are empty. It is for people to look at; nothing is decided by it.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from stepwell.errors import BackendError
from stepwell.ports import Backend

if TYPE_CHECKING:
    from stepwell.runtime.worker import Worker

SLOTS = 256
MISSES = 16
"""So many empty slots in a row, and a reader stops."""
EVERY_MS = 10_000
"""How often an announcement is renewed, unless its worker looks for runs more seldom than that."""
LASTS = 3
"""So many times as long it lasts."""
TASK_NAME = "stepwell presence"
_WORKFLOWS_MAX = 200


class WorkerInfo(Struct, frozen=True, kw_only=True):
    """A worker that is alive, or was so half a minute ago. `identity` is the first part of its claims; `started_at`
    in ms."""

    identity: str
    host: str
    pid: int
    queues: tuple[str, ...]
    concurrency: int
    workflows: tuple[str, ...]
    started_at: int
    version: str


async def workers(backend: Backend) -> list[WorkerInfo]:
    """Those that announce themselves, in the order of their slots."""
    found: list[WorkerInfo] = []
    misses = 0
    for slot in range(SLOTS):
        value = await backend.coordination.get(_key(slot))
        if value is None:
            misses += 1
            if misses >= MISSES:
                break
            continue
        misses = 0
        info = _read(value)
        if info is not None:
            found.append(info)
    return found


async def keep_presence(worker: Worker) -> None:
    """Announce a worker until this is cancelled; then take the announcement back."""
    task = asyncio.current_task()
    if task is not None:
        task.set_name(TASK_NAME)
    coordination = worker.backend.coordination
    value = msgspec.json.encode(info_of(worker)).decode()
    every_ms = max(EVERY_MS, worker.options.poll_ms)
    ttl_ms = LASTS * every_ms
    slot: int | None = None
    try:
        while True:
            try:
                if slot is not None and not await _keep(worker.backend, slot, value, ttl_ms):
                    slot = None
                if slot is None:
                    slot = await _claim(worker.backend, value, ttl_ms)
            except BackendError:
                pass  # who works with this backend says so; this is tried again
            await asyncio.sleep(every_ms / 1000)
    finally:
        if slot is not None:
            try:
                async with asyncio.timeout(1):
                    if await coordination.get(_key(slot)) == value:
                        await coordination.delete(_key(slot))
            except (BackendError, TimeoutError):
                pass  # it ends by itself


def info_of(worker: Worker) -> WorkerInfo:
    """What a worker says of itself."""
    return WorkerInfo(
        identity=worker.backend.store.identity,
        host=socket.gethostname(),
        pid=os.getpid(),
        queues=tuple(worker.options.queues),
        concurrency=worker.options.concurrency,
        workflows=_names(item.id for item in worker.registry.workflows()),
        started_at=worker.clock.now(),
        version=_version(),
    )


async def _claim(backend: Backend, value: str, ttl_ms: int) -> int | None:
    for slot in range(SLOTS):
        if await backend.coordination.set_if_not_exist(_key(slot), value, ttl_ms=ttl_ms):
            return slot
    return None


async def _keep(backend: Backend, slot: int, value: str, ttl_ms: int) -> bool:
    """False: it ended while this worker, or the backend, stood still. Somebody else may have it by now."""
    keys = backend.coordination
    return await keys.get(_key(slot)) == value and await keys.extend_ttl(_key(slot), ttl_ms)


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names))[:_WORKFLOWS_MAX])


def _read(value: str) -> WorkerInfo | None:
    try:
        return msgspec.json.decode(value, type=WorkerInfo)
    except msgspec.MsgspecError:
        return None  # of a release that says other things


def _version() -> str:
    metadata = importlib.import_module("importlib.metadata")  # as slow to import as all of this package
    try:
        return str(metadata.version("stepwell"))
    except ImportError:
        return "unknown"


def _key(slot: int) -> str:
    return f"worker/{slot}"
