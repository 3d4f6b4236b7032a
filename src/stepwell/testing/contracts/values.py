"""A store gives back exactly what it was given: any text, any bytes, large numbers, null and nothing."""

from __future__ import annotations

from msgspec import Raw, json

from stepwell.model.ids import MessageId, RunId
from stepwell.model.runs import Head, RunQuery, Wait
from stepwell.ports import Append, Backend, Delivery, HeadChange, Park, Serves
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
    inbox,
    loaded,
    message,
    new_run,
    on_backend,
    owned_run,
    parked,
)
from stepwell.testing.contracts.texts import INTEGERS, NAMES, PAYLOADS, PRINTABLE, TEXTS, large


def _kind(workflow: str) -> Serves:
    return Serves(kinds=(f"{workflow}@",))


async def _found(backend: Backend, query: RunQuery) -> list[str]:
    return [head.id for head in (await backend.store.search(query)).runs]


class TextContract(Contract):
    """Text."""

    @on_backend
    async def test_ids_that_look_alike_are_different_runs(self, backend: Backend) -> None:
        ids = (*PRINTABLE, "a", "A", "n" * 199 + "\U0001f680", "n" * 199)
        await created(backend, *[new_run(id, id.encode()) for id in ids])
        for id in ids:
            assert await bodies(backend, id) == [id.encode()]
        taken = await backend.store.take(claim_of(backend, 1), lease_ms=LEASE_MS, limit=1000, serves=ANY)
        assert sorted(head.id for head in taken.heads) == sorted(ids)

    @on_backend
    async def test_the_texts_of_a_head_come_back_as_they_were(self, backend: Backend) -> None:
        runs = [
            new_run(
                f"r{at}", workflow=text, version=text, queue=text, error=text * 50, parent=RunId("n" * 200),
                tags={text: text, "t": text * 5, "u": ""}, metadata={text: Raw(json.encode(text * 50)), "u": Raw(b"0")},
                waiting=(Wait(kind="event", name=text, detail=text * 50),),
            )
            for at, text in enumerate(NAMES)
        ]  # fmt: skip
        await created(backend, *runs)
        for run in runs:
            assert await head_of(backend, run.head.id) == run.head

    @on_backend
    async def test_a_change_writes_texts_as_they_are(self, backend: Backend) -> None:
        for at, text in enumerate(TEXTS):
            run = f"r{at}"
            claim = await owned_run(backend, run)
            tags, metadata, waiting = (
                {"t": text[:1000]},
                {"m": Raw(json.encode([text]))},
                (Wait(kind="event", name=text),),
            )
            change = HeadChange(version=text[:200], tags=tags, metadata=metadata, error=text)
            assert await backend.store.append([frame(2, run=run, owner=claim, head=change)]) == ["ok"]
            head = await head_of(backend, run)
            assert (head.version, head.tags, head.metadata, head.error) == (text[:200], tags, metadata, text)
            assert await parked(backend, claim, run, error=f"{text}!", waiting=waiting) == "ok"
            head = await head_of(backend, run)
            assert (head.error, head.waiting) == (f"{text}!", waiting)

    @on_backend
    async def test_runs_are_found_by_any_text_literally(self, backend: Backend) -> None:
        runs = [new_run(f"{at}{text}", tags={text: text, "t": text}) for at, text in enumerate(PRINTABLE)]
        await created(backend, *runs)
        await created(backend, *[new_run(f"n{at}", tags={"n": text}) for at, text in enumerate(NAMES)])
        for at, text in enumerate(PRINTABLE):
            id = f"{at}{text}"
            assert await _found(backend, RunQuery(tag=((text, text),))) == [id]
            assert await _found(backend, RunQuery(tag=(("t", text),))) == [id]
            expected = [f"{k}{other}" for k, other in enumerate(PRINTABLE) if text in f"{k}{other}"]
            found = await _found(backend, RunQuery(text=text))
            assert [run for run in reversed(found) if not run.startswith("n")] == expected
        for at, text in enumerate(NAMES):
            assert await _found(backend, RunQuery(tag=(("n", text),))) == [f"n{at}"]

    @on_backend
    async def test_a_tag_that_was_taken_away_is_not_found_whatever_it_was(self, backend: Backend) -> None:
        for at, text in enumerate(NAMES):
            run = f"r{at}"
            await created(backend, new_run(run, tags={"old": text, text: "old"}))
            claim = await claimed(backend, run=run)
            await backend.store.append([frame(2, run=run, owner=claim, head=HeadChange(tags={}))])
            assert await _found(backend, RunQuery(tag=(("old", text),))) == []
            assert await _found(backend, RunQuery(tag=((text, "old"),))) == []

    @on_backend
    async def test_workflows_versions_and_queues_are_served_literally(self, backend: Backend) -> None:
        await created(backend, *[new_run(f"w{at}", workflow=text) for at, text in enumerate(NAMES)])
        await created(backend, *[new_run(f"q{at}", queue=text) for at, text in enumerate(NAMES)])
        for at, text in enumerate(NAMES):
            assert await _found(backend, RunQuery(workflow=text)) == [f"w{at}"]
            taken = [await backend.store.take(claim_of(backend, at), lease_ms=LEASE_MS, limit=1000, serves=serves)
                     for serves in (_kind(text), Serves(queues=(text,)))]  # fmt: skip
            assert [[head.id for head in item.heads] for item in taken] == [[f"w{at}"], [f"q{at}"]]

    @on_backend
    async def test_messages_have_any_id(self, backend: Backend) -> None:
        await created(backend, new_run())
        deliveries = [message(text, text.encode()) for text in NAMES]
        assert {item.answer for item in await backend.store.deliver(deliveries)} == {"ok"}
        assert {item.answer for item in await backend.store.deliver(deliveries)} == {"duplicate"}
        assert [(item.id, item.body) for item in await inbox(backend)] == [(text, text.encode()) for text in NAMES]

    @on_backend
    async def test_names_may_be_any_text(self, backend: Backend) -> None:
        store = backend.store
        names = NAMES
        for at, name in enumerate(names):
            assert await store.reserve(name, f"h{at}") == f"h{at}"
        assert [await store.resolve(name) for name in names] == [f"h{at}" for at in range(len(names))]
        for at, name in enumerate(names):
            await store.release(name, f"h{at}")
        assert [await store.resolve(name) for name in names] == [None] * len(names)


