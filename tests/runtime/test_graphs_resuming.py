"""Answers to wait nodes: once, along an edge, by whoever comes first."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import run, until
from tests.runtime.conftest import OpenApp

from stepwell import (
    Blueprint,
    CodecError,
    Context,
    DefinitionError,
    NodeContext,
    RunConflictError,
    RunNotFoundError,
    Signal,
    Stepwell,
    workflow,
)

approval = Signal("approval", dict)


async def echo(ctx: NodeContext[Any]) -> Any:
    return {ctx.node_id: ctx.input}


@workflow
async def plain(ctx: Context) -> None:
    await ctx.receive(approval)


ASK: Blueprint[Any, Any] = (
    Blueprint("ask")
    .wait("approve", approval)
    .node("yes", echo)
    .node("no", echo)
    .edge("approve", "yes", action="yes")
    .edge("approve", "no", action="no")
)
LAST: Blueprint[Any, Any] = Blueprint("last").wait("end")


async def waits(app: Stepwell, id: str, *names: str) -> None:
    async def reached() -> bool:
        return {wait.detail for wait in (await app.runs.get(id)).waiting} >= set(names)

    await until(reached)


def test_the_answer_is_the_output_and_selects_the_edges(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(ASK) as app:
            handle = await app.start(ASK, None, id="a")
            await waits(app, "a", "approve")

            assert await handle.resume("approve", action="no", output={"by": "ada"}) is True
            assert await handle.result() == {"no": {"by": "ada"}}

    run(body())


def test_the_same_answer_counts_once_and_another_is_refused(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(ASK) as app:
            handle = await app.start(ASK, None, id="a")
            await waits(app, "a", "approve")
            answers = await asyncio.gather(*(app.runs.answer("a", "approve", action="yes") for _ in range(5)))
            assert sorted(answers) == [False, False, False, False, True]
            assert await handle.result() == {"yes": None}

            assert await handle.resume("approve", action="yes") is False
            with pytest.raises(RunConflictError, match=r"node 'approve' of run a has another answer already: .*yes"):
                await handle.resume("approve", action="no")

    run(body())


def test_of_two_different_answers_one_wins(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(ASK) as app:
            handle = await app.start(ASK, None, id="a")
            await waits(app, "a", "approve")
            answers = await asyncio.gather(
                handle.resume("approve", action="yes"), handle.resume("approve", action="no"), return_exceptions=True
            )
            winner = ("yes", "no")[answers.index(True)]

            assert [type(answer) for answer in answers if answer is not True] == [RunConflictError]
            assert await handle.result() == {winner: None}

    run(body())


def test_a_paused_run_takes_the_answer_for_later(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(ASK) as app:
            handle = await app.start(ASK, None, id="a")
            await waits(app, "a", "approve")
            await app.runs.pause("a")
            await until(lambda: _is(app, "a", "paused"))

            assert await handle.resume("approve", action="yes") is True
            assert await handle.resume("approve", action="yes") is False
            with pytest.raises(RunConflictError, match="another answer"):
                await handle.resume("approve", action="no")
            await app.runs.resume("a")
            assert await handle.result() == {"yes": None}

    run(body())


async def _is(app: Stepwell, id: str, status: str) -> bool:
    return (await app.runs.get(id)).status == status


def test_a_node_that_does_not_wait_is_a_conflict_that_says_what_does(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = (
        Blueprint("two")
        .wait("first", approval)
        .wait("second")
        .wait("other")
        .edge("first", "second", action="on")
        .edge("first", "other", action="off")
    )

    async def body() -> None:
        async with app_of(flow) as app:
            handle = await app.start(flow, None, id="t")
            await waits(app, "t", "first")
            with pytest.raises(RunConflictError, match="does not wait: it is pending; waiting now: first"):
                await handle.resume("second")

            await handle.send(approval, {"action": "on"})
            await waits(app, "t", "second")
            with pytest.raises(RunConflictError, match=r"'first' of run t .waiting. does not wait: it is completed"):
                await handle.resume("first", action="on")
            with pytest.raises(RunConflictError, match="it is skipped; waiting now: second"):
                await handle.resume("other")

            await handle.resume("second")
            await handle.result()
            with pytest.raises(RunConflictError, match=r"of run t .completed. does not wait: it is skipped; nothing"):
                await handle.resume("other")

    run(body())


def test_a_run_that_has_not_begun_takes_no_answer(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(ASK) as app:
            handle = await app.start(ASK, None, id="a", delay="1h")
            with pytest.raises(RunConflictError, match="it is pending"):
                await handle.resume("approve", action="yes")

    run(body())


def test_an_action_without_an_edge_is_refused_before_anything_is_sent(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(ASK, LAST) as app:
            handle = await app.start(ASK, None, id="a")
            await waits(app, "a", "approve")
            with pytest.raises(DefinitionError, match="action 'maybe': node 'approve' listens to: yes, no"):
                await handle.resume("approve", action="maybe")
            assert (await app.runs.get("a")).mail == 0

            free = await app.start(LAST, None, id="l")
            await waits(app, "l", "end")
            assert await free.resume("end", action="anything", output=1)
            assert await free.result() == 1

    run(body())


def test_what_cannot_be_answered_is_named(app_of: OpenApp) -> None:
    async def body() -> None:
        async with app_of(ASK, plain) as app:
            handle = await app.start(ASK, None, id="a")
            await app.start(plain, id="p")
            await waits(app, "a", "approve")
            with pytest.raises(DefinitionError, match="run a has no node 'aprove'; its wait nodes: approve"):
                await handle.resume("aprove")
            with pytest.raises(DefinitionError, match=r"node 'yes' is no wait node \(echo\); its wait nodes: approve"):
                await handle.resume("yes")
            with pytest.raises(CodecError, match="the output of node 'approve'"):
                await handle.resume("approve", output=object())
            with pytest.raises(DefinitionError, match="workflow plain is a function"):
                await app.handle("p").resume("approve")
            with pytest.raises(RunNotFoundError):
                await app.handle("nobody").resume("approve")

    run(body())


def test_in_a_loop_the_id_means_the_visit_that_waits(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = (
        Blueprint("rounds").wait("ask").loop("again", start="ask", end="ask", condition="ask !== 'stop'")
    )

    async def body() -> None:
        async with app_of(flow) as app:
            handle = await app.start(flow, None, id="r")
            await waits(app, "r", "ask")
            assert await handle.resume("ask", output="on")
            await waits(app, "r", "ask:2")
            assert not await handle.resume("ask:1", output="on")
            with pytest.raises(RunConflictError, match="another answer"):
                await handle.resume("ask:1", output="off")
            with pytest.raises(RunConflictError, match=r"by now \(visit ask:2\)"):
                await handle.resume("ask:3")
            assert await handle.resume("ask", output="on")
            await waits(app, "r", "ask:3")
            assert await handle.resume("ask:3", output="stop")
            assert await handle.result() == "stop"

    run(body())


def test_nodes_in_subflows_are_named_by_their_path(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = Blueprint("outer").subflow("left", ASK).subflow("right", ASK)

    async def body() -> None:
        async with app_of(flow) as app:
            handle = await app.start(flow, None, id="o")
            await waits(app, "o", "left/approve", "right/approve")
            with pytest.raises(DefinitionError, match="has no node 'approve'; its wait nodes: left/approve, right/a"):
                await handle.resume("approve", action="yes")
            assert await handle.resume("right/approve", action="no")
            assert await handle.resume("left/approve", action="yes", output=2)
            assert await handle.result() == {"left": {"yes": 2}, "right": {"no": None}}

    run(body())


def test_a_fallback_that_waits_listens_to_the_edges_of_what_it_stands_for(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = (
        Blueprint("rescue")
        .node("try", _fails, fallback="ask")
        .wait("ask")
        .node("yes", echo)
        .edge("try", "yes", action="yes")
    )

    async def body() -> None:
        async with app_of(flow) as app:
            handle = await app.start(flow, None, id="f")
            await waits(app, "f", "ask")
            with pytest.raises(DefinitionError, match="listens to: yes"):
                await handle.resume("ask", action="no")
            assert await handle.resume("ask", action="yes", output=1)
            assert await handle.result() == {"yes": 1}

    run(body())


async def _fails(ctx: NodeContext[Any]) -> None:
    raise ValueError("never")


def test_a_node_that_waits_twice_is_told_apart_by_visits(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = (
        Blueprint("rescue").node("one", _fails, fallback="ask").node("two", _fails, fallback="ask").wait("ask")
    )

    async def body() -> None:
        async with app_of(flow) as app:
            handle = await app.start(flow, None, id="f")
            await waits(app, "f", "ask", "ask:2")
            assert await handle.resume("ask:2", output=2)
            assert await handle.resume("ask", output=1)
            assert await handle.result() == {"one": 1, "two": 2}

    run(body())


def test_subflows_that_wait_side_by_side_need_their_visit() -> None:
    flow: Blueprint[Any, Any] = (
        Blueprint("outer")
        .node("one", _fails, fallback="sub")
        .node("two", _fails, fallback="sub")
        .subflow("sub", LAST)
        .sleep("nap", "1s")
    )

    async def body() -> None:
        async with Stepwell("memory://", include=[flow]) as app:
            handle = await app.start(flow, None, id="o")
            await until(lambda: _two_wait(app))
            with pytest.raises(DefinitionError, match="has no node 'nowhere/end'; its wait nodes: sub/end"):
                await handle.resume("nowhere/end")
            assert await handle.resume("sub:2/end", output=2)
            assert await handle.resume("sub/end", output=1)
            assert await handle.result() is not None

    run(body())


async def _two_wait(app: Stepwell) -> bool:
    return len((await app.runs.state("o")).waiting) == 2


def test_a_run_that_another_process_holds_takes_the_answer(tmp_path: Path) -> None:
    flow: Blueprint[Any, Any] = Blueprint("held").wait("ask", timeout="5s")
    url = f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true"

    async def body() -> None:
        async with (
            Stepwell(url, include=[flow]) as owner,
            Stepwell(url, worker=False) as other,
        ):
            handle = await owner.start(flow, None, id="h")
            await until(lambda: _listens(other))
            assert (await other.runs.get("h")).owner is not None
            assert await other.handle("h").resume("ask", output="here")
            assert await handle.result() == "here"

    run(body())


async def _listens(app: Stepwell) -> bool:
    return "ask" in (await app.runs.state("h")).waiting


def test_the_blocking_twin_answers_too() -> None:
    with Stepwell("memory://", include=[LAST]).sync() as app:
        handle = app.start(LAST, None, id="s")
        while app.runs.state("s").waiting != ("end",):
            pass
        assert handle.resume("end", output=3)
        assert handle.result() == 3
