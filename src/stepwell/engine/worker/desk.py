"""What a body waits for over the wire: futures with the names that the orchestrator knows them by."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from stepwell.engine.remote.calls import WaitKind
from stepwell.engine.worker.journal import KnownWait

Address = tuple[str, str, bytes]
"""Where a message goes within its run: kind, name, and what it must match."""


class Waiting:
    """One wait. Its future comes to a `KnownWait`. `lasts_ms`: how long at most; `wake_at` (ms) says it absolutely.

    `named_at` is when the wait began by the clock of this process; None: an earlier invocation named it already.
    `since` is when it began in the run's time.
    """

    __slots__ = ("address", "future", "id", "kind", "lasts_ms", "meta", "named_at", "no", "since", "wake_at")

    def __init__(self, no: int, id: str, kind: WaitKind, meta: dict[str, Any], future: Any, since: int) -> None:
        self.no = no
        self.id = id
        self.kind = kind
        self.meta = meta
        self.future = future
        self.since = since
        self.lasts_ms: int | None = None
        self.wake_at: int | None = None
        self.named_at: int | None = None
        self.address: Address | None = None

    @property
    def is_open(self) -> bool:
        """Whether somebody still waits."""
        return not self.future.done()

    def due(self) -> int | None:
        """When its time is over, as far as this process can tell."""
        if self.wake_at is not None or self.lasts_ms is None:
            return self.wake_at
        return (self.since if self.named_at is None else self.named_at) + self.lasts_ms


class Desk:
    """The waits of one invocation, and the counter that gives them their names."""

    def __init__(self, new_future: Callable[[], Any], now: Callable[[], int]) -> None:
        self._new_future = new_future
        self._now = now
        self._count = 0
        self._opened = 0
        self._uses: dict[str, int] = {}
        self._kept: dict[Address, deque[KnownWait]] = {}
        self._fresh: list[Waiting] = []
        self._all: dict[str, Waiting] = {}
        self.is_closed = False

    def number(self) -> int:
        """The next number: one counter for all that blocks."""
        self._count += 1
        return self._count

    def place(self) -> int:
        """Where the next wait stands among all that are waited for."""
        self._opened += 1
        return self._opened

    def open(
        self,
        id: str,
        kind: WaitKind,
        meta: dict[str, Any],
        *,
        lasts_ms: int | None = None,
        wake_at: int | None = None,
        where: Any = None,
    ) -> Any:
        """Begin to wait. `where` are fields that a message must have. A name that is taken gets a number."""
        use = self._uses[id] = self._uses.get(id, 0) + 1
        if use > 1:
            id = f"{id}:{use}"
        if where:
            meta = {**meta, "match": where}
        future = self._new_future()
        if self.is_closed:
            return future
        waiting = Waiting(self.place(), id, kind, meta, future, self._now())
        waiting.lasts_ms, waiting.wake_at = lasts_ms, wake_at
        name = next((meta[key] for key in _NAMES if key in meta), None)
        if name is not None:
            waiting.address = (kind, name, msgspec.json.encode(where or None))
            if kept := self._kept.get(waiting.address):
                future.set_result(kept.popleft())
                return future
        self._all[id] = waiting
        self._fresh.append(waiting)
        return future

    def take_fresh(self) -> list[Waiting]:
        """The waits that began since last asked."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def resolve(self, known: KnownWait) -> None:
        """A wait is over. A message for somebody who has gone is for who comes next, as in a mailbox."""
        waiting = self._all[known.id]
        if not waiting.is_open:
            if waiting.address is None or known.payload is UNSET:
                return
            heirs = (other for other in self.open_waits() if other.address == waiting.address)
            heir = next(heirs, None)
            if heir is None:
                self._kept.setdefault(waiting.address, deque()).append(known)
                return
            waiting = heir
        waiting.future.set_result(known)

    def has(self, id: str) -> bool:
        """Whether there is a wait of that name, or was."""
        return id in self._all

    def open_waits(self) -> list[Waiting]:
        """Those that somebody waits for."""
        return [waiting for waiting in self._all.values() if waiting.is_open]


class Waitpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A wait as the orchestrator is told of it. `meta` is a JSON object."""

    id: str
    kind: WaitKind
    meta: Raw
    timeout_ms: int | None = None


_NAMES = ("signalName", "eventType", "tokenId")
