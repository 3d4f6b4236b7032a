"""A run's journal entry by entry: what is there, and what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import AbstractContextManager, aclosing

from msgspec import Struct

from stepwell.errors import RunNotFoundError
from stepwell.model.entries import Ended, Entry, Frame
from stepwell.model.ids import RunId
from stepwell.ports import MAX_SEQ, Wanted
from stepwell.runtime.bells import ring
from stepwell.runtime.client import Client
from stepwell.runtime.payloads import loaded_frames
from stepwell.runtime.watching import TELL_FOR_S, WATCHERS, Watch, bell_of

Numbered = tuple[int, Frame]
_SOON = 0.02


class RunEvent(Struct, frozen=True):
    """One entry of a journal: frame `seq`, at run time `at` (ms)."""

    seq: int
    at: int
    entry: Entry


async def run_events(client: Client, run: RunId, *, follow: bool, after: int = 0) -> AsyncIterator[RunEvent]:
    """Entries of the frames after seq `after`; with `follow`, until the run's end is among them."""
    if not follow:
        frames = (await frames_after(client, run, after))[0]
        for event in _events(frames):
            yield event
        return
    async with aclosing(run_frames(client, run, after=after)) as groups:
        async for frames in groups:
            for event in _events(frames):
                yield event


async def run_frames(client: Client, run: RunId, *, after: int = 0) -> AsyncGenerator[list[Numbered]]:
    """The frames after seq `after` in groups, as they come, until the run's end is among them."""
    last = after
    async with _Following(client, run) as following:
        while True:
            frames, is_over = await frames_after(client, run, last)
            while True:
                if frames:
                    yield frames
                    last, frame = frames[-1]
                    is_over = is_over or isinstance(frame.entries[-1], Ended)
                if is_over:
                    return
                frames = await following.committed(last)
                if not frames:
                    break


async def frames_after(
    client: Client, run: RunId, seq: int, *, limit: int | None = None
) -> tuple[list[Numbered], bool]:
    """What is new, at most `limit` frames of it, and whether the run has ended and nothing more will come."""
    wanted = Wanted(run, seq if seq > 0 else -1, MAX_SEQ)
    (loaded,) = await client.backend.store.load([wanted])
    if loaded is not None and loaded.frames and loaded.frames[0][0] > seq + 1:
        # A new generation began meanwhile; what came before its first frame is asked for explicitly.
        (loaded,) = await client.backend.store.load([Wanted(run, -1, MAX_SEQ)])
    if loaded is None:
        raise RunNotFoundError(f"there is no run {run} in {client.backend.url}")
    bodies = [item for item in loaded.frames if item[0] > seq][:limit]
    is_over = loaded.head.is_terminal and loaded.head.seq <= max([seq, *(number for number, _ in bodies)])
    return await loaded_frames(client.backend.blobs, bodies), is_over


def _events(frames: Iterable[Numbered]) -> Iterator[RunEvent]:
    return (RunEvent(seq, frame.at, entry) for seq, frame in frames for entry in frame.entries)


class _Following:
    """Tells when there is more: the frames themselves if this process's worker commits them, else when to look.

    Bells may be lost, so it looks by itself now and then.
    """

    def __init__(self, client: Client, run: RunId) -> None:
        self._client = client
        self._run = run
        self._watching: AbstractContextManager[Watch] = client.hub.watch(run)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_rung = False

    async def __aenter__(self) -> _Following:
        self._watch = self._watching.__enter__()
        loop, queue = asyncio.get_running_loop(), self._client.backend.queue
        self._tasks = [loop.create_task(self._listen(topic)) for topic in ("runs", bell_of(self._run))]
        if not self._is_here:
            await ring(queue, [WATCHERS])
        self._tasks.append(loop.create_task(self._stay_known()))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.__exit__(None, None, None)
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def committed(self, last: int) -> list[Numbered]:
        """Wait for the frames after seq `last`. None: they have to be looked for in the store."""
        while True:
            frames = [item for item in self._watch.take() if item[0] > last]
            if frames:
                return frames if frames[0][0] == last + 1 else []
            if self._is_rung:
                await asyncio.sleep(_SOON)  # bells that ring all the time are not followed one by one
                self._is_rung = False
                return []
            if self._watch.is_over or not await self._watch.changed(self._client.look_seconds):
                return []

    @property
    def _is_here(self) -> bool:
        worker = self._client.worker
        return worker is not None and self._run in worker.active

    async def _listen(self, topic: str) -> None:
        async for _ in self._client.backend.queue.listen(topic):
            if not self._is_here:
                self._is_rung = True
                self._watch.poke()

    async def _stay_known(self) -> None:
        while True:
            await asyncio.sleep(TELL_FOR_S / 3)
            if not self._is_here:
                await ring(self._client.backend.queue, [WATCHERS])
