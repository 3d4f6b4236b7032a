"""What all memory backends opened under one name share."""

from __future__ import annotations

import heapq
from threading import Lock

from stepwell.backends.notices import Notices
from stepwell.model.ids import MessageId, RunId
from stepwell.model.runs import Head
from stepwell.ports import Mail, NewRun


class Run:
    """One run: its head, frames by seq, messages in order, and the ids of those."""

    __slots__ = ("frames", "head", "ids", "inbox", "no")

    def __init__(self, no: int, new: NewRun) -> None:
        self.no = no
        self.head = new.head
        self.frames = dict(enumerate(new.frames, 1))
        self.inbox: list[Mail] = []
        self.ids: set[MessageId] = set()


class StoredJob:
    """One job: `receipt` names its last delivery, which ends at `visible_at`."""

    __slots__ = ("body", "deliveries", "receipt", "visible_at")

    def __init__(self, body: bytes, visible_at: int) -> None:
        self.body = body
        self.visible_at = visible_at
        self.deliveries = 0
        self.receipt = ""


class Stream:
    """Chunks by index."""

    __slots__ = ("chunks", "closed")

    def __init__(self) -> None:
        self.chunks: dict[int, bytes] = {}
        self.closed = False

    @property
    def end(self) -> int:
        return max(self.chunks, default=-1) + 1


class World:
    """What all backends opened under one name share."""

    def __init__(self) -> None:
        self.opened = 0
        self.lock = Lock()
        self.notices = Notices()
        self.runs: dict[RunId, Run] = {}
        self.runs_made = 0
        self.due: list[tuple[int, int, int, RunId]] = []
        self.names: dict[str, str] = {}
        self.queues: dict[str, dict[int, StoredJob]] = {}
        self.jobs_made = 0
        self.keys: dict[str, tuple[str, int | None]] = {}
        self.blobs: dict[str, bytes] = {}
        self.streams: dict[str, Stream] = {}

    def put(self, run: Run, head: Head) -> None:
        """Write a head. `due` is a heap of hints: an entry counts while it agrees with the head."""
        if head.wake_at is not None:
            heapq.heappush(self.due, (head.wake_at, -head.priority, run.no, head.id))
        run.head = head
