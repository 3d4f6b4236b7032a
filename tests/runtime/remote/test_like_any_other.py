"""A run whose body lives elsewhere is a run like any other: what one does to runs, done to one of those."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.runtime.remote.theirs import Body, Their, Theirs, Turn

from stepwell import Codec, Context, Retry, RunError, Signal, Stepwell, workflow
from stepwell.authoring.registry import Registry
from stepwell.authoring.remotes import RemoteWorkflow
from stepwell.cli.progress import wait_text
from stepwell.engine.timeline import MessageItem, StepItem
from stepwell.errors import WorkerError
from stepwell.formats.voyant import RunView, run_record
from stepwell.model.ids import RunId
from stepwell.ports import Wanted
from stepwell.runtime.handles import Handle
from stepwell.runtime.options import WorkerOptions
from stepwell.runtime.remote.viewing import remote_view
from stepwell.runtime.replaying import replay
from stepwell.testing.fixture import StepwellTest

go = Signal("go", Any)
broken: set[str] = set()


@pytest.fixture(autouse=True)
def _whole() -> None:
    broken.clear()


async def pipeline(turn: Turn) -> Any:
    """Steps, a wait, a step that may be broken, and an end that may be."""
    loaded = turn.step("load", {"total": 120})
    turn.change("increment", "begun")
    turn.waited(turn.sleep(60_000))
    (by,) = turn.waited(turn.signal("go"))
    turn.step("book", "booked")
    charged = turn.step("charge", 5, error=Their("refused", "E_CARD") if "charge" in broken else None)
    if "body" in broken:
        raise Their("no luck", "E_LUCK")
    return {"loaded": loaded, "by": by, "charged": charged}


DONE = {"loaded": {"total": 120}, "by": "ada", "charged": 5}


class Play:
    """An app in virtual time, and a worker of theirs."""

    def __init__(self, test: StepwellTest, worker: Theirs) -> None:
        self.test = test
        self.worker = worker
        self.app = test.app

    @property
    def effects(self) -> list[str]:
        """The steps that the worker ran."""
        return self.worker.effects

    async def start(self, **options: Any) -> Handle[Any]:
        """Start the first of its workflows."""
        return await self.test.start(self.workflow, {"b": 1}, **options)

    @property
    def workflow(self) -> Any:
        """As the app knows it."""
        return self.app.registry.find("pay")

    async def piped(self, **options: Any) -> Handle[Any]:
        """A pipeline after its waits."""
        handle = await self.start(**options)
        await self.test.sleep("61s")
        await handle.send(go, "ada")
        with contextlib.suppress(RunError):
            await handle.result()
        return handle

    async def record(self, run: str) -> dict[str, Any]:
        """The record of a run, from this app."""
        return await record_of(self.app, self.app.registry, run)


async def record_of(app: Stepwell, registry: Registry, run: str) -> dict[str, Any]:
    loaded, frames = await app.client.journal(RunId(run), after=0)
    opened = lambda raw: registry.codec.opened(raw, where="x")  # noqa: E731
    view = remote_view(registry, loaded.head, frames, opened)
    record = run_record(RunView(head=loaded.head, frames=frames, opened=opened, remote=view))
    return msgspec.json.decode(msgspec.json.encode(record))  # type: ignore[no-any-return]


def play(body: Callable[[Play], Coroutine[Any, Any, None]], workflow: Body = pipeline, **options: Any) -> None:
    worker = Theirs(pay=workflow)
    include = options.pop("include", None) or worker.workflows
    with StepwellTest(include=include, **options) as test:
        worker.serve(test.app)
        test.drive(body(Play(test, worker)))


# --- forks and retries


def test_a_fork_has_the_steps_before_the_one_that_it_begins_with() -> None:
    async def body(it: Play) -> None:
        handle = await it.piped()
        fork = await it.app.runs.fork(handle.id, from_step="charge")
        assert await it.app.handle(fork).result() == DONE
        assert it.effects == ["load", "book", "charge", "charge"]
        assert it.worker.requests[-1]["journal"]["stepResults"].keys() == {"load", "book"}

    play(body)


def test_a_fork_may_begin_with_an_invocation() -> None:
    async def body(it: Play) -> None:
        handle = await it.piped()
        fork = await it.app.runs.fork(handle.id, from_step="@invocation[1]")
        await it.test.sleep("61s")
        assert await it.app.handle(fork).result() == DONE  # the signal was accepted once
        assert it.effects == ["load", "book", "charge", "book", "charge"]

    play(body)


def test_a_result_that_was_edited_is_what_the_worker_gets() -> None:
    async def body(it: Play) -> None:
        handle = await it.piped()
        fork = await it.app.runs.fork(handle.id, edit={"book": "another"})
        assert await it.app.handle(fork).result() == DONE
        assert it.effects == ["load", "book", "charge", "charge"]
        assert it.worker.requests[-1]["journal"]["stepResults"]["book"]["output"] == "another"

    play(body)


def test_an_edit_mends_a_step_that_failed() -> None:
    async def body(it: Play) -> None:
        broken.add("charge")
        handle = await it.piped()
        fork = await it.app.runs.fork(handle.id, edit={"charge": 7})
        assert await it.app.handle(fork).result() == {**DONE, "charged": 7}
        assert "error" not in it.worker.requests[-1]["journal"]["stepResults"]["charge"]

    play(body)


@pytest.mark.parametrize(("what", "again"), [("charge", ["charge"]), ("body", [])])
def test_a_retry_keeps_what_was_settled_before_the_failure(what: str, again: list[str]) -> None:
    async def body(it: Play) -> None:
        broken.add(what)
        handle = await it.piped()
        assert (await it.app.runs.get(handle.id)).status == "failed"
        broken.clear()
        retry = await it.app.runs.retry(handle.id)
        assert await it.app.handle(retry).result() == DONE
        assert it.effects == ["load", "book", "charge", *again]
        record = await it.record(retry)
        assert (record["metadataAppliedCount"], record["journal"]["metadataState"]) == (1, {"begun": 1})

    play(body)


def test_a_retry_asks_a_worker_again_that_could_not_be_asked() -> None:
    async def body(it: Play) -> None:
        handle = await it.start()
        await it.test.sleep("61s")
        it.worker.faults = [WorkerError("down")] * 3
        await handle.send(go, "ada")
        with pytest.raises(RunError, match="down"):
            await handle.result()
        assert (await it.record(handle.id))["error"]["code"] == "handler_error"
        retry = await it.app.runs.retry(handle.id)
        assert await it.app.handle(retry).result() == DONE
        assert it.effects == ["load", "book", "charge"]

    play(body, include=[RemoteWorkflow("pay", worker_retry=Retry(attempts=3, first_delay="1s"))])


@pytest.mark.parametrize("what", ["charge", "body"])
def test_a_run_with_a_retry_policy_begins_again_where_it_failed(what: str) -> None:
    async def body(it: Play) -> None:
        broken.add(what)
        handle = await it.start()
        await it.test.sleep("61s")
        await handle.send(go, "ada")
        await it.test.sleep("1s")
        broken.clear()
        assert await handle.result() == DONE
        assert it.effects == ["load", "book", "charge", *(["charge"] if what == "charge" else [])]
        record = await it.record(handle.id)
        assert (record["status"], record["runMeta"]["attempt"]) == ("completed", 2)
        assert record["journal"]["waitpointsResolved"].keys() == {"sleep:1", "signal:go:2"}
        assert record["journal"]["metadataState"] == {"begun": 1}

    play(body, include=[RemoteWorkflow("pay", retry=Retry(attempts=2, first_delay="1h"))])


# --- steering


def test_a_run_that_is_paused_asks_nobody() -> None:
    async def body(it: Play) -> None:
        handle = await it.start()
        await it.test.sleep("1s")
        await it.app.runs.pause(handle.id)
        await it.test.sleep("10m")
        await handle.send(go, "ada")
        await it.test.sleep("1s")
        assert len(it.worker.requests) == 1
        record = await it.record(handle.id)
        assert [wait["clientWaitpointId"] for wait in record["pendingWaitpoints"]] == ["sleep:1"]
        await it.app.runs.resume(handle.id)
        assert await handle.result() == DONE

    play(body)


def test_a_run_that_is_terminated_asks_nobody_any_more() -> None:
    async def body(it: Play) -> None:
        it.worker.takes_ms = 60_000
        handle = await it.start()
        await it.test.sleep("1s")
        await it.app.runs.terminate(handle.id, "enough")
        await it.test.sleep("10m")
        assert (await it.app.runs.get(handle.id)).status == "terminated"
        assert (it.effects, len(it.worker.requests)) == ([], 1)
        assert (await it.record(handle.id))["status"] == "cancelled"

    play(body)


@pytest.mark.parametrize("takes_ms", [0, 3_600_000])
def test_the_time_of_a_run_runs_out_while_it_waits_and_while_its_worker_runs(takes_ms: int) -> None:
    """W-26."""

    async def body(it: Play) -> None:
        it.worker.takes_ms = takes_ms
        handle = await it.start()
        with pytest.raises(RunError, match="longer than its timeout"):
            await handle.result()
        record = await it.record(handle.id)
        assert (record["status"], record["error"]["code"], record["timeoutMs"]) == (
            "failed",
            "WORKFLOW_TIMEOUT",
            600_000,
        )
        assert len(it.worker.requests) == (2 if not takes_ms else 1)

    play(body, include=[RemoteWorkflow("pay", timeout="10m")])


def test_those_that_matter_more_are_asked_first() -> None:
    """W-26."""

    async def body(it: Play) -> None:
        for id, priority in (("low", 1), ("high", 9), ("middle", 5)):
            await it.test.start(it.workflow, id, id=id, priority=priority, delay="1h")
        await it.test.sleep("2h")
        assert it.effects == ["high", "middle", "low"]

    async def named(turn: Turn) -> Any:
        turn.step(turn.call.journal.origin.run)

    play(body, named)


# --- what is stored


class Rot:
    """A cipher of sorts."""

    def encrypt(self, data: bytes) -> bytes:
        return bytes(byte ^ 0x55 for byte in data)

    decrypt = encrypt


@workflow(id="pay.child")
async def child(ctx: Context, value: Any) -> Any:
    return value


async def secretive(turn: Turn) -> Any:
    turn.step("load", "hush-result", machine="hush-record")
    turn.change("set", "phase", "hush-metadata")
    turn.chunks("log", "hush-chunk", encoding="text")
    turn.waited(turn.invoke("pay.child", "hush-input"), turn.signal("go", 1_000))
    try:
        turn.step("charge", error=Their("hush-message", "HUSH_CODE"))
    except Their:
        turn.step("more", ["hush-more"])
    return "hush-output"


def test_nothing_of_a_remote_run_is_stored_in_clear() -> None:
    worker = Theirs(pay=secretive)
    with StepwellTest(include=[*worker.workflows, child], codec=Codec(cipher=Rot())) as test:
        worker.serve(test.app)

        async def main() -> None:
            handle = await test.start(worker.workflows[0], "hush-input")
            assert await handle.result() == "hush-output"
            assert worker.requests[-1]["journal"]["metadataState"] == {"phase": "hush-metadata"}
            record = await record_of(test.app, test.app.registry, handle.id)
            assert record["journal"]["stepResults"]["load"]["machine"] == "hush-record"
            assert record["journal"]["stepResults"]["charge"]["error"]["code"] == "HUSH_CODE"
            (loaded,) = await test.app.backend.store.load([wanted(handle.id)])
            raw = test.app.backend.store._store  # type: ignore[attr-defined]
            (stored,) = await raw.load([wanted(handle.id)])
            bodies = b"".join(body for _, body in stored.frames)
            assert loaded is not None
            assert b"hush" not in bodies.lower()
            page = await test.app.backend.streams.read(f"{handle.id}/log", 0, 10)
            assert b"hush" not in b"".join(page.items)

        test.drive(main())


def wanted(run: str) -> Wanted:
    return Wanted(RunId(run), 0)


def test_a_record_whose_key_is_gone_tells_of_what_it_can() -> None:
    worker = Theirs(pay=secretive)
    with StepwellTest(include=[*worker.workflows, child], codec=Codec(cipher=Rot())) as test:
        worker.serve(test.app)

        async def main() -> None:
            handle = await test.start(worker.workflows[0], "x")
            await handle.result()
            loaded, frames = await test.app.client.journal(handle.id, after=0)
            stranger = Registry(worker.workflows, Codec())
            assert remote_view(stranger, loaded.head, frames, lambda raw: raw) is None
            sealed = msgspec.Raw(b'{"$sealed":true}')
            record = run_record(RunView(head=loaded.head, frames=frames, opened=lambda _: sealed))
            assert [*record.journal.step_results] == ["load", "charge", "more"]
            assert record.invocation_count == 3
            assert "invoke:pay.child:1" in record.journal.waitpoints_resolved

        test.drive(main())


async def large(turn: Turn) -> Any:
    text = "x" * 200_000
    turn.step("load", text, machine="y" * 50_000)
    (got,) = turn.waited(turn.signal("go"))
    assert turn.journal["stepResults"]["load"]["output"] == text
    assert len(turn.journal["stepResults"]["load"]["machine"]) == 50_000
    return [text, got]


def test_large_values_are_as_good_as_small_ones() -> None:
    """W-05."""

    async def body(it: Play) -> None:
        handle = await it.start()
        await handle.send(go, "z" * 100_000)
        assert await handle.result() == ["x" * 200_000, "z" * 100_000]
        frames = [event async for event in it.app.runs.events(handle.id)]
        assert frames
        (stored,) = await it.app.backend.store.load([wanted(handle.id)])
        assert stored is not None
        assert max(len(frame) for _, frame in stored.frames) < 5_000
        assert len((await it.record(handle.id))["journal"]["stepResults"]["load"]["output"]) == 200_000

    play(body, large)


def test_namespaces_have_remote_runs_of_their_own() -> None:
    async def named(turn: Turn) -> Any:
        return turn._host.namespace

    async def body(it: Play) -> None:
        there = it.app.in_namespace("acme")
        it.worker.serve(there)
        handle = await there.start(RemoteWorkflow("pay"), 1, id="r")
        assert await handle.result() == "acme"
        assert await (await it.start(id="r")).result() == ""

    play(body, named)


# --- after a restart


def test_another_process_goes_on_with_a_run_that_waits(tmp_path: Path) -> None:
    worker = Theirs(pay=short)
    url = f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true"

    async def main() -> None:
        options: Any = {"include": worker.workflows, "worker_options": WorkerOptions(poll_ms=10)}
        async with Stepwell(url, **options) as app:
            worker.serve(app)
            handle = await app.start(worker.workflows[0], 1, id="r")
            while (await app.runs.get("r")).status != "waiting":
                await asyncio.sleep(0.005)
        async with Stepwell(url, **options) as app:
            worker.serve(app)
            handle = app.handle("r")
            await handle.send(go, 7)
            assert await handle.result(timeout="10s") == [1, 7]
        assert worker.effects == ["load"]

    asyncio.run(main())


async def short(turn: Turn) -> Any:
    return [turn.step("load", 1), *turn.waited(turn.signal("go"))]


# --- looked at


def test_a_server_that_knows_no_target_shows_the_same_record() -> None:
    async def body(it: Play) -> None:
        handle = await it.start()
        await it.test.sleep("1s")
        stranger = Registry([], it.app.registry.codec)
        assert await record_of(it.app, stranger, handle.id) == await it.record(handle.id)
        await it.test.sleep("61s")
        await handle.send(go, "ada")
        await handle.result()
        record = await it.record(handle.id)
        assert await record_of(it.app, stranger, handle.id) == record
        assert [*record["journal"]["stepResults"]] == ["load", "book", "charge"]

    play(body)


def test_a_timeline_has_the_steps_and_the_invocations() -> None:
    async def body(it: Play) -> None:
        handle = await it.piped()
        story = await it.app.runs.timeline(handle.id)
        assert [item.id for item in story.of(StepItem)] == [
            "load",
            "@invocation[1]",
            "@invocation[2]",
            "book",
            "charge",
            "@invocation[3]",
        ]
        assert [item.name for item in story.of(MessageItem)] == ["go"]
        assert {item.status for item in story.of(StepItem)} == {"completed"}

    play(body)


def test_what_it_waits_for_is_told_as_of_any_run() -> None:
    """The details of a wait mean the node of a blueprint, the fields of an event, or the run of a child."""

    async def many(turn: Turn) -> Any:
        turn.waited(turn.event("paid"), turn.token("tok9"), turn.signal("go"), turn.sleep(5_000))

    async def body(it: Play) -> None:
        handle = await it.start()
        await it.test.sleep("1s")
        head = await it.app.runs.get(handle.id)
        explanation = str(await it.app.runs.explain(handle.id))
        assert "for event paid\n" in explanation
        assert "for the completion of tok9\n" in explanation
        waits = {wait.kind: wait for wait in it.app.client.worker.active[handle.id].driver.waits()}  # type: ignore[union-attr]
        assert wait_text(head, waits["token"]) == "waits for tok9: stepwell complete TOKEN JSON"
        assert wait_text(head, waits["event"]) == "waits for event paid: stepwell publish paid JSON"

    play(body, many)


def test_an_export_is_a_run_elsewhere() -> None:
    async def body(it: Play) -> None:
        handle = await it.start()
        await it.test.sleep("1s")
        data = await it.app.runs.export(handle.id, with_seed=True)
        report = replay(data, RemoteWorkflow("pay"))
        assert (report.is_ok, [wait.name for wait in report.waits]) == (True, ["sleep:1"])
        copy = await it.app.runs.import_(data, id="copy")
        assert [step.id for step in (await it.app.runs.timeline(copy)).steps] == ["load", "@invocation[1]"]
        await it.app.runs.resume(copy)
        await it.test.sleep("61s")
        await it.app.handle(copy).send(go, "ada")
        assert await it.app.handle(copy).result() == DONE
        assert it.effects == ["load", "book", "charge"]

    play(body)
