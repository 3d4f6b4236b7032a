"""The app behind a step worker: its lifespan, and what an invocation is within."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stepwell import Context, NotInWorkflowError, Stepwell, Target, current_step, workflow
from tests.helpers import run
from tests.server.step_workers import app_of, ask, request


@workflow
async def greeting(ctx: Context) -> str:
    return "hello"


def lifespan_of(told: list[str]) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[dict[Any, Any]]:
        told.append("in")
        yield {list: told}
        told.append("out")

    return lifespan


async def lifespan_messages(served: Any) -> list[str]:
    incoming = asyncio.Queue[dict[str, str]]()
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    incoming.put_nowait({"type": "lifespan.startup"})
    incoming.put_nowait({"type": "lifespan.shutdown"})
    await served({"type": "lifespan"}, incoming.get, send)
    return [message["type"] for message in sent]


def test_a_server_that_starts_it_enters_the_lifespan_of_the_app_and_leaves_it_at_the_end() -> None:
    told: list[str] = []
    messages = run(lifespan_messages(app_of(greeting, lifespan=lifespan_of(told)).step_worker()))
    assert (messages, told) == (["lifespan.startup.complete", "lifespan.shutdown.complete"], ["in", "out"])


def test_a_lifespan_that_cannot_be_entered_stops_the_server() -> None:
    @contextlib.asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        raise ConnectionError("no database")
        yield

    messages = run(lifespan_messages(app_of(greeting, lifespan=broken).step_worker()))
    assert messages == ["lifespan.startup.failed"]


def test_a_lifespan_that_cannot_be_left_is_told() -> None:
    @contextlib.asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        yield
        raise ConnectionError("no database")

    messages = run(lifespan_messages(app_of(greeting, lifespan=broken).step_worker()))
    assert messages == ["lifespan.startup.complete", "lifespan.shutdown.failed"]


def test_the_first_request_enters_the_lifespan_where_nobody_has() -> None:
    told: list[str] = []

    async def test() -> None:
        served = app_of(greeting, lifespan=lifespan_of(told)).step_worker()
        await asyncio.gather(*(ask(served, request()) for _ in range(3)))
        assert told == ["in"]
        await served.aclose()
        assert told == ["in", "out"]

    run(test())


def test_a_lifespan_that_fails_is_tried_again_with_the_next_request(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[int] = []

    @contextlib.asynccontextmanager
    async def flaky() -> AsyncIterator[None]:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("no database")
        yield

    async def test() -> list[tuple[int, Any]]:
        served = app_of(greeting, lifespan=flaky).step_worker()
        answers = [await ask(served, request()) for _ in range(2)]
        await served.aclose()
        return answers

    (first, body), (second, _) = run(test())
    assert (first, body["error"], second) == (500, "executor_error", 200)
    assert "no database" in caplog.text


def test_each_event_loop_has_the_lifespan_for_itself() -> None:
    told: list[str] = []
    served = app_of(greeting, lifespan=lifespan_of(told)).step_worker()
    assert [run(ask(served, request()))[0] for _ in range(2)] == [200, 200]
    assert told.count("in") == 2


@workflow
async def within(ctx: Context) -> str:
    try:
        return current_step().id
    except NotInWorkflowError:
        return "no step"


def test_an_invocation_is_not_within_the_step_that_asks_for_it() -> None:
    async def main() -> Any:
        target = Target(app_of(within).step_worker(), workflows=["within"])
        async with Stepwell("memory://", targets=[target]) as app:
            return await (await app.start("within")).result()

    assert run(main()) == "no step"


def test_an_app_that_is_open_shares_what_its_lifespan_gave() -> None:
    told: list[str] = []

    async def test() -> None:
        async with Stepwell("memory://", include=[greeting], lifespan=lifespan_of(told)) as app:
            assert (await ask(app.step_worker(), request()))[0] == 200

    run(test())
    assert told == ["in", "out"]
