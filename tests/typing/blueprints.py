"""Blueprints carry their input and their result, as workflows do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, assert_type

from stepwell import (
    Blueprint,
    Context,
    Event,
    Handle,
    Middleware,
    NodeContext,
    NodeResult,
    Retry,
    Signal,
    Stepwell,
    step,
    workflow,
)


@dataclass
class Watch:
    item: str


@dataclass
class Deal:
    price: float


approval = Signal("approval", str)
paid = Event("paid", int)


@step
async def fetch_price(watch: Watch) -> float:
    return 7.0


async def compare(ctx: NodeContext[float]) -> NodeResult:
    assert_type(ctx.input, float)
    ctx.state.set("seen", ctx.input)
    return NodeResult(output=ctx.input, action="yes")


def buy(ctx: NodeContext[float]) -> Deal:
    return Deal(ctx.input)


class Skip:
    async def exec(self, prepared: Any, ctx: NodeContext[float]) -> None: ...


@workflow
async def worker(ctx: Context, item: str) -> int:
    return 1


flow = (
    Blueprint("price-watch", version="1.2.0", input=Watch, output=Deal)
    .node("fetch", fetch_price, retry=Retry(attempts=3), timeout="5s")
    .node("compare", compare, inputs={"price": "fetch"}, params={"n": 1})
    .wait("approve", approval, timeout="2d")
    .wait("pay", paid)
    .node("buy", buy, fallback="skip", join="any")
    .node("skip", Skip)
    .edge("fetch", "compare")
    .edge("compare", "approve", condition="result.output < 10", transform="input")
    .edge("approve", "buy", action="yes")
    .edge("approve", "skip", action="no")
)
flow.batch("each", worker, over="items", concurrency=20).sleep("pause", "2h").set("keep", total="each")
flow.loop("again", start="fetch", end="compare", condition="n < 3", max_iterations=5)
flow.subflow("inner", Blueprint("inner").node("buy", buy), inputs={"x": "fetch"}, outputs={"y": "buy"})

assert_type(flow, Blueprint[Watch, Deal])
assert_type(Blueprint("plain"), Blueprint[Any, Any])
assert_type(Blueprint("half", input=Watch), Blueprint[Watch, Any])
assert_type(Blueprint("half", output=Deal, version="1"), Blueprint[Any, Deal])
named: Blueprint[str, int] = Blueprint("named")
assert_type(named, Blueprint[str, int])
assert_type(Blueprint.from_json(flow.to_json(), include=[buy, "module"]), Blueprint[Any, Any])
assert_type(flow.to_mermaid(), str)

annotated: Blueprint[list[Watch] | None, Deal] = Blueprint("annotated", result="x", concurrency=3)


@workflow
async def parent(ctx: Context) -> None:
    assert_type(await flow(Watch("desk")), Deal)
    assert_type(await (await ctx.start(flow, Watch("desk"))).result(), Deal)


async def starts(app: Stepwell) -> None:
    handle = await app.start(flow, Watch("desk"), id="watch-1")
    assert_type(handle, Handle[Deal])
    assert_type(await handle.resume("approve", action="yes", output={"by": "ada"}), bool)
    assert_type((await app.runs.state("watch-1", at=3)).waiting, tuple[str, ...])


class Tracing(Middleware):
    async def around_node(
        self, ctx: NodeContext[Any], next: Callable[[], Coroutine[Any, Any, NodeResult]]
    ) -> NodeResult:
        return await next()


app = Stepwell("memory://", include=[flow], middleware=[Tracing()])
