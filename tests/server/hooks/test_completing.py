"""What comes through the door of a hook, and what does not."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from stepwell import Context, HookRequest, Secret, step, workflow
from stepwell.model.ids import CommandId
from stepwell.model.tokens import HookOptions, make_token
from stepwell.runtime.handles import Handle
from stepwell.server.endpoints import Answer
from stepwell.server.signatures import sign
from stepwell.testing import StepwellTest
from tests.server.hooks.conftest import Door

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


urls: dict[str, str] = {}
"""Where the hook of each run is reached."""


@pytest.fixture
def stepwell_options() -> dict[str, Any]:
    return {"secrets": {"shop": SECRET, "broken": "?"}}


@workflow
async def takes_a_value(ctx: Context) -> Any:
    hook = await ctx.create_hook(Any)
    urls[ctx.run_id] = hook.url
    return await hook


@workflow
async def takes_numbers(ctx: Context) -> list[int]:
    hook = await ctx.create_hook(int, token="meter 1/a", timeout="1h")
    urls[ctx.run_id] = hook.url
    return [value async for value in hook]


@workflow
async def takes_requests(ctx: Context) -> list[HookRequest]:
    hook = await ctx.create_hook(HookRequest, timeout="1h")
    urls[ctx.run_id] = hook.url
    return [request async for request in hook]


@workflow
async def takes_signed(ctx: Context, secret: str) -> list[str]:
    hook = await ctx.create_hook(str, signed_by=Secret(secret), timeout="1h")
    urls[ctx.run_id] = hook.url
    return [value async for value in hook]


@workflow
async def takes_links(ctx: Context) -> Any:
    hook = await ctx.create_hook(Any, methods=("GET",))
    urls[ctx.run_id] = hook.url
    return await hook


@workflow
async def begins_anew(ctx: Context, round: int = 0) -> str:
    hook = await ctx.create_hook(str)
    urls[ctx.run_id] = hook.url
    if round == 0:
        await hook
        ctx.continue_as_new(1)
    return await hook


@step
async def prepare() -> None:
    """Takes as long as a test says."""


@workflow
async def slow_to_open(ctx: Context, round: int = 0) -> str:
    if round:
        await prepare()
    hook = await ctx.create_hook(str, token="my own token")
    value = await hook
    if not round:
        ctx.continue_as_new(1)
    return value


async def url_of(handle: Handle[Any]) -> str:
    await asyncio.sleep(1)
    return urls[handle.id]


def code_of(answer: Answer) -> str:
    assert isinstance(answer.body, bytes)
    return str(msgspec.json.decode(answer.body)["code"])


# --- values


async def test_the_run_is_told_to_who_completes_a_hook(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(takes_a_value, id="run-1")

    answer = await door.json(await url_of(handle), {"approved": True})

    assert (answer.status, msgspec.to_builtins(answer.body)) == (202, {"run": "run-1"})
    assert await handle.result() == {"approved": True}


@pytest.mark.parametrize(
    ("body", "content_type", "value"),
    [
        (b'{"a": [1, null]}', "application/json", {"a": [1, None]}),
        (b"a=1&b=x%20y", "application/x-www-form-urlencoded", {"a": "1", "b": "x y"}),
        (b"hello", "text/plain", "hello"),
        (b"", "", None),
        (b' {"$blob": "other-run/key", "size": 3}', "application/json", {"$blob": "other-run/key", "size": 3}),
        (b'{"$sealed": "x"}', "application/json", {"$sealed": "x"}),
    ],
)
async def test_a_value_is_made_of_the_body(
    stepwell: StepwellTest, door: Door, body: bytes, content_type: str, value: object
) -> None:
    handle = await stepwell.start(takes_a_value)
    headers = {"content-type": content_type} if content_type else {}

    assert (await door.send(await url_of(handle), body, headers=headers)).status == 202
    assert await handle.result() == value


async def test_a_large_value_gets_through(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(takes_a_value)

    await door.json(await url_of(handle), "x" * 50_000)

    assert await handle.result() == "x" * 50_000


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "invalid_json"),
        (b'{"a": 1, "a": 2}', "application/json", 400, "invalid_json"),
        (b"[" * 99 + b"]" * 99, "application/json", 400, "invalid_json"),
        (b'"\xff"', "application/json", 400, "invalid_json"),
        (b"a=%ff", "application/x-www-form-urlencoded", 400, "invalid_value"),
        (b"x", "text/plain; charset=idna", 400, "invalid_value"),
        (b"x", "image/png", 415, "unsupported_media_type"),
    ],
)
async def test_a_body_of_which_no_value_can_be_made_is_refused(
    stepwell: StepwellTest, door: Door, body: bytes, content_type: str, status: int, code: str
) -> None:
    handle = await stepwell.start(takes_a_value)

    answer = await door.send(await url_of(handle), body, headers={"content-type": content_type})

    assert (answer.status, code_of(answer)) == (status, code)
    assert (await handle.head()).mail == 0


async def test_a_token_of_ones_own_may_hold_spaces_and_slashes(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(takes_numbers)
    assert (await url_of(handle)).endswith("/hooks/meter%201/a")

    await door.send("/hooks/meter 1/a", b"1")
    await door.send("/hooks/meter 1/a", b'"not a number"')
    await door.send("/hooks/meter 1/a", b"2")

    assert await handle.result() == [1, 2]


# --- requests


async def test_a_request_comes_as_it_was_sent_but_for_credentials(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(takes_requests)
    headers = {"x-event": "push", "authorization": "Bearer x", "cookie": "a=b", "content-type": "image/png"}

    await door.send(f"{await url_of(handle)}/deep/er", b"\x89PNG", method="PUT", query="a=1&a=2", headers=headers)

    (request,) = await handle.result()
    assert request == HookRequest(
        method="PUT",
        path="/deep/er",
        query=(("a", "1"), ("a", "2")),
        headers=(("x-event", "push"), ("content-type", "image/png")),
        body=b"\x89PNG",
        id=request.id,
    )
    assert request.id.startswith("hook:1.hook:")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"x" * 50_000, b'{"$blob": 1}'])
async def test_any_body_at_all_is_taken(stepwell: StepwellTest, door: Door, body: bytes) -> None:
    handle = await stepwell.start(takes_requests)

    answer = await door.send(await url_of(handle), body, headers={"content-type": "application/json"})

    assert answer.status == 202
    (request,) = await handle.result()
    assert request.body == body


@pytest.mark.parametrize("header", ["webhook-id", "idempotency-key"])
async def test_what_is_sent_again_counts_once(stepwell: StepwellTest, door: Door, header: str) -> None:
    handle = await stepwell.start(takes_requests)
    url = await url_of(handle)

    answers = [await door.json(url, 1, **{header: id}) for id in ("a", "a", "b", "x" * 500, "x" * 500)]

    assert [answer.status for answer in answers] == [202] * 5
    assert len(await handle.result()) == 3


# --- tokens


async def test_every_wrong_token_gets_the_same_answer(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(takes_a_value)
    url = await url_of(handle)
    other = make_token(handle.id, 1, CommandId("hook"), "00" * 16)
    options = make_token(handle.id, 1, CommandId("hook"), "00" * 16, HookOptions(respond=True))
    elsewhere = make_token(type(handle.id)("nobody"), 1, CommandId("hook"), "00" * 16)
    wrong = [url[:-1], f"{url}x", other, options, elsewhere, "rubbish", "hk_", handle.id, "x" * 500, "\udcff"]

    answers = [await door.json(f"/hooks/{token.rpartition('/hooks/')[2]}", 1) for token in wrong]

    assert {(answer.status, answer.body) for answer in answers} == {(404, answers[0].body)}
    assert code_of(answers[0]) == "no_such_hook"


async def test_a_hook_of_a_run_that_has_ended_is_gone(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(takes_a_value)
    url = await url_of(handle)
    await door.json(url, 1)
    await handle.result()

    answer = await door.json(url, 2)

    assert (answer.status, code_of(answer)) == (410, "hook_is_over")


async def test_what_was_taken_before_the_end_and_comes_again_is_no_error(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(takes_a_value)
    url = await url_of(handle)
    await door.json(url, 1, **{"webhook-id": "a"})
    await handle.result()

    assert (await door.json(url, 1, **{"webhook-id": "a"})).status == 202


async def test_a_hook_of_a_generation_that_is_over_is_gone(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(begins_anew, 0)
    first = await url_of(handle)
    await door.json(first, "on")
    second = await url_of(handle)

    assert (await door.json(first, "again")).status == 410
    assert (await door.json(second, "end")).status == 202
    assert await handle.result() == "end"


async def test_who_comes_before_a_hook_is_opened_again_is_asked_to_come_later(
    stepwell: StepwellTest, door: Door
) -> None:
    async def slowly() -> None:
        await asyncio.sleep(60)

    handle = await stepwell.start(slow_to_open, 0, fakes={prepare: slowly})
    await asyncio.sleep(1)
    assert (await door.json("/hooks/my own token", "on")).status == 202
    await asyncio.sleep(1)

    early = await door.json("/hooks/my own token", "early")
    await asyncio.sleep(100)

    assert (early.status, code_of(early), early.headers) == (503, "hook_not_open", {"retry-after": "1"})
    assert (await door.json("/hooks/my own token", "end")).status == 202
    assert await handle.result() == "end"


# --- verbs


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_a_program_that_looks_at_links_completes_nothing(stepwell: StepwellTest, door: Door, method: str) -> None:
    handle = await stepwell.start(takes_a_value)

    answer = await door.send(await url_of(handle), method=method)

    assert (answer.status, answer.headers["allow"]) == (405, "POST, PUT, PATCH")
    assert (await handle.head()).mail == 0


async def test_a_wrong_token_is_no_hook_whatever_the_verb(stepwell: StepwellTest, door: Door) -> None:
    assert (await door.send("/hooks/rubbish", method="GET")).status == 404


async def test_a_link_completes_a_hook_that_was_made_for_links(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(takes_links)
    url = await url_of(handle)

    assert (await door.json(url, {})).headers["allow"] == "GET"
    assert (await door.send(url, method="HEAD")).status == 405
    assert (await door.send(url, method="GET", query="by=ada")).status == 202
    assert await handle.result() == {"by": "ada"}


# --- signatures


async def test_a_signed_request_comes_in_once(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(takes_signed, "shop")
    url = await url_of(handle)
    headers = sign(SECRET, b'"hi"', id="msg_1", timestamp=stepwell.clock.now() // 1000)

    answers = [await door.send(url, b'"hi"', headers=headers) for _ in range(2)]

    assert [answer.status for answer in answers] == [202, 202]
    assert await handle.result() == ["hi"]


async def test_a_request_that_is_not_signed_as_it_must_be_stays_outside(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(takes_signed, "shop")
    url = await url_of(handle)
    now = stepwell.clock.now() // 1000
    good = sign(SECRET, b'"hi"', id="msg_1", timestamp=now)
    old = sign(SECRET, b'"hi"', id="msg_1", timestamp=now - 301)

    answers = [
        await door.send(url, b'"hi"'),
        await door.send(url, b'"ho"', headers=good),
        await door.send(url, b'"hi"', headers={**good, "webhook-id": "msg_2"}),
        await door.send(url, b'"hi"', headers=old),
    ]

    assert {(answer.status, answer.body) for answer in answers} == {(401, answers[0].body)}
    assert (await handle.head()).mail == 0


async def test_the_token_cannot_be_made_to_need_no_signature(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(takes_signed, "shop")
    prefix, token = (await url_of(handle)).split("/hooks/")
    parts = token.split(".")

    answer = await door.send(f"{prefix}/hooks/{'.'.join([*parts[:3], parts[4]])}", b'"hi"')

    assert answer.status == 404


@pytest.mark.parametrize("secret", ["missing", "broken"])
async def test_a_secret_that_cannot_be_used_lets_nobody_in(
    stepwell: StepwellTest, door: Door, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    handle = await stepwell.start(takes_signed, secret)
    headers = sign(SECRET, b'"hi"', id="msg_1", timestamp=stepwell.clock.now() // 1000)

    answer = await door.send(await url_of(handle), b'"hi"', headers=headers)

    assert (answer.status, code_of(answer), answer.headers) == (503, "signature_not_checked", {"retry-after": "60"})
    assert "its secret: " in caplog.text
    assert SECRET not in caplog.text


async def test_the_value_of_a_secret_is_in_no_journal(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(takes_signed, "shop")
    headers = sign(SECRET, b'"hi"', id="msg_1", timestamp=stepwell.clock.now() // 1000)
    await door.send(await url_of(handle), b'"hi"', headers=headers)
    await handle.result()

    assert SECRET not in repr(await stepwell.app.client.journal(handle.id))