class PayloadContract(Contract):
    """Bytes."""

    @on_backend
    async def test_frames_and_messages_hold_any_bytes(self, backend: Backend) -> None:
        await created(backend, new_run("r", *PAYLOADS))
        for seq, body in enumerate(PAYLOADS, len(PAYLOADS) + 1):
            assert await backend.store.append([frame(seq, body)]) == ["ok"]
        assert await bodies(backend) == [*PAYLOADS, *PAYLOADS]
        await backend.store.deliver([message(f"m{at}", body) for at, body in enumerate(PAYLOADS)])
        assert [item.body for item in await inbox(backend)] == list(PAYLOADS)

    @on_backend
    async def test_an_empty_frame_takes_its_place(self, backend: Backend) -> None:
        await owned_run(backend)
        assert await backend.store.append([frame(2, b"")]) == ["ok"]
        assert await backend.store.append([frame(2, b"")]) == ["ok"]
        assert await backend.store.append([frame(2, b"\0")]) == ["exists"]
        assert await bodies(backend) == [b'"created"', b""]

    @on_backend
    async def test_frames_that_differ_at_their_end_are_different(self, backend: Backend) -> None:
        await owned_run(backend)
        assert await backend.store.append([frame(2, b"a\0b")]) == ["ok"]
        for other in (b"a\0c", b"a", b"a\0", b"a\0b\0"):
            assert await backend.store.append([frame(2, other)]) == ["exists"]
        assert (await bodies(backend))[1] == b"a\0b"

    @on_backend
    async def test_a_payload_of_ten_megabytes_or_the_limit_comes_back(self, backend: Backend) -> None:
        limits = backend.store.limits
        first, second, letter = large(limits.frame), large(limits.frame, 1), large(limits.message, 2)
        await created(backend, new_run("r", first))
        assert await backend.store.append([frame(2, second)]) == ["ok"]
        assert await backend.store.append([frame(2, second)]) == ["ok"]
        assert await backend.store.append([frame(2, second[:-1] + bytes([second[-1] ^ 1]))]) == ["exists"]
        assert [item.answer for item in await backend.store.deliver([message("m", letter)])] == ["ok"]
        found = await loaded(backend)
        assert [body == expected for (_, body), expected in zip(found.frames, (first, second), strict=True)] == [
            True
        ] * 2
        assert (found.mail[0].body == letter) is True  # a comparison of values would take minutes

    @on_backend
    async def test_large_metadata_and_many_tags_come_back(self, backend: Backend) -> None:
        tags = {f"key {k}": f"value {k}" for k in range(100)}
        metadata = {f"key {k}": Raw(json.encode("x" * 1000)) for k in range(50)}
        await created(backend, new_run(tags=tags, metadata=metadata))
        head = await head_of(backend)
        assert (head.tags, head.metadata) == (tags, metadata)
        assert await _found(backend, RunQuery(tag=(("key 99", "value 99"), ("key 0", "value 0")))) == ["r"]


