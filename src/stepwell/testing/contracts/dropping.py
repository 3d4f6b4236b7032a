"""After its connection is cut, a backend says so or goes on; it recovers, gives no wrong answer and loses nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from stepwell.errors import BackendError
from stepwell.model.ids import RunId
from stepwell.model.runs import RunQuery
from stepwell.ports import Backend, Chunks, Delivered, Job, Received, Wanted
from stepwell.testing.contracts.running import (
    ANY,
    LEASE_MS,
    Contract,
    bodies,
    claim_of,
    created,
    frame,
    head_of,
    inbox,
    message,
    new_run,
    on_backend,
    owned_run,
)

R = TypeVar("R")

TRIES = 20
PAUSE_S = 0.005
"""After the first try; it doubles."""
PAUSE_S_MAX = 0.5
MOMENT_S = 0.05
CALL_S = 10.0


async def insisted(call: Callable[[], Awaitable[R]]) -> R:
    """Repeat a call while it raises `BackendError`. Any other error fails the test, and so does an endless call."""
    for tried in range(TRIES):
        try:
            async with asyncio.timeout(CALL_S):
                return await call()
        except BackendError:
            await asyncio.sleep(min(PAUSE_S * 2**tried, PAUSE_S_MAX))
    async with asyncio.timeout(CALL_S):
        return await call()


class DroppingContract(Contract):
    """Cutting connections; for all ports."""

    async def each(self, backend: Backend, calls: dict[str, Callable[[], Awaitable[object]]]) -> dict[str, object]:
        """Cut before each of these calls, and insist on it. All works again after that."""
        answers: dict[str, object] = {}
        for name, call in calls.items():
            await self.disconnect(backend)
            answers[name] = await insisted(call)
        await self.recovered(backend)
        return answers

    async def recovered(self, backend: Backend) -> None:
        """Wait until a call of each kind works."""
        await insisted(lambda: backend.store.release("no name", "nobody"))
        await insisted(lambda: backend.store.resolve("no name"))
        await insisted(lambda: backend.store.load([Wanted(RunId("no run"))]))
        await insisted(lambda: backend.store.search(RunQuery(limit=1)))
        await insisted(lambda: backend.queue.receive(["no queue"], limit=1))
        await insisted(lambda: backend.coordination.get("no key"))
        await insisted(lambda: backend.blobs.get("no/key"))
        await insisted(lambda: backend.streams.read("no stream", 0, 1))


class StoreDroppingContract(DroppingContract, needs="disconnect"):
    """Runs."""

    @on_backend
    async def test_each_reading_call_answers_right_after_a_cut(self, backend: Backend) -> None:
        store = backend.store
        await created(backend, new_run("r", b"1", b"2", tags={"t": "1"}))
        await store.deliver([message("m", b"hello")])
        await store.reserve("n", "h")
        answers = await self.each(
            backend,
            {
                "bodies": lambda: bodies(backend),
                "inbox": lambda: inbox(backend),
                "peek_due": lambda: store.peek_due(backend.clock.now(), 5),
                "search": lambda: store.search(RunQuery(tag=(("t", "1"),))),
                "resolve": lambda: store.resolve("n"),
                "absent": lambda: store.resolve("absent"),
            },
        )
        head = await head_of(backend)
        assert answers == {
            "bodies": [b"1", b"2"],
            "inbox": await inbox(backend),
            "peek_due": await store.peek_due(backend.clock.now(), 5),
            "search": await store.search(RunQuery(tag=(("t", "1"),))),
            "resolve": "h",
            "absent": None,
        }
        assert head.mail == 1

    @on_backend
    async def test_each_writing_call_can_be_repeated_after_a_cut(self, backend: Backend) -> None:
        store = backend.store
        claim = await owned_run(backend)
        await created(backend, new_run("gone", status="failed", wake_at=None))
        new = new_run("s", b"1")
        answers = await self.each(
            backend,
            {
                "create": lambda: store.create([new]),
                "append": lambda: store.append([frame(2, b"2", owner=claim)]),
                "deliver": lambda: store.deliver([message()]),
                "renew": lambda: store.renew([(RunId("r"), claim)], LEASE_MS),
                "reserve": lambda: store.reserve("n", "h"),
                "release": lambda: store.release("n", "h"),
                "delete": lambda: store.delete([RunId("gone")]),
            },
        )
        assert answers["create"] in ([None], [new.head])
        assert answers["append"] == ["ok"]
        assert answers["deliver"] in ([Delivered("ok", claim)], [Delivered("duplicate", claim)])
        assert (answers["renew"], answers["reserve"], answers["delete"]) == ([1], "h", [True])
        assert await bodies(backend) == [b'"created"', b"2"]
        assert [item.id for item in await inbox(backend)] == ["m"]
        assert await store.resolve("n") is None

    @on_backend
    async def test_a_take_after_a_cut_takes_nothing_twice(self, backend: Backend) -> None:
        await created(backend, *[new_run(f"r{k}") for k in range(5)])
        taken: list[str] = []
        for k in range(5):
            await self.disconnect(backend)
            claim = claim_of(backend, k)
            heads = (await insisted(lambda: backend.store.take(claim, lease_ms=LEASE_MS, limit=1, serves=ANY))).heads  # noqa: B023
            taken += [head.id for head in heads]
        await self.recovered(backend)
        assert len(taken) == len(set(taken))
        assert {str((await head_of(backend, id)).owner)[:-2] for id in taken} == {backend.store.identity}

    @on_backend
    async def test_what_was_acknowledged_before_a_cut_is_there_after_it(self, backend: Backend) -> None:
        await created(backend, new_run())
        for seq in range(2, 8):
            assert await insisted(lambda: backend.store.append([frame(seq, b"%d" % seq)])) == ["ok"]  # noqa: B023
            await insisted(lambda: backend.store.deliver([message(f"m{seq}")]))  # noqa: B023
            await self.disconnect(backend)
            assert len(await insisted(lambda: bodies(backend))) == seq
            assert len(await insisted(lambda: inbox(backend))) == seq - 1

    @on_backend
    async def test_calls_that_are_under_way_end_and_can_be_repeated(self, backend: Backend) -> None:
        store = backend.store
        runs = [f"r{k}" for k in range(20)]
        await created(backend, *[new_run(run) for run in runs])
        calls = [asyncio.ensure_future(store.append([frame(2, run.encode(), run=run)])) for run in runs]
        calls += [asyncio.ensure_future(store.append([frame(2, b"other", run=run)])) for run in runs[:5]]
        await asyncio.sleep(0)
        await self.disconnect(backend)
        async with asyncio.timeout(CALL_S):
            answers = await asyncio.gather(*calls, return_exceptions=True)
        await self.recovered(backend)
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        assert [error for error in errors if not isinstance(error, BackendError)] == []
        for run, answer in zip(runs, answers, strict=False):
            again = await insisted(lambda: store.append([frame(2, run.encode(), run=run)]))  # noqa: B023
            assert again == ["ok"] or (answer != ["ok"] and run in runs[:5])
            assert len(await bodies(backend, run)) == 2

    @on_backend
    async def test_leases_are_renewed_from_another_thread_after_a_cut(self, backend: Backend) -> None:
        claim = await owned_run(backend)
        answers: list[int | None] = []

        def renew() -> None:
            async def renewal() -> list[int | None]:
                return await insisted(lambda: backend.store.renew([(RunId("r"), claim)], LEASE_MS))

            answers.extend(asyncio.run(renewal()))

        for _ in range(2):
            thread = threading.Thread(target=renew)
            thread.start()
            await asyncio.to_thread(thread.join)
            await self.disconnect(backend)
        thread = threading.Thread(target=renew)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert answers == [0, 0, 0]

    @on_backend
    async def test_a_backend_that_was_cut_off_can_be_closed(self, backend: Backend) -> None:
        await created(backend, new_run())
        await self.disconnect(backend)
        async with asyncio.timeout(CALL_S):
            await backend.close()
            await backend.close()


class QueueDroppingContract(DroppingContract, needs="disconnect"):
    """Jobs and notices."""

    @on_backend
    async def test_jobs_come_after_a_cut_at_least_once(self, backend: Backend) -> None:
        queue = backend.queue
        await queue.publish("q", [Job(b"before")])
        await self.disconnect(backend)
        await insisted(lambda: queue.publish("q", [Job(b"after")]))
        bodies: set[bytes] = set()
        for _ in range(TRIES):
            await self.disconnect(backend)
            received = await insisted(lambda: queue.receive(["q"], limit=1, visibility_ms=1000, wait_ms=500))
            await self.disconnect(backend)
            await insisted(lambda: queue.ack([item.receipt for item in received]))  # noqa: B023
            bodies |= {item.body for item in received}
            if bodies == {b"before", b"after"}:
                return
        raise AssertionError(f"of two jobs came {bodies}")

    @on_backend
    async def test_a_receiver_that_waits_at_a_cut_says_so_or_gets_its_job(self, backend: Backend) -> None:
        queue = backend.queue
        waiting = asyncio.ensure_future(queue.receive(["q"], limit=1, wait_ms=2000))
        await asyncio.sleep(MOMENT_S)
        await self.disconnect(backend)
        await asyncio.sleep(MOMENT_S)
        await insisted(lambda: queue.publish("q", [Job(b"1")]))
        received: list[Received] = []
        try:
            async with asyncio.timeout(CALL_S):
                received = await waiting
        except BackendError:
            received = []
        received = received or await insisted(lambda: queue.receive(["q"], limit=1, wait_ms=2000))
        assert [item.body for item in received] == [b"1"]

    @on_backend
    async def test_a_listener_hears_again_after_a_cut(self, backend: Backend) -> None:
        listener = backend.queue.listen("t")
        await backend.queue.notify(["t"])
        async with asyncio.timeout(CALL_S):
            await anext(listener)
        await self.disconnect(backend)
        await asyncio.sleep(MOMENT_S)
        heard = asyncio.ensure_future(anext(listener))
        for _ in range(TRIES):
            await insisted(lambda: backend.queue.notify(["t"]))
            await asyncio.wait({heard}, timeout=MOMENT_S)
            if heard.done():
                return
        heard.cancel()
        raise AssertionError("no notice was heard any more")


class CoordinationDroppingContract(DroppingContract, needs="disconnect"):
    """Keys."""

    @on_backend
    async def test_each_call_of_keys_answers_after_a_cut(self, backend: Backend) -> None:
        keys = backend.coordination
        await keys.set_if_not_exist("k", "1")
        answers = await self.each(
            backend,
            {
                "get": lambda: keys.get("k"),
                "set": lambda: keys.set_if_not_exist("k", "2"),
                "extend": lambda: keys.extend_ttl("k", LEASE_MS),
                "absent": lambda: keys.get("absent"),
                "increment": lambda: keys.increment("n"),
            },
        )
        counted = answers.pop("increment")
        assert answers == {"get": "1", "set": False, "extend": True, "absent": None}
        assert isinstance(counted, int)
        assert counted >= 1  # a call that was cut may have counted
        assert await keys.increment("n") > counted


class BlobsDroppingContract(DroppingContract, needs="disconnect"):
    """Blobs."""

    @on_backend
    async def test_each_call_of_blobs_answers_after_a_cut(self, backend: Backend) -> None:
        blobs = backend.blobs
        await blobs.put("run/a", b"a")
        answers = await self.each(
            backend,
            {
                "get": lambda: blobs.get("run/a"),
                "absent": lambda: blobs.get("run/absent"),
                "put": lambda: blobs.put("run/b", b"b"),
                "delete": lambda: blobs.delete("run/a"),
            },
        )
        assert answers == {"get": b"a", "absent": None, "put": None, "delete": None}
        assert [await blobs.get(key) for key in ("run/a", "run/b")] == [None, b"b"]


class StreamsDroppingContract(DroppingContract, needs="disconnect"):
    """Streams."""

    @on_backend
    async def test_each_call_of_streams_answers_after_a_cut(self, backend: Backend) -> None:
        streams = backend.streams
        await streams.append("s", 0, [b"0"])
        await streams.append("gone", 0, [b"0"])
        answers = await self.each(
            backend,
            {
                "read": lambda: streams.read("s", 0, 5),
                "taken": lambda: streams.append("s", 0, [b"other"]),
                "append": lambda: streams.append("s", 1, [b"1"]),
                "close": lambda: streams.close("s"),
                "delete": lambda: streams.delete("gone"),
            },
        )
        appended = answers.pop("append")  # False, if a call that was cut had written it
        assert appended in (True, False)
        assert answers == {"read": Chunks((b"0",), 1), "taken": False, "close": None, "delete": None}
        assert await streams.read("s", 0, 5) == Chunks((b"0", b"1"), 2, closed=True)
        assert await streams.read("gone", 0, 5) == Chunks((), 0)
