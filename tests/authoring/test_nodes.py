"""What nodes are made of: steps, functions and classes, with state, dependencies, retries and middleware."""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from stepwell import (
    Blueprint,
    DefinitionError,
    FatalError,
    NodeContext,
    NodeResult,
    Retry,
    Stepwell,
    current_step,
    step,
)
from tests.authoring.playing import one, play

log: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    log.clear()


@dataclass
class Order:
    id: int
    item: str = "desk"


@dataclass
class Address:
    city: str


class TestSteps:
    def test_a_step_of_one_argument_gets_the_input(self) -> None:
        @step
        async def ship(order: Order) -> str:
            return f"{type(order).__name__} {order.id}"

        assert play(one(ship), {"id": 7}).result == "Order 7"

    def test_a_step_of_several_gets_the_fields_of_its_input(self) -> None:
        @step
        async def ship(order: Order, to: Address, fast: bool = False) -> str:
            return f"{order.id} {to.city} {fast}"

        flow = one(ship, inputs={"order": "the_order", "to": "address"})
        assert play(flow, {"the_order": {"id": 7}, "address": {"city": "Rome"}}).result == "7 Rome False"
        assert play(one(ship), {"order": {"id": 7}, "to": {"city": "Bonn"}, "fast": True}).result == "7 Bonn True"

    def test_inputs_that_are_not_there_are_left_to_defaults(self) -> None:
        @step
        async def greet(name: str = "you") -> str:
            return f"hello {name}"

        assert play(one(greet, inputs={"name": "who"}), {"who": "Ada"}).result == "hello Ada"
        assert play(one(greet, inputs={"name": "who"}), {}).result == "hello you"

    def test_a_step_without_arguments_gets_none(self) -> None:
        @step
        async def count() -> int:
            return 3

        assert play(one(count), {"x": 1}).result == 3

    def test_a_wrong_input_names_node_argument_and_place(self) -> None:
        @step(retry=None)
        async def ship(order: Order) -> str:
            raise AssertionError("it never runs")

        error = play(one(ship), {"id": "seven"}).error
        assert "node 'it'" in error.message
        assert "`id`: expected int, got str" in error.message

    def test_the_output_is_typed(self) -> None:
        @step
        async def load() -> Order:
            return Order(7)

        flow = Blueprint[Any, Order]("typed", output=Order).node("it", load)
        assert play(flow).result == Order(7)

    def test_a_step_keeps_its_retries_unless_the_node_has_its_own(self) -> None:
        @step(retry=Retry(attempts=3, first_delay="1s"))
        async def flaky() -> int:
            log.append(f"attempt {current_step().attempt}")
            if current_step().attempt < 3:
                raise ValueError("not yet")
            return 1

        assert play(one(flaky)).result == 1
        assert len(log) == 3
        assert play(one(flaky, retry=Retry(attempts=2))).status == "failed"
        assert len(log) == 5
        assert play(one(flaky, timeout="1m")).result == 1
        assert len(log) == 8
        assert play(one(flaky, retry=Retry(attempts=1))).status == play(one(flaky, retry=None)).status == "failed"
        assert len(log) == 10

    def test_what_a_step_is_tried_again_after_is_its_own_to_say(self) -> None:
        @step(retry=Retry(on=(ConnectionError,)))
        async def picky() -> None:
            log.append("x")
            raise ValueError("no")

        assert play(one(picky, retry=Retry(attempts=5))).status == "failed"
        assert log == ["x"]

    def test_a_sync_step_runs_in_a_thread(self) -> None:
        @step
        def where() -> bool:
            return threading.current_thread() is threading.main_thread()

        assert play(one(where)).result is False


