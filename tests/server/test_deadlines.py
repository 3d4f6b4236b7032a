"""Time limits of many requests by one timer."""

from __future__ import annotations

import asyncio

import pytest

from stepwell.server.deadlines import Deadlines
from tests.helpers import run


async def _work(deadlines: Deadlines, limit: float, seconds: float) -> str:
    deadline = deadlines.begin(limit)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if deadlines.is_late(deadline):
            return "late"
        raise
    finally:
        deadlines.end(deadline)
    return "done"


def test_who_is_late_is_told_and_others_are_not() -> None:
    async def main() -> list[str]:
        deadlines = Deadlines(0.005)
        works = [_work(deadlines, 0.01, 30), _work(deadlines, 30, 0.03), _work(deadlines, 0.01, 30)]
        return await asyncio.wait_for(asyncio.gather(*works), 5)

    assert run(main()) == ["late", "done", "late"]


def test_a_task_that_was_late_can_go_on() -> None:
    async def main() -> tuple[str, str]:
        deadlines = Deadlines(0.005)
        first = await _work(deadlines, 0.01, 30)
        return first, await _work(deadlines, 30, 0)

    assert run(main()) == ("late", "done")


def test_a_cancel_from_outside_is_no_lateness() -> None:
    async def main() -> None:
        task = asyncio.create_task(_work(Deadlines(0.005), 30, 30))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_a_cancel_from_outside_counts_also_when_the_time_is_up() -> None:
    async def main() -> None:
        deadlines = Deadlines(0.005)
        task = asyncio.create_task(_work(deadlines, 0.01, 30))
        await asyncio.sleep(0)
        (deadline,) = deadlines._open
        deadline.is_over = True
        task.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_a_limit_can_be_moved_and_nobody_looks_when_nobody_is_there() -> None:
    async def main() -> None:
        deadlines = Deadlines(0.005)
        deadline = deadlines.begin(0.001)
        deadlines.move(deadline, 30)
        await asyncio.sleep(0.02)
        assert not deadline.is_over
        deadlines.end(deadline)
        await asyncio.sleep(0.02)
        assert deadlines._timer is None

    run(main())
