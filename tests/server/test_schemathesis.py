"""Whatever is asked, the answer is one that the OpenAPI document promises, and none is a defect of the server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.python.asgi import _get_portal
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from stepwell import Blueprint, Context, Event, Signal, Stepwell, Stream, current_step, step, workflow
from stepwell.server import Server, ServerOptions
from stepwell.server.access.scopes import Scope
from stepwell.server.catalogue import ENDPOINTS
from stepwell.server.openapi import openapi

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
BOUNDED = settings(
    max_examples=100 if os.environ.get("STEPWELL_HYPOTHESIS") == "thorough" else 6,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
words = Stream("words", str)
go = Signal("go", int)
news = Event("news", int)


@step
async def say(text: str) -> str:
    current_step().send(words, text)
    return text


@workflow
async def talking(ctx: Context, text: str = "hello") -> str:
    """Says something."""
    ctx.send(words, text)
    return await say(text)


@workflow
async def waiting(ctx: Context) -> int:
    return await ctx.receive(go)


async def told(ctx: Any) -> int:
    return 1


asking = Blueprint[Any, Any]("asking").node("a", told).wait("b").edge("a", "b")


RUNS = ("done", "open", "nodes", "parked")
OPTIONS = ServerOptions(dev=True, wait=0.1, hook_wait=0.1, request_timeout=20, max_body=20_000)


class Served:
    """A server with some runs, as an ASGI application. `scopes`: who asks has a key with these; none: it is open."""

    def __init__(self, scopes: tuple[Scope, ...]) -> None:
        self.app = Stepwell("memory://", include=[talking, waiting, asking, say])
        self.server = Server(
            self.app, OPTIONS if not scopes else msgspec.structs.replace(OPTIONS, dev=False), worker=True
        )
        self.scopes = scopes
        self.key = ""
        self._preparing = asyncio.Lock()
        self._is_ready = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            raise NotImplementedError  # each test would end it
        async with self._preparing:
            if not self._is_ready:
                await self._prepare()
        named = [item for item in scope["headers"] if item[0] not in (b"host", b"authorization")]
        await self.server({**scope, "headers": [*named, (b"host", b"localhost"), *self._credentials()]}, receive, send)

    async def close(self) -> None:
        """Stop, on the loop where it runs."""
        await self.app.__aexit__()

    async def _prepare(self) -> None:
        self._is_ready = True
        await self.app.__aenter__()
        await self.server.open()
        await (await self.app.start(talking, id="done")).result(timeout=10)
        for workflow_, id in ((waiting, "open"), (asking, "nodes"), (waiting, "parked")):
            await self.app.start(workflow_, id=id)
        if self.scopes:
            created = await self.server.access.keys.create(name="fuzz", scopes=self.scopes)
            self.key = created.text

    def _credentials(self) -> list[tuple[bytes, bytes]]:
        return [(b"authorization", f"Bearer {self.key}".encode())] if self.key else []


def _with_known_runs(context: Any, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Most requests are about runs that there are."""
    if parameters and "run" in parameters:
        number = sum(parameters["run"].encode()) % (len(RUNS) + 1)
        if number < len(RUNS):
            parameters["run"] = RUNS[number]
    return parameters


def _soon(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Nobody waits here for what does not come."""
    if query and isinstance(query.get("wait"), int | float) and query["wait"] > 0.01:
        query["wait"] = 0.01
    return query


def _served(scopes: tuple[Scope, ...]) -> Iterator[Any]:
    served = Served(scopes)
    schema = schemathesis.openapi.from_asgi("/openapi.json", served)
    schema.hook("map_path_parameters")(_with_known_runs)
    schema.hook("map_query")(_soon)
    yield schema
    _get_portal().call(served.close)


@pytest.fixture(scope="module")
def everything() -> Iterator[Any]:
    """All is allowed."""
    yield from _served(())


@pytest.fixture(scope="module")
def reading() -> Iterator[Any]:
    """A key that may read."""
    yield from _served(("read",))


OPERATIONS = [(path, verb.upper()) for path, verbs in openapi(ENDPOINTS)["paths"].items() for verb in verbs]


def ask(schema: Any, path: str, verb: str, mode: GenerationMode) -> None:
    """Some requests, and whether their answers are as the document says."""

    @BOUNDED
    @given(case=schema[path][verb].as_strategy(generation_mode=mode))
    def asked(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    with suppress(Unsatisfiable):  # of some, nothing can be wrong
        asked()


@pytest.mark.parametrize(("path", "verb"), OPERATIONS)
def test_what_fits_the_document_is_answered_as_it_says(everything: Any, path: str, verb: str) -> None:
    ask(everything, path, verb, GenerationMode.POSITIVE)


@pytest.mark.parametrize(("path", "verb"), OPERATIONS)
def test_what_does_not_fit_is_answered_as_it_says(everything: Any, path: str, verb: str) -> None:
    ask(everything, path, verb, GenerationMode.NEGATIVE)


@pytest.mark.parametrize(("path", "verb"), OPERATIONS)
def test_what_a_reader_asks_is_answered_as_it_says(reading: Any, path: str, verb: str) -> None:
    ask(reading, path, verb, GenerationMode.POSITIVE)
