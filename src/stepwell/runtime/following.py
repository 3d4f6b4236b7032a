"""A run's journal entry by entry: what is there, and what comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from msgspec import Struct

from stepwell.errors import RunNotFoundError
from stepwell.model.entries import Ended, Entry, Frame
from stepwell.model.ids import RunId
from stepwell.ports import MAX_SEQ, Wanted
from stepwell.runtime.client import Client
from stepwell.runtime.payloads import loaded_frames

_SOON = 0.02
_LATER = 0.5


class RunEvent(Struct, frozen=True):
    """One entry of a journal: frame `seq`, at run time `at` (ms)."""

    seq: int
    at: int
    entry: Entry


async def run_events(client: Client, run: RunId, *, follow: bool, after: int = 0) -> AsyncIterator[RunEvent]:
    """Entries of the frames after seq `after`; with `follow`, until the run's end is among them."""
    last = after
    async with _Pace(client) as pace:
        while True:
            frames, is_over = await _frames_after(client, run, last)
            for seq, frame in frames:
                for entry in frame.entries:
                    yield RunEvent(seq, frame.at, entry)
                    is_over = is_over or isinstance(entry, Ended)
                last = seq
            if is_over or not follow:
                return
            await pace.wait(found=bool(frames))


async def _frames_after(client: Client, run: RunId, seq: int) -> tuple[list[tuple[int, Frame]], bool]:
    """What is new, and whether the run has ended and nothing more will come."""
    wanted = Wanted(run, seq if seq > 0 else -1, MAX_SEQ)
    (loaded,) = await client.backend.store.load([wanted])
    if loaded is not None and loaded.frames and loaded.frames[0][0] > seq + 1:
        # A new generation began meanwhile; what came before its first frame is asked for explicitly.
        (loaded,) = await client.backend.store.load([Wanted(run, -1, MAX_SEQ)])
    if loaded is None:
        raise RunNotFoundError(f"there is no run {run} in {client.backend.url}")
    frames = [item for item in loaded.frames if item[0] > seq]
    is_over = loaded.head.is_terminal and loaded.head.seq <= max([seq, *(number for number, _ in frames)])
    return await loaded_frames(client.backend.blobs, frames), is_over


class _Pace:
    """When to look again: soon after something was found, ever later while nothing is, and whenever a run ends.

    Journals ring no bell when they grow, which would cost every step; so this is a poll, bounded on both sides.
    """

    def __init__(self, client: Client) -> None:
        self._queue = client.backend.queue
        self._rung = asyncio.Event()
        self._delay = _SOON
        self._listener: asyncio.Task[None] | None = None

    async def __aenter__(self) -> _Pace:
        self._listener = asyncio.get_running_loop().create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None, "entered"
        self._listener.cancel()
        await asyncio.wait([self._listener])

    async def wait(self, *, found: bool) -> None:
        self._delay = _SOON if found else min(self._delay * 1.5, _LATER)
        await asyncio.sleep(_SOON)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._delay - _SOON):
                await self._rung.wait()
        self._rung.clear()

    async def _listen(self) -> None:
        async for _ in self._queue.listen("runs"):
            self._rung.set()
