"""What a server that stops does with those who wait for something: it answers them."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from stepwell import Context, Stepwell, step, workflow
from stepwell.runtime.options import WorkerOptions
from stepwell.server import Server, ServerOptions
from stepwell.server.patience import Patience
from tests.helpers import run, until


@step
async def never() -> None:
    await asyncio.Event().wait()


@workflow
async def endless(ctx: Context) -> None:
    await never()


START = ("POST", "/api/runs", {"workflowId": "endless", "runId": "new"})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        (*START, 202),
        ("GET", "/api/runs/r-1/streams/words?wait=30", None, 200),
        ("GET", "/api/runs/r-1/result?wait=30", None, 202),
    ],
)
def test_a_request_that_waits_is_answered_when_the_server_drains(
    method: str, path: str, body: object, status: int
) -> None:
    async def test() -> int:
        async with Stepwell("memory://", include=[__name__], worker_options=WorkerOptions(grace_ms=0)) as app:
            server = Server(app, ServerOptions(dev=True))
            async with httpx.AsyncClient(transport=httpx.ASGITransport(server), base_url="http://localhost") as client:
                await app.start(endless, id="r-1")
                asking = asyncio.create_task(client.request(method, path, json=body))
                await until(lambda: is_waiting(server, asking))
                server.drain()
                return (await asking).status_code

    assert run(test()) == status


async def is_waiting(server: Server, asking: asyncio.Task[httpx.Response]) -> bool:
    await asyncio.sleep(0.02)
    return server.in_flight == 1 or asking.done()


def test_whoever_comes_after_the_end_does_not_wait() -> None:
    async def test() -> None:
        patience = Patience()
        patience.end()
        async with patience.at_most(30):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(test())
