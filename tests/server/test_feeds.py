"""Following runs over event streams: read once for all, resumable anywhere, and nobody waits for the slow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stepwell import Context, RunNotFoundError, Signal, Stepwell, Stream, step, workflow
from stepwell.model.ids import Claim, RunId
from stepwell.ports import Chunks
from stepwell.runtime import following
from stepwell.runtime.chunks import StreamWriter
from stepwell.server.feeds import Feeds, Subscription
from stepwell.server.feeds.feed import ITEMS_MAX
from stepwell.server.feeds.journals import WHOLE, journal_events, journal_place
from stepwell.server.feeds.streams import stream_events, stream_page
from stepwell.server.problems import Problem
from stepwell.testing import StepwellTest

words = Stream("words", Any)
go = Signal("go", int)
R = RunId("r")


@step
async def ready(n: int) -> int:
    return n


@workflow
async def waiting(ctx: Context) -> None:
    await asyncio.gather(ready(1), ready(2))
    await ctx.receive(go)


@workflow
async def counting(ctx: Context) -> None:
    for n in range(await ctx.receive(go)):
        await ready(n)


class Followed:
    """An open run, its streams written to by hand, and who follows them."""

    def __init__(self, app: Stepwell) -> None:
        self.app = app
        self.feeds = Feeds()
        self.reads = 0
        self._read = app.backend.streams.read
        self._writers: dict[str, StreamWriter] = {}

    async def write(self, *values: Any, source: str = "", claim: str = "a:1", k: int = 0) -> None:
        """Chunks of one step in one attempt; without a source, of the body."""
        backend = self.app.backend
        writer = self._writers.get(claim)
        if writer is None:
            writer = self._writers[claim] = StreamWriter(backend.streams, backend.queue, R, "words", Claim(claim))
        for number, value in enumerate(values, k):
            raw = self.app.registry.encode(value)
            writer.write(source=source, attempt=1, k=number, value=raw, base=1)
        await writer.flush()

    async def follow(self, start: int = 0) -> Subscription[Any]:
        """Somebody who reads the stream."""
        return await stream_events(self.feeds, self.app.client, R, "words", start)

    async def counted(self, stream: str, start: int, limit: int) -> Chunks:
        """A read of the store."""
        self.reads += 1
        return await self._read(stream, start, limit)

    async def end(self) -> None:
        """Let the run end."""
        await self.app.handle("r").send(go, 0)
        await self.app.handle("r").result()


Play = Callable[[Callable[[Followed], Awaitable[None]]], None]


@pytest.fixture
def play(stepwell: StepwellTest, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Plays with a run that waits."""

    async def played(scenario: Callable[[Followed], Awaitable[None]]) -> None:
        app = stepwell.app
        await app.start(waiting, id="r")
        await asyncio.sleep(1)
        followed = Followed(app)
        monkeypatch.setattr(app.backend.streams, "read", followed.counted, raising=False)
        try:
            await scenario(followed)
        finally:
            await followed.feeds.aclose()

    return lambda scenario: stepwell.drive(played(scenario))


@asynccontextmanager
async def closing(reader: Subscription[Any]) -> AsyncIterator[Subscription[Any]]:
    try:
        yield reader
    finally:
        await reader.aclose()


def events(data: bytes) -> list[tuple[str | None, str | None, Any]]:
    """Id, type and data of each event."""
    found = []
    for block in data.decode().strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line)
        found.append((fields.get("id"), fields.get("event"), json.loads(fields["data"])))
    return found


async def values(reader: Subscription[Any], count: int) -> list[Any]:
    """The values of the next chunks."""
    found: list[Any] = []
    while len(found) < count:
        data = await reader.take()
        assert data, "there is more"
        found += [item["value"] for _, _, item in events(data)]
    return found


async def rest(reader: Subscription[Any]) -> list[tuple[str | None, str | None, Any]]:
    """What comes to the end."""
    data = b""
    while (part := await reader.take()) is not None:
        data += part
    return events(data)