class NumberContract(Contract):
    """Numbers and times."""

    @on_backend
    async def test_times_are_kept_to_the_millisecond(self, backend: Backend) -> None:
        times = (0, 1, 999, 1_700_000_000_001, 1_700_000_000_999, *INTEGERS)
        runs = [new_run(f"r{at}", created_at=at, ended_at=at, wake_at=at, status="failed") for at in times]
        await created(backend, *runs)
        for run in runs:
            assert await head_of(backend, run.head.id) == run.head

    @on_backend
    async def test_a_change_of_times_is_kept_to_the_millisecond(self, backend: Backend) -> None:
        for at in (1_700_000_000_001, *INTEGERS):
            run = f"r{at}"
            claim = await owned_run(backend, run)
            change = HeadChange(status="failed", wake_at=at, ended_at=at)
            assert await backend.store.append([frame(2, run=run, owner=claim, head=change)]) == ["ok"]
            head = await head_of(backend, run)
            assert (head.wake_at, head.ended_at) == (at, at)
            assert await parked(backend, claim, run, mail=None, wake_at=at - 1) == "ok"
            assert (await head_of(backend, run)).wake_at == at - 1

    @on_backend
    async def test_a_millisecond_decides_what_is_due_and_what_is_found(self, backend: Backend) -> None:
        at = 1_700_000_000_000
        times = [at - 1, at, at + 1]
        await created(backend, *[new_run(str(time), created_at=time, wake_at=time) for time in times])
        await created(backend, *[new_run(f"e{time}", status="failed", wake_at=None, ended_at=time) for time in times])
        assert [item.wake_at for item in await backend.store.peek_due(at, 10)] == times[:2]
        assert await _found(backend, RunQuery(since=at, until=at + 1)) == [str(at)]
        assert await _found(backend, RunQuery(ended_before=at)) == [f"e{at - 1}"]
        taken = await backend.store.take(claim_of(backend, 1), lease_ms=LEASE_MS, limit=10, serves=ANY)
        assert [head.id for head in taken.heads] == [str(time) for time in times]

    @on_backend
    async def test_due_times_beyond_32_bits_are_ordered_exactly(self, backend: Backend) -> None:
        await created(backend, *[new_run(str(at), wake_at=at) for at in reversed(INTEGERS)])
        due = await backend.store.peek_due(2**53 - 1, 10)
        assert [item.wake_at for item in due] == sorted(INTEGERS)
        assert [item.wake_at for item in await backend.store.peek_due(2**53 - 2, 10)] == sorted(INTEGERS)[:-1]

    @on_backend
    async def test_counts_and_priorities_may_be_large(self, backend: Backend) -> None:
        most = 2**31 - 1
        await created(backend, new_run("low", priority=-most), new_run("high", priority=most, takes=most - 1))
        taken = await backend.store.take(claim_of(backend, 1), lease_ms=LEASE_MS, limit=10, serves=ANY)
        assert [(head.id, head.priority) for head in taken.heads] == [("high", most), ("low", -most)]
        assert (await head_of(backend, "high")).takes == most

    @on_backend
    async def test_a_lease_ends_at_the_stores_time_and_its_length_exactly(self, backend: Backend) -> None:
        await created(backend, new_run())
        for lease_ms in (0, 1, 12_345, DAY_MS * 365 * 100):
            taken = await backend.store.take(
                claim_of(backend, lease_ms), lease_ms=lease_ms, limit=1, serves=ANY, runs=[RunId("r")]
            )
            assert [head.wake_at for head in taken.heads] == [taken.now + lease_ms]
            assert (await head_of(backend)).wake_at == taken.now + lease_ms
            await parked(backend, claim_of(backend, lease_ms), wake_at=PAST)


