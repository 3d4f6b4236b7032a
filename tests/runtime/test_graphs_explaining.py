"""`explain` of blueprints' runs speaks in nodes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.helpers import run, until

from stepwell import Blueprint, Context, Event, NodeContext, Retry, RunError, Signal, Stepwell, step, workflow
from stepwell.engine.timeline import MessageItem
from stepwell.runtime.explaining import Explanation
from stepwell.runtime.options import WorkerOptions

approval = Signal("approval", dict)
paid = Event("paid", dict)


async def fine(ctx: NodeContext[Any]) -> str:
    return "fine"


@step(retry=None)
async def broken() -> None:
    raise ValueError("never")


@step(retry=Retry(attempts=3, first_delay="1h"))
async def flaky() -> None:
    raise ValueError("not yet")


@step
async def slow() -> None:
    await asyncio.sleep(3600)


@workflow
async def helper(ctx: Context) -> Any:
    return await ctx.receive(approval)


async def explained(flow: Blueprint[Any, Any], *include: object) -> Explanation:
    options = WorkerOptions(grace_ms=1)
    async with Stepwell("memory://", include=[flow, *include], worker_options=options) as app:
        await app.start(flow, None, id="r")

        async def stands() -> bool:
            head = await app.runs.get("r")
            return head.is_settled or (bool(head.waiting) and head.owner is None)

        await until(stands)
        return await app.runs.explain("r")


def test_a_node_that_waits_is_named_with_the_command_that_answers_it() -> None:
    flow: Blueprint[Any, Any] = (
        Blueprint("ask")
        .wait("approve", approval, timeout="2d")
        .node("yes", fine)
        .node("no", fine)
        .edge("approve", "yes", action="yes")
        .edge("approve", "no", action="no")
    )
    found = run(explained(flow))

    assert found.headline.startswith("waits: node approve waits for an answer or signal approval, for 1d23h")
    assert found.cure == "stepwell runs resume r --node approve --action yes|no --output JSON"


def test_every_kind_of_waiting_has_its_sentence() -> None:
    flow: Blueprint[Any, Any] = (
        Blueprint("many")
        .wait("pay", paid)
        .webhook("hook")
        .wait("called")
        .edge("hook", "called")
        .sleep("nap", "1h")
        .node("child", helper)
        .node("flaky", flaky)
        .node("try", broken, fallback="calm")
        .node("calm", fine)
        .node("bad", broken)
    )
    facts = "\n".join(run(explained(flow, helper)).facts)

    assert "node pay waits for an answer or event paid or signal paid" in facts
    assert "node called waits for an answer or a call of webhook hook" in facts
    assert "node nap goes on in 59m" in facts
    assert "(it sleeps)" in facts
    assert "node child waits for child run c" in facts
    assert "node flaky: attempt 1 failed (ValueError: not yet); the next in " in facts
    assert "node try failed (ValueError: never); calm took over" in facts
    assert "node bad failed: ValueError: never" in facts


def test_a_failed_run_lists_its_failed_nodes() -> None:
    flow: Blueprint[Any, Any] = Blueprint("bad").node("one", broken).node("two", broken)
    found = run(explained(flow))

    assert found.headline == "failed"
    assert "node one failed: ValueError: never" in found.facts
    assert "node two failed: ValueError: never" in found.facts


def test_nodes_that_run_are_named() -> None:
    flow: Blueprint[Any, Any] = (
        Blueprint("busy").node("slow", slow).batch("each", slow, over="items").node("fine", fine)
    )

    async def body() -> Explanation:
        options = WorkerOptions(grace_ms=1)
        async with Stepwell("memory://", include=[flow], worker_options=options) as app:
            await app.start(flow, {"items": [1, 2]}, id="r")

            async def has_begun() -> bool:
                return (await app.runs.state("r")).nodes["fine"].status == "completed"

            await until(has_begun)
            return await app.runs.explain("r")

    facts = run(body()).facts
    assert "node slow runs" in facts
    assert "node each_scatter runs, 0 of 2 items are done" in facts
    assert any(fact.startswith("the last node to finish was fine") for fact in facts)


def test_a_missing_implementation_is_named_wherever_one_asks(tmp_path: Path) -> None:
    text = {"id": "far", "nodes": [{"id": "n", "uses": "elsewhere"}]}
    here: Blueprint[Any, Any] = Blueprint.from_json(text, include=[{"elsewhere": fine}])
    there: Blueprint[Any, Any] = Blueprint.from_json(text)
    url = f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true"

    async def body() -> tuple[Explanation, Explanation, str]:
        async with Stepwell(url, include=[there], worker=False) as starter:
            await starter.start(there, None, id="r")
            due = await starter.runs.explain("r")
        async with Stepwell(url, include=[there]) as lacking:
            lacking.handle("r")
            await until(lambda: _has_error(lacking))
            failed = await lacking.runs.explain("r")
        async with Stepwell(url, include=[here]) as having:
            return due, failed, await having.handle("r").result()

    due, failed, result = run(body())
    assert due.headline.startswith("is due")
    assert any("this app has no implementation of 'elsewhere', which node 'n' uses" in fact for fact in due.facts)
    assert failed.headline.startswith("could not be driven; next try in ")
    assert any("this app has no implementation of 'elsewhere', which node 'n' uses" in fact for fact in failed.facts)
    assert "start a worker that has it" in failed.cure
    assert result == "fine"


async def _has_error(app: Stepwell) -> bool:
    return bool((await app.runs.get("r")).error)


def test_an_unknown_version_is_told_with_those_that_are_here(tmp_path: Path) -> None:
    two: Blueprint[Any, Any] = Blueprint("flow", version="2").node("n", fine)
    one: Blueprint[Any, Any] = Blueprint("flow", version="1").node("n", fine)
    url = f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true"

    async def body() -> Explanation:
        async with Stepwell(url, include=[two], worker=False) as starter:
            await starter.start(two, None, id="r")
        async with Stepwell(url, include=[one], worker=False) as app:
            return await app.runs.explain("r")

    found = run(body())
    assert "has workflow flow@2" in found.headline
    assert "this app has no code for flow@2; it has flow@1" in found.facts


def test_runs_fail_with_the_node_named() -> None:
    flow: Blueprint[Any, Any] = Blueprint("bad").node("one", broken)

    async def body() -> str:
        async with Stepwell("memory://", include=[flow]) as app:
            try:
                return str(await (await app.start(flow, None)).result())
            except RunError as error:
                return str(error)

    assert "node 'one': never" in run(body())


def test_the_timeline_tells_answers_from_hooks() -> None:
    flow: Blueprint[Any, Any] = Blueprint("ask").wait("approve")

    async def body() -> list[tuple[str, str]]:
        async with Stepwell("memory://", include=[flow]) as app:
            handle = await app.start(flow, None, id="r")
            await until(lambda: _waits(app))
            await handle.resume("approve")
            await handle.result()
            return [(item.source, item.name) for item in (await app.runs.timeline("r")).of(MessageItem)]

    assert run(body()) == [("answer", "approve")]


async def _waits(app: Stepwell) -> bool:
    return bool((await app.runs.state("r")).waiting)
