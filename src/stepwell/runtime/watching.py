"""Watching a run: each frame at its commit, without asking the store again and again.

A watch is told by this process's worker of what is durable, and of nothing else. It costs the worker nothing unless it
is there. Who watches a run that another process may drive rings `WATCHERS`; for a while after that, every worker rings
`bell_of(run)` at its commits, and who hears it looks into the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from stepwell.model.entries import Ended, Frame, Received
from stepwell.model.ids import MessageId, RunId
from stepwell.model.runs import Wait
from stepwell.ports import Queue
from stepwell.runtime.bells import ring

WATCHERS = "watchers"
"""The topic by which somebody says that runs are watched from elsewhere."""
TELL_FOR_S = 60.0
"""For how long a worker rings after it heard that."""
_LAST_RING_S = 1.0
_NOTHING, _FRAMES, _MORE = range(3)
FRAMES_MAX = 10_000
"""Frames that a watch keeps for a reader that is slow. Then they are dropped, and `is_cut` says so."""


class Watch:
    """What has happened to one run since the watch began, as far as this process's worker did it.

    `frames` are (seq, frame) in order, without gaps while the same worker drives the run; the reader removes them, by
    `take`. `is_resting`: nothing is under way, the run waits for what `waits` says. `is_over`: it has ended and owes
    nothing. `is_lost`: this worker drives it no more, or cannot. `has_streams`: steps of it have sent to streams.
    """

    __slots__ = (
        "_needed",
        "_news",
        "_waiter",
        "ended",
        "frames",
        "has_streams",
        "is_cut",
        "is_lost",
        "is_resting",
        "messages",
        "run",
        "waits",
    )

    def __init__(self, run: RunId) -> None:
        self.run = run
        self.frames: list[tuple[int, Frame]] = []
        self.messages: set[MessageId] = set()
        self.waits: tuple[Wait, ...] = ()
        self.ended: Ended | None = None
        self.is_resting = False
        self.is_lost = False
        self.is_cut = False
        self.has_streams = False
        self._news = self._needed = _NOTHING
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the run has ended and owes nothing."""
        return self.ended is not None

    def take(self) -> list[tuple[int, Frame]]:
        """The frames since the last call."""
        frames, self.frames = self.frames, []
        return frames

    async def changed(self, timeout: float | None = None, *, by_frames: bool = True) -> bool:
        """Wait until something has happened since the last call. False: nothing did, for `timeout` seconds.

        Without `by_frames`, frames alone do not count: only that the run rests, has ended, or is lost.
        """
        needed = _FRAMES if by_frames else _MORE
        if self._news < needed:
            await self._wait(needed, timeout)
        if self._news < needed:
            return False
        self._news = _NOTHING
        return True

    def poke(self) -> None:
        """Wake the reader."""
        self._tell(_MORE)

    def add(self, seq: int, frame: Frame) -> None:
        """A frame is durable."""
        if len(self.frames) >= FRAMES_MAX:
            self.frames, self.is_cut = [], True
        self.frames.append((seq, frame))
        for entry in frame.entries:
            if type(entry) is Received:
                self.messages.add(entry.id)
        self.is_resting = self.is_lost = False
        self._tell(_FRAMES)

    def rest(self, waits: Sequence[Wait]) -> None:
        """Nothing is under way."""
        self.waits = tuple(waits)
        self.is_resting = True
        self.poke()

    def end(self, ended: Ended) -> None:
        """The run has ended."""
        self.ended = ended
        self.is_resting = True
        self.poke()

    def lose(self) -> None:
        """This worker drives the run no more."""
        self.is_lost = True
        self.is_resting = False
        self.poke()

    def _tell(self, news: int) -> None:
        self._news = max(self._news, news)
        waiter = self._waiter
        if waiter is not None and self._news >= self._needed and not waiter.done():
            waiter.set_result(None)

    async def _wait(self, needed: int, timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        self._needed = needed
        # A timer of its own: `asyncio.timeout` costs more than all else here, and there is one for each request.
        timer = None if timeout is None else loop.call_later(timeout, _end, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def bell_of(run: RunId) -> str:
    """The topic that is rung when a frame of this run was committed, while runs are watched from elsewhere."""
    return f"run:{run}"


class Teller:
    """Rings for other processes: once for all that happens in a turn of the loop."""

    def __init__(self, queue: Queue) -> None:
        self.is_wanted = False
        self._queue = queue
        self._topics: dict[str, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def wanted(self) -> None:
        """Somebody watches from elsewhere."""
        self.is_wanted = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(TELL_FOR_S, self._forget)

    def tell(self, run: RunId) -> None:
        """A frame of this run was committed."""
        self.ring(bell_of(run))

    def ring(self, topic: str) -> None:
        """Tell other processes that this may have changed; soon."""
        self._topics[topic] = None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._ring())

    async def close(self) -> None:
        """Ring what is left, and then no more."""
        self._forget()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_LAST_RING_S)
            if self._task is not None:
                self._task.cancel()

    def _forget(self) -> None:
        self.is_wanted = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _ring(self) -> None:
        try:
            while self._topics:
                topics, self._topics = list(self._topics), {}
                await ring(self._queue, topics)
        finally:
            self._task = None


class Watches:
    """The watches of one process, by run. True if anybody watches any run, here or, by the `teller`, elsewhere."""

    def __init__(self) -> None:
        self._by_run: dict[RunId, list[Watch]] = {}
        self.teller: Teller | None = None

    def __bool__(self) -> bool:
        return bool(self._by_run) or (self.teller is not None and self.teller.is_wanted)

    def of(self, run: RunId) -> Sequence[Watch]:
        """Who watches this run."""
        return self._by_run.get(run, ())

    @contextmanager
    def watch(self, run: RunId) -> Iterator[Watch]:
        """Watch a run from now on; it need not exist yet."""
        watch = Watch(run)
        self._by_run.setdefault(run, []).append(watch)
        try:
            yield watch
        finally:
            watches = self._by_run[run]
            watches.remove(watch)
            if not watches:
                del self._by_run[run]
