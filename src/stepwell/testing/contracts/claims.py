"""Creating, claiming, letting go."""

from __future__ import annotations

import asyncio
import threading

from msgspec import Raw
from msgspec.structs import replace

from stepwell.model.ids import Claim, RunId
from stepwell.model.runs import Head, Wait
from stepwell.ports import Backend, HeadChange, Park, Serves
from stepwell.testing.contracts.running import (
    ANY,
    DAY_MS,
    LEASE_MS,
    PAST,
    Contract,
    bodies,
    claim_of,
    claimed,
    created,
    frame,
    head_of,
    loaded,
    message,
    new_run,
    on_backend,
    owned_run,
    parked,
    settled_run,
)


async def _take(backend: Backend, limit: int = 100, serves: Serves = ANY, runs: list[str] | None = None) -> list[Head]:
    wanted = None if runs is None else [RunId(run) for run in runs]
    claim = claim_of(backend, "t")
    return list((await backend.store.take(claim, lease_ms=LEASE_MS, limit=limit, serves=serves, runs=wanted)).heads)


async def _taken_ids(
    backend: Backend, limit: int = 100, serves: Serves = ANY, runs: list[str] | None = None
) -> list[str]:
    return [head.id for head in await _take(backend, limit, serves, runs)]


class CreateContract(Contract):
    """`create`."""

    @on_backend
    async def test_a_run_is_created_with_its_head_and_its_frames(self, backend: Backend) -> None:
        new = new_run(
            "r", b"1", b"2", version="3", queue="q", priority=7, parent=RunId("p"), tags={"a": "b"}, seq=2,
            metadata={"k": Raw(b'{"x":1.50}')}, waiting=(Wait(kind="event", name="e", until=9),), error="e", takes=3,
        )  # fmt: skip
        await created(backend, new)
        assert await head_of(backend) == new.head
        assert await bodies(backend) == [b"1", b"2"]

    @on_backend
    async def test_a_run_that_is_there_is_left_as_it_is_and_answered(self, backend: Backend) -> None:
        first = new_run("r", b"first", workflow="one")
        await created(backend, first)
        answer = await backend.store.create([new_run("r", b"second", workflow="two"), new_run("s")])
        assert answer == [first.head, None]
        assert await bodies(backend) == [b"first"]

    @on_backend
    async def test_the_same_run_twice_in_one_call_is_created_once(self, backend: Backend) -> None:
        first, second = new_run("r", b"first"), new_run("r", b"second")
        assert await backend.store.create([first, second]) == [None, first.head]
        assert await bodies(backend) == [b"first"]

    @on_backend
    async def test_many_runs_are_created_in_one_call(self, backend: Backend) -> None:
        await created(backend, *[new_run(f"r{k}", b"%d" % k) for k in range(300)])
        assert await bodies(backend, "r299") == [b"299"]

    @on_backend
    async def test_a_run_can_be_created_with_its_creators_claim(self, backend: Backend) -> None:
        claim = claim_of(backend, 1)
        await created(backend, new_run(owner=claim, wake_at=backend.clock.now() + DAY_MS, status="running"))
        assert await _taken_ids(backend) == []
        assert await backend.store.append([frame(2, owner=claim)]) == ["ok"]

    @on_backend
    async def test_when_a_new_run_is_due_can_be_left_to_the_clock_of_the_store(self, backend: Backend) -> None:
        at_once, later = new_run("r", wake_at=9 * DAY_MS * 365_000), new_run("s", wake_at=PAST)
        before = (await backend.store.take(claim_of(backend, 0), lease_ms=1, limit=1, serves=ANY)).now
        await created(backend, replace(at_once, wake_in_ms=0), replace(later, wake_in_ms=DAY_MS))
        wake_at = [(await head_of(backend, run)).wake_at or 0 for run in ("r", "s")]
        taken = await backend.store.take(claim_of(backend, 1), lease_ms=LEASE_MS, limit=5, serves=ANY)
        assert [head.id for head in taken.heads] == ["r"]
        assert before <= wake_at[0] <= taken.now
        assert wake_at[1] == wake_at[0] + DAY_MS

    @on_backend
    async def test_nothing_is_asked_and_nothing_is_answered(self, backend: Backend) -> None:
        store = backend.store
        answers = [
            await store.create([]),
            await store.append([]),
            await store.park([]),
            await store.renew([], LEASE_MS),
            await store.deliver([]),
            await store.load([]),
            await store.delete([]),
        ]
        assert answers == [[]] * 7


