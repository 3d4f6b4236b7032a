"""Appending and loading."""

from __future__ import annotations

from msgspec import Raw

from stepwell.model.ids import RunId
from stepwell.model.runs import Wait
from stepwell.ports import MAX_SEQ, Backend, HeadChange, Wanted
from stepwell.testing.contracts.running import (
    DAY_MS,
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
)

END = HeadChange(status="completed", wake_at=None, release=True, ended_at=5)


class AppendContract(Contract):
    """`append`."""

    @on_backend
    async def test_a_plain_frame_leaves_the_head_alone(self, backend: Backend) -> None:
        await owned_run(backend)
        before = await head_of(backend)
        assert await backend.store.append([frame(2, b"two")]) == ["ok"]
        assert await bodies(backend) == [b'"created"', b"two"]
        assert await head_of(backend) == before

    @on_backend
    async def test_the_identical_frame_is_as_good_as_written(self, backend: Backend) -> None:
        await owned_run(backend)
        for _ in range(3):
            assert await backend.store.append([frame(2, b"two")]) == ["ok"]
        assert await bodies(backend) == [b'"created"', b"two"]

    @on_backend
    async def test_another_frame_at_that_place_is_refused(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        await backend.store.append([frame(2, b"two")])
        assert await backend.store.append([frame(2, b"longer than two")]) == ["exists"]
        assert await backend.store.append([frame(2, b"2", owner=claim, mail=0)]) == ["exists"]
        assert await backend.store.append([frame(1, b"1")]) == ["exists"]
        assert await bodies(backend) == [b'"created"', b"two"]

    @on_backend
    async def test_a_frame_of_no_run_is_missing(self, backend: Backend) -> None:
        claim = claim_of(backend, 1)
        assert await backend.store.append([frame(2, run="absent")]) == ["missing"]
        assert await backend.store.append([frame(2, run="absent", owner=claim, head=END)]) == ["missing"]

    @on_backend
    async def test_a_frame_for_the_owner_only_needs_the_claim(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        assert await backend.store.append([frame(2, b"no", owner=claim_of(backend, "other"))]) == ["lost"]
        assert await backend.store.append([frame(2, b"yes", owner=claim)]) == ["ok"]
        await parked(backend, claim)
        assert await backend.store.append([frame(3, b"late", owner=claim)]) == ["lost"]
        assert await bodies(backend) == [b'"created"', b"yes"]

    @on_backend
    async def test_a_late_result_of_an_old_owner_is_welcome(self, backend: Backend) -> None:
        await created(backend, new_run())
        await claimed(backend, "old", lease_ms=0)
        new = await claimed(backend, "new")
        assert await backend.store.append([frame(2, b"late")]) == ["ok"]
        assert await backend.store.append([frame(2, b"activation", owner=new)]) == ["exists"]
        assert await backend.store.append([frame(3, b"activation", owner=new)]) == ["ok"]

    @on_backend
    async def test_a_frame_that_counts_messages_is_refused_when_there_are_more(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        await backend.store.deliver([message()])
        end = frame(2, b"end", owner=claim, mail=0, head=END)
        assert await backend.store.append([end]) == ["mail"]
        assert await bodies(backend) == [b'"created"']
        assert (await head_of(backend)).status == "running"
        assert await backend.store.append([frame(2, b"end", owner=claim, mail=1, head=END)]) == ["ok"]

    @on_backend
    async def test_a_head_change_comes_with_its_frame(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        waiting = (Wait(kind="child", name="c"),)
        change = HeadChange(
            status="paused", wake_at=77, takes=4, base=2, version="9", tags={"a": "b"},
            metadata={"m": Raw(b"[1,2]")}, waiting=waiting, error="oh",
        )  # fmt: skip
        assert await backend.store.append([frame(2, owner=claim, head=change)]) == ["ok"]
        head = await head_of(backend)
        assert (head.status, head.wake_at, head.takes, head.base) == ("paused", 77, 4, 2)
        assert (head.version, head.tags, head.metadata) == ("9", {"a": "b"}, {"m": Raw(b"[1,2]")})
        assert (head.waiting, head.error, head.seq, head.owner) == (waiting, "oh", 2, claim)

    @on_backend
    async def test_what_a_head_change_does_not_give_stays(self, backend: Backend) -> None:
        await created(backend, new_run(tags={"a": "b"}, error="e", version="1", metadata={"m": Raw(b"1")}))
        claim = await claimed(backend)
        before = await head_of(backend)
        assert await backend.store.append([frame(2, owner=claim, head=HeadChange(takes=0))]) == ["ok"]
        after = await head_of(backend)
        assert (after.takes, after.seq) == (0, 2)
        assert (after.tags, after.error, after.version) == (before.tags, "e", "1")
        assert (after.metadata, after.wake_at, after.owner) == (before.metadata, before.wake_at, claim)

    @on_backend
    async def test_the_end_settles_and_a_repeat_of_it_is_ok(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        end = frame(2, b"end", owner=claim, mail=0, head=END)
        assert await backend.store.append([end]) == ["ok"]
        head = await head_of(backend)
        assert head.is_settled
        assert (head.ended_at, head.seq) == (5, 2)
        assert await backend.store.append([end]) == ["ok"]
        assert await head_of(backend) == head

    @on_backend
    async def test_a_refused_end_changes_nothing(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        before = await head_of(backend)
        await backend.store.append([frame(2, b"result")])
        assert await backend.store.append([frame(2, b"end", owner=claim, mail=0, head=END)]) == ["exists"]
        assert await backend.store.append([frame(3, b"end", owner=claim_of(backend, 2), mail=0, head=END)]) == ["lost"]
        assert await head_of(backend) == before
        assert await bodies(backend) == [b'"created"', b"result"]

    @on_backend
    async def test_a_refused_frame_hurts_no_other(self, backend: Backend) -> None:
        a, b = await owned_run(backend, "a"), await owned_run(backend, "b")
        await created(backend, new_run("c"), new_run("d"))
        await backend.store.append([frame(2, b"there", run="c")])
        answers = await backend.store.append(
            [
                frame(2, b"a", run="a", owner=a, mail=0, head=END),
                frame(2, b"b", run="b", owner=a, head=END),
                frame(2, b"c", run="c"),
                frame(2, b"x", run="absent"),
                frame(2, b"d", run="d"),
            ]
        )
        assert answers == ["ok", "lost", "exists", "missing", "ok"]
        assert [(await head_of(backend, run)).status for run in ("a", "b")] == ["completed", "running"]
        assert await backend.store.append([frame(2, b"b", run="b", owner=b, head=END)]) == ["ok"]
        assert await bodies(backend, "d") == [b'"created"', b"d"]

    @on_backend
    async def test_many_frames_of_many_runs_go_in_one_call(self, backend: Backend) -> None:
        runs = [f"r{k}" for k in range(backend.store.limits.group)]
        await created(backend, *[new_run(run) for run in runs])
        answers = await backend.store.append([frame(2, run.encode(), run=run) for run in runs])
        assert answers == ["ok"] * len(runs)
        assert await bodies(backend, runs[-1]) == [b'"created"', runs[-1].encode()]

    @on_backend
    async def test_a_frame_holds_any_bytes_up_to_the_limit(self, backend: Backend) -> None:
        await owned_run(backend)
        large = bytes(range(256)) * (min(backend.store.limits.frame, 2**20) // 256)
        assert await backend.store.append([frame(2, large)]) == ["ok"]
        assert await bodies(backend) == [b'"created"', large]


class LoadContract(Contract):
    """`load`."""

    @on_backend
    async def test_runs_come_in_the_order_in_which_they_were_wanted(self, backend: Backend) -> None:
        await created(backend, new_run("a"), new_run("b"))
        found = await backend.store.load([Wanted(RunId(run)) for run in ("b", "absent", "a", "b")])
        assert [item and item.head.id for item in found] == ["b", None, "a", "b"]

    @on_backend
    async def test_only_frames_and_messages_after_those_that_are_known_come(self, backend: Backend) -> None:
        await created(backend, new_run("r", b"1", b"2", b"3"))
        await backend.store.deliver([message("x"), message("y")])
        found = await loaded(backend, after=2, mail=1)
        assert found.frames == ((3, b"3"),)
        assert [(item.no, item.id) for item in found.mail] == [(2, "y")]
        assert (await loaded(backend, after=3, mail=2)).frames == ()

    @on_backend
    async def test_no_frames_come_if_none_are_wanted(self, backend: Backend) -> None:
        await created(backend, new_run("r", b"1", b"2"))
        assert (await loaded(backend, after=MAX_SEQ)).frames == ()

    @on_backend
    async def test_no_frames_come_after_the_last_that_is_wanted(self, backend: Backend) -> None:
        await created(backend, new_run("r", b"1", b"2", b"3"), new_run("s", b"4"))
        wanted = [Wanted(RunId("r"), -1, until=1), Wanted(RunId("r"), 1, until=2), Wanted(RunId("r"), 2, until=1)]
        found = await backend.store.load([*wanted, Wanted(RunId("r"), -1, until=9), Wanted(RunId("r"), until=0)])
        assert [item and [seq for seq, _ in item.frames] for item in found] == [[1], [2], [], [1, 2, 3], []]

    @on_backend
    async def test_a_new_generation_begins_at_its_base(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        await backend.store.append([frame(2, b"2")])
        await backend.store.append([frame(3, b"3", owner=claim, mail=0, head=HeadChange(base=3))])
        await backend.store.append([frame(4, b"4")])
        assert (await loaded(backend)).frames == ((3, b"3"), (4, b"4"))
        assert (await loaded(backend, after=1)).frames == ((3, b"3"), (4, b"4"))
        assert (await loaded(backend, after=3)).frames == ((4, b"4"),)
        assert await bodies(backend) == [b'"created"', b"2", b"3", b"4"]

    @on_backend
    async def test_runs_do_not_see_each_others_frames(self, backend: Backend) -> None:
        await created(backend, new_run("a", b"a1", b"a2"), new_run("b", b"b1"), new_run("c", b"c1", b"c2"))
        assert [await bodies(backend, run) for run in "abc"] == [[b"a1", b"a2"], [b"b1"], [b"c1", b"c2"]]

    @on_backend
    async def test_the_summary_is_exact_once_the_run_is_let_go(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        await backend.store.append([frame(2)])
        wake_at = backend.clock.now() + DAY_MS
        assert await parked(backend, claim, wake_at=wake_at, seq=2, status="waiting") == "ok"
        head = await head_of(backend)
        assert (head.seq, head.status, head.created_at) == (2, "waiting", PAST)
