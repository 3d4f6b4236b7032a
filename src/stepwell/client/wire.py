"""The connection to a server: requests that are repeated while that helps, and event streams that come again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import httpx

from stepwell.client.answers import Trouble, trouble_of
from stepwell.client.feeds import Feed, FeedEvent
from stepwell.client.options import ClientOptions
from stepwell.client.pausing import CLOCK, async_elapsed, async_pause
from stepwell.client.repeating import Repeats
from stepwell.client.requests import (
    Answer,
    Request,
    connection_options,
    feed_headers,
    feed_timeout,
    request_timeout,
    trouble_of_cut,
    trouble_of_transport,
)
from stepwell.errors import BackendError, StepwellError

END = "end"
"""The event after which there is nothing more."""


class Wire:
    """What the parts of one client share: the server, and how it is asked."""

    def __init__(self, options: ClientOptions, transport: httpx.AsyncBaseTransport | None) -> None:
        self.options = options
        self._transport = transport
        self._http: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Get ready; nothing is sent yet."""
        self._http = httpx.AsyncClient(transport=self._transport, **connection_options(self.options))

    async def close(self) -> None:
        """Close all connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    @property
    def http(self) -> httpx.AsyncClient:
        """The HTTP library's."""
        if self._http is None:
            raise StepwellError("this client is not open; use it inside `async with Client(...) as app:`")
        return self._http

    async def ask(self, request: Request, *, within: float | None = None) -> Answer:
        """The answer. What may pass is waited out, for `within` seconds, by default the client's patience."""
        repeats = Repeats(
            self.options.patience if within is None else within,
            is_repeatable=request.is_repeatable,
        )
        while True:
            answer = await self._asked_once(request)
            if isinstance(answer, Answer):
                return answer
            await async_pause(repeats.delay(answer, async_elapsed()))

    async def follow(self, request: Request) -> AsyncGenerator[FeedEvent, None]:
        """The events of a stream until the one called `end`, which is left out.

        A connection that breaks is made anew, and goes on after the last event: none comes twice, none is missing.
        """
        repeats = Repeats(self.options.patience)
        last_id: str | None = None
        while True:
            trouble = trouble_of_cut(url=self.options.url, asked=request.asked)
            try:
                async with aclosing(self._connection(request, last_id, repeats)) as events:
                    async for event in events:
                        if event.name == END:
                            return
                        last_id = event.id
                        repeats.progressed()
                        yield event
            except _BrokenError as broken:
                trouble = broken.trouble
            await async_pause(repeats.delay(trouble, async_elapsed()))

    async def _asked_once(self, request: Request) -> Answer | Trouble:
        try:
            response = await self.http.request(
                request.method,
                self.options.url + request.target,
                content=request.body,
                headers=request.headers(),
                timeout=request_timeout(self.options, request.wait),
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return trouble_of_transport(error, url=self.options.url, asked=request.asked)
        if response.is_success:
            return Answer(response.status_code, response.content)
        return self._trouble(request, response)

    async def _connection(
        self, request: Request, last_id: str | None, repeats: Repeats
    ) -> AsyncGenerator[FeedEvent, None]:
        """The events of one connection."""
        feed = Feed(last_id)
        try:
            async with self.http.stream(
                request.method,
                self.options.url + request.target,
                headers=feed_headers(last_id),
                timeout=feed_timeout(self.options),
            ) as response:
                if not response.is_success:
                    await response.aread()
                    raise _BrokenError(self._trouble(request, response))
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    raise BackendError(f"{request.asked} was answered with no event stream; is this a Stepwell server?")
                repeats.reached()
                repeats.within = self.options.reconnect
                async for chunk in response.aiter_bytes():
                    for event in feed.take(chunk):
                        yield event
        except httpx.HTTPError as error:
            raise _BrokenError(trouble_of_transport(error, url=self.options.url, asked=request.asked)) from error

    def _trouble(self, request: Request, response: httpx.Response) -> Trouble:
        return trouble_of(
            response.status_code,
            response.headers,
            response.content,
            now=CLOCK.now() / 1000,
            asked=request.asked,
        )


class _BrokenError(Exception):
    """A connection that ended otherwise than it should."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__()
        self.trouble = trouble
