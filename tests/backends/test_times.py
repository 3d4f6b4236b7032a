"""When things end, to the millisecond: with a clock that moves only when it is told to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.backends.support import run_async

from stepwell import backends
from stepwell.ports import Backend, Job
from stepwell.testing import VirtualClock
from stepwell.testing.contracts.running import ANY, claim_of, created, inbox, message, new_run, owned_run, parked

Test = Callable[[Backend, VirtualClock], Awaitable[None]]


def on_each_backend(test: Test) -> Callable[[str, Path], None]:
    @pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/a.db"])
    @run_async
    async def run(url: str, tmp_path: Path) -> None:
        clock = VirtualClock()
        backend = await backends.open(url.format(tmp_path), clock=clock)
        await test(backend, clock)
        await backend.close()

    return run


async def _taken(backend: Backend) -> int:
    return len((await backend.store.take(claim_of(backend, 1), lease_ms=100, limit=5, serves=ANY)).heads)


@on_each_backend
async def test_a_lease_ends_on_its_millisecond(backend: Backend, clock: VirtualClock) -> None:
    await created(backend, new_run())
    assert await _taken(backend) == 1
    clock.advance("99ms")
    assert await _taken(backend) == 0
    clock.advance("1ms")
    assert await _taken(backend) == 1


@on_each_backend
async def test_a_sleeping_run_is_due_on_its_millisecond(backend: Backend, clock: VirtualClock) -> None:
    claim = await owned_run(backend)
    assert await parked(backend, claim, wake_at=clock.now() + 1000) == "ok"
    clock.advance("999ms")
    assert (await _taken(backend), len(await backend.store.peek_due(clock.now(), 5))) == (0, 0)
    clock.advance("1ms")
    assert len(await backend.store.peek_due(clock.now(), 5)) == 1
    assert await _taken(backend) == 1


@on_each_backend
async def test_a_key_ends_on_its_millisecond(backend: Backend, clock: VirtualClock) -> None:
    keys = backend.coordination
    await keys.set_if_not_exist("set", "1", ttl_ms=100)
    await keys.increment("counted", 5, ttl_ms=100)
    await keys.set_if_not_exist("extended", "1", ttl_ms=1)
    await keys.extend_ttl("extended", 100)
    clock.advance("99ms")
    assert [await keys.get(key) for key in ("set", "counted", "extended")] == ["1", "5", "1"]
    assert await keys.increment("counted") == 6
    assert not await keys.set_if_not_exist("set", "2")
    clock.advance("1ms")
    assert [await keys.get(key) for key in ("set", "counted", "extended")] == [None, None, None]
    assert await keys.increment("counted") == 1
    assert await keys.set_if_not_exist("set", "2")
    assert not await keys.extend_ttl("extended", 100)


@on_each_backend
async def test_a_job_is_hidden_and_comes_on_its_millisecond(backend: Backend, clock: VirtualClock) -> None:
    queue = backend.queue
    await queue.publish("q", [Job(b"1")], delay_ms=100)
    clock.advance("99ms")
    assert await queue.receive(["q"], limit=1) == []
    clock.advance("1ms")
    (first,) = await queue.receive(["q"], limit=1, visibility_ms=50)
    clock.advance("49ms")
    assert await queue.receive(["q"], limit=1) == []
    await queue.hide([first.receipt], 10)
    clock.advance("9ms")
    assert await queue.receive(["q"], limit=1) == []
    clock.advance("1ms")
    await queue.ack([first.receipt])
    assert [item.deliveries for item in await queue.receive(["q"], limit=1)] == [2]


@on_each_backend
async def test_a_message_is_stamped_with_the_millisecond_of_its_acceptance(
    backend: Backend, clock: VirtualClock
) -> None:
    await created(backend, new_run())
    stamps = []
    for id in "abc":
        clock.advance("1ms")
        stamps.append(clock.now())
        await backend.store.deliver([message(id)])
    assert [item.accepted_at for item in await inbox(backend)] == stamps
