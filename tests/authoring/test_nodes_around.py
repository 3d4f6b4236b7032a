"""What is around nodes: dependencies, middleware, and what else a node can be."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from stepwell import Blueprint, Context, Middleware, NodeContext, NodeResult, Retry, step, workflow
from stepwell.testing import StepwellTest
from tests.authoring.playing import one, play

Next = Callable[[], Coroutine[Any, Any, NodeResult]]
log: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    log.clear()


class Client:
    name = "client"


class TestDependencies:
    def test_they_are_found_by_type(self) -> None:
        @contextlib.asynccontextmanager
        async def lifespan() -> AsyncIterator[Any]:
            yield Client()

        async def use(ctx: NodeContext[Any]) -> Any:
            return [ctx.dependencies[Client].name, ctx.dependencies.get(Client).name]

        assert play(one(use), lifespan=lifespan).result == ["client", "client"]

    def test_they_are_found_by_name(self) -> None:
        @contextlib.asynccontextmanager
        async def lifespan() -> AsyncIterator[Any]:
            yield {"client": Client()}

        async def use(ctx: NodeContext[Any]) -> Any:
            return ctx.dependencies["client"].name

        async def miss(ctx: NodeContext[Any]) -> Any:
            return ctx.dependencies["cleint"]

        assert play(one(use), lifespan=lifespan).result == "client"
        assert "get('cleint'): the app's lifespan yielded 'client'" in play(one(miss), lifespan=lifespan).error.message


class Noting(Middleware):
    def __init__(self, name: str) -> None:
        self.name = name

    async def before_node(self, ctx: NodeContext[Any]) -> None:
        log.append(f"{self.name} before {ctx.node_id}")

    async def after_node(self, ctx: NodeContext[Any], result: NodeResult | None, error: BaseException | None) -> None:
        log.append(f"{self.name} after {error if result is None else result.output}")

    async def around_node(self, ctx: NodeContext[Any], next: Next) -> NodeResult:
        log.append(f"{self.name}>")
        try:
            return await next()
        finally:
            log.append(f"<{self.name}")


class TestMiddleware:
    def test_the_first_is_the_outermost(self) -> None:
        async def work(ctx: NodeContext[Any]) -> str:
            log.append("work")
            return "x"

        assert play(one(work), middleware=[Noting("1"), Noting("2")]).result == "x"
        assert log == [
            *("1>", "2>", "1 before it", "2 before it", "work", "1 after x", "2 after x", "<2", "<1"),
        ]

    def test_around_may_replace_the_result(self) -> None:
        class Replacing(Middleware):
            async def around_node(self, ctx: NodeContext[Any], next: Next) -> NodeResult:
                result = await next()
                ctx.state.set("seen", result.output)
                return NodeResult(output="replaced", action="other")

        flow = one(lambda ctx: "own").set("after", was="seen").edge("it", "after", action="other")
        assert play(flow, middleware=[Replacing()]).result == {"was": "own"}

    def test_around_may_leave_the_node_out(self) -> None:
        class Cached(Middleware):
            async def around_node(self, ctx: NodeContext[Any], next: Next) -> NodeResult:
                return NodeResult(output="from the cache")

        async def work(ctx: NodeContext[Any]) -> None:
            raise AssertionError("it never runs")

        assert play(one(work), middleware=[Cached(), Noting("2")]).result == "from the cache"
        assert log == []

    def test_around_may_heal_an_error(self) -> None:
        class Healing(Middleware):
            async def around_node(self, ctx: NodeContext[Any], next: Next) -> NodeResult:
                try:
                    return await next()
                except ValueError as error:
                    return NodeResult(output=f"healed: {error}")

        async def fail(ctx: NodeContext[Any]) -> None:
            raise ValueError("no")

        assert play(one(fail), middleware=[Healing(), Noting("2")]).result == "healed: no"
        assert log == ["2>", "2 before it", "2 after no", "<2"]

    def test_errors_that_pass_through_leave_retries_and_fallbacks_alone(self) -> None:
        async def fail(ctx: NodeContext[Any]) -> None:
            log.append(f"attempt {ctx.step.attempt}")
            raise ValueError("no")

        async def instead(ctx: NodeContext[Any]) -> str:
            return "instead"

        flow = one(fail, retry=Retry(attempts=2), fallback="other").node("other", instead)
        assert play(flow, middleware=[Noting("1")]).result == "instead"
        assert [line for line in log if line.startswith("attempt")] == ["attempt 1", "attempt 2"]

    def test_errors_of_the_middleware_are_the_nodes(self) -> None:
        class Failing(Middleware):
            async def before_node(self, ctx: NodeContext[Any]) -> None:
                raise ValueError("not today")

        assert play(one(lambda ctx: 1), middleware=[Failing()]).error.message == "node 'it': not today"

    def test_a_result_that_is_none_is_refused(self) -> None:
        class Forgetful(Middleware):
            async def around_node(self, ctx: NodeContext[Any], next: Next) -> NodeResult:
                await next()
                return None  # type: ignore[return-value]

        message = play(one(lambda ctx: 1), middleware=[Forgetful()]).error.message
        assert "Forgetful.around_node gave None; return a NodeResult, such as `await next()`" in message

    def test_steps_and_classes_are_surrounded_too(self) -> None:
        @step
        def plain(n: int) -> int:
            return n + 1

        class Adding:
            def exec(self, prepared: int, ctx: NodeContext[Any]) -> int:
                return prepared + 10

        class Doubling:
            async def exec(self, prepared: int, ctx: NodeContext[Any]) -> int:
                return 2 * prepared

        flow = Blueprint[int, int]("f").node("a", plain).node("b", Adding).node("c", Doubling).edge("a", "b")
        flow.edge("b", "c")
        assert play(flow, 1, middleware=[Noting("1")]).result == 24
        assert [line for line in log if line.startswith("1 after")] == ["1 after 2", "1 after 12", "1 after 24"]

    def test_items_of_a_batch_are_surrounded(self) -> None:
        @step
        async def double(n: int) -> int:
            return 2 * n

        flow = Blueprint[Any, Any]("f").batch("each", double, over="items")
        assert play(flow, {"items": [1, 2]}, middleware=[Noting("1")]).result == [2, 4]
        assert sorted(line for line in log if line.startswith("1 after")) == ["1 after 2", "1 after 4"]

    def test_a_context_of_a_step_has_its_input_and_state(self) -> None:
        class Looking(Middleware):
            async def around_node(self, ctx: NodeContext[Any], next: Next) -> NodeResult:
                log.append(f"{ctx.input} {ctx.state['n']}")
                return await next()

        @step
        async def plain(n: int) -> int:
            return n

        assert play(one(plain, inputs={"n": "n"}), {"n": 4}, middleware=[Looking()]).result == 4
        assert log == ["{'n': 4} 4"]


@workflow
async def child(ctx: Context, order: dict[str, int]) -> str:
    await ctx.sleep("1h")
    return f"child of {order['id']}"


class TestWorkflowsAndBlueprints:
    def test_a_workflow_function_is_a_node(self) -> None:
        run = play(Blueprint[Any, str]("f").node("ship", child), {"id": 7})
        assert run.result == "child of 7"

    def test_a_blueprint_is_awaited_from_a_workflow_function(self) -> None:
        with StepwellTest() as test:
            assert test.run_sync(awaiting, 3).result == 4


async def increment(ctx: NodeContext[int]) -> int:
    return ctx.input + 1


ADD: Blueprint[int, int] = Blueprint("add", input=int, output=int).node("increment", increment)


@workflow
async def awaiting(ctx: Context, n: int) -> int:
    return await ADD(n)


def test_each_iteration_goes_on_with_what_the_last_one_gave() -> None:
    """Also if the edge that leads into the body was added after the loop."""
    flow = Blueprint[int, Any]("f").loop("again", start="add", end="add", condition="add < 5")
    flow.node("begin", "start").node("add", increment).edge("begin", "add")

    assert play(flow, 1).result == 5


def test_the_results_of_a_batch_can_be_named_as_nodes_are() -> None:
    async def double(ctx: NodeContext[int]) -> int:
        return 2 * ctx.input

    flow = Blueprint[Any, Any]("f", result={"all": "each", "sum": "sum"}).batch("each", double, over="items")
    flow.set("head", first="each[0]").node("sum", lambda ctx: sum(ctx.input), uses="sum", inputs="each")
    flow.edge("each", "head").edge("head", "sum")

    assert play(flow, {"items": [1, 2]}).result == {"all": [2, 4], "sum": 6}
    assert flow.lint(keys=["items"]) == []