def test_a_thousand_followers_cost_the_store_one_read_for_a_chunk(play: Play) -> None:
    async def scenario(run: Followed) -> None:
        readers = [await run.follow() for _ in range(1000)]
        await asyncio.sleep(1)
        before = run.reads
        takes = [asyncio.ensure_future(values(reader, 1)) for reader in readers]
        await run.write("one")
        assert await asyncio.gather(*takes) == [["one"]] * 1000
        assert run.reads - before <= 4  # the writer finds the stream's end and its list, the feed reads once
        before = run.reads
        takes = [asyncio.ensure_future(values(reader, 1)) for reader in readers]
        await run.write("two", k=1)
        assert await asyncio.gather(*takes) == [["two"]] * 1000
        assert run.reads - before == 1
        for reader in readers:
            await reader.aclose()
        assert len(run.feeds) == 0

    play(scenario)


def test_who_comes_later_gets_what_was_from_the_buffer(play: Play) -> None:
    async def scenario(run: Followed) -> None:
        await run.write(*range(10))
        async with closing(await run.follow()) as first:
            assert await values(first, 10) == [*range(10)]
            before = run.reads
            async with closing(await run.follow(7)) as second:
                assert await values(second, 3) == [7, 8, 9]
            assert run.reads == before

    play(scenario)


def test_who_is_behind_the_buffer_reads_the_store_and_misses_nothing(play: Play) -> None:
    count = 2 * ITEMS_MAX

    async def scenario(run: Followed) -> None:
        await run.write(*range(count))
        async with closing(await run.follow()) as reader:
            assert await values(reader, count) == [*range(count)]
            await run.write("new", k=count)
            assert await values(reader, 1) == ["new"]

    play(scenario)


def test_a_slow_follower_catches_up_from_the_store_and_holds_up_nobody(play: Play) -> None:
    count = ITEMS_MAX * 2

    async def scenario(run: Followed) -> None:
        async with closing(await run.follow()) as slow, closing(await run.follow()) as quick:
            await run.write("first")
            assert await values(slow, 1) == await values(quick, 1) == ["first"]
            for start in range(0, count, 500):
                await run.write(*range(start, start + 500), k=start + 1)
                assert len(await values(quick, 500)) == 500
            assert len(slow.feed.items) <= ITEMS_MAX
            assert await values(slow, count) == [*range(count)]

    play(scenario)


@pytest.mark.parametrize("start", [0, 1, 2, 3, 4, -1, -2, -10])
def test_a_follower_goes_on_where_it_says(play: Play, start: int) -> None:
    async def scenario(run: Followed) -> None:
        await run.write(*range(4))
        await run.end()
        found = await rest(await run.follow(start))
        assert [item["value"] for _, kind, item in found if kind == "chunk"] == [*range(4)][start:]
        assert found[-1] == (None, "end", {"run": "r", "status": "completed", "next": 4})

    play(scenario)


def test_chunks_of_an_attempt_that_was_superseded_do_not_count(play: Play) -> None:
    async def scenario(run: Followed) -> None:
        await run.write("a", "b", source="s", claim="a:1")
        await run.write("c", source="s", claim="b:1")
        await run.end()
        (chunk, _) = await rest(await run.follow())
        assert (chunk[2]["value"], chunk[2]["restarts"]) == ("c", False)

    play(scenario)


def test_who_has_seen_an_attempt_is_told_that_the_next_one_restarts(play: Play) -> None:
    async def scenario(run: Followed) -> None:
        async with closing(await run.follow()) as early:
            await run.write("a", "b", source="s", claim="a:1")
            assert await values(early, 2) == ["a", "b"]
            async with closing(await run.follow()) as late, closing(await run.follow(2)) as resumed:
                await run.write("c", "d", source="s", claim="b:1")
                await run.end()
                for reader in (early, late, resumed):
                    found = [item["restarts"] for _, kind, item in await rest(reader) if kind == "chunk"]
                    assert found[-2:] == [True, False]

    play(scenario)


