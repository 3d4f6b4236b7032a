"""What nodes are made of: steps, functions and classes, with dependencies, and middleware around all of them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from stepwell import Blueprint, Middleware, NodeContext, NodeResult, Retry, Stepwell, step


@dataclass
class Order:
    id: int
    amount: float


class Bank:
    """Something that nodes share: a client, a pool of connections."""

    def __init__(self) -> None:
        self.charged: list[int] = []


@contextlib.asynccontextmanager
async def lifespan() -> AsyncGenerator[Bank]:
    yield Bank()


@step
async def tax(amount: float) -> float:
    return round(amount * 0.2, 2)


async def validate(ctx: NodeContext[Order]) -> NodeResult:
    """`NodeContext[Order]` types the input. An action selects the edges; what is written to the state is saved with the
    result, or not at all."""
    ctx.state.set("checked", ctx.input.id)
    return NodeResult(output=ctx.input, action="ok" if ctx.input.amount > 0 else "bad")


class Charge:
    """Phases, at every attempt: `prep`, `exec`, `post`. After the last attempt `fallback` may stand in for `exec`;
    `recover` cleans up after an error."""

    async def prep(self, ctx: NodeContext[Order]) -> float:
        return ctx.input.amount + float(ctx.state["tax"])

    async def exec(self, total: float, ctx: NodeContext[Order]) -> str:
        if ctx.step.attempt == 1:
            raise ConnectionError("the bank does not answer")
        ctx.dependencies[Bank].charged.append(ctx.input.id)  # give it ctx.step.idempotency_key in real life
        return f"charged {total}"

    async def fallback(self, error: Exception, ctx: NodeContext[Order]) -> str:
        return f"to be charged by hand: {error}"

    async def post(self, result: str, ctx: NodeContext[Order]) -> str:
        return f"order {ctx.input.id}: {result}"

    async def recover(self, error: BaseException, ctx: NodeContext[Order]) -> None:
        ctx.log.info("attempt %s: %s", ctx.step.attempt, error)


def reject(ctx: NodeContext[Order]) -> str:
    """A plain function runs in a thread."""
    return f"order {ctx.input.id} is wrong"


class Tracing(Middleware):
    """Around every node of the app's blueprints, at every attempt. It may change results, heal errors, or leave nodes
    out."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def before_node(self, ctx: NodeContext[Any]) -> None:
        self.seen.append(ctx.id)

    async def around_node(
        self, ctx: NodeContext[Any], next: Callable[[], Coroutine[Any, Any, NodeResult]]
    ) -> NodeResult:
        result = await next()
        if ctx.node_id == "reject":
            return NodeResult(output=f"{result.output}!")
        return result


flow = (
    Blueprint("order", input=Order, output=str)
    .node("validate", validate)
    .node("tax", tax, inputs={"amount": "validate.amount"})
    .set("keep", tax="tax")  # an expression; no step
    .node("charge", Charge, inputs="validate", retry=Retry(attempts=2, first_delay="5ms"))
    .node("reject", reject)
    .edge("validate", "tax", action="ok")
    .edge("tax", "keep")
    .edge("keep", "charge")
    .edge("validate", "reject", action="bad")
)


async def main() -> None:
    tracing = Tracing()
    async with Stepwell("memory://", include=[flow], lifespan=lifespan, middleware=[tracing]) as app:
        assert await (await app.start(flow, Order(7, 10.0))).result() == "order 7: charged 12.0"
        assert tracing.seen == ["validate", "tax", "charge", "charge"]
        assert await (await app.start(flow, Order(8, -1.0))).result() == "order 8 is wrong!"


if __name__ == "__main__":
    asyncio.run(main())
