"""What a route is: one declaration, from which come routing, checks, and the OpenAPI document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct

from stepwell.runtime.app import Stepwell
from stepwell.server.access.scopes import Caller, Scope
from stepwell.server.bodies import decoded
from stepwell.server.problems import JSON_TYPE, Problem

if TYPE_CHECKING:
    from stepwell.server.application import Server

T = TypeVar("T")


class Answer(Struct, frozen=True, kw_only=True):
    """What a handler answers. `bytes` and `Raw` bodies are sent as they are, None is no body, all else becomes JSON."""

    body: object = None
    status: int = 200
    headers: Mapping[str, str] = {}
    content_type: str = JSON_TYPE


class ServerEvent(Struct, frozen=True, kw_only=True):
    """One event of a stream (text/event-stream). `data` is JSON."""

    data: bytes
    id: str | None = None
    event: str | None = None


class EventSource(Protocol):
    """What a client follows, as bytes that are ready to be sent: several readers may share them."""

    async def take(self) -> bytes | None:
        """The next bytes; empty ones after a poke; None at the end."""

    def poke(self) -> None:
        """Let `take` return soon, whatever there is."""

    async def aclose(self) -> None:
        """Nobody follows any more; idempotent."""


class EventStream(Struct, frozen=True):
    """An answer that goes on. The source is closed when the client has gone, or the server drains."""

    events: EventSource


Handler = Callable[["Call"], Awaitable[Answer | EventStream]]


class Endpoint(Struct, frozen=True, kw_only=True):
    """One verb on one path.

    `scope` is what the caller must be allowed (None: anybody). `query` is a Struct with defaults: its fields are the
    parameters, `tuple` fields may be repeated. `body` is the type of the JSON body, `bytes` for any body, None for
    none. `answers` are the types of the bodies by status, and `problems` the statuses besides those that any route may
    have. `streams`: the route answers with events if it is asked for these. `is_compat`: errors are
    `{"error", "message"}`. `needs_nothing`: it answers also while the app is not open.
    """

    method: str
    path: str
    handler: Handler
    scope: Scope | None
    summary: str
    query: type[Struct] | None = None
    body: Any = None
    body_required: bool = True
    answers: Mapping[int, Any] = {}
    problems: tuple[int, ...] = ()
    streams: bool = False
    is_compat: bool = False
    needs_nothing: bool = False


class Call:
    """One request, checked: who asks, in which namespace, for what."""

    __slots__ = (
        "_body",
        "_first",
        "_headers",
        "app",
        "caller",
        "client_address",
        "endpoint",
        "path",
        "query",
        "raw_body",
        "request_id",
        "scope",
        "server",
    )

    def __init__(self, server: Server, endpoint: Endpoint, scope: Mapping[str, Any], path: Mapping[str, str]) -> None:
        self.server = server
        self.endpoint = endpoint
        self.scope = scope
        self.path = path
        self.app: Stepwell = server.app
        self.caller: Caller = Caller.stranger()
        self.client_address: str = (scope.get("client") or ("",))[0]
        self.request_id = ""
        self.query: Any = None
        self.raw_body = b""
        self._body: Any = _MISSING
        self._headers: dict[str, str] | None = None
        self._first: dict[bytes, bytes] = dict(reversed(scope["headers"]))

    @property
    def headers(self) -> dict[str, str]:
        """The headers by lower-case name; of one that is there several times, the values with commas between."""
        if self._headers is None:
            self._headers = {}
            for name, value in self.scope["headers"]:
                key, text = name.decode("latin-1").lower(), value.decode("latin-1")
                self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text
        return self._headers

    def header(self, name: str) -> str | None:
        """The value of a header, if it is there, the first of several; `name` in lower case."""
        value = self._first.get(_BYTES.get(name) or name.encode())
        return None if value is None else value.decode("latin-1")

    @property
    def body(self) -> Any:
        """The value of the body, of the endpoint's type; None if there is none and none is needed."""
        if self._body is _MISSING:
            self._body = self._decoded()
        return self._body

    @property
    def wants_events(self) -> bool:
        """Whether the client asks for a stream of events."""
        return "text/event-stream" in (self.header("accept") or "")

    @property
    def prefers_async(self) -> bool:
        """`Prefer: respond-async` (RFC 7240)."""
        preferences = self.header("prefer")
        return preferences is not None and any(item.strip() == "respond-async" for item in preferences.split(","))

    def _decoded(self) -> Any:
        kind = self.endpoint.body
        if kind is None or kind is bytes:
            return self.raw_body
        if not self.raw_body:
            if self.endpoint.body_required:
                raise Problem(400, "invalid_json", "the body is empty; send JSON")
            return None
        return decoded(self.raw_body, _decoder_of(kind))


_MISSING: Any = object()
_ASKED = (
    "accept authorization content-encoding content-length host idempotency-key last-event-id origin prefer traceparent "
    "x-request-id"
)
_BYTES = {name: name.encode() for name in _ASKED.split()}
"""What every request is asked for."""
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def _decoder_of(kind: Any) -> msgspec.json.Decoder[Any]:
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    return decoder


def encoded(body: object) -> bytes:
    """The bytes of an answer's body."""
    if body is None:
        return b""
    if isinstance(body, bytes | Raw):
        return bytes(body)
    return msgspec.json.encode(body)
