"""Leases: renewed in batches, by default in a thread of their own, so that a blocked event loop keeps its runs.

The owner's view of a lease is shorter than the store's, by a margin. A worker that cannot renew stops its runs before
anybody else can take them. A loop that has not moved for a minute is taken for dead: then renewal stops, too.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from stepwell.errors import BackendError
from stepwell.model.ids import Claim, RunId
from stepwell.ports import Clock, Store
from stepwell.runtime.options import WorkerOptions

_log = logging.getLogger("stepwell")
_STALL_SECONDS = 60.0
_BLOCKED_SECONDS = 1.0
_AGAIN_SECONDS = 1.0
_TICK_SECONDS = 0.01


class Held(NamedTuple):
    """A claim: until when this worker trusts it (monotonic seconds), and how long its lease is when renewed."""

    run: RunId
    claim: Claim
    lease_ends: float
    lease_ms: int


class LeaseBook(Protocol):
    """What the worker tells about its claims. `claims` is called from the renewing thread."""

    def claims(self) -> Sequence[Held]: ...
    def first_end(self) -> float | None: ...
    def renewed(self, results: Sequence[tuple[RunId, Claim, int | None]], lease_ends: float) -> None: ...
    def check_leases(self) -> None: ...
    def running_steps(self) -> Sequence[str]: ...


class Block(NamedTuple):
    """The event loop did not move for so many seconds, up to `ended_at` (monotonic seconds)."""

    ended_at: float
    seconds: float


class Renewer:
    """Keeps the leases of one worker.

    `unanswered_since`: since when (monotonic seconds) no renewal was answered. `block`: the last time that the event
    loop was blocked.
    """

    def __init__(self, store: Store, clock: Clock, book: LeaseBook, options: WorkerOptions) -> None:
        self._store = store
        self._clock = clock
        self._book = book
        self._options = options
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._asked_at: float | None = None
        self._is_stalled = False
        self.unanswered_since: float | None = None
        self.block: Block | None = None
        self.failures = 0

    @property
    def is_alive(self) -> bool:
        """Whether leases are looked after."""
        has_thread = self._thread is None or self._thread.is_alive()
        return has_thread and bool(self._tasks) and not any(task.done() for task in self._tasks)

    def blocked_for(self) -> float:
        """How long (s) the event loop has not moved by now, as far as it was asked. For another thread."""
        asked_at = self._asked_at
        return 0.0 if asked_at is None else self._clock.monotonic() - asked_at

    def start(self) -> None:
        """Begin, in the way that the options say."""
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._watch(), name="stepwell renewal"))
        if self._options.renewal == "loop":
            self._tasks.append(loop.create_task(self._run_on_loop(), name="stepwell renewal"))
            return
        self._thread = threading.Thread(
            target=self._run_in_thread, args=(loop, threading.get_ident()), name="stepwell-renewal", daemon=True
        )
        self._thread.start()

    async def stop(self) -> None:
        """End. The leases that are left run out."""
        self._stop.set()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 5)

    async def _watch(self) -> None:
        """Look at the leases when the first of them may end: a renewal under way may hang for longer."""
        while True:
            end = self._book.first_end()
            seconds = self._options.renew_every_ms / 1000
            if end is not None:
                seconds = min(seconds, max(_TICK_SECONDS, end - self._clock.monotonic()))
            await asyncio.sleep(seconds)
            self._book.check_leases()

    async def _run_on_loop(self) -> None:
        pause = self._options.renew_every_ms / 1000
        while True:
            await asyncio.sleep(pause)
            pause = await self._renew(lambda call: call())

    def _run_in_thread(self, loop: asyncio.AbstractEventLoop, main: int) -> None:
        pause = self._options.renew_every_ms / 1000
        with asyncio.Runner() as runner:
            while not self._stop.wait(pause):
                if self._has_stalled(loop, main):
                    continue
                try:
                    pause = runner.run(self._renew(loop.call_soon_threadsafe))
                except RuntimeError:
                    return  # the main loop has closed
                except Exception:
                    _log.exception("renewing leases failed")

    def _has_stalled(self, loop: asyncio.AbstractEventLoop, main: int) -> bool:
        """Ask the main loop to move; tell whether it has been asked for long in vain.

        Only one question is open at a time. A process that was stopped as a whole, as by a laptop's lid, has asked
        nothing meanwhile: its loop is not blamed, and its leases are looked after at once.
        """
        now = self._clock.monotonic()
        asked_at = self._asked_at
        if asked_at is None:
            self._asked_at = now
            try:
                loop.call_soon_threadsafe(self._tick, now)
            except RuntimeError:
                return True
            return False
        if now - asked_at < max(_STALL_SECONDS, 2 * self._options.renew_every_ms / 1000):
            return False
        if self._is_stalled:
            return True
        self._is_stalled = True
        frame = sys._current_frames().get(main)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "(no stack)"
        _log.error("the event loop has not moved for a minute; its runs are let go. It is at:\n%s", stack)
        return True

    def _tick(self, asked_at: float) -> None:
        now = self._clock.monotonic()
        self._asked_at = None
        self._is_stalled = False
        if now - asked_at > _BLOCKED_SECONDS:
            self.block = Block(now, now - asked_at)
            steps = ", ".join(self._book.running_steps()) or "none"
            _log.warning(
                "the event loop was blocked for %.1f s; use `def` steps for what computes or blocks. Steps running: %s",
                now - asked_at,
                steps,
            )

    async def _renew(self, call: Callable[..., object]) -> float:
        """Renew what is due. Answers how long (s) to wait before the next time."""
        pause = self._options.renew_every_ms / 1000
        by_lease: dict[int, list[tuple[RunId, Claim]]] = {}
        for held in self._book.claims():
            # Only what has less than two thirds left, for a run shorter than a third of a lease never renews; or what
            # would have to hope for the very next round.
            if held.lease_ends <= max(self._ends(held.lease_ms * 2 // 3), self._clock.monotonic() + 1.5 * pause):
                by_lease.setdefault(held.lease_ms, []).append((held.run, held.claim))
        for lease_ms, due in by_lease.items():
            ends = self._ends(lease_ms)
            if self.unanswered_since is None:
                self.unanswered_since = self._clock.monotonic()
            try:
                answers = await self._store.renew(due, lease_ms)
            except BackendError as error:
                _log.warning("leases of %d runs could not be renewed: %s", len(due), error)
                self.failures += 1
                pause = min(pause, _AGAIN_SECONDS)
                continue
            self.unanswered_since = None
            results = [(run, claim, mail) for (run, claim), mail in zip(due, answers, strict=True)]
            call(partial(self._book.renewed, results, ends))
        return pause

    def _ends(self, lease_ms: int) -> float:
        return self._clock.monotonic() + (lease_ms - self._options.margin_ms) / 1000
