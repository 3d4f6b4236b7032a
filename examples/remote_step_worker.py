"""A step worker in Python: an app without a database serves its workflows, and an orchestrator elsewhere drives them.

Here both are in one process. Elsewhere the worker is `uvicorn module:worker`, or `stepwell step-worker module:app`.
"""

import asyncio
from dataclasses import dataclass

from stepwell import Context, RemoteWorkflow, Signal, Stepwell, Target, step, workflow

SECRET = "both ends know it"
charged: list[str] = []


@dataclass
class Order:
    booking: str
    total: int


@dataclass
class Receipt:
    booking: str
    total: int
    by: str


approve = Signal("approve", str)


@step
async def charge(order: Order) -> int:
    charged.append(order.booking)
    return order.total


@workflow(id="invoice.issue")
async def issue(ctx: Context, order: Order) -> Receipt:
    total = await charge(order)
    ctx.metadata["phase"] = "charged"
    by = await ctx.receive(approve, timeout="7d")  # nobody is here meanwhile: the orchestrator waits
    return Receipt(order.booking, total, by)


# --- there: no database, no worker, only the code

billing = Stepwell(include=[issue])
worker = billing.step_worker(secret=SECRET)

# --- here: the runs, and where their code is. The types may be left out; they are checked here, too

Issue = RemoteWorkflow[Order, Receipt]("invoice.issue", input=Order, output=Receipt)
# Elsewhere it has a URL: Target("https://billing.example/step", ...).
target = Target(worker, workflows=["invoice.issue"], secret=SECRET)


async def main() -> None:
    async with Stepwell("memory://", include=[Issue], targets=[target]) as app:
        run = await app.start(Issue, Order("bk_7", 120))
        await run.send(approve, "Ada")
        assert await run.result() == Receipt("bk_7", 120, "Ada")
        assert charged == ["bk_7"]
        assert await run.metadata() == {"phase": "charged"}
        ids = [getattr(item, "id", "") for item in (await app.runs.timeline(run.id)).items]
        assert "charge" in ids  # a step like any other, between the two invocations of the body
    print(ids)


if __name__ == "__main__":
    asyncio.run(main())
