"""The thread that renews leases, and what it makes of an event loop that does not move."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, cast

import pytest
from tests.helpers import run

from stepwell.model.ids import Claim, RunId
from stepwell.ports import Store
from stepwell.runtime.options import WorkerOptions
from stepwell.runtime.renewal import Held, Renewer
from stepwell.testing import VirtualClock, VirtualLoop

WITHIN = 60


class Book:
    """Counts what the renewer asks."""

    def __init__(self, *held: Held) -> None:
        self.held = held
        self.asked = 0
        self.checked = 0

    def claims(self) -> Sequence[Held]:
        self.asked += 1
        return self.held

    def first_end(self) -> float | None:
        return min((held.lease_ends for held in self.held), default=None)

    def renewed(self, results: Sequence[tuple[RunId, Claim, int | None]], lease_ends: float) -> None:
        raise AssertionError("there are no claims")

    def check_leases(self) -> None:
        self.checked += 1

    def running_steps(self) -> Sequence[str]:
        return ()

    async def rounds(self, n: int) -> None:
        until = self.asked + n
        async with asyncio.timeout(WITHIN):
            while self.asked < until:
                await asyncio.sleep(0.005)


def renewer(clock: VirtualClock, book: Book) -> Renewer:
    return Renewer(cast(Store, None), clock, book, WorkerOptions(lease_ms=150, margin_ms=10))


def test_a_process_that_was_stopped_blames_no_event_loop(caplog: pytest.LogCaptureFixture) -> None:
    async def go() -> None:
        clock, book = VirtualClock(), Book()
        renewing = renewer(clock, book)
        renewing.start()
        for _ in range(3):
            await book.rounds(2)
            clock.advance("1h")
        await book.rounds(2)
        await renewing.stop()

    run(go())
    assert not [record for record in caplog.records if "has not moved" in record.getMessage()]


def test_an_event_loop_that_does_not_move_loses_its_runs_and_is_shown_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="stepwell")

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if "has not moved for a minute" in record.getMessage()]

    async def go() -> None:
        clock, book = VirtualClock(), Book()
        renewing = renewer(clock, book)
        renewing.start()
        await book.rounds(1)
        pause = threading.Event()
        while not told():
            clock.advance("10s")
            pause.wait(0.02)
        asked = book.asked
        for _ in range(10):
            clock.advance("10s")
            pause.wait(0.02)
        assert book.asked == asked
        await book.rounds(2)
        await renewing.stop()

    run(go())
    (text,) = told()
    assert "pause.wait(0.02)" in text


class Deaf:
    """A store that never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def renew(self, claims: Sequence[tuple[RunId, Claim]], lease_ms: int) -> list[int | None]:
        self.asked.set()
        return await asyncio.get_running_loop().create_future()


def test_leases_are_looked_at_when_they_end_although_a_renewal_hangs() -> None:
    async def go() -> None:
        options = WorkerOptions(lease_ms=9_000, margin_ms=1_500, renewal="loop")
        loop, store = asyncio.get_running_loop(), Deaf()
        assert isinstance(loop, VirtualLoop)
        clock = loop.clock
        book = Book(Held(RunId("r"), Claim("c:1"), 4.5, 9_000))
        renewing = Renewer(cast(Store, store), clock, book, options)
        renewing.start()
        await asyncio.sleep(4)
        assert store.asked.is_set()
        checked = book.checked
        await asyncio.sleep(1)
        assert book.checked > checked  # at 4.5 s
        await renewing.stop()

    in_virtual_time(go())


def in_virtual_time(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run in virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(VirtualClock())) as runner:
        runner.run(coroutine)
