"""What a run answers to the request that completed its hook."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from stepwell import CodecError, Context, HookRequest, HookResponse, step, workflow
from stepwell.codec import AesGcm, Codec
from stepwell.model.entries import Sent
from stepwell.runtime.handles import Handle
from stepwell.server.endpoints import Answer
from stepwell.testing import StepwellTest
from tests.server.hooks.conftest import Door

urls: dict[str, str] = {}
"""Where the hook of each run is reached."""


class Order(msgspec.Struct):
    id: int


@step
async def price(order: int) -> int:
    return order * 10


@workflow
async def quote(ctx: Context) -> str:
    hook = await ctx.create_hook(HookRequest, respond=True)
    urls[ctx.run_id] = hook.url
    request = await hook
    order = request.json(Order)
    hook.respond(request, HookResponse.json({"price": await price(order.id)}, status=201, headers={"X-Shop": "ours"}))
    return "answered"


@workflow
async def desk(ctx: Context) -> int:
    hook = await ctx.create_hook(HookRequest, respond=True, timeout="1h")
    urls[ctx.run_id] = hook.url
    count = 0
    async for request in hook:
        count += 1
        try:
            hook.respond(request, HookResponse.json({"price": await price(request.json(Order).id)}))
        except CodecError as error:
            hook.respond(request, HookResponse.text(str(error), status=422))
    return count


@workflow
async def answers_late(ctx: Context, seconds: int) -> str:
    hook = await ctx.create_hook(HookRequest, respond=True)
    urls[ctx.run_id] = hook.url
    request = await hook
    await ctx.sleep(seconds)
    hook.respond(request, HookResponse.text("late"))
    await ctx.sleep(100)
    return "over"


@workflow
async def never_answers(ctx: Context) -> None:
    hook = await ctx.create_hook(HookRequest, respond=True)
    urls[ctx.run_id] = hook.url
    await hook


@workflow
async def answers_and_goes_on(ctx: Context, round: int = 0) -> None:
    hook = await ctx.create_hook(HookRequest, respond=True)
    urls[ctx.run_id] = hook.url
    if not round:
        hook.respond(await hook, HookResponse.text("first"))
        ctx.continue_as_new(1)
    await hook


@workflow
async def answers_with(ctx: Context, how: str) -> str:
    hook = await ctx.create_hook(HookRequest, respond=True)
    urls[ctx.run_id] = hook.url
    request = await hook
    try:
        if how == "twice":
            hook.respond(request, HookResponse())
            hook.respond(request, HookResponse())
        elif how == "a stranger":
            hook.respond(HookRequest(), HookResponse())
        else:
            hook.respond(request, "text")  # type: ignore[arg-type]
    except Exception as error:
        return str(error)
    return ""


async def url_of(handle: Handle[Any]) -> str:
    await asyncio.sleep(1)
    return urls[handle.id]


async def stream_of(stepwell: StepwellTest, handle: Handle[Any]) -> str:
    """Where the one answer of a run is."""
    _, frames = await stepwell.app.client.journal(handle.id)
    (name,) = [entry.stream for _, frame in frames for entry in frame.entries if isinstance(entry, Sent)]
    return f"{handle.id}/{name}"


def taken_by(handle: Handle[Any]) -> tuple[int, Any]:
    return 202, {"run": handle.id}


def plain(answer: Answer) -> tuple[int, Any]:
    return answer.status, msgspec.to_builtins(answer.body)


async def test_the_sender_gets_what_the_run_answers(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(quote)

    answer = await door.json(await url_of(handle), {"id": 7})

    assert (answer.status, answer.body) == (201, b'{"price":70}')
    assert answer.content_type == "application/json; charset=utf-8"
    assert answer.headers["x-shop"] == "ours"
    assert await handle.result() == "answered"


async def test_an_answer_has_no_part_in_the_pages_of_the_server(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(quote)

    answer = await door.json(await url_of(handle), {"id": 7})

    assert answer.headers["content-security-policy"] == "sandbox allow-forms"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_each_sender_gets_its_own_answer(stepwell: StepwellTest, door: Door) -> None:
    url = await url_of(await stepwell.start(desk))

    answers = await asyncio.gather(*(door.json(url, {"id": id}) for id in (1, 2, "three", 4)))

    assert [answer.status for answer in answers] == [200, 200, 422, 200]
    assert [answer.body for answer in answers if answer.status == 200] == [
        b'{"price":10}',
        b'{"price":20}',
        b'{"price":40}',
    ]


async def test_a_request_that_is_sent_again_gets_the_same_answer(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(quote)
    url = await url_of(handle)

    first = await door.json(url, {"id": 7}, **{"idempotency-key": "a"})
    await handle.result()
    again = await door.json(url, {"id": 8}, **{"idempotency-key": "a"})
    other = await door.json(url, {"id": 8}, **{"idempotency-key": "b"})

    assert (again.status, again.body) == (first.status, first.body)
    assert other.status == 410


async def test_so_does_one_that_the_run_has_gone_on_from(stepwell: StepwellTest, door: Door) -> None:
    url = await url_of(await stepwell.start(answers_and_goes_on, 0))
    first = await door.json(url, 1, **{"idempotency-key": "a"})
    await asyncio.sleep(1)

    again = await door.json(url, 1, **{"idempotency-key": "a"})

    assert (first.body, again.body) == (b"first", b"first")


async def test_who_waits_in_vain_is_told_that_the_request_was_taken(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(answers_late, 40)
    url = await url_of(handle)

    early = await door.json(url, 1, **{"idempotency-key": "a"})
    again = await door.json(url, 1, **{"idempotency-key": "a"})

    assert plain(early) == taken_by(handle)
    assert (again.status, again.body) == (200, b"late")


async def test_so_is_who_sends_to_a_run_that_ends_without_an_answer(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(never_answers)

    assert plain(await door.json(await url_of(handle), 1)) == taken_by(handle)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("twice", "has been answered already"),
        ("a stranger", "can only answer a request that it gave"),
        ("text", "give a HookResponse"),
    ],
)
async def test_an_answer_that_cannot_be_given_is_an_error(
    stepwell: StepwellTest, door: Door, how: str, why: str
) -> None:
    handle = await stepwell.start(answers_with, how)

    await door.json(await url_of(handle), 1)

    assert why in await handle.result()


async def test_an_answer_is_written_once_whatever_crashes(stepwell: StepwellTest) -> None:
    request = HookRequest(body=b'{"id": 7}', headers=(("content-type", "application/json"),))

    await stepwell.crash_everywhere(quote, messages=[("hook", "1s", request)])


async def test_an_answer_is_in_the_journal_once(stepwell: StepwellTest, door: Door) -> None:
    handle = await stepwell.start(quote)
    await door.json(await url_of(handle), {"id": 7})
    await handle.result()

    assert (await stream_of(stepwell, handle)).startswith(f"{handle.id}/hook answers/")


class TestEncrypted:
    @pytest.fixture
    def stepwell_options(self) -> dict[str, Any]:
        return {"codec": Codec(AesGcm({"k": b"k" * 32}, current="k"))}

    async def test_requests_and_answers_are_encrypted_in_the_store(self, stepwell: StepwellTest, door: Door) -> None:
        handle = await stepwell.start(quote)
        answer = await door.json(await url_of(handle), {"id": 7, "mark": "MARKED"})
        await handle.result()

        journal = repr(await stepwell.app.client.journal(handle.id))

        assert answer.body == b'{"price":70}'
        assert "MARKED" not in journal
        assert "X-Shop" not in journal
        assert "X-Shop" not in repr(await stepwell.app.backend.streams.read(await stream_of(stepwell, handle), 0, 1))
