"""Requests to a server in this process, byte by byte as a socket would bring them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from stepwell.server import Server


class Reply(Struct, frozen=True):
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The value of the body."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """What an error says."""
        value = self.json
        return str(value.get("detail") or value.get("message") or value.get("error"))


class Body:
    """What `receive` gives: parts, and then silence."""

    def __init__(self, parts: Sequence[bytes], *, is_whole: bool = True) -> None:
        self._messages = [
            {"type": "http.request", "body": part, "more_body": not is_whole or number < len(parts) - 1}
            for number, part in enumerate(parts or [b""])
        ]

    async def __call__(self) -> dict[str, Any]:
        """The next message."""
        if self._messages:
            return self._messages.pop(0)
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody answers")


async def ask(
    server: Server,
    method: str,
    target: str,
    *,
    body: bytes | Body = b"",
    headers: Sequence[tuple[str, str]] = (),
    json: Any = None,
) -> Reply:
    """One request. `target` is percent-encoded, with its query."""
    path, _, query = target.partition("?")
    sent = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    if json is not None:
        body = _encoded(json)
        sent.append((b"content-type", b"application/json"))
    if isinstance(body, bytes):
        body = Body([body])
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "root_path": "",
        "query_string": query.encode("ascii"),
        "headers": [(b"host", b"localhost"), *sent],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    messages: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await server(scope, body, send)
    start = messages[0]
    return Reply(
        start["status"],
        {name.decode(): value.decode("latin-1") for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in messages[1:]),
    )


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode()