async def test_who_follows_a_run_that_there_is_not_is_told(stepwell: StepwellTest) -> None:
    feeds = Feeds()
    with pytest.raises(RunNotFoundError):
        await stream_events(feeds, stepwell.app.client, RunId("nobody"), "words", 0)
    with pytest.raises(RunNotFoundError):
        await journal_events(feeds, stepwell.app.client, RunId("nobody"), (0, WHOLE))
    assert len(feeds) == 0


def test_who_goes_while_a_feed_begins_leaves_it_to_the_others(play: Play) -> None:
    async def scenario(run: Followed) -> None:
        one = asyncio.ensure_future(run.follow())
        other = asyncio.ensure_future(run.follow())
        await asyncio.sleep(0)
        one.cancel()
        async with closing(await other) as reader:
            await run.write("x")
            assert await values(reader, 1) == ["x"]

    play(scenario)


def test_a_poke_lets_a_follower_return_that_waits(play: Play) -> None:
    async def scenario(run: Followed) -> None:
        async with closing(await run.follow()) as reader:
            reader.poke()
            assert await reader.take() == b""
            await run.write("x")
            assert await values(reader, 1) == ["x"]

    play(scenario)


def test_a_page_says_where_the_next_begins_and_when_there_is_none(play: Play) -> None:
    async def scenario(run: Followed) -> None:
        await run.write(*range(5))
        client = run.app.client
        page = await stream_page(client, R, "words", 0, 3)
        assert ([chunk.index for chunk in page.chunks], page.next, page.done) == ([0, 1, 2], 3, False)
        page = await stream_page(client, R, "words", 3, 3)
        assert ([chunk.index for chunk in page.chunks], page.next, page.done) == ([3, 4], 5, False)
        await run.end()
        assert (await stream_page(client, R, "words", 0, 3)).done is False
        assert (await stream_page(client, R, "words", 3, 2)).done is True
        assert (await stream_page(client, R, "words", 5, 2)).done is True

    play(scenario)


# --- journals


def test_a_journal_is_resumed_at_any_entry(play: Play) -> None:
    async def scenario(run: Followed) -> None:
        await run.end()
        client = run.app.client
        every = await rest(await journal_events(run.feeds, client, R, (0, WHOLE)))
        assert [kind for _, kind, _ in every][-2:] == ["ended", "end"]
        ids = [id for id, _, _ in every if id is not None]
        assert any("." in id for id in ids)
        for number, id in enumerate(ids):
            found = await rest(await journal_events(run.feeds, client, R, journal_place(id)))
            assert found == every[number + 1 :]

    play(scenario)


def test_a_long_journal_is_followed_from_its_beginning(stepwell: StepwellTest, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        feeds, app = Feeds(), stepwell.app
        handle = await app.start(counting, id="r")
        early = await journal_events(feeds, app.client, R, (0, WHOLE))
        await handle.send(go, 1500)
        await handle.result()
        late = await journal_events(feeds, app.client, R, (0, WHOLE))
        found = [await rest(reader) for reader in (early, late)]
        assert found[0] == found[1]
        assert sum(kind == "step" for _, kind, _ in found[0]) == 1500
        await feeds.aclose()

    stepwell.drive(scenario())


def test_followers_of_a_journal_share_what_is_read(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    look = following.frames_after

    async def counted(*args: Any, **more: Any) -> Any:
        nonlocal looks
        looks += 1
        return await look(*args, **more)

    async def scenario(run: Followed) -> None:
        monkeypatch.setattr(following, "frames_after", counted)
        readers = [await journal_events(run.feeds, run.app.client, R, (0, WHOLE)) for _ in range(100)]
        takes = [asyncio.ensure_future(rest(reader)) for reader in readers]
        await run.end()
        found = await asyncio.gather(*takes)
        assert all(one == found[0] for one in found)
        assert looks <= 2

    play(scenario)


@pytest.mark.parametrize("text", ["", "x", "1.", ".1", "-1", "1.2.3", "1" * 16, "１", " 1"])
def test_what_is_no_place_in_a_journal_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="there is no event"):
        journal_place(text)
