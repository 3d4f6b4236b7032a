"""`Stepper`: a blueprint forwards and backwards, in one's hands."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from stepwell import (
    Blueprint,
    Context,
    DefinitionError,
    FatalError,
    Middleware,
    NodeContext,
    NodeResult,
    Retry,
    RunConflictError,
    Signal,
    StepwellError,
    Stream,
    current_step,
    step,
    workflow,
)
from stepwell.testing import Stepper
from tests.helpers import run

approval = Signal("approval", dict)
lines = Stream("lines", str)


async def fetch(ctx: NodeContext[Any]) -> NodeResult:
    ctx.state.set("seen", ctx.input)
    return NodeResult(output=ctx.input["n"] + 1, action="odd" if ctx.input["n"] % 2 else "even")


async def add(ctx: NodeContext[int]) -> int:
    return ctx.input + 10


@step
def double(n: int) -> int:
    return 2 * n


@step(retry=Retry(attempts=3, first_delay="1h", max_delay="2h", jitter=0.0))
async def third_time() -> int:
    current_step().heartbeat("tried")
    current_step().send(lines, "trying")
    if current_step().attempt < 3:
        raise ValueError("not yet")
    return current_step().attempt


@workflow
async def helper(ctx: Context, n: int) -> int:
    return n


FLOW: Blueprint[Any, Any] = (
    Blueprint("stepped")
    .node("fetch", fetch)
    .node("left", add)
    .node("right", double)
    .node("never", add)
    .wait("ask", approval, timeout="1h")
    .sleep("nap", "2h")
    .node("last", add)
    .edge("fetch", "left", action="even")
    .edge("fetch", "right", action="even")
    .edge("fetch", "never", action="odd")
    .edge("left", "ask")
    .edge("ask", "nap", action="go")
    .edge("ask", "last", action="timeout", transform="0")
    .edge("nap", "last", transform="left")
)


def statuses(stepper: Stepper) -> dict[str, str]:
    return {id: node.status for id, node in stepper.state.nodes.items()}


def test_each_level_is_one_step_and_the_end_is_the_end() -> None:
    async def body() -> None:
        async with Stepper(FLOW, {"n": 4}) as stepper:
            assert [*stepper.ready] == ["fetch"]
            assert statuses(stepper)["fetch"] == "running"

            state = await stepper.next()
            assert state is not None
            assert state.nodes["fetch"].output == 5
            assert state.state == {"n": 4, "seen": {"n": 4}}
            assert [*stepper.ready] == ["left", "right"]

            await stepper.next()
            assert stepper.state.nodes["right"].output == 10
            assert stepper.waiting == ("ask",)
            assert await stepper.next() is None

            stepper.resume("ask", action="go", output="fine")
            assert statuses(stepper)["nap"] == "waiting"
            assert await stepper.next() is None
            before = stepper.state.at
            napped = stepper.fire()
            assert napped is not None
            assert napped.at - before == 7_200_000
            await stepper.next()

            assert stepper.is_done
            assert (stepper.state.status, stepper.state.result) == ("completed", {"right": 10, "last": 25})
            assert await stepper.next() is None
            assert stepper.fire() is None

    run(body())


def test_one_node_of_several_can_be_done_first() -> None:
    async def body() -> None:
        async with Stepper(FLOW, {"n": 4}) as stepper:
            await stepper.next("fetch")
            await stepper.next("right")
            assert statuses(stepper)["right"] == "completed"
            assert stepper.ready == ("left",)
            with pytest.raises(RunConflictError, match="node 'right' is not ready; ready are: left"):
                await stepper.next("right")

    run(body())


def test_going_back_restores_every_state_exactly() -> None:
    async def body() -> None:
        async with Stepper(FLOW, {"n": 4}) as stepper:
            states = [stepper.state]
            for act in (
                stepper.next,
                lambda: stepper.next("right"),
                stepper.next,
                lambda: _done(stepper.resume("ask", action="go")),
                lambda: _done(stepper.fire()),
                stepper.next,
            ):
                await act()
                states.append(stepper.state)
            assert stepper.is_done

            for state in reversed(states[:-1]):
                assert stepper.prev() == state
            assert stepper.prev() is None

            while await stepper.next():
                pass
            assert stepper.waiting == ("ask",)
            assert stepper.reset() == states[0]
            assert stepper.reset() == states[0]

    run(body())


async def _done(value: Any) -> Any:
    return value


def test_a_timeout_can_be_let_come() -> None:
    async def body() -> None:
        async with Stepper(FLOW, {"n": 4}) as stepper:
            await stepper.next()
            await stepper.next()
            stepper.fire()
            await stepper.next()
            assert stepper.state.result == {"right": 10, "last": 10}
            assert statuses(stepper)["nap"] == "skipped"

    run(body())


def test_attempts_are_made_at_once_and_take_their_time() -> None:
    flow: Blueprint[Any, Any] = Blueprint("tried").node("it", third_time)

    async def body() -> None:
        async with Stepper(flow) as stepper:
            before = stepper.state.at
            after = await stepper.next()
            assert after is not None
            assert after.result == 3
            assert after.nodes["it"].attempt == 3
            assert after.at - before == 3 * 3_600_000
            again = stepper.prev()
            assert again is not None
            assert again.at == before

    run(body())


def test_batches_loops_and_subflows_are_stepped_through() -> None:
    inner: Blueprint[Any, Any] = Blueprint("inner").node("add", add)
    flow: Blueprint[Any, Any] = (
        Blueprint("outer")
        .batch("each", double, over="items", concurrency=2)
        .set("start", total="1")
        .set("count", total="total * 2")
        .node("work", add, inputs="total")
        .loop("more", start="count", end="work", condition="total < 4")
        .subflow("sub", inner)
        .edge("each", "start")
        .edge("start", "count")
        .edge("count", "work")
        .edge("more", "sub")
    )

    async def body() -> None:
        async with Stepper(flow, {"items": [1, 2, 3]}) as stepper:
            levels = [stepper.ready]
            while await stepper.next():
                levels.append(stepper.ready)
            assert levels == [("each[0]", "each[1]"), ("each[2]",), ("work",), ("work:2",), ("sub/add",), ()]
            assert stepper.state.result == 24
            assert stepper.state.nodes["each_gather"].output == [2, 4, 6]

    run(body())


def test_answers_stand_in_for_nodes_children_and_people() -> None:
    flow: Blueprint[Any, Any] = (
        Blueprint("faked")
        .node("fetch", fetch)
        .node("child", helper)
        .wait("ask")
        .node("last", add)
        .edge("fetch", "child", action="made up")
        .edge("child", "ask")
        .edge("ask", "last", action="on")
    )
    answers = {
        "fetch": NodeResult(output=1, action="made up"),
        "child": 2,
        "ask": NodeResult(output=3, action="on"),
    }

    async def body() -> None:
        async with Stepper(flow, include=[helper], answers=answers) as stepper:
            while await stepper.next():
                pass
            assert stepper.state.result == 13
        async with Stepper(flow, include=[helper], answers={"fetch": answers["fetch"], "child": ValueError("no")}) as s:
            await s.next()
            await s.next()
            assert s.state.status == "failed"
            assert "no" in s.state.error
        async with Stepper(flow, include=[helper], answers={"fetch": FatalError("stop")}) as stepper:
            await stepper.next()
            assert stepper.state.nodes["fetch"].error == "FatalError: stop"
        async with Stepper(flow, include=[helper], answers={"fetch": answers["fetch"]}) as stepper:
            await stepper.next()
            with pytest.raises(DefinitionError, match=r"'child' is a run of workflow helper.*give it answers="):
                await stepper.next()

    run(body())


def test_what_runs_beside_a_failed_batch_item_is_forgotten() -> None:
    @step(retry=None)
    async def odd_only(n: int) -> int:
        if n % 2 == 0:
            raise ValueError("even")
        return n

    flow: Blueprint[Any, Any] = Blueprint("batch").batch("each", odd_only, over="items")

    async def body() -> None:
        async with Stepper(flow, {"items": [2, 1, 3]}) as stepper:
            await stepper.next()
            assert stepper.is_done
            assert "item 0 of batch 'each': even" in stepper.state.error

    run(body())


def test_dependencies_and_middleware_are_there() -> None:
    class Doubling(Middleware):
        async def around_node(
            self, ctx: NodeContext[Any], next: Callable[[], Coroutine[Any, Any, NodeResult]]
        ) -> NodeResult:
            return NodeResult(output=2 * (await next()).output)

    async def asks(ctx: NodeContext[Any]) -> Any:
        return ctx.dependencies["rate"]

    flow: Blueprint[Any, Any] = Blueprint("given").node("asks", asks)

    async def body() -> None:
        async with Stepper(flow, middleware=[Doubling()], dependencies={"rate": 4}) as stepper:
            await stepper.next()
            assert stepper.state.result == 8

    run(body())


def test_wrong_answers_and_uses_are_told() -> None:
    async def body() -> None:
        stepper = Stepper(FLOW, {"n": 4})
        with pytest.raises(StepwellError, match="use it inside `async with Stepper"):
            _ = stepper.state
        async with stepper:
            with pytest.raises(RunConflictError, match="node 'ask' does not wait; waiting are: none"):
                stepper.resume("ask")
            await stepper.next()
            await stepper.next()
            with pytest.raises(DefinitionError, match="action 'no': node 'ask' listens to: go, timeout"):
                stepper.resume("ask", action="no")

    run(body())
