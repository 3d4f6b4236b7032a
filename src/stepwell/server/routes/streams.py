"""The streams of a run: which there are, what is in them, and what comes."""

from __future__ import annotations

import contextlib
from typing import Annotated

from msgspec import Meta, Struct

from stepwell.model.ids import RunId
from stepwell.runtime.reading import streams_of
from stepwell.server.endpoints import Answer, Call, Endpoint, EventStream
from stepwell.server.feeds.streams import stream_events, stream_page
from stepwell.server.problems import Problem
from stepwell.server.shapes import StreamName, StreamNames, StreamPage

_INDEX_MAX = 2**53 - 1
_WAIT_MAX = 30.0


class StreamQuery(Struct, frozen=True, kw_only=True):
    """Which part of a stream. `start` is an index; a negative one counts from the end. `wait`: for so many seconds, if
    there is nothing yet."""

    start: Annotated[int, Meta(ge=-_INDEX_MAX, le=_INDEX_MAX)] = 0
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    wait: Annotated[float, Meta(ge=0, le=_WAIT_MAX)] = 0.0


async def list_streams(call: Call) -> Answer:
    """Their names."""
    names = await streams_of(call.app.client, RunId(call.path["run"]))
    return Answer(body=StreamNames(streams=tuple(StreamName(name=name) for name in names)))


async def read_stream(call: Call) -> Answer | EventStream:
    """A page, or all of it and what comes."""
    run, name, query = RunId(call.path["run"]), call.path["stream"], call.query
    if not name:
        raise Problem(404, "route_not_found", "the name of a stream is not empty")
    client = call.app.client
    if call.wants_events:
        start = _after(call.header("last-event-id"), query.start)
        return EventStream(await stream_events(call.server.feeds, client, run, name, start))
    page = await stream_page(client, run, name, query.start, query.limit)
    if query.wait and not page.chunks and not page.done:
        await _wait(call, run, name, page.next)
        page = await stream_page(client, run, name, page.next, query.limit)
    return Answer(body=page)


def _after(last_event: str | None, start: int) -> int:
    if not last_event:
        return start
    if not last_event.isascii() or not last_event.isdigit() or len(last_event) > 15:
        raise Problem(400, "invalid_query", f"last-event-id: there is no event {last_event[:100]!r}; ids are numbers")
    return int(last_event) + 1


async def _wait(call: Call, run: RunId, name: str, start: int) -> None:
    """Until there is something, or the run has ended, or it took long enough."""
    events = await stream_events(call.server.feeds, call.app.client, run, name, start)
    try:
        with contextlib.suppress(TimeoutError):
            async with call.server.patience.at_most(call.query.wait):
                await events.take()
    finally:
        await events.aclose()


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/api/runs/{run}/streams",
        handler=list_streams,
        scope="read",
        summary="The names of the streams that a run has written to.",
        answers={200: StreamNames},
    ),
    Endpoint(
        method="GET",
        path="/api/runs/{run}/streams/{stream:path}",
        handler=read_stream,
        scope="read",
        summary="The chunks of a stream; with `Accept: text/event-stream`, also those that come.",
        query=StreamQuery,
        answers={200: StreamPage},
        streams=True,
    ),
)
