"""The group committer, with stores that wait and stores that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from stepwell.errors import BackendError
from stepwell.runtime.batching import Batcher


class Log:
    """A port method that notes its calls; it fails the first `fails` times."""

    def __init__(self, fails: int = 0, *, waits: bool = False) -> None:
        self.calls: list[list[int]] = []
        self.fails = fails
        self.waits = waits

    async def __call__(self, items: Sequence[int]) -> list[str]:
        self.calls.append(list(items))
        if self.waits:
            await asyncio.sleep(0)
        if self.fails:
            self.fails -= 1
            raise BackendError("not now")
        return [f"answer {item}" for item in items]


def test_calls_that_come_together_go_together() -> None:
    async def scenario() -> tuple[list[list[int]], list[str]]:
        log, got = Log(waits=True), list[str]()
        batcher = Batcher("append", log, 2)
        for item in (1, 2, 3):
            batcher.submit(item, got.append)
        assert got == []
        assert await batcher.drain(5)
        return log.calls, got

    calls, got = asyncio.run(scenario())
    assert calls == [[1, 2], [3]]
    assert got == ["answer 1", "answer 2", "answer 3"]


def test_a_store_that_does_not_wait_is_answered_on_the_spot() -> None:
    log, got = Log(), list[str]()
    batcher = Batcher("append", log, 2, is_immediate=True)
    batcher.submit(1, got.append)
    assert got == ["answer 1"]
    assert log.calls == [[1]]


def test_a_failed_call_of_such_a_store_is_repeated_and_nothing_overtakes_it() -> None:
    async def scenario() -> tuple[list[list[int]], list[str]]:
        log, got = Log(fails=1), list[str]()
        batcher = Batcher("append", log, 2, is_immediate=True)
        batcher.submit(1, got.append)
        batcher.submit(2, got.append)
        assert got == []
        assert await batcher.drain(5)
        return log.calls, got

    calls, got = asyncio.run(scenario())
    assert calls == [[1], [1, 2]]
    assert got == ["answer 1", "answer 2"]


def test_what_follows_an_answer_may_submit_again_and_again() -> None:
    got = list[str]()

    async def scenario() -> None:
        batcher = Batcher("append", Log(), 2, is_immediate=True)

        def more(answer: str) -> None:
            got.append(answer)
            if len(got) < 5_000:
                batcher.submit(len(got) + 1, more)

        batcher.submit(1, more)
        assert await batcher.drain(5)

    asyncio.run(scenario())
    assert got == [f"answer {item + 1}" for item in range(5_000)]


def test_what_follows_an_answer_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    def fail(answer: str) -> None:
        raise ValueError(answer)

    Batcher("append", Log(), 2, is_immediate=True).submit(1, fail)
    assert "following up an answer failed" in caplog.text


def test_a_store_that_waits_although_it_says_that_it_never_does_is_found_out() -> None:
    async def scenario() -> None:
        Batcher("append", Log(waits=True), 2, is_immediate=True).submit(1, lambda _: None)

    with pytest.raises(AssertionError, match="append waited"):
        asyncio.run(scenario())
