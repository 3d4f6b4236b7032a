"""Workflows of ours that are driven from elsewhere: a step worker for an orchestrator that keeps the runs."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from stepwell import Context, Secret, Stepwell, Target, current_step, step, workflow


class Bank:
    """What steps need: there when the worker begins, and until it ends."""

    def __init__(self) -> None:
        self.charges: dict[str, int] = {}

    async def charge(self, amount: int, key: str) -> str:
        self.charges.setdefault(key, amount)
        return f"receipt {len(self.charges)}"


bank = Bank()


@contextlib.asynccontextmanager
async def lifespan() -> AsyncGenerator[Bank]:
    yield bank


@step
async def charge(amount: int) -> str:
    here = current_step()
    return await here.get(Bank).charge(amount, key=here.idempotency_key)


@workflow
async def checkout(ctx: Context, amount: int) -> str:
    receipt = await charge(amount)
    await ctx.sleep("10ms")  # the orchestrator's timer: nothing is kept here meanwhile
    return receipt


# The worker's side. `uvicorn orders:worker` serves it, and so does any other ASGI server.
orders = Stepwell(include=[checkout], lifespan=lifespan, secrets={"wire": "s3cret"})
worker = orders.step_worker(secret=Secret("wire"), require_v2=True)


# Where there is no server, the worker is a function.
async def on_event(event: dict[str, Any]) -> dict[str, Any]:
    reply = await worker.handle(base64.b64decode(event["body"]), event["headers"], path=event["path"])
    assert isinstance(reply.body, bytes)  # lines come only to those who ask for them
    return {"statusCode": reply.status, "headers": reply.headers, "body": reply.body.decode()}


# The orchestrator's side, which is another process: then `worker` is a URL.
async def main() -> None:
    target = Target(worker, workflows=["checkout"], secret=Secret("wire"))
    async with Stepwell("memory://", targets=[target], secrets={"wire": "s3cret"}) as app:
        run = await app.start("checkout", 120)
        assert await run.result() == "receipt 1"
    assert [*bank.charges.values()] == [120]

    unsigned: dict[str, Any] = {"body": base64.b64encode(b"{}").decode(), "headers": {}, "path": "/"}
    assert (await on_event(unsigned))["statusCode"] == 401
    await worker.aclose()


if __name__ == "__main__":
    asyncio.run(main())
