"""The client: what one does with an app, with a server somewhere else. Here it runs in this process."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn

from stepwell import AccessError, Context, RunError, Signal, Stepwell, Stream, WorkflowRef, step, workflow
from stepwell.client import Client, SyncClient
from stepwell.server import Server, ServerOptions


@dataclass
class Order:
    id: int
    amount: int


approved = Signal("approved", bool)
progress = Stream("progress", str)


class OutOfStock(Exception):
    pass


@step(retry=None)
async def reserve(order: Order) -> str:
    if order.amount > 100:
        raise OutOfStock(f"order {order.id} wants {order.amount}")
    return f"shelf {order.id}"


@workflow
async def checkout(ctx: Context, order: Order) -> str:
    ctx.send(progress, "asked for approval")
    if not await ctx.receive(approved):
        return "refused"
    ctx.send(progress, "approved")
    return await reserve(order)


@asynccontextmanager
async def serving() -> AsyncGenerator[tuple[str, str, str], None]:
    """What `stepwell serve` does. Gives the server's URL, a key for programs, and one for those who only look."""
    server = Server(Stepwell("memory://", include=[sys.modules[__name__]]), ServerOptions(), worker=True)
    listener = uvicorn.Server(uvicorn.Config(server, host="127.0.0.1", port=0, log_level="warning"))
    task = asyncio.create_task(listener.serve())
    while not listener.started:
        await asyncio.sleep(0.01)
    port = listener.servers[0].sockets[0].getsockname()[1]
    keys = server.access.keys
    program, guest = await keys.create(scopes=("trigger", "signal", "read")), await keys.create(scopes=("read",))
    yield f"http://127.0.0.1:{port}", program.text, guest.text
    listener.should_exit = True
    await task


async def use(url: str, key: str) -> None:
    async with Client(url, key=key) as app:
        handle = await app.start(checkout, Order(id=7, amount=3), id="order-7")
        await handle.send(approved, True)
        assert await handle.result(timeout="1m") == "shelf 7"
        assert [line async for line in handle.stream(progress)] == ["asked for approval", "approved"]


async def look_into_a_failure(url: str, key: str) -> None:
    by_name = WorkflowRef[Order, str]("checkout", input=Order, output=str)  # the code need not be here
    async with Client(url, key=key) as app:
        handle = await app.start(by_name, Order(id=8, amount=300))
        await handle.send(approved, True)
        try:
            await handle.result()
        except RunError as error:
            print(error)
        page = await app.runs.list(status="failed")
        assert [head.id for head in page.runs] == [handle.id]
        print(await app.runs.explain(handle.id))


async def be_refused(url: str, key: str) -> None:
    async with Client(url, key=key) as app:
        assert len((await app.runs.list()).runs) > 0
        try:
            await app.start(checkout, Order(id=9, amount=1))
        except AccessError as error:
            print(error)


def wait_in_a_thread(url: str, key: str) -> None:
    with SyncClient(url, key=key) as s:
        handle = s.start(checkout, Order(id=10, amount=3))
        handle.send(approved, False)
        assert handle.result(timeout="1m") == "refused"


async def show_in_a_browser(url: str, key: str) -> None:
    async with Client(url, key=key) as app:
        token = await app.tokens.create(run="order-7", stream=progress, ttl="10m")
    async with Client(url, key=token.token) as page:  # a page would put it into its URL, ?access_token=
        assert [line async for line in page.handle("order-7").stream(progress)] == ["asked for approval", "approved"]


async def main() -> None:
    async with serving() as (url, key, guest):
        await use(url, key)
        await look_into_a_failure(url, key)
        await be_refused(url, guest)
        await asyncio.to_thread(wait_in_a_thread, url, key)
        await show_in_a_browser(url, key)


if __name__ == "__main__":
    asyncio.run(main())