class TakeContract(Contract):
    """`take`, `peek_due`."""

    @on_backend
    async def test_a_due_run_is_claimed(self, backend: Backend) -> None:
        await created(backend, new_run(takes=2))
        taken = await backend.store.take(claim_of(backend, 1), lease_ms=LEASE_MS, limit=5, serves=ANY)
        (head,) = taken.heads
        assert (head.owner, head.wake_at) == (claim_of(backend, 1), taken.now + LEASE_MS)
        assert (head.status, head.takes) == ("running", 3)
        assert await head_of(backend) == head

    @on_backend
    async def test_what_is_due_later_or_never_is_not_taken(self, backend: Backend) -> None:
        later = backend.clock.now() + DAY_MS
        await created(backend, new_run("later", wake_at=later), new_run("never", wake_at=None))
        assert await _taken_ids(backend) == []

    @on_backend
    async def test_a_waiting_run_becomes_running_a_paused_or_ended_one_stays(self, backend: Backend) -> None:
        await created(backend, *[new_run(name, status=name) for name in ("waiting", "paused", "failed")])
        assert {head.id: head.status for head in await _take(backend)} == {
            "waiting": "running",
            "paused": "paused",
            "failed": "failed",
        }

    @on_backend
    async def test_an_owned_run_is_not_taken_before_its_lease_ends(self, backend: Backend) -> None:
        await owned_run(backend)
        assert await _taken_ids(backend) == []
        assert await _taken_ids(backend, runs=["r"]) == []

    @on_backend
    async def test_a_run_whose_lease_has_ended_is_taken_over(self, backend: Backend) -> None:
        await created(backend, new_run())
        old = await claimed(backend, "old", lease_ms=0)
        new = await claimed(backend, "new")
        assert (await head_of(backend)).owner == new
        assert await parked(backend, old) == "lost"
        assert await backend.store.renew([(RunId("r"), old)], LEASE_MS) == [None]
        assert await backend.store.append([frame(2, owner=old)]) == ["lost"]
        assert await bodies(backend) == [b'"created"']

    @on_backend
    async def test_the_most_overdue_is_taken_first_and_the_more_important_among_equals(self, backend: Backend) -> None:
        await created(
            backend,
            new_run("d", wake_at=30, priority=9),
            new_run("c", wake_at=20, priority=-1),
            new_run("b", wake_at=20, priority=5),
            new_run("a", wake_at=10),
        )
        assert await _taken_ids(backend, limit=1) == ["a"]
        assert await _taken_ids(backend) == ["b", "c", "d"]

    @on_backend
    async def test_only_served_queues_and_kinds_are_taken(self, backend: Backend) -> None:
        await created(
            backend,
            new_run("other-queue", queue="q"),
            new_run("other-version", workflow="w", version="2"),
            new_run("mine", workflow="w", version="1"),
            new_run("mine-too", queue="p", workflow="v"),
        )
        serves = Serves(queues=("default", "p"), kinds=("w@1", "v@"))
        assert await _taken_ids(backend, serves=serves, runs=["other-queue", "other-version"]) == []
        assert sorted(await _taken_ids(backend, serves=serves)) == ["mine", "mine-too"]
        assert await _taken_ids(backend, serves=Serves(queues=("q",))) == ["other-queue"]

    @on_backend
    async def test_a_run_that_nobody_here_serves_does_not_hide_the_next(self, backend: Backend) -> None:
        await created(backend, *[new_run(f"gpu{k}", queue="gpu", wake_at=1) for k in range(5)])
        await created(backend, new_run("mine", wake_at=2))
        assert await _taken_ids(backend, limit=1) == ["mine"]

    @on_backend
    async def test_an_unowned_run_can_be_taken_by_id_before_it_is_due(self, backend: Backend) -> None:
        later = backend.clock.now() + DAY_MS
        await created(backend, new_run("later", wake_at=later), new_run("never", wake_at=None), new_run("due"))
        assert sorted(await _taken_ids(backend, runs=["later", "never", "absent"])) == ["later", "never"]
        assert await _taken_ids(backend) == ["due"]

    @on_backend
    async def test_a_run_that_is_named_twice_is_taken_once(self, backend: Backend) -> None:
        await created(backend, new_run())
        (head,) = await _take(backend, runs=["r", "r"])
        assert head.takes == 1

    @on_backend
    async def test_a_settled_run_is_never_taken(self, backend: Backend) -> None:
        await settled_run(backend)
        assert await _taken_ids(backend) == []
        assert await _taken_ids(backend, runs=["r"]) == []

    @on_backend
    async def test_an_ended_run_with_obligations_is_due_like_any_other(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        end = HeadChange(status="completed", wake_at=PAST, ended_at=PAST)
        assert await backend.store.append([frame(2, owner=claim, mail=0, head=end)]) == ["ok"]
        assert await _taken_ids(backend) == ["r"]

    @on_backend
    async def test_peek_answers_the_soonest_first_and_claims_nothing(self, backend: Backend) -> None:
        later = backend.clock.now() + DAY_MS
        await created(backend, new_run("b", wake_at=20), new_run("a", wake_at=10), new_run("later", wake_at=later))
        before = await head_of(backend, "a")
        due = await backend.store.peek_due(backend.clock.now(), 10)
        assert [(item.run, item.wake_at) for item in due] == [("a", 10), ("b", 20)]
        assert [item.run for item in await backend.store.peek_due(later, 1)] == ["a"]
        assert await head_of(backend, "a") == before
        assert await _taken_ids(backend) == ["a", "b"]


class ParkContract(Contract):
    """`park`, `renew`."""

    @on_backend
    async def test_a_parked_run_is_free_and_sleeps_until_it_is_due(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        wake_at = backend.clock.now() + DAY_MS
        waiting = (Wait(kind="timer", name="t", until=wake_at),)
        park = Park(
            run=RunId("r"), owner=claim, mail=0, wake_at=wake_at, takes=2, seq=4,
            status="waiting", waiting=waiting, metadata={"k": Raw(b"1")},
        )  # fmt: skip
        assert await backend.store.park([park]) == ["ok"]
        head = await head_of(backend)
        assert (head.owner, head.wake_at, head.takes) == (None, wake_at, 2)
        assert (head.status, head.waiting, head.metadata, head.seq) == ("waiting", waiting, {"k": Raw(b"1")}, 4)
        assert await _taken_ids(backend) == []

    @on_backend
    async def test_what_a_park_does_not_give_stays(self, backend: Backend) -> None:
        await created(backend, new_run(seq=3, metadata={"k": Raw(b"1")}))
        claim = await claimed(backend)
        assert await parked(backend, claim) == "ok"
        head = await head_of(backend)
        assert (head.seq, head.status, head.metadata, head.takes) == (3, "running", {"k": Raw(b"1")}, 0)

    @on_backend
    async def test_a_run_is_not_parked_on_a_message_that_was_not_seen(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        await backend.store.deliver([message()])
        assert await parked(backend, claim, mail=0) == "mail"
        assert (await head_of(backend)).owner == claim
        assert await parked(backend, claim, mail=1) == "ok"

    @on_backend
    async def test_a_park_that_is_due_anyway_needs_no_count_of_messages(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        await backend.store.deliver([message()])
        assert await parked(backend, claim, mail=None, wake_at=PAST) == "ok"
        assert await _taken_ids(backend) == ["r"]

    @on_backend
    async def test_only_the_owner_parks_and_only_once(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        assert await parked(backend, claim_of(backend, "other")) == "lost"
        assert await parked(backend, claim) == "ok"
        assert await parked(backend, claim) == "lost"
        assert await parked(backend, claim, run="absent") == "lost"

    @on_backend
    async def test_an_ended_run_that_is_parked_for_good_is_settled(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        end = HeadChange(status="failed", ended_at=PAST)
        assert await backend.store.append([frame(2, owner=claim, mail=0, head=end)]) == ["ok"]
        assert not (await head_of(backend)).is_settled
        assert await parked(backend, claim, mail=None) == "ok"
        assert (await head_of(backend)).is_settled

    @on_backend
    async def test_a_refused_park_hurts_no_other(self, backend: Backend) -> None:
        first, second, third = [await owned_run(backend, run) for run in ("a", "b", "c")]
        await backend.store.deliver([message(run="b")])
        parks = [Park(run=RunId(run), owner=owner, mail=0, wake_at=None) for run, owner in
                 (("a", first), ("b", second), ("x", first), ("c", third))]  # fmt: skip
        assert await backend.store.park(parks) == ["ok", "mail", "lost", "ok"]

    @on_backend
    async def test_a_lease_is_renewed_by_its_owner_only(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        await backend.store.deliver([message()])
        before = await head_of(backend)
        stranger = claim_of(backend, "other")
        wanted = [(RunId("r"), claim), (RunId("r"), stranger), (RunId("absent"), claim)]
        assert await backend.store.renew(wanted, LEASE_MS + DAY_MS) == [1, None, None]
        after = await head_of(backend)
        assert after.wake_at is not None
        assert after.wake_at >= (before.wake_at or 0) + DAY_MS
        assert (after.owner, after.takes) == (claim, before.takes)

    @on_backend
    async def test_a_late_renewal_moves_no_timer_of_a_parked_run(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        wake_at = backend.clock.now() + DAY_MS
        await parked(backend, claim, wake_at=wake_at)
        assert await backend.store.renew([(RunId("r"), claim)], LEASE_MS) == [None]
        assert (await head_of(backend)).wake_at == wake_at

    @on_backend
    async def test_leases_are_renewed_from_another_thread_while_this_one_is_busy(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        answers: list[int | None] = []

        def renew() -> None:
            answers.extend(asyncio.run(_renewal(backend, claim)))

        thread = threading.Thread(target=renew)
        thread.start()
        thread.join()  # The loop of this thread stands still meanwhile.
        assert answers == [0]
        assert (await loaded(backend)).head.owner == claim


async def _renewal(backend: Backend, claim: Claim) -> list[int | None]:
    return await backend.store.renew([(RunId("r"), claim)], LEASE_MS)
