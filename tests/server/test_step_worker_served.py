"""A step worker under servers and frameworks: over a socket, and mounted in an application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import fastapi
import httpx
import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from stepwell import Context, step, workflow
from stepwell.formats.voyant.signing import SignedRequest, sign_v2
from stepwell.testing.virtual import VirtualClock
from tests.helpers import run
from tests.server.step_workers import LINES, app_of, encoded, request, signed


@step
async def doubled(n: int) -> int:
    return 2 * n


@workflow
async def twice(ctx: Context, n: int) -> int:
    return await doubled(n)


class Gate:
    """Steps say that they are here, and stay."""

    def __init__(self) -> None:
        self.is_entered = asyncio.Event()
        self.is_cancelled = asyncio.Event()


gates: dict[str, Gate] = {}


@step
async def stay() -> None:
    gates["one"].is_entered.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        gates["one"].is_cancelled.set()
        raise


@workflow
async def staying(ctx: Context) -> None:
    await doubled(1)
    await stay()


@contextlib.asynccontextmanager
async def serving(application: Any) -> AsyncIterator[str]:
    """The application under uvicorn, on a free port."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="critical", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done()
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


def test_it_answers_over_a_socket() -> None:
    async def test() -> list[Any]:
        worker = app_of(twice).step_worker(secret="s3cret")
        async with serving(worker) as url, httpx.AsyncClient(base_url=url) as client:
            body = encoded(request("twice", input=4))
            plain = await client.post("/anywhere", content=body, headers=signed("s3cret", body))
            lines = await client.post("/", content=body, headers=signed("s3cret", body) | LINES)
            refused = await client.post("/", content=body)
            last = msgspec.json.decode(lines.content.splitlines()[-1])
            return [plain.json()["output"], last["outcome"]["output"], refused.status_code]

    assert run(test()) == [8, 8, 401]


def test_a_connection_that_is_closed_cancels_the_steps() -> None:
    async def test() -> None:
        gates["one"] = Gate()
        async with serving(app_of(staying).step_worker()) as url, httpx.AsyncClient(base_url=url) as client:
            async with client.stream("POST", "/", content=encoded(request("staying")), headers=LINES) as answer:
                assert answer.status_code == 200
                await gates["one"].is_entered.wait()
            async with asyncio.timeout(5):
                await gates["one"].is_cancelled.wait()

    run(test())


def test_an_answer_that_breaks_off_is_no_answer_that_ends() -> None:
    async def test() -> None:
        gates["one"] = Gate()
        worker = app_of(staying).step_worker(drain=0)
        async with serving(worker) as url, httpx.AsyncClient(base_url=url) as client:
            asking = asyncio.create_task(client.post("/", content=encoded(request("staying")), headers=LINES))
            await gates["one"].is_entered.wait()
            await worker.aclose()
            with pytest.raises(httpx.RemoteProtocolError):
                await asking

    run(test())


@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
def test_it_may_be_mounted_where_nobody_tells_it_of_the_beginning(framework: str) -> None:
    clock = VirtualClock()
    entered: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        entered.append("in")
        yield
        entered.append("out")

    async def test() -> list[int]:
        worker = app_of(twice, clock=clock, lifespan=lifespan).step_worker(secret="s3cret", require_v2=True)
        if framework == "starlette":
            application: Any = Starlette(routes=[Mount("/steps", worker)])
        else:
            application = fastapi.FastAPI()
            application.mount("/steps", worker)
        body = encoded(request("twice", input=4))
        path = "/steps/__voyant/workflow-step"
        headers = {"x-stepwell-timestamp": str(clock.now()), "x-stepwell-nonce": "n"}
        signature = sign_v2(b"s3cret", SignedRequest(path=path, headers=headers, body=body))
        headers |= {"x-stepwell-signature": signature} | signed("s3cret", body)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://localhost") as client:
            answers = [await client.post(path, content=body, headers=headers) for _ in range(2)]
        await worker.aclose()
        return [answer.status_code for answer in answers]

    assert run(test()) == [200, 401]
    assert entered == ["in", "out"]
