"""Starlette: as with FastAPI; the request handlers share the app's event loop and its worker.

uvicorn starlette_app:web
"""

import asyncio

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from stepwell import Context, Stepwell, step, workflow


@step
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow
async def greeting(ctx: Context, name: str) -> str:
    return await greet(name)


app = Stepwell("memory://", include=[__name__])


async def hello(request: Request) -> JSONResponse:
    handle = await app.start(greeting, request.path_params["name"])
    return JSONResponse({"run": handle.id, "says": await handle.result(timeout="10s")})


web = Starlette(
    routes=[Route("/hello/{name}", hello), Mount("/stepwell", app.asgi())],
    lifespan=app.lifespan(worker=True),
)


async def main() -> None:
    transport = httpx.ASGITransport(web)
    async with (
        web.router.lifespan_context(web),  # a server does this
        httpx.AsyncClient(transport=transport, base_url="http://shop") as client,
    ):
        assert (await client.get("/hello/Ada")).json()["says"] == "Hello, Ada!"
        assert (await client.get("/stepwell/healthz")).json()["ok"]


if __name__ == "__main__":
    asyncio.run(main())
