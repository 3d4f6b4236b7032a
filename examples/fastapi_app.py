"""FastAPI: the app opens and closes with the application, beside a worker; the HTTP API is mounted below a path.

uvicorn fastapi_app:api
"""

import asyncio
from dataclasses import dataclass

import httpx
from fastapi import FastAPI

from stepwell import Context, Signal, Stepwell, step, workflow


@dataclass
class Order:
    id: int
    cents: int


approval = Signal("approval", str)


@step
async def charge(order: Order) -> str:
    return f"receipt {order.id}"


@workflow
async def checkout(ctx: Context, order: Order) -> str:
    by = await ctx.receive(approval)
    return f"{await charge(order)}, approved by {by}"


app = Stepwell("memory://", include=[__name__])  # sqlite:///orders.db keeps the runs
api = FastAPI(lifespan=app.lifespan(worker=True))
api.mount("/stepwell", app.asgi())


@api.post("/orders", status_code=202)
async def place(order: Order) -> dict[str, str]:
    handle = await app.start(checkout, order, id=f"order-{order.id}")  # asking twice starts one run
    return {"run": handle.id}


@api.post("/orders/{id}/approval")
async def approve(id: int, by: str) -> dict[str, str]:
    handle = app.handle(f"order-{id}", checkout)
    await handle.send(approval, by)
    return {"receipt": await handle.result(timeout="10s")}


async def main() -> None:
    transport = httpx.ASGITransport(api)
    async with (
        api.router.lifespan_context(api),  # a server does this
        httpx.AsyncClient(transport=transport, base_url="http://shop") as client,
    ):
        placed = await client.post("/orders", json={"id": 7, "cents": 500})
        assert (placed.status_code, placed.json()) == (202, {"run": "order-7"})
        approved = await client.post("/orders/7/approval", params={"by": "ada"})
        assert approved.json() == {"receipt": "receipt 7, approved by ada"}

        assert (await client.get("/stepwell/healthz")).status_code == 200
        assert (await client.get("/stepwell/api/runs/order-7")).status_code == 401  # the HTTP API asks for a key


if __name__ == "__main__":
    asyncio.run(main())
