"""What a step worker answers, and what it is asked, apart from the server that carries it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from msgspec import Struct

from stepwell.formats.voyant.headers import JSON_TYPE, LINES_TYPE, STEP_PATH
from stepwell.runtime.stepworker.lines import Lines

JSON = {"content-type": JSON_TYPE}
NDJSON = {"content-type": LINES_TYPE, "cache-control": "no-store", "x-accel-buffering": "no"}


class Reply(NamedTuple):
    """An answer. The body comes in pieces if who asked takes lines: closing it ends the invocation."""

    status: int
    headers: dict[str, str]
    body: bytes | Lines


class Asked(Struct, frozen=True):
    """One request; the names of its headers are in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""

    def header(self, name: str) -> str:
        """The value of a header; "" if there is none."""
        return self.headers.get(name, "")


@runtime_checkable
class StepWorker(Protocol):
    """Serves the workflows of an app to an orchestrator: an ASGI application, and a plain function.

    The app's lifespan is entered when a server starts it, or with the first request; no backend is opened.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI 3."""

    async def handle(
        self, body: bytes, headers: Mapping[str, str], *, method: str = "POST", path: str = STEP_PATH
    ) -> Reply:
        """Answer one request; for places where there is no server."""

    async def open(self) -> None:
        """Enter the app's lifespan now, and not with the first request. Repeating does nothing."""

    def drain(self) -> None:
        """Begin nothing new: who asks is sent away, and comes again."""

    async def aclose(self, *, drain: bool = True) -> None:
        """Drain, wait for what goes on (with `drain=False`, stop it), and leave the app's lifespan."""
