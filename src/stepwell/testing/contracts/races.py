"""Many callers at once. What must hold whatever the order."""

from __future__ import annotations

import asyncio
from collections import Counter

from stepwell.model.ids import RunId
from stepwell.ports import Backend, HeadChange
from stepwell.testing.contracts.running import (
    ANY,
    LEASE_MS,
    Contract,
    bodies,
    claim_of,
    claimed,
    created,
    frame,
    head_of,
    inbox,
    message,
    new_run,
    on_backend,
    owned_run,
    parked,
)

MANY = 20


class RaceContract(Contract):
    """Concurrent calls."""

    @on_backend
    async def test_of_many_writers_of_one_frame_exactly_one_wins(self, backend: Backend) -> None:
        await owned_run(backend)
        calls = [backend.store.append([frame(2, b"%d" % k)]) for k in range(MANY)]
        answers = [answer for (answer,) in await asyncio.gather(*calls)]
        assert Counter(answers) == {"ok": 1, "exists": MANY - 1}
        assert (await bodies(backend))[1] == b"%d" % answers.index("ok")

    @on_backend
    async def test_of_many_ends_exactly_one_wins_and_changes_the_head(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        calls = [
            backend.store.append([frame(2, b"%d" % k, owner=claim, mail=0, head=HeadChange(error=str(k)))])
            for k in range(MANY)
        ]
        answers = [answer for (answer,) in await asyncio.gather(*calls)]
        assert Counter(answers) == {"ok": 1, "exists": MANY - 1}
        assert (await head_of(backend)).error == str(answers.index("ok"))

    @on_backend
    async def test_a_result_and_an_end_never_share_a_place(self, backend: Backend) -> None:
        for round in range(10):
            run = f"r{round}"
            claim = await owned_run(backend, run)
            end = frame(2, b"end", run=run, owner=claim, mail=0, head=HeadChange(status="failed"))
            calls = [backend.store.append([item]) for item in (frame(2, b"result", run=run), end)[:: round % 2 * 2 - 1]]
            answers = [answer for (answer,) in await asyncio.gather(*calls)]
            assert Counter(answers) == {"ok": 1, "exists": 1}
            has_ended = (await head_of(backend, run)).status == "failed"
            assert (await bodies(backend, run))[1] == (b"end" if has_ended else b"result")

    @on_backend
    async def test_the_same_message_from_many_is_accepted_once(self, backend: Backend) -> None:
        await created(backend, new_run())
        answers = await asyncio.gather(*[backend.store.deliver([message()]) for _ in range(MANY)])
        assert Counter(item.answer for (item,) in answers) == {"ok": 1, "duplicate": MANY - 1}
        assert len(await inbox(backend)) == 1

    @on_backend
    async def test_of_many_messages_at_once_none_is_lost(self, backend: Backend) -> None:
        await created(backend, new_run())
        await asyncio.gather(*[backend.store.deliver([message(f"m{k}")]) for k in range(MANY)])
        assert {item.id for item in await inbox(backend)} == {f"m{k}" for k in range(MANY)}
        assert (await head_of(backend)).mail == MANY

    @on_backend
    async def test_an_owner_that_appends_loses_no_message(self, backend: Backend) -> None:
        claim = await owned_run(backend)

        async def append() -> None:
            for seq in range(2, MANY):
                change = HeadChange(metadata={}, takes=seq) if seq % 2 else None
                assert await backend.store.append([frame(seq, owner=claim, head=change)]) == ["ok"]

        await asyncio.gather(append(), *[backend.store.deliver([message(f"m{k}")]) for k in range(MANY)])
        assert len(await inbox(backend)) == (await head_of(backend)).mail == MANY
        assert len(await bodies(backend)) == MANY - 1

    @on_backend
    async def test_no_run_sleeps_on_a_message(self, backend: Backend) -> None:
        slept = 0
        for round in range(50):
            run = f"r{round}"
            claim = await owned_run(backend, run)
            park = parked(backend, claim, run)
            sends = [backend.store.deliver([message(f"m{k}", run=run)]) for k in range(3)]
            at = round % 4
            await asyncio.gather(*sends[:at], park, *sends[at:])
            head = await head_of(backend, run)
            slept += head.owner is None and (head.wake_at is None or head.wake_at > backend.clock.now())
        assert slept == 0

    @on_backend
    async def test_many_takers_take_nothing_twice_and_leave_nothing(self, backend: Backend) -> None:
        await created(backend, *[new_run(f"r{k}") for k in range(30)])
        calls = [backend.store.take(claim_of(backend, k), lease_ms=LEASE_MS, limit=5, serves=ANY) for k in range(MANY)]
        taken = [head.id for answer in await asyncio.gather(*calls) for head in answer.heads]
        assert sorted(taken) == sorted(f"r{k}" for k in range(30))

    @on_backend
    async def test_many_starters_of_one_run_start_it_once(self, backend: Backend) -> None:
        calls = [backend.store.create([new_run("r", b"%d" % k, error=str(k))]) for k in range(MANY)]
        answers = [answer for (answer,) in await asyncio.gather(*calls)]
        assert answers.count(None) == 1
        winner = answers.index(None)
        assert {head.error for head in answers if head is not None} == {str(winner)}
        assert await bodies(backend) == [b"%d" % winner]

    @on_backend
    async def test_an_orphan_is_taken_over_by_one(self, backend: Backend) -> None:
        await created(backend, new_run())
        old = await claimed(backend, "old", lease_ms=0)
        calls = [
            backend.store.take(claim_of(backend, k), lease_ms=LEASE_MS, limit=1, serves=ANY, runs=[RunId("r")])
            for k in range(MANY)
        ]
        taken = [head for answer in await asyncio.gather(*calls) for head in answer.heads]
        assert len(taken) == 1
        late = frame(2, b"late", owner=old, mail=0, head=HeadChange(status="failed"))
        assert await backend.store.append([late]) == ["lost"]
        assert await bodies(backend) == [b'"created"']

    @on_backend
    async def test_a_stale_claimant_that_reads_the_mail_cannot_make_the_owner_sleep(self, backend: Backend) -> None:
        """W0 takes and stalls; W1 takes over; a message comes; W0 drains it into a frame; W1 must not park."""
        await created(backend, new_run())
        stale = await claimed(backend, 0, lease_ms=0)
        owner = await claimed(backend, 1)
        await backend.store.deliver([message()])
        assert await backend.store.append([frame(2, b"drained", owner=stale, mail=1)]) == ["lost"]
        assert await parked(backend, owner, mail=0) == "mail"

    @on_backend
    async def test_one_of_many_names_holders_wins(self, backend: Backend) -> None:
        answers = await asyncio.gather(*[backend.store.reserve("n", f"h{k}") for k in range(MANY)])
        assert len(set(answers)) == 1
        assert await backend.store.resolve("n") == answers[0]
