"""Webhooks: a workflow that takes HTTP requests, and chooses what is answered to them."""

import asyncio
import time

from httpx import ASGITransport, AsyncClient
from msgspec import Struct

from stepwell import CodecError, Context, HookRequest, HookResponse, Secret, Stepwell, step, workflow
from stepwell.server import Server, ServerOptions
from stepwell.server.signatures import sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
urls: dict[str, str] = {}


class Order(Struct):
    id: int
    items: list[str]


@step
async def register(name: str, url: str) -> None:
    """Tell the sender where to send to."""
    urls[name] = url


@workflow
async def orders(ctx: Context) -> list[int]:
    hook = await ctx.create_hook(HookRequest, token="shop-orders", respond=True)
    taken: list[int] = []
    async for request in hook:
        if request.method == "PUT":
            hook.respond(request, HookResponse.text("closed", status=200, headers={"x-orders": str(len(taken))}))
            break
        try:
            order = request.json(Order)
        except CodecError as error:  # the sender's mistake is no failure of the run
            hook.respond(request, HookResponse.json({"error": str(error)}, status=422))
            continue
        taken.append(order.id)
        hook.respond(request, HookResponse.json({"accepted": order.id, "place": len(taken)}, status=201))
    return taken


@workflow
async def paid(ctx: Context) -> int:
    hook = await ctx.create_hook(Order, signed_by=Secret("shop"))  # by the rules of Standard Webhooks
    await register("paid", hook.url)
    return (await hook).id


@workflow
async def slash_command(ctx: Context) -> str:
    hook = await ctx.create_hook(HookRequest, methods=("GET", "POST"))
    await register("command", hook.url)
    request = await hook
    return f"{request.header('x-team')} says {request.form()['text']} at {request.path}"


async def until_open(name: str) -> str:
    while name not in urls:
        await asyncio.sleep(0.01)
    return urls[name]


async def main() -> None:
    app = Stepwell("memory://", include=[__name__], secrets={"shop": SECRET})
    server = ASGITransport(Server(app, ServerOptions()))  # `stepwell serve`, without a socket
    async with app, AsyncClient(transport=server, base_url="http://127.0.0.1:7788") as http:
        shop = await app.start(orders)
        while (await http.post("/hooks/shop-orders", json={"id": 0, "items": []})).status_code == 404:
            await asyncio.sleep(0.01)

        once = {"idempotency-key": "order-7"}
        for _ in range(2):  # sent again: it counts once, and the answer is the same
            answer = await http.post("/hooks/shop-orders", json={"id": 7, "items": ["tea"]}, headers=once)
            assert (answer.status_code, answer.json()) == (201, {"accepted": 7, "place": 2})
        assert (await http.post("/hooks/shop-orders", content=b"?")).status_code == 422
        assert (await http.put("/hooks/shop-orders")).headers["x-orders"] == "2"
        assert await shop.result() == [0, 7]
        assert (await http.post("/hooks/shop-orders", json={})).status_code in (404, 410)

        payment = await app.start(paid)
        url, body = await until_open("paid"), b'{"id": 7, "items": []}'
        assert (await http.post(url, content=body)).status_code == 401
        signed = sign(SECRET, body, id="msg_1", timestamp=int(time.time()))
        assert (await http.post(url, content=body, headers=signed)).status_code == 202
        assert await payment.result() == 7

        command = await app.start(slash_command)
        url = await until_open("command")
        await http.post(f"{url}/deploy", data={"text": "go"}, headers={"x-team": "ops"})
        assert await command.result() == "ops says go at /deploy"


if __name__ == "__main__":
    asyncio.run(main())
