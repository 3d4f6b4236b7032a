"""What operators do to runs works for runs of blueprints."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import run, until
from tests.runtime.conftest import OpenApp

from stepwell import (
    Blueprint,
    Context,
    FatalError,
    NodeContext,
    Retry,
    RunCancelledError,
    Signal,
    Stepwell,
    step,
    workflow,
)
from stepwell.cli import main
from stepwell.runtime.options import WorkerOptions
from stepwell.testing import StepwellTest, replay

go = Signal("go", dict)
calls: list[str] = []
broken: set[str] = set()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    broken.clear()


async def work(ctx: NodeContext[Any]) -> str:
    calls.append(ctx.id)
    if ctx.node_id in broken:
        raise ValueError(f"{ctx.node_id} is broken")
    return ctx.id


@step
async def slow() -> str:
    await asyncio.sleep(3600)
    return "never"


@workflow
async def helper(ctx: Context) -> Any:
    return await ctx.receive(go)


FLOW: Blueprint[Any, Any] = (
    Blueprint("steered").node("first", work).wait("ask", go).node("last", work).edge("first", "ask").edge("ask", "last")
)


async def waits(app: Stepwell, id: str) -> None:
    async def reached() -> bool:
        head = await app.runs.get(id)
        return head.status == "waiting" and bool(head.waiting) and head.owner is None

    await until(reached)


async def has_status(app: Stepwell, id: str, status: str) -> bool:
    return (await app.runs.get(id)).status == status


def test_a_paused_run_begins_no_node_until_it_is_resumed(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(FLOW) as app:
            handle = await app.start(FLOW, None, id="r")
            await waits(app, "r")
            await app.runs.pause("r", "an audit")
            await until(lambda: has_status(app, "r", "paused"))
            await handle.send(go, {})
            await until(lambda: _is_drained(app))
            assert calls == ["first"]
            assert (await app.runs.state("r")).status == "paused"

            await app.runs.resume("r")
            assert await handle.result() == "last"

    run(body())


async def _is_drained(app: Stepwell) -> bool:
    head = await app.runs.get("r")
    _, frames = await app.client.journal(head.id)
    return head.owner is None and len(frames) >= 4


def test_a_cancel_ends_the_run_and_its_children(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = Blueprint("family").node("child", helper).node("slow", slow).wait("ask")

    async def body() -> None:
        async with app_of(flow, helper) as app:
            handle = await app.start(flow, None, id="r")
            await until(lambda: _children(app))
            child = (await app.runs.list(parent="r")).runs[0].id
            await handle.cancel("no more")
            with pytest.raises(RunCancelledError, match="no more"):
                await handle.result()
            await until(lambda: has_status(app, child, "cancelled"))
            state = await app.runs.state("r")
            assert {node.status for node in state.nodes.values()} == {"cancelled"}
            assert state.error == "no more"

    run(body())


async def _children(app: Stepwell) -> bool:
    return bool((await app.runs.list(parent="r")).runs)


def test_terminate_ends_the_run_at_once(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(FLOW) as app:
            handle = await app.start(FLOW, None, id="r")
            await waits(app, "r")
            await app.runs.terminate("r")
            with pytest.raises(RunCancelledError, match="terminated"):
                await handle.result()

    run(body())


def test_a_retry_of_a_cancelled_run_goes_on_where_it_was(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(FLOW) as app:
            handle = await app.start(FLOW, None, id="r")
            await waits(app, "r")
            await handle.cancel()
            with pytest.raises(RunCancelledError):
                await handle.result()
            again = app.handle(await app.runs.retry("r"))
            await waits(app, again.id)
            await again.send(go, {})
            assert await again.result() == "last"
            assert calls == ["first", "last"]

    run(body())


def test_a_run_is_bounded_by_its_timeout() -> None:
    flow: Blueprint[Any, Any] = Blueprint("late", timeout="1h").wait("ask")

    with StepwellTest() as test:
        begin = test.now
        found = test.run_sync(flow, None)
        assert "the run took longer than its timeout" in str(found.error)
        assert test.now - begin == timedelta(hours=1)


def test_a_delayed_run_begins_when_it_is_due() -> None:
    flow: Blueprint[Any, Any] = Blueprint("delayed").sleep("nap", "1h").node("one", work).edge("nap", "one")

    async def body(test: StepwellTest) -> None:
        begin = test.now
        handle = await test.app.start(flow, None, delay="1d")
        assert await handle.result() == "one"
        assert test.now - begin == timedelta(days=1, hours=1)

    with StepwellTest() as test:
        test.drive(body(test))


def test_a_blueprint_is_tried_again_by_its_retry_policy() -> None:
    tries: list[str] = []

    @step(retry=None)
    async def second_time() -> str:
        tries.append("it")
        if len(tries) == 1:
            raise ValueError("not yet")
        return "now"

    @step(retry=None)
    async def fatal() -> None:
        raise FatalError("never")

    flow: Blueprint[Any, Any] = (
        Blueprint("again", retry=Retry(attempts=2, first_delay="1h", jitter=0.0))
        .node("first", work)
        .node("it", second_time)
        .edge("first", "it")
    )
    final: Blueprint[Any, Any] = Blueprint("final", retry=Retry(attempts=5)).node("fatal", fatal)

    with StepwellTest() as test:
        found = test.run_sync(flow, None)
        assert found.result == "now"
        assert calls == ["first"]
        assert test.run_sync(final, None).error is not None


def test_the_fixture_runs_blueprints_with_fakes_and_messages() -> None:
    @step
    async def charge(amount: int) -> int:
        raise AssertionError("no")

    flow: Blueprint[Any, Any] = (
        Blueprint("faked")
        .node("charge", charge, inputs={"amount": "amount"})
        .wait("ask", go)
        .batch("each", charge, over="items")
        .edge("charge", "ask")
        .edge("ask", "each")
    )

    with StepwellTest() as test:
        found = test.run_sync(
            flow,
            {"amount": 3, "items": [1, 2]},
            fakes={charge: lambda amount: amount * 100},
            messages=[(go, "1h", {})],
        )
        assert found.result == [100, 200]
        assert found.steps == ["charge", "each", "each"]

        found = test.run_sync(flow, {"amount": 3, "items": []}, fakes={charge: ValueError("no money")})
        assert "no money" in str(found.error)


def test_a_journal_is_replayed_against_the_blueprint() -> None:
    async def body() -> None:
        async with Stepwell("memory://", include=[FLOW]) as app:
            handle = await app.start(FLOW, None, id="r")
            await waits(app, "r")
            assert (await app.runs.replay("r")).is_ok
            open_journal = await app.runs.export("r")
            await handle.send(go, {})
            await handle.result()
            report = await app.runs.replay("r")
            assert (report.is_ok, report.error) == (True, None)
            journal = await app.runs.export("r", with_seed=True)

        assert replay(journal, FLOW).is_ok
        assert [wait.detail for wait in replay(open_journal, FLOW).waits] == ["ask", "ask"]
        bare: Blueprint[Any, Any] = Blueprint.from_json(FLOW.to_json().replace('"work"', '"gone"'))
        assert replay(journal, bare).error is not None

    run(body())


def test_a_replay_names_the_implementation_that_is_missing() -> None:
    document = {"id": "steered", "nodes": [{"id": "n", "uses": "elsewhere"}]}
    flow: Blueprint[Any, Any] = Blueprint.from_json(document, include=[{"elsewhere": work}])
    bare: Blueprint[Any, Any] = Blueprint.from_json(document)

    async def body() -> bytes:
        async with Stepwell("memory://", include=[flow]) as app:
            await (await app.start(flow, None, id="r")).result()
            return await app.runs.export("r")

    report = replay(run(body()), bare)
    assert not report.is_ok
    assert report.is_missing_code
    assert "this app has no implementation of 'elsewhere', which node 'n' uses" in (report.error or "")


FILE = """
from stepwell import Blueprint, NodeContext, Stepwell, step