class TestFunctions:
    def test_async_and_sync_functions_get_the_context(self) -> None:
        async def first(ctx: NodeContext[Any]) -> Any:
            assert threading.current_thread() is threading.main_thread()
            return [ctx.input, dict(ctx.params), ctx.node_id, ctx.id]

        def second(ctx: NodeContext[Any]) -> Any:
            assert threading.current_thread() is not threading.main_thread()
            return [*ctx.input, ctx.step.run_id]

        flow = Blueprint[Any, Any]("f").node("a", first, params={"n": 1}).node("b", second).edge("a", "b")
        run = play(flow, "x")
        assert run.result == ["x", {"n": 1}, "a", "a", run.id]

    def test_the_input_is_of_the_annotated_type(self) -> None:
        async def ship(ctx: NodeContext[Order]) -> str:
            return f"{type(ctx.input).__name__} {ctx.input.item}"

        assert play(one(ship), {"id": 1}).result == "Order desk"
        error = play(one(ship), {"id": "x"}).error
        assert "the input of node 'it': field `id`: expected int, got str" in error.message

    def test_a_node_without_input_has_none(self) -> None:
        async def look(ctx: NodeContext[Any]) -> Any:
            return ctx.input is None

        assert play(one(look, inputs="nothing"), {}).result is True

    def test_an_action_selects_the_edges(self) -> None:
        async def route(ctx: NodeContext[str]) -> NodeResult:
            return NodeResult(output=ctx.input.upper(), action=ctx.input)

        async def left(ctx: NodeContext[str]) -> str:
            return f"left {ctx.input}"

        flow = (
            Blueprint[str, str]("f")
            .node("route", route)
            .node("l", left)
            .node("r", lambda ctx: f"right {ctx.input}", uses="right")
            .edge("route", "l", action="left")
            .edge("route", "r", action="right")
        )
        assert play(flow, "left").result == "left LEFT"
        assert play(flow, "right").result == "right RIGHT"
        assert "action 'up': node 'route' listens to: left, right" in play(flow, "up").error.message

    def test_callable_objects_and_partials_are_functions_too(self) -> None:
        class Adding:
            def __init__(self, n: int) -> None:
                self.n = n

            async def __call__(self, ctx: NodeContext[int]) -> int:
                return ctx.input + self.n

            async def method(self, ctx: NodeContext[Order]) -> int:
                return ctx.input.id + self.n

        async def plain(ctx: NodeContext[Order], more: int) -> int:
            return ctx.input.id + more

        assert play(one(Adding(3)), 4).result == 7
        assert play(one(Adding(3).method), {"id": 1}).result == 4
        assert play(one(functools.partial(plain, more=3)), {"id": 1}).result == 4

    def test_outputs_may_be_typed_values(self) -> None:
        async def single(ctx: NodeContext[Any]) -> Order | NodeResult:
            ctx.state.set("order", Order(1))
            return Order(1) if ctx.input else NodeResult(output=Order(2))

        async def several(ctx: NodeContext[Any]) -> list[Order]:
            return [Order(1)]

        class Making:
            async def exec(self, prepared: Any, ctx: NodeContext[Any]) -> list[Order]:
                return [Order(3)]

        assert play(one(single), 1).result == {"id": 1, "item": "desk"}
        assert play(one(single), 0).result == {"id": 2, "item": "desk"}
        assert play(one(several)).result == [{"id": 1, "item": "desk"}]
        assert play(one(Making)).result == [{"id": 3, "item": "desk"}]

    def test_callables_need_not_be_hashable(self) -> None:
        @dataclass
        class Adding:
            n: int

            async def __call__(self, ctx: NodeContext[int]) -> int:
                return ctx.input + self.n

        assert play(one(Adding(3)), 4).result == 7

    def test_errors_keep_their_text(self) -> None:
        async def fail(ctx: NodeContext[Any]) -> None:
            raise ValueError("no such item: desk")

        run = play(one(fail))
        assert run.status == "failed"
        assert run.error.message == "node 'it': no such item: desk"
        assert run.error.is_(ValueError)

    def test_a_function_that_takes_nothing_is_refused(self) -> None:
        def nothing() -> int:
            return 1

        with pytest.raises(DefinitionError, match=r"takes nothing; write it as f\(ctx: NodeContext\)"):
            Stepwell("memory://", include=[one(nothing)])

    def test_without_retry_there_is_one_attempt(self) -> None:
        async def fail(ctx: NodeContext[Any]) -> None:
            log.append("x")
            raise ValueError

        assert play(one(fail)).status == "failed"
        assert play(one(fail, retry=Retry(attempts=3, first_delay="1h"))).status == "failed"
        assert len(log) == 1 + 3

    def test_delays_grow_as_the_node_says(self) -> None:
        times: list[float] = []

        async def fail(ctx: NodeContext[Any]) -> None:
            times.append(asyncio.get_running_loop().time())
            raise ValueError

        play(one(fail, retry=Retry(attempts=4, first_delay="10s", backoff=3.0, max_delay="1m")))
        assert [round(after - before) for before, after in itertools.pairwise(times)] == [10, 30, 60]

    def test_a_timeout_ends_an_attempt(self) -> None:
        async def slow(ctx: NodeContext[Any]) -> str:
            if ctx.step.attempt == 1:
                await asyncio.sleep(3600)
            return f"attempt {ctx.step.attempt}"

        assert play(one(slow, timeout="5s", retry=Retry(attempts=2))).result == "attempt 2"
        assert "the attempt took longer than its 5 s" in play(one(slow, timeout="5s")).error.message

    def test_a_fatal_error_is_not_retried_and_ends_the_run(self) -> None:
        async def fail(ctx: NodeContext[Any]) -> None:
            log.append("x")
            raise FatalError("never")

        flow = one(fail, retry=Retry(attempts=3), fallback="other").node("other", lambda ctx: 1, uses="other")
        assert play(flow).status == "failed"
        assert log == ["x"]

    def test_dynamic_nodes_run_after_their_creator(self) -> None:
        async def create(ctx: NodeContext[Any]) -> NodeResult:
            nodes = [{"id": f"made-{n}", "uses": "work", "params": {"n": n}, "inputs": "create"} for n in range(3)]
            return NodeResult(output="seed", dynamic_nodes=nodes)

        async def work(ctx: NodeContext[Any]) -> None:
            log.append(f"{ctx.id} {ctx.input} {ctx.params['n']}")

        flow = Blueprint[Any, Any]("f").node("create", create)
        flow.implementations["work"] = work
        assert play(flow).status == "completed"
        assert sorted(log) == ["made-0 seed 0", "made-1 seed 1", "made-2 seed 2"]


