"""Watching runs: driven by commits, here and from another process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.helpers import run, until

from stepwell import Context, Signal, Stepwell, Stream, current_step, step, workflow
from stepwell.model.ids import RunId
from stepwell.runtime import following
from stepwell.runtime.watching import FRAMES_MAX, WATCHERS, Watch, bell_of

word = Signal("word", str)
log = Stream("log", str)


@step
async def shout(text: str) -> str:
    return text.upper()


@workflow
async def echo(ctx: Context, count: int) -> list[str]:
    return [await shout(await ctx.receive(word)) for _ in range(count)]


@workflow
async def nap(ctx: Context) -> str:
    await ctx.sleep("100ms")
    return "rested"


@step
async def tell() -> None:
    current_step().send(log, "told")


@workflow
async def tells(ctx: Context) -> None:
    await tell()


def test_a_follower_is_told_of_frames_without_asking_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    look = following.frames_after

    async def counted(*args: object) -> object:
        nonlocal looks
        looks += 1
        return await look(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(following, "frames_after", counted)

    async def main() -> None:
        async with Stepwell("memory://", include=[echo, shout]) as app:
            handle = await app.start(echo, 3, id="e")
            seen: list[str] = []

            async def follow() -> None:
                async for event in app.runs.events("e", follow=True):
                    seen.append(type(event.entry).__name__)  # noqa: PERF401 - looked at while it grows

            follower = asyncio.create_task(follow())
            for text in ("one", "two", "three"):
                before = len(seen)
                await handle.send(word, text)
                await until(lambda before=before: _is(len(seen) > before))
            await asyncio.wait_for(follower, 5)
            assert seen.count("Received") == 3
            assert seen[-1] == "Ended"

    run(main())
    assert looks <= 2, "once at the beginning, and at most once when nothing more came"


async def _is(value: bool) -> bool:
    return value


def test_a_watch_says_when_nothing_is_under_way_and_what_the_run_waits_for() -> None:
    async def main() -> None:
        async with Stepwell("memory://", include=[echo, shout]) as app:
            with app.hub.watch(RunId("e")) as watch:
                handle = await app.start(echo, 1, id="e")
                await _until_resting(watch)
                assert [(wait.kind, wait.name) for wait in watch.waits] == [("signal", "word")]
                await handle.send(word, "hello", id="m1")
                while not watch.is_over:
                    assert await watch.changed(5)
                assert "signal:m1" in watch.messages
                assert watch.ended is not None
                assert watch.ended.status == "completed"

    run(main())


def test_a_run_that_is_held_through_a_short_timer_counts_as_resting() -> None:
    async def main() -> None:
        async with Stepwell("memory://", include=[nap]) as app:
            with app.hub.watch(RunId("n")) as watch:
                await app.start(nap, id="n")
                await _until_resting(watch)
                assert [wait.kind for wait in watch.waits] == ["timer"]

    run(main())


async def _until_resting(watch: Watch) -> None:
    while not watch.is_resting:
        assert await watch.changed(5)


def test_a_run_that_cannot_be_driven_is_lost_to_its_watchers() -> None:
    @workflow(id="breaks")
    async def breaks(ctx: Context) -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        async with Stepwell("memory://", include=[breaks]) as app:
            with app.hub.watch(RunId("b")) as watch:
                await app.start(breaks, id="b")
                while not watch.is_lost:
                    assert await watch.changed(5)

    run(main())


def test_a_follower_in_another_process_is_rung_at_each_commit() -> None:
    """Two apps over one store that tells nothing by itself: the worker rings because somebody said that they watch."""

    async def main() -> None:
        async with Stepwell("memory://", include=[echo, shout], worker=False) as here, here.worker():
            watcher = Stepwell("memory://", worker=False)
            watcher._open_backend = lambda: _shared(here)  # type: ignore[method-assign]
            async with watcher:
                watcher.client.look_seconds = 60
                handle = await here.start(echo, 1, id="e")
                events = watcher.runs.events("e", follow=True)
                await _next_named(events, "Created")
                rest = asyncio.create_task(_next_named(events, "Ended"))
                await asyncio.sleep(0.05)
                await handle.send(word, "hello")
                await asyncio.wait_for(rest, 5)

    run(main())


async def _shared(app: Stepwell) -> object:
    backend = app.backend

    class Unclosed:
        def __getattr__(self, name: str) -> object:
            return getattr(backend, name)

        async def close(self) -> None:
            """The other app closes it."""

    return Unclosed()


async def _next_named(events: AsyncIterator[following.RunEvent], name: str) -> None:
    async for event in events:
        if type(event.entry).__name__ == name:
            return
    raise AssertionError(f"no {name} came")


def test_a_worker_rings_for_others_only_after_somebody_said_that_they_watch(tmp_path: Path) -> None:
    async def main() -> None:
        async with Stepwell(f"sqlite:///{tmp_path / 'runs.db'}", include=[echo, shout]) as app:
            rings = 0

            async def listen() -> None:
                nonlocal rings
                async for _ in app.backend.queue.listen(bell_of(RunId("e"))):
                    rings += 1

            listener = asyncio.create_task(listen())
            handle = await app.start(echo, 2, id="e")
            await until(lambda: _has_parked(app))
            assert rings == 0
            await app.backend.queue.notify([WATCHERS])
            await asyncio.sleep(0)
            await handle.send(word, "a")
            await handle.send(word, "b")
            await handle.result()
            await until(lambda: _is(rings > 0))
            listener.cancel()

    run(main())


async def _has_parked(app: Stepwell) -> bool:
    return (await app.runs.get("e")).status == "waiting"


def test_a_slow_watch_forgets_frames_and_says_so() -> None:
    from stepwell.model.entries import Frame, Patched
    from stepwell.model.ids import Claim

    watch = Watch(RunId("r"))
    for seq in range(1, FRAMES_MAX + 2):
        watch.add(seq, Frame(0, Claim("w"), (Patched(id="p"),)))
    assert watch.is_cut
    assert [seq for seq, _ in watch.take()] == [FRAMES_MAX + 1]


def test_a_watch_that_was_there_before_the_run_has_the_whole_journal_and_knows_of_streams() -> None:
    async def main() -> None:
        async with Stepwell("memory://", include=[nap, tells, shout]) as app:
            with app.hub.watch(RunId("n")) as silent, app.hub.watch(RunId("t")) as loud:
                await (await app.start(nap, id="n")).result()
                await (await app.start(tells, id="t")).result()
                for watch in (silent, loud):
                    _, frames = await app.client.journal(watch.run)
                    assert watch.frames == frames
                    assert watch.is_over
                assert (silent.has_streams, loud.has_streams) == (False, True)

    run(main())
