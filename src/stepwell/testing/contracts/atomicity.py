"""A call is done or not done, never half: whoever looks on, and whoever gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from msgspec import Raw

from stepwell.model.ids import RunId
from stepwell.model.runs import RunQuery
from stepwell.ports import MAX_SEQ, Backend, HeadChange, Wanted
from stepwell.testing.contracts.running import (
    Contract,
    bodies,
    claim_of,
    created,
    frame,
    head_of,
    inbox,
    loaded,
    message,
    new_run,
    on_backend,
    owned_run,
    parked,
)

ROUNDS = 20


class AtomicityContract(Contract):
    """Seen from beside, and cut off."""

    @on_backend
    async def test_a_run_is_seen_whole_or_not_at_all(self, backend: Backend) -> None:
        seen: list[tuple[bytes, ...]] = []

        async def look() -> None:
            for _ in range(ROUNDS):
                there = await backend.store.load([Wanted(RunId(f"r{k}"), -1) for k in range(ROUNDS)])
                seen.extend(tuple(body for _, body in found.frames) for found in there if found is not None)

        async def create() -> None:
            for k in range(ROUNDS):
                await created(backend, new_run(f"r{k}", b"1", b"2", b"3", seq=3))

        await asyncio.gather(create(), look(), look())
        assert set(seen) <= {(b"1", b"2", b"3")}

    @on_backend
    async def test_a_load_is_never_older_than_its_head(self, backend: Backend) -> None:
        claim = await owned_run(backend)

        async def look() -> None:
            for _ in range(ROUNDS * 2):
                found = await loaded(backend)
                frames, mail = found.frames, found.mail
                assert [seq for seq, _ in frames] == list(range(1, len(frames) + 1))
                assert [item.no for item in mail] == list(range(1, len(mail) + 1))
                assert len(frames) >= found.head.seq
                assert len(mail) >= found.head.mail

        async def write() -> None:
            for seq in range(2, ROUNDS + 2):
                change = HeadChange(metadata={"seq": Raw(b"%d" % seq)})
                assert await backend.store.append([frame(seq, owner=claim, head=change)]) == ["ok"]
                await backend.store.deliver([message(f"m{seq}")])

        await asyncio.gather(write(), look(), look())
        head = await head_of(backend)
        assert (head.seq, head.mail, bytes(head.metadata["seq"])) == (ROUNDS + 1, ROUNDS, b"%d" % (ROUNDS + 1))

    @on_backend
    async def test_a_head_is_never_seen_between_two_changes(self, backend: Backend) -> None:
        claim = await owned_run(backend)

        async def look() -> None:
            for _ in range(ROUNDS * 2):
                head = (await loaded(backend, after=MAX_SEQ)).head
                if head.error:
                    value = str(head.seq)
                    assert (head.error, head.tags, bytes(head.metadata["v"])) == (value, {"v": value}, value.encode())

        async def write() -> None:
            for seq in range(2, ROUNDS + 2):
                value = str(seq)
                change = HeadChange(error=value, tags={"v": value}, metadata={"v": Raw(value.encode())})
                assert await backend.store.append([frame(seq, owner=claim, head=change)]) == ["ok"]

        await asyncio.gather(write(), look(), look())

    @on_backend
    async def test_a_refused_item_leaves_no_trace_beside_one_that_is_done(self, backend: Backend) -> None:
        store = backend.store
        claim = await owned_run(backend)
        await owned_run(backend, "s")
        await store.deliver([message("m", b"first")])
        before = await head_of(backend), await inbox(backend)
        stranger = claim_of(backend, "stranger")
        change = HeadChange(status="failed", wake_at=None, release=True, tags={"t": "1"}, error="no")
        refused = [
            frame(2, b"no", owner=stranger, head=change),
            frame(2, b"no", owner=claim, mail=0, head=change),
            frame(1, b"no", owner=claim, mail=1, head=change),
        ]
        for item, answer in zip(refused, ("lost", "mail", "exists"), strict=True):
            assert await store.append([item, frame(2, b"done", run="s")]) == [answer, "ok"]
        assert await parked(backend, stranger, mail=1, status="failed", error="no") == "lost"
        assert await parked(backend, claim, mail=0, status="failed", error="no") == "mail"
        assert [item.answer for item in await store.deliver([message("m", b"second")])] == ["duplicate"]
        assert await store.create([new_run("r", b"other", tags={"t": "1"}, error="no")]) == [before[0]]
        assert (await head_of(backend), await inbox(backend)) == before
        assert await bodies(backend) == [b'"created"']
        assert (await store.search(RunQuery(tag=(("t", "1"),)))).runs == ()

    @on_backend
    async def test_a_call_whose_caller_gives_up_is_done_or_not_and_can_be_repeated(self, backend: Backend) -> None:
        store = backend.store
        for turns in range(6):
            run = f"r{turns}"
            new = new_run(run, b"1", b"2", seq=2)
            await _given_up(store.create([new]), turns)
            there = (await store.create([new]))[0]
            assert there in (None, new.head)
            await _given_up(store.append([frame(3, b"3", run=run)]), turns)
            assert await store.append([frame(3, b"3", run=run)]) == ["ok"]
            await _given_up(store.deliver([message("a", run=run), message("b", run=run)]), turns)
            answers = await store.deliver([message("b", run=run), message("a", run=run)])
            assert {item.answer for item in answers} <= {"ok", "duplicate"}
            assert await bodies(backend, run) == [b"1", b"2", b"3"]
            assert sorted(item.id for item in await inbox(backend, run)) == ["a", "b"]
            assert (await head_of(backend, run)).mail == 2


async def _given_up(call: Coroutine[Any, Any, object], turns: int) -> None:
    """Begin a call, and give up after so many turns of the loop."""
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
