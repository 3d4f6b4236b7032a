"""Requests to hooks, in tests of users."""

from __future__ import annotations

import asyncio

import pytest

from stepwell import Context, HookError, HookRequest, HookResponse, Secret, workflow
from stepwell.testing import StepwellTest

urls: list[str] = []
JSON = (("content-type", "application/json"),)


@workflow
async def echo(ctx: Context) -> str:
    hook = await ctx.create_hook(HookRequest, respond=True, signed_by=Secret("shop"))
    urls.append(hook.url)
    request = await hook
    hook.respond(request, HookResponse.text(request.text() + "!"))
    return request.method


@workflow
async def number(ctx: Context) -> int:
    hook = await ctx.create_hook(int, token="a number")
    return await hook


async def test_a_request_gets_the_answer_of_the_run(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(echo)
    await asyncio.sleep(1)

    response = await stepwell.request(urls.pop(), HookRequest(method="PUT", body=b"hello"))

    assert response == HookResponse.text("hello!")
    assert await handle.result() == "PUT"


async def test_a_request_completes_a_plain_hook_with_a_value(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(number)
    await asyncio.sleep(1)

    assert await stepwell.request("a number", HookRequest(body=b"7", headers=JSON)) is None
    assert await handle.result() == 7


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (HookRequest(method="GET"), "by POST, PUT, PATCH, and not by GET"),
        (HookRequest(headers=(("content-type", "image/png"),)), "JSON, forms and text, not 'image/png'"),
    ],
)
async def test_what_the_server_refuses_is_an_error(stepwell: StepwellTest, request_: HookRequest, why: str) -> None:
    await stepwell.start(number)
    await asyncio.sleep(1)

    with pytest.raises(HookError, match=why):
        await stepwell.request("a number", request_)


async def test_so_is_a_hook_whose_run_has_ended(stepwell: StepwellTest) -> None:
    handle = await stepwell.start(echo)
    await asyncio.sleep(1)
    url = urls.pop()
    await stepwell.request(url, HookRequest())
    await handle.result()

    with pytest.raises(HookError, match="has ended"):
        await stepwell.request(url, HookRequest())


def test_a_script_sends_requests_to_a_hook_that_takes_them(stepwell: StepwellTest) -> None:
    run = stepwell.run_sync(echo, messages=[("hook", "1h", HookRequest(method="PATCH"))])

    assert run.result == "PATCH"
