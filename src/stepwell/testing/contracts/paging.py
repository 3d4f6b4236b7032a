"""Pages of a listing while runs come, change and go."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from msgspec import UNSET, Raw
from msgspec.structs import replace

from stepwell.model.ids import RunId
from stepwell.model.runs import RunQuery
from stepwell.ports import Backend, HeadChange, Wanted
from stepwell.testing.contracts.running import (
    ANY,
    DAY_MS,
    LEASE_MS,
    Contract,
    claim_of,
    claimed,
    created,
    frame,
    inbox,
    message,
    new_run,
    on_backend,
    owned_run,
    parked,
    settled_run,
)


class PagingContract(Contract):
    """Nothing comes twice, and nothing that stayed as it was is missed."""

    @on_backend
    async def test_pages_of_any_size_hold_all_runs_of_one_moment_once(self, backend: Backend) -> None:
        ids = [f"r{k}" for k in range(23)]
        await created(backend, *[new_run(id) for id in ids])  # all of them with one `created_at`
        for limit in (1, 2, 7, 22, 23, 24, 1000):
            found: list[str] = []
            cursor: str | None = None
            while True:
                page = await backend.store.search(RunQuery(limit=limit, cursor=cursor))
                assert len(page.runs) <= limit
                found += [head.id for head in page.runs]
                cursor = page.cursor
                if cursor is None:
                    break
            assert sorted(found) == sorted(ids)

    @on_backend
    async def test_no_run_comes_twice_or_is_missed_while_runs_come_change_and_go(self, backend: Backend) -> None:
        stay = [f"s{k:02}" for k in range(12)]
        for id in stay:
            await created(backend, new_run(id, tags={"t": "1"}, wake_at=backend.clock.now() + DAY_MS))
            await created(backend, new_run(f"go{id}", status="failed", wake_at=None, ended_at=1, tags={"t": "1"}))
        for query in (RunQuery(limit=3), RunQuery(limit=3, tag=(("t", "1"),))):
            found: list[str] = []
            while True:
                page = await backend.store.search(query)
                found += [head.id for head in page.runs]
                if page.cursor is None:
                    break
                query = replace(query, cursor=page.cursor)
                await _disturb(backend, found, len(found))
            assert len(found) == len(set(found))
            assert [id for id in found if id in stay] == stay[::-1]

    @on_backend
    async def test_a_page_goes_on_after_a_run_that_was_deleted_meanwhile(self, backend: Backend) -> None:
        for id in ("a", "b", "c", "d"):
            await created(backend, new_run(id, status="failed", wake_at=None))
        page = await backend.store.search(RunQuery(limit=2))
        assert [head.id for head in page.runs] == ["d", "c"]
        assert await backend.store.delete([RunId("c"), RunId("d")]) == [True, True]
        page = await backend.store.search(RunQuery(limit=2, cursor=page.cursor))
        assert [head.id for head in page.runs] == ["b", "a"]

    @on_backend
    async def test_a_page_of_a_status_misses_none_that_keeps_it(self, backend: Backend) -> None:
        for k in range(9):
            await created(backend, new_run(f"r{k}"))
        query = RunQuery(status=("queued",), limit=2)
        page = await backend.store.search(query)
        assert [head.id for head in page.runs] == ["r8", "r7"]
        await claimed(backend, 1, "r7")  # on the page that was read
        await claimed(backend, 2, "r4")  # on a page to come
        found: list[str] = []
        while page.cursor is not None:
            page = await backend.store.search(replace(query, cursor=page.cursor))
            found += [head.id for head in page.runs]
        assert found == ["r6", "r5", "r3", "r2", "r1", "r0"]

    @on_backend
    async def test_a_page_of_a_thousand_is_the_largest(self, backend: Backend) -> None:
        await created(backend, *[new_run(f"r{k}") for k in range(1001)])
        page = await backend.store.search(RunQuery(limit=1000))
        rest = await backend.store.search(RunQuery(limit=1000, cursor=page.cursor))
        found = [head.id for head in (*page.runs, *rest.runs)]
        assert len(found) == len(set(found)) == 1001

    @on_backend
    async def test_limits_bound_what_is_taken_and_peeked(self, backend: Backend) -> None:
        await created(backend, *[new_run(f"r{k}") for k in range(20)])
        for limit in (1, 7):
            taken = await backend.store.take(claim_of(backend, limit), lease_ms=LEASE_MS, limit=limit, serves=ANY)
            assert len(taken.heads) == limit
            assert len(await backend.store.peek_due(backend.clock.now(), limit)) == limit
        named = [RunId(f"r{k}") for k in range(20)]
        taken = await backend.store.take(claim_of(backend, 9), lease_ms=LEASE_MS, limit=5, serves=ANY, runs=named)
        assert len(taken.heads) == 5


async def _disturb(backend: Backend, found: list[str], no: int) -> None:
    """A run comes, one that was read changes, one goes that was read, and one that was not."""
    await created(backend, new_run(f"new{no}{len(found)}{found[0]}", tags={"t": "1"}))
    read = next((id for id in found if id.startswith("s")), None)
    if read is not None:
        await backend.store.deliver([message(f"m{no}", run=read)])
    gone = [id for id in found if id.startswith("go")][:1]
    page = await backend.store.search(RunQuery(status=("failed",), limit=100))
    gone += [head.id for head in page.runs if head.id not in found][-1:]
    assert all(await backend.store.delete([RunId(id) for id in gone]))


class CleanupContract(Contract):
    """What is deleted leaves nothing behind."""

    @on_backend
    async def test_a_deleted_run_is_found_by_nothing(self, backend: Backend) -> None:
        store = backend.store
        await created(backend, new_run(tags={"t": "1"}, metadata={"m": Raw(b"1")}, parent=RunId("p")))
        await store.deliver([message(f"m{k}") for k in range(3)])
        claim = await claimed(backend)
        end = HeadChange(status="failed", wake_at=None, release=True, ended_at=1)
        assert await store.append([frame(2, owner=claim, mail=3, head=end)]) == ["ok"]
        for name in ("n1", "n2"):
            await store.reserve(name, "r")
        await store.reserve("n3", "other")
        assert await store.delete([RunId("r")]) == [True]

        assert await store.load([Wanted(RunId("r"), -1)]) == [None]
        for query in (
            RunQuery(),
            RunQuery(tag=(("t", "1"),)),
            RunQuery(parent=RunId("p")),
            RunQuery(status=("failed",)),
        ):
            assert (await store.search(query)).runs == ()
        assert await store.peek_due(2**53 - 1, 10) == []
        taken = await store.take(claim_of(backend, 2), lease_ms=LEASE_MS, limit=9, serves=ANY, runs=[RunId("r")])
        assert taken.heads == ()
        assert await store.renew([(RunId("r"), claim)], LEASE_MS) == [None]
        assert await parked(backend, claim) == "lost"
        assert await store.append([frame(2), frame(2, run="s"), frame(3, run="t", owner=claim)]) == ["missing"] * 3
        assert [item.answer for item in await store.deliver([message()])] == ["missing"]
        assert [await store.resolve(name) for name in ("n1", "n2", "n3")] == [None, None, "other"]
        assert await store.delete([RunId("r")]) == [True]

    @on_backend
    async def test_the_next_run_of_an_id_inherits_nothing(self, backend: Backend) -> None:
        store = backend.store
        for generation in range(3):
            await created(backend, new_run("r", b"%d" % generation, tags={str(generation): "x"}))
            answers = await store.deliver([message("a"), message("b"), message("a")])
            assert [item.answer for item in answers] == ["ok", "ok", "duplicate"]
            assert [item.id for item in await inbox(backend)] == ["a", "b"]
            found = [(await store.search(RunQuery(tag=((str(k), "x"),)))).runs for k in range(3)]
            assert [len(runs) for runs in found] == [int(k == generation) for k in range(3)]
            claim = await claimed(backend)
            end = HeadChange(status="failed", wake_at=None, release=True, tags=UNSET)
            assert await store.append([frame(2, owner=claim, mail=2, head=end)]) == ["ok"]
            assert await store.delete([RunId("r")]) == [True]

    @on_backend
    async def test_a_run_that_is_named_twice_is_deleted_once(self, backend: Backend) -> None:
        await settled_run(backend)
        await owned_run(backend, "other")
        ids = [RunId(id) for id in ("r", "other", "r")]
        assert await backend.store.delete(ids) == [True, False, True]

    @on_backend
    async def test_many_runs_are_deleted_in_one_call(self, backend: Backend) -> None:
        ids = [RunId(f"r{k}") for k in range(300)]
        await created(backend, *[new_run(id, status="failed", wake_at=None, tags={"t": "1"}) for id in ids])
        await created(backend, new_run("stays"))
        assert await backend.store.delete(ids) == [True] * 300
        assert [head.id for head in (await backend.store.search(RunQuery())).runs] == ["stays"]

    @on_backend
    async def test_a_deletion_and_late_calls_agree(self, backend: Backend) -> None:
        store = backend.store
        for round in range(12):
            run = f"r{round}"
            claim = await owned_run(backend, run)
            end = HeadChange(status="failed", wake_at=None, release=True)
            assert await store.append([frame(2, run=run, owner=claim, mail=0, head=end)]) == ["ok"]
            calls: list[Coroutine[Any, Any, list[Any]]] = [
                store.delete([RunId(run)]),
                store.deliver([message("late", run=run)]),
                store.append([frame(3, run=run, owner=claim)]),
                store.create([new_run(run, b"new")]),
            ]
            places = [(at + round) % 4 for at in range(4)]
            answers = await asyncio.gather(*[calls[at] for at in places])
            deleted, delivered, appended, there = (answers[places.index(at)][0] for at in range(4))
            assert deleted is True or there is None  # the new run is not settled
            assert appended in ("lost", "missing")
            assert delivered.answer in ("closed", "missing", "ok")
            found = (await store.load([Wanted(RunId(run), -1)]))[0]
            assert (found is None) == (there is not None)
            if found is not None:
                assert found.frames == ((1, b"new"),)
                assert [item.id for item in found.mail] == ["late"] * (delivered.answer == "ok")
                assert found.head.mail == len(found.mail)