class AbsenceContract(Contract):
    """Null, empty, and not there at all are three things."""

    @on_backend
    async def test_null_is_a_value_and_absence_is_none(self, backend: Backend) -> None:
        metadata = {"null": Raw(b"null"), "empty": Raw(b'""'), "list": Raw(b"[]"), "zero": Raw(b"0")}
        await created(backend, new_run("r", tags={"empty": ""}, metadata=metadata), new_run("s"))
        head = await head_of(backend)
        assert (head.tags, head.metadata) == ({"empty": ""}, metadata)
        cases = [
            (RunQuery(metadata=(("null", Raw(b"null")),)), ["r"]),
            (RunQuery(metadata=(("absent", Raw(b"null")),)), []),
            (RunQuery(metadata=(("empty", Raw(b"null")),)), []),
            (RunQuery(tag=(("empty", ""),)), ["r"]),
            (RunQuery(tag=(("absent", ""),)), []),
            (RunQuery(ended_before=2**53 - 1), []),
            (RunQuery(since=0, until=0), []),
            (RunQuery(text=""), ["s", "r"]),
        ]
        for query, ids in cases:
            assert await _found(backend, query) == ids, query

    @on_backend
    async def test_raw_values_keep_their_bytes(self, backend: Backend) -> None:
        values = (b"1.50", b"1e3", b'{"b":1,"a":2,"a":3}', b'"\\u00e9"', b"12345678901234567890123", b"-0.0", b"true")
        metadata = {str(at): Raw(value) for at, value in enumerate(values)}
        await created(backend, new_run(metadata=metadata))
        assert [bytes(value) for _, value in sorted((await head_of(backend)).metadata.items())] == list(values)

    @on_backend
    async def test_each_field_of_a_change_can_be_emptied(self, backend: Backend) -> None:
        full = new_run(
            version="1", tags={"a": "b"}, metadata={"k": Raw(b"1")}, waiting=(Wait(kind="timer", name="t"),), error="e",
            takes=3,
        )  # fmt: skip
        await created(backend, full)
        claim = await claimed(backend)
        change = HeadChange(wake_at=None, takes=0, version="", tags={}, metadata={}, waiting=(), error="")
        assert await backend.store.append([frame(2, owner=claim, head=change)]) == ["ok"]
        expected = new_run(status="running", owner=claim, seq=2, wake_at=None).head
        assert await head_of(backend) == expected

    @on_backend
    async def test_an_empty_change_moves_only_the_seq(self, backend: Backend) -> None:
        full = new_run(tags={"a": "b"}, metadata={"k": Raw(b"1")}, waiting=(Wait(kind="timer", name="t"),), error="e")
        await created(backend, full)
        claim = await claimed(backend)
        before = await head_of(backend)
        assert await backend.store.append([frame(2, owner=claim, head=HeadChange())]) == ["ok"]
        after = await head_of(backend)
        assert (before.seq, after.seq) == (1, 2)
        assert [name for name in Head.__struct_fields__ if getattr(before, name) != getattr(after, name)] == ["seq"]

    @on_backend
    async def test_a_release_frees_the_run_and_leaves_its_due_time(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        before = await head_of(backend)
        change = HeadChange(release=True)
        assert await backend.store.append([frame(2, owner=claim, mail=0, head=change)]) == ["ok"]
        after = await head_of(backend)
        assert (after.owner, after.wake_at, after.status) == (None, before.wake_at, "running")
        assert await parked(backend, claim) == "lost"

    @on_backend
    async def test_a_park_writes_and_empties_the_summary(self, backend: Backend) -> None:
        waiting = (Wait(kind="token", name="t", until=5, detail="d"),)
        await created(backend, new_run(metadata={"k": Raw(b"1")}, waiting=waiting))
        claim = await claimed(backend)
        assert await parked(backend, claim, error="it failed", waiting=waiting, metadata={"k": Raw(b"2")}) == "ok"
        head = await head_of(backend)
        assert (head.error, head.waiting, head.metadata) == ("it failed", waiting, {"k": Raw(b"2")})
        claim = await claimed(backend, 2)
        assert await parked(backend, claim) == "ok"
        assert (await head_of(backend)).error == "it failed"
        claim = await claimed(backend, 3)
        assert await parked(backend, claim, error="", waiting=(), metadata={}) == "ok"
        head = await head_of(backend)
        assert (head.error, head.waiting, head.metadata) == ("", (), {})


class ForkContract(Contract):
    """A run that is created with a history: `mail` above 0, `seq` and `base` above 1."""

    @on_backend
    async def test_messages_of_a_fork_are_numbered_on(self, backend: Backend) -> None:
        await created(backend, new_run("r", b"1", b"2", seq=2, mail=5))
        answers = await backend.store.deliver([message("a"), message("b"), message("a")])
        assert [item.answer for item in answers] == ["ok", "ok", "duplicate"]
        for known, expected in ((0, [6, 7]), (4, [6, 7]), (5, [6, 7]), (6, [7]), (7, [])):
            found = await loaded(backend, mail=known)
            assert [item.no for item in found.mail] == expected
        assert (await head_of(backend)).mail == 7

    @on_backend
    async def test_a_fork_is_guarded_by_all_its_messages(self, backend: Backend) -> None:
        await created(backend, new_run(mail=5))
        claim = await claimed(backend)
        assert await backend.store.renew([(RunId("r"), claim)], LEASE_MS) == [5]
        assert await backend.store.append([frame(2, owner=claim, mail=0)]) == ["mail"]
        assert await backend.store.append([frame(2, owner=claim, mail=5)]) == ["ok"]
        assert await parked(backend, claim, mail=0) == "mail"
        await backend.store.deliver([Delivery(run=RunId("r"), id=MessageId("m"), body=b"")])
        park = Park(run=RunId("r"), owner=claim, mail=5, wake_at=None)
        assert await backend.store.park([park]) == ["mail"]
        assert await parked(backend, claim, mail=6) == "ok"

    @on_backend
    async def test_a_fork_may_have_had_very_many_messages(self, backend: Backend) -> None:
        await created(backend, new_run(mail=2**31))
        await backend.store.deliver([message()])
        assert [item.no for item in (await loaded(backend)).mail] == [2**31 + 1]

    @on_backend
    async def test_a_fork_of_a_later_generation_begins_at_its_base(self, backend: Backend) -> None:
        await created(backend, new_run("r", b"1", b"2", b"3", b"4", seq=4, base=3))
        assert (await loaded(backend)).frames == ((3, b"3"), (4, b"4"))
        assert await bodies(backend) == [b"1", b"2", b"3", b"4"]
        assert await backend.store.append([Append(run=RunId("r"), seq=4, body=b"other")]) == ["exists"]
        assert await backend.store.append([Append(run=RunId("r"), seq=5, body=b"5")]) == ["ok"]
