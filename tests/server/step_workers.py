"""Requests to step workers, as an orchestrator makes them."""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import msgspec

from stepwell import Stepwell
from stepwell.runtime.stepworker import Reply, StepWorker
from stepwell.runtime.stepworker.lines import AnswerBroken, Lines
from stepwell.testing.virtual import VirtualClock, VirtualLoop

T = TypeVar("T")
LINES = {"x-stepwell-accept": "lines"}
EMPTY: dict[str, Any] = {
    "stepResults": {},
    "waitpointsResolved": {},
    "compensationsRun": {},
    "metadataState": {},
    "streamsCompleted": {},
}


def request(workflow: str = "greeting", *, journal: Mapping[str, Any] = {}, **members: Any) -> dict[str, Any]:
    """The members of a request."""
    return {
        "protocolVersion": 1,
        "runId": "run-1",
        "workflowId": workflow,
        "workflowVersion": "local",
        "invocationCount": 1,
        "journal": EMPTY | dict(journal),
        "environment": "development",
        "deadline": 9007199254740991,
        "tenantMeta": {"tenantId": "t", "projectId": "p", "organizationId": "o"},
        "runMeta": {"number": 1, "attempt": 1, "triggeredBy": {"kind": "api"}, "tags": [], "startedAt": 1767225600000},
    } | members


def encoded(members: Mapping[str, Any]) -> bytes:
    """The body."""
    return msgspec.json.encode(members)


async def ask(worker: StepWorker, members: Mapping[str, Any], headers: Mapping[str, str] = {}) -> tuple[int, Any]:
    """Status and decoded body of a plain answer."""
    reply = await worker.handle(encoded(members), headers)
    assert isinstance(reply.body, bytes)
    return reply.status, msgspec.json.decode(reply.body)


async def lines_of(reply: Reply) -> list[dict[str, Any]]:
    """All lines of an answer."""
    assert not isinstance(reply.body, bytes), reply.body
    data = b"".join([piece async for piece in reply.body])
    return [msgspec.json.decode(line) for line in data.splitlines()]


async def broken_lines_of(reply: Reply) -> tuple[list[dict[str, Any]], str]:
    """The lines of an answer that breaks off, and why it does; "" if it does not."""
    assert isinstance(reply.body, Lines), reply.body
    data, why = b"", ""
    try:
        async for piece in reply.body:
            data += piece
    except AnswerBroken as error:
        why = str(error)
    return [msgspec.json.decode(line) for line in data.splitlines()], why


def signed(secret: str, body: bytes) -> dict[str, str]:
    """The header of the first version."""
    digest = hmac.digest(secret.encode(), body, "sha256")
    return {"x-voyant-dispatch-auth": base64.b64encode(digest).decode()}


def virtually(coroutine: Coroutine[Any, Any, T], clock: VirtualClock) -> T:
    """Run it in virtual time."""
    loop = VirtualLoop(clock)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(loop.drive(coroutine))


def served(clock: VirtualClock, members: dict[str, Any], *include: object, **options: Any) -> tuple[int, Any]:
    """The answer to one request, in virtual time."""

    async def test() -> tuple[int, Any]:
        worker = app_of(*include, clock=clock, **options).step_worker()
        answer = await ask(worker, members)
        await worker.aclose()
        return answer

    return virtually(test(), clock)


class Exchange:
    """One request over ASGI, by hand: what comes in pieces, what goes out, and when the client leaves."""

    def __init__(self, worker: Any, *, method: str = "POST", headers: Mapping[str, str] = {}) -> None:
        self.sent: list[dict[str, Any]] = []
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": "/__voyant/workflow-step",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        self._worker = worker
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self._worker(self._scope, self.incoming.get, self._send)

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def give(self, body: bytes, *, more: bool = False) -> None:
        """A piece of the body."""
        self.incoming.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        """The client closes the connection."""
        self.incoming.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        """Of the answer; 0: there is none."""
        return next((message["status"] for message in self.sent if message["type"] == "http.response.start"), 0)

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer."""
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        """As far as it has been sent."""
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def error(self) -> Any:
        """What the envelope of a refusal names."""
        return msgspec.json.decode(self.body)["error"]


def app_of(*include: object, **options: Any) -> Stepwell:
    """An app whose backend cannot be opened, since nobody may."""
    return Stepwell("nowhere://", include=include, **options)