class Phases:
    """Notes its phases. `params` say which attempts fail, and where."""

    def __init__(self, params: Any, node_id: str) -> None:
        self.params = params
        log.append(f"new {node_id}")

    async def prep(self, ctx: NodeContext[Any]) -> Any:
        log.append("prep")
        return f"prepared {ctx.input}"

    async def exec(self, prepared: Any, ctx: NodeContext[Any]) -> Any:
        log.append(f"exec {prepared}")
        if self.params.get("fails", 0) >= ctx.step.attempt:
            raise ValueError("exec failed")
        if self.params.get("fatal"):
            raise FatalError("for good")
        return "executed"

    async def post(self, result: Any, ctx: NodeContext[Any]) -> Any:
        log.append(f"post {result}")
        if self.params.get("post fails"):
            raise ValueError("post failed")
        return NodeResult(output=result, action="done")

    async def recover(self, error: BaseException, ctx: NodeContext[Any]) -> None:
        log.append(f"recover {error}")
        raise RuntimeError("nobody sees this")


class WithFallback(Phases):
    async def fallback(self, error: BaseException, ctx: NodeContext[Any]) -> Any:
        log.append(f"fallback {error}")
        return "second best"


class TestClasses:
    def test_the_phases_run_in_order(self) -> None:
        assert play(one(Phases), 7).result == "executed"
        assert log == ["new it", "prep", "exec prepared 7", "post executed"]

    def test_every_phase_but_exec_may_be_left_out(self) -> None:
        class Bare:
            async def exec(self, prepared: Any, ctx: NodeContext[Any]) -> Any:
                return prepared + 1

        assert play(one(Bare), 1).result == 2

    def test_settings_are_given_to_who_takes_them(self) -> None:
        class OnlySettings:
            def __init__(self, params: Any) -> None:
                self.n = params["n"]

            def exec(self, prepared: Any, ctx: NodeContext[Any]) -> int:
                assert threading.current_thread() is not threading.main_thread()
                return int(self.n)

        assert play(one(OnlySettings, params={"n": 5})).result == 5

    def test_each_attempt_begins_anew(self) -> None:
        assert play(one(Phases, params={"fails": 1}, retry=Retry(attempts=2, first_delay="1s")), 7).result == "executed"
        assert log == [
            *("new it", "prep", "exec prepared 7", "recover exec failed"),
            *("new it", "prep", "exec prepared 7", "post executed"),
        ]

    def test_a_fallback_stands_in_for_the_last_exec(self) -> None:
        flow = one(WithFallback, params={"fails": 9}, retry=Retry(attempts=2))

        assert play(flow, 7).result == "second best"
        assert log == [
            *("new it", "prep", "exec prepared 7", "recover exec failed"),
            *("new it", "prep", "exec prepared 7", "fallback exec failed"),
            *("post second best", "recover exec failed"),
        ]

    def test_a_fatal_error_has_no_fallback(self) -> None:
        assert play(one(WithFallback, params={"fatal": True}, retry=Retry(attempts=2)), 7).status == "failed"
        assert log[-1] == "recover for good"
        assert not any(line.startswith("fallback") for line in log)

    def test_errors_outside_of_exec_fail_the_attempt(self) -> None:
        run = play(one(WithFallback, params={"post fails": True}), 7)

        assert run.error.message == "node 'it': post failed"
        assert log[-2:] == ["post executed", "recover post failed"]

    def test_sync_classes_do_all_that_in_one_thread(self) -> None:
        class Sync:
            def prep(self, ctx: NodeContext[Any]) -> int:
                log.append(threading.current_thread().name)
                return 1

            def exec(self, prepared: int, ctx: NodeContext[Any]) -> int:
                log.append(threading.current_thread().name)
                raise ValueError("no")

            def fallback(self, error: Exception, ctx: NodeContext[Any]) -> int:
                return 3

            def post(self, result: int, ctx: NodeContext[Any]) -> int:
                log.append(threading.current_thread().name)
                return result + 1

            def recover(self, error: Exception, ctx: NodeContext[Any]) -> None:
                log.append(str(error))

        assert play(one(Sync)).result == 4
        assert len(set(log[:3])) == 1
        assert log[3] == "no"

    def test_a_class_is_all_sync_or_may_be_all_async(self) -> None:
        class Mixed:
            async def prep(self, ctx: NodeContext[Any]) -> int:
                return 1

            def exec(self, prepared: int, ctx: NodeContext[Any]) -> int:
                return prepared

        with pytest.raises(DefinitionError, match="exec is a plain function, so it runs in a thread; prep must be one"):
            Stepwell("memory://", include=[one(Mixed)])

    def test_annotations_are_resolved_when_the_app_is_built(self) -> None:
        def wrong(ctx: NodeContext[Nowhere]) -> None: ...  # type: ignore[name-defined]  # noqa: F821

        with pytest.raises(DefinitionError, match="Nowhere"):
            Stepwell("memory://", include=[one(wrong)])

    def test_plain_phases_of_an_async_class_are_fine(self) -> None:
        class Mixed:
            def prep(self, ctx: NodeContext[Any]) -> int:
                return 1

            async def exec(self, prepared: int, ctx: NodeContext[Any]) -> int:
                return prepared + 1

        assert play(one(Mixed)).result == 2

    def test_the_input_of_exec_is_typed_by_the_context(self) -> None:
        class Typed:
            async def exec(self, prepared: Any, ctx: NodeContext[Order]) -> str:
                return f"{type(prepared).__name__} {type(ctx.input).__name__}"

        assert play(one(Typed), {"id": 1}).result == "Order Order"

    def test_what_is_no_implementation_is_refused(self) -> None:
        class NoExec:
            async def execute(self) -> None: ...

        with pytest.raises(DefinitionError, match=r"'it' is .*NoExec.*, which has no exec"):
            one(NoExec)
        with pytest.raises(DefinitionError, match="'it' is 7, which no node can be made of"):
            one(7)
