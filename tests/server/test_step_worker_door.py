"""Whom a step worker lets in, in which order it looks, and how it says no."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import msgspec
import pytest

from stepwell import Blueprint, Context, DefinitionError, NodeContext, Secret, step, workflow
from stepwell.formats.voyant.signing import SignedRequest, sign_v2
from stepwell.runtime.stepworker import StepWorker
from stepwell.testing.virtual import VirtualClock
from tests.helpers import run
from tests.server.step_workers import Exchange, app_of, ask, encoded, request, signed, virtually

PATH = "/__voyant/workflow-step"


@workflow
async def greeting(ctx: Context) -> str:
    return "hello"


@workflow(id="orders", version="1")
async def orders_1(ctx: Context) -> int:
    return 1


@workflow(id="orders", version="2", accepts=["1.5"])
async def orders_2(ctx: Context) -> int:
    return 2


@step
async def forever() -> None:
    await asyncio.Event().wait()


@workflow
async def endless(ctx: Context) -> None:
    await forever()


def worker(**options: Any) -> StepWorker:
    return app_of(greeting, orders_1, orders_2, endless).step_worker(**options)


def without(name: str) -> dict[str, Any]:
    members = request()
    del members[name]
    return members


REQUIRED = [
    "protocolVersion",
    "runId",
    "workflowId",
    "workflowVersion",
    "invocationCount",
    "journal",
    "environment",
    "deadline",
    "tenantMeta",
    "runMeta",
]


@pytest.mark.parametrize("name", REQUIRED)
def test_a_request_without_a_member_is_told_which(name: str) -> None:
    status, body = run(ask(worker(), without(name)))
    assert (status, body["error"], body["message"]) == (400, "invalid_request", f'missing required field "{name}"')


@pytest.mark.parametrize(
    ("asked", "status", "error"),
    [
        ({"method": "GET", "body": b"", "headers": {}}, 405, "method_not_allowed"),
        ({"body": b""}, 401, "unauthorized"),
        ({"body": b"", "signs": True}, 400, "invalid_json"),
        ({"body": b"{", "signs": True}, 400, "invalid_json"),
        ({"body": b"[]", "signs": True}, 400, "invalid_request"),
        (
            {"body": encoded({**request("nobody"), "protocolVersion": 2, "runId": 7}), "signs": True},
            400,
            "invalid_request",
        ),
        (
            {"body": encoded({**request("nobody"), "protocolVersion": 2}), "signs": True},
            426,
            "protocol_version_mismatch",
        ),
        ({"body": encoded(request("nobody")), "signs": True}, 404, "workflow_not_found"),
        ({"body": encoded(request()), "signs": True}, 200, None),
    ],
)
def test_refusals_come_in_the_order_of_the_protocol(asked: dict[str, Any], status: int, error: str | None) -> None:
    signs = asked.pop("signs", False)
    headers = asked.pop("headers", signed("s3cret", asked["body"]) if signs else {})
    reply = run(worker(secret="s3cret").handle(headers=headers, **asked))
    assert isinstance(reply.body, bytes)
    assert reply.status == status
    assert msgspec.json.decode(reply.body).get("error") == error
    assert reply.headers["content-type"] == "application/json; charset=utf-8"


def test_an_unknown_workflow_is_named() -> None:
    _, body = run(ask(worker(), request("nobody")))
    assert body["message"] == 'workflow "nobody" is not registered in this bundle'


def test_a_blueprint_is_no_workflow_of_a_step_worker() -> None:
    async def node(ctx: NodeContext) -> int:
        return 1

    flow = Blueprint("flow").node("a", node)
    status, body = run(ask(app_of(flow).step_worker(), request("flow")))
    assert (status, body["error"]) == (404, "workflow_not_found")


@pytest.mark.parametrize(("version", "output"), [("1", 1), ("2", 2), ("1.5", 2), ("local", 2)])
def test_the_code_of_a_version_is_run(version: str, output: int) -> None:
    status, body = run(ask(worker(), request("orders", workflowVersion=version)))
    assert (status, body["output"]) == (200, output)


def test_an_unknown_version_is_told_which_there_are() -> None:
    status, body = run(ask(worker(), request("orders", workflowVersion="3")))
    assert (status, body["details"]) == (404, {"versions": ["1", "2"]})
    assert "there are: 1, 2" in body["message"]


def test_a_workflow_without_versions_takes_every_version() -> None:
    status, _ = run(ask(worker(), request(workflowVersion="2026-05-01")))
    assert status == 200


# --- signatures


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "missing x-voyant-dispatch-auth header"),
        ("!", "malformed x-voyant-dispatch-auth header (expected base64)"),
        (base64.b64encode(bytes(32)).decode(), "x-voyant-dispatch-auth signature does not match request body"),
    ],
)
def test_a_wrong_signature_is_told_what_is_wrong(header: str | None, message: str) -> None:
    headers = {} if header is None else {"X-Voyant-Dispatch-Auth": header}
    status, body = run(ask(worker(secret="s3cret"), request(), headers))
    assert (status, body["error"], body["message"]) == (401, "unauthorized", message)


@pytest.mark.parametrize("secret", ["new", "old"])
def test_several_secrets_are_known_while_one_is_replaced(secret: str) -> None:
    body = encoded(request())
    reply = run(worker(secret=["new", "old"]).handle(body, signed(secret, body)))
    assert reply.status == 200


def test_a_secret_may_be_looked_up_by_its_name() -> None:
    body = encoded(request())
    app = app_of(greeting, secrets={"wire": "s3cret"})
    reply = run(app.step_worker(secret=Secret("wire")).handle(body, signed("s3cret", body)))
    assert reply.status == 200


def signed_twice(body: bytes, at: int, nonce: str = "n-1", path: str = PATH, **more: str) -> dict[str, str]:
    headers = {"x-stepwell-timestamp": str(at), "x-stepwell-nonce": nonce, **more}
    signature = sign_v2(b"s3cret", SignedRequest(path=path, headers=headers, body=body))
    return signed("s3cret", body) | headers | {"x-stepwell-signature": signature}


def test_a_request_with_a_second_signature_counts_once() -> None:
    clock = VirtualClock()
    body = encoded(request())
    served = app_of(greeting, clock=clock).step_worker(secret="s3cret", require_v2=True)
    headers = signed_twice(body, clock.now())

    async def twice() -> list[int]:
        return [(await served.handle(body, headers)).status for _ in range(2)]

    assert run(twice()) == [200, 401]


def test_a_second_signature_that_is_there_must_be_right() -> None:
    clock = VirtualClock()
    body = encoded(request())
    served = app_of(greeting, clock=clock).step_worker(secret="s3cret")
    right = signed_twice(body, clock.now())

    async def statuses() -> list[int]:
        changed = [
            right | {"x-stepwell-cancel": "now"},
            right | {"x-stepwell-timestamp": str(clock.now() - 1)},
            signed_twice(body, clock.now() - 301_000, "n-2"),
            signed_twice(body, clock.now(), "n-3", path="/elsewhere"),
            signed("s3cret", body),
        ]
        return [(await served.handle(body, headers)).status for headers in changed]

    assert run(statuses()) == [401, 401, 401, 401, 200]


def test_the_second_signature_may_be_required() -> None:
    body = encoded(request())
    status, answer = run(ask(worker(secret="s3cret", require_v2=True), request(), signed("s3cret", body)))
    assert (status, answer["message"]) == (401, "missing x-stepwell-signature header")


# --- limits


def test_a_body_that_says_that_it_is_too_large_is_not_read() -> None:
    async def test() -> Exchange:
        exchange = Exchange(worker(max_body=100), headers={"content-length": "101"})
        await exchange.task
        return exchange

    exchange = run(test())
    assert (exchange.status, exchange.error, exchange.headers["connection"]) == (413, "body_too_large", "close")


def test_a_body_that_is_too_large_is_refused_as_it_comes() -> None:
    async def test() -> Exchange:
        exchange = Exchange(worker(max_body=100))
        exchange.give(bytes(60), more=True)
        exchange.give(bytes(60), more=True)
        await exchange.task
        return exchange

    assert run(test()).status == 413


def test_a_plain_call_has_the_same_limit() -> None:
    assert run(worker(max_body=10).handle(encoded(request()), {})).status == 413


def test_a_body_that_comes_too_slowly_is_refused() -> None:
    clock = VirtualClock()

    async def test() -> Exchange:
        exchange = Exchange(app_of(greeting, clock=clock).step_worker(body_timeout="10s"))
        exchange.give(b"{", more=True)
        await exchange.task
        return exchange

    exchange = virtually(test(), clock)
    assert (exchange.status, exchange.error) == (408, "request_timeout")


def test_who_signs_nothing_is_not_listened_to() -> None:
    async def test() -> Exchange:
        exchange = Exchange(worker(secret="s3cret"))
        await exchange.task
        return exchange

    exchange = run(test())
    assert (exchange.status, exchange.error) == (401, "unauthorized")


def test_bodies_that_come_at_the_same_time_are_bounded_together() -> None:
    async def test() -> list[int]:
        served = worker(max_body=100)
        exchanges = [Exchange(served) for _ in range(5)]
        for exchange in exchanges:
            exchange.give(bytes(90), more=True)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        first = [exchange.status for exchange in exchanges]
        for exchange in exchanges:
            exchange.leave()
            await exchange.task
        return first

    assert run(test()) == [0, 0, 0, 0, 503]


def test_more_clients_than_can_be_listened_to_are_sent_away_at_once() -> None:
    async def test() -> list[int]:
        served = worker(concurrency=1)
        exchanges = [Exchange(served) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        statuses = [exchange.status for exchange in exchanges]
        for exchange in exchanges:
            exchange.leave()
            await exchange.task
        return statuses

    assert run(test()) == [0, 0, 503]


def test_a_large_body_is_read_beside_the_loop() -> None:
    status, _ = run(ask(worker(), request(tenantMeta={"x": "y" * 2_000_000})))
    assert status == 200


def test_a_client_that_leaves_before_its_body_was_read_gets_nothing() -> None:
    async def test() -> Exchange:
        exchange = Exchange(worker())
        exchange.give(b"{", more=True)
        exchange.leave()
        await exchange.task
        return exchange

    assert run(test()).sent == []


async def begun(served: StepWorker) -> asyncio.Task[Any]:
    """An invocation that goes on until it is stopped."""
    task = asyncio.create_task(served.handle(encoded(request("endless")), {}))
    for _ in range(20):
        await asyncio.sleep(0)
    return task


def test_more_invocations_than_it_has_room_for_are_sent_away() -> None:
    async def test() -> tuple[int, str, Any]:
        served = worker(concurrency=1)
        first = await begun(served)
        reply = await served.handle(encoded(request()), {})
        first.cancel()
        await asyncio.wait([first])
        assert (await served.handle(encoded(request()), {})).status == 200
        assert isinstance(reply.body, bytes)
        return reply.status, reply.headers["retry-after"], msgspec.json.decode(reply.body)["error"]

    assert run(test()) == (503, "1", "overloaded")


def test_who_comes_while_it_drains_is_sent_away_and_who_is_there_may_finish() -> None:
    clock = VirtualClock()

    async def test() -> tuple[int, int, bool]:
        served = app_of(greeting, endless, clock=clock).step_worker(drain="10s")
        first = await begun(served)
        served.drain()
        second = await served.handle(encoded(request()), {})
        began = clock.monotonic()
        await served.aclose()
        assert clock.monotonic() - began == 10
        return (await first).status, second.status, first.done()

    assert virtually(test(), clock) == (503, 503, True)


# --- what makes no sense


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"secret": ""}, "an empty secret keeps nobody out"),
        ({"secret": [7]}, "holds a int"),
        ({"require_v2": True}, "need a secret"),
        ({"concurrency": 0}, "give more than 0"),
        ({"seceret": "x"}, "no option 'seceret'; there are: beat, "),
        ({"secret": Secret("wire")}, "there is no secret 'wire'"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        app_of(greeting, secrets={}).step_worker(**options)


def test_a_websocket_is_closed() -> None:
    async def test() -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await worker()({"type": "websocket"}, None, send)
        return sent

    assert run(test()) == [{"type": "websocket.close", "code": 1003}]
