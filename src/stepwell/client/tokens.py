"""Tokens: short-lived leave for one run, or one stream of it, to hand to a browser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stepwell.authoring.messages import Stream
from stepwell.client.requests import path, request
from stepwell.client.shapes import AccessToken, read_token
from stepwell.client.starting import milliseconds
from stepwell.client.wire import Wire
from stepwell.model.durations import Duration


class ClientTokens:
    """Makes tokens; they may never do more than the client's own key."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def create(
        self,
        *,
        run: str,
        stream: Stream[Any] | str | None = None,
        ttl: Duration | None = None,
        scopes: Iterable[str] | None = None,
    ) -> AccessToken:
        """A token for a run, or for one of its streams, for so long. It may read, unless `scopes` says more."""
        body = {
            "run": run,
            "stream": stream.name if isinstance(stream, Stream) else stream,
            "ttl": milliseconds(ttl, "tokens.create(ttl)"),
            "scopes": None if scopes is None else [*scopes],
        }
        asked = request("POST", path("api", "tokens"), body)
        return read_token((await self._wire.ask(asked)).body, asked.asked)
