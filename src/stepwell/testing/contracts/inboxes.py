"""Delivering messages."""

from __future__ import annotations

from stepwell.ports import Backend, Delivered, HeadChange
from stepwell.testing.contracts.running import (
    DAY_MS,
    PAST,
    Contract,
    claimed,
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
    settled_run,
)


class DeliverContract(Contract):
    """`deliver`."""

    @on_backend
    async def test_messages_are_numbered_in_the_order_of_acceptance(self, backend: Backend) -> None:
        await created(backend, new_run())
        await backend.store.deliver([message("a", b"1"), message("b", b"2")])
        await backend.store.deliver([message("c", b"3")])
        mail = await inbox(backend)
        assert [(item.id, item.body) for item in mail] == [("a", b"1"), ("b", b"2"), ("c", b"3")]
        assert [item.accepted_at for item in mail] == sorted(item.accepted_at for item in mail)
        assert (await head_of(backend)).mail == 3

    @on_backend
    async def test_no_message_is_accepted_before_its_run_was_created(self, backend: Backend) -> None:
        later = backend.clock.now() + DAY_MS
        await created(backend, new_run(created_at=later, wake_at=later))
        await backend.store.deliver([message()])
        assert (await inbox(backend))[0].accepted_at >= later

    @on_backend
    async def test_a_sleeping_run_becomes_due_at_once(self, backend: Backend) -> None:
        await created(backend, new_run("later", wake_at=backend.clock.now() + DAY_MS), new_run("never", wake_at=None))
        await backend.store.deliver([message(run="later"), message(run="never")])
        due = await backend.store.peek_due(backend.clock.now(), 10)
        assert {item.run for item in due} == {"later", "never"}

    @on_backend
    async def test_a_run_that_is_due_already_is_not_put_back_in_the_line(self, backend: Backend) -> None:
        await created(backend, new_run(wake_at=PAST))
        await backend.store.deliver([message()])
        assert (await head_of(backend)).wake_at == PAST

    @on_backend
    async def test_an_owned_run_keeps_its_lease_and_the_owner_is_named(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        before = await head_of(backend)
        assert await backend.store.deliver([message()]) == [Delivered("ok", claim)]
        after = await head_of(backend)
        assert (after.wake_at, after.owner, after.mail) == (before.wake_at, claim, 1)

    @on_backend
    async def test_a_message_is_accepted_once_and_the_first_wins(self, backend: Backend) -> None:
        await created(backend, new_run())
        answers = await backend.store.deliver([message("m", b"first"), message("m", b"second")])
        assert [item.answer for item in answers] == ["ok", "duplicate"]
        assert (await backend.store.deliver([message("m", b"first")]))[0].answer == "duplicate"
        assert [item.body for item in await inbox(backend)] == [b"first"]
        assert (await head_of(backend)).mail == 1

    @on_backend
    async def test_a_message_that_was_journaled_long_ago_is_still_a_duplicate(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        await backend.store.deliver([message()])
        assert await backend.store.append([frame(2, owner=claim, mail=1, head=HeadChange())]) == ["ok"]
        assert await parked(backend, claim, mail=1) == "ok"
        assert (await backend.store.deliver([message()]))[0].answer == "duplicate"
        assert (await head_of(backend)).mail == 1

    @on_backend
    async def test_the_same_id_may_go_to_two_runs(self, backend: Backend) -> None:
        await created(backend, new_run("a"), new_run("b"))
        answers = await backend.store.deliver([message(run="a"), message(run="b")])
        assert [item.answer for item in answers] == ["ok", "ok"]

    @on_backend
    async def test_a_run_that_has_ended_takes_no_message(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        await backend.store.deliver([message("early")])
        end = HeadChange(status="completed", ended_at=PAST)
        assert await backend.store.append([frame(2, owner=claim, mail=1, head=end)]) == ["ok"]
        answers = await backend.store.deliver([message("late"), message("early")])
        assert [item.answer for item in answers] == ["closed", "duplicate"]
        assert (await head_of(backend)).mail == 1

    @on_backend
    async def test_a_refused_message_hurts_no_other(self, backend: Backend) -> None:
        await settled_run(backend, "closed")
        await created(backend, new_run("open"))
        answers = await backend.store.deliver([message(run="closed"), message(run="absent"), message(run="open")])
        assert [item.answer for item in answers] == ["closed", "missing", "ok"]

    @on_backend
    async def test_many_messages_for_one_run_go_in_one_call(self, backend: Backend) -> None:
        await created(backend, new_run())
        answers = await backend.store.deliver([message(f"m{k}") for k in range(300)])
        assert {item.answer for item in answers} == {"ok"}
        assert len(await inbox(backend)) == 300

    @on_backend
    async def test_a_message_is_seen_by_whoever_claims_after_it(self, backend: Backend) -> None:
        await created(backend, new_run(wake_at=None))
        await backend.store.deliver([message()])
        await claimed(backend)
        found = await loaded(backend)
        assert (found.head.mail, len(found.mail)) == (1, 1)
