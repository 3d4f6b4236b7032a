"""Hooks behind all that a request passes: the gate, namespaces, headers of answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from httpx import ASGITransport, AsyncClient

from stepwell import Context, HookRequest, HookResponse, Secret, workflow
from stepwell.server import Server, ServerOptions
from stepwell.testing import StepwellTest

urls: dict[str, str] = {}
"""Where the hook of each run is reached."""


@workflow
async def echo(ctx: Context, token: str | None = None) -> str:
    hook = await ctx.create_hook(HookRequest, respond=True, methods=("GET", "POST"), token=token)
    urls[ctx.run_id] = hook.url
    request = await hook
    body = f"{request.method} {request.path} {request.query} {request.text()}"
    hook.respond(request, HookResponse.text(body, headers={"Cache-Control": "max-age=60", "x-a": "b"}))
    return body


@workflow
async def signed(ctx: Context) -> str:
    hook = await ctx.create_hook(str, token="signed-token", signed_by=Secret("shop"))
    return await hook


@asynccontextmanager
async def browser(stepwell: StepwellTest) -> AsyncIterator[AsyncClient]:
    """A client of a server with two namespaces, that has no key."""
    server = ASGITransport(Server(stepwell.app, ServerOptions(namespaces=("acme", "other"))))
    async with AsyncClient(transport=server, base_url="http://127.0.0.1:7788") as http:
        yield http


async def test_a_hook_asks_for_no_key_and_takes_any_parameters(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(echo, None)
    await asyncio.sleep(1)

    async with browser(stepwell) as http:
        answer = await http.post(f"{urls[handle.id]}/more?access_token=x&a=%C3%BC&a=", content=b"hi")

    assert answer.text == "POST /more (('access_token', 'x'), ('a', 'ü'), ('a', '')) hi"
    assert answer.headers["x-a"] == "b"


async def test_the_run_decides_over_the_headers_of_its_answer(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(echo, None)
    await asyncio.sleep(1)

    async with browser(stepwell) as http:
        answer = await http.get(urls[handle.id])

    assert answer.headers.get_list("cache-control") == ["max-age=60"]
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]


async def test_a_head_request_completes_nothing(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(echo, None)
    await asyncio.sleep(1)

    async with browser(stepwell) as http:
        answer = await http.head(urls[handle.id])

    assert answer.status_code == 405
    assert (await handle.head()).mail == 0


async def test_hooks_of_a_namespace_are_reached_there_alone(stepwell: StepwellTest) -> None:
    app = stepwell.app.in_namespace("acme")
    handle = await app.start(echo, "acme-token")
    await asyncio.sleep(1)
    generated = await app.start(echo, None)
    await asyncio.sleep(1)
    own, made = urls[handle.id], urls[generated.id]
    assert own == "http://127.0.0.1:7788/n/acme/hooks/acme-token"

    async with browser(stepwell) as http:
        for url in (own, made):
            for elsewhere in ("", "/n/other", "/n/nobody"):
                assert (await http.post(url.replace("/n/acme", elsewhere))).status_code == 404
            assert (await http.post(url)).status_code == 200

    assert await handle.result() == await generated.result() == "POST  () "


async def test_a_token_of_ones_own_asks_for_its_signature(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(signed)
    await asyncio.sleep(1)

    async with browser(stepwell) as http:
        answer = await http.post("/hooks/signed-token", json="hi")

    assert answer.status_code == 503  # there is no such secret here
    assert (await handle.head()).mail == 0


async def test_a_body_that_is_too_large_is_not_read(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(echo, None)
    await asyncio.sleep(1)

    async with browser(stepwell) as http:
        answer = await http.post(urls[handle.id], content=b"x" * (1_048_576 + 1))

    assert answer.status_code == 413
    assert (await handle.head()).mail == 0