async def work(ctx: NodeContext) -> str:
    return ctx.id

flow = Blueprint("checked", version="1").node("one", work).wait("ask").edge("one", "ask")
"""


BARE = """
from stepwell import Blueprint

flow = Blueprint.from_json({"id": "checked", "metadata": {"version": "1"}, "nodes": [{"id": "n", "uses": "other"}]})
"""


def test_check_replays_live_runs_of_blueprints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"flows_{time.monotonic_ns()}"
    (tmp_path / f"{name}.py").write_text(FILE)
    url = f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true"
    old: Blueprint[Any, Any] = Blueprint("checked", version="1").node("one", work).wait("ask").edge("one", "ask")

    async def body() -> None:
        async with Stepwell(url, include=[old], worker_options=WorkerOptions(cached_runs=0)) as app:
            await app.start(old, None, id="live")
            await waits(app, "live")
            done = await app.start(old, None, id="done")
            await waits(app, "done")
            await done.resume("ask")
            await done.result()

    run(body())
    assert main(["check", f"{name}.py", "--live", url]) == 0
    assert "1 of 1 live run replayed, none would break; the newest 1 finished run" in capsys.readouterr().err

    (tmp_path / f"{name}_bare.py").write_text(BARE)
    assert main(["check", f"{name}_bare.py", "--live", url]) == 1
    told = capsys.readouterr()
    assert "this app has no implementation of 'work', which node 'one' uses" in told.out + told.err
