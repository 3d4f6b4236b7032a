"""Looking into one run: its journal, its story, why it stands where it stands."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

from stepwell.model.ids import RunId
from stepwell.server.endpoints import Answer, Call, Endpoint, EventStream
from stepwell.server.feeds.journals import WHOLE, journal_events, journal_place
from stepwell.server.problems import Problem
from stepwell.server.shapes import ExplanationShape, JournalEvents, StateShape, TimelineShape
from stepwell.server.showing import entry_json, opened

Place = Annotated[
    str,
    Meta(
        pattern="^[0-9]{1,15}(\\.[0-9]{1,9})?$",
        description="Only what comes after this frame, or after this entry of it.",
    ),
]
_MANY = 200


class EventsQuery(Struct, frozen=True, kw_only=True):
    """Which part of a journal. `limit` counts entries; a page holds whole frames, and at least one."""

    after: Place = "0"
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000


class StateQuery(Struct, frozen=True, kw_only=True):
    """`at`: how it was when that frame was written."""

    at: Annotated[int, Meta(ge=1, le=2**53 - 1)] | None = None


class ExportQuery(Struct, frozen=True, kw_only=True):
    """`with_seed`: with what the run's chance comes from, and the tokens of its hooks. Needs the scope `admin`."""

    with_seed: bool = False


async def events(call: Call) -> Answer | EventStream:
    """The journal: a page of it, or all of it and what comes."""
    run = RunId(call.path["run"])
    if call.wants_events:
        place = journal_place(call.header("last-event-id") or call.query.after)
        return EventStream(await journal_events(call.server.feeds, call.app.client, run, place))
    return Answer(body=await _page(call, run))


async def _page(call: Call, run: RunId) -> JournalEvents:
    seq, number = place = journal_place(call.query.after)
    after = seq if number == WHOLE else seq - 1
    codec, last, index = call.app.registry.codec, after, 0
    shown: list[Raw] = []
    done = True
    async for event in call.app.runs.events(run, after=after):
        if len(shown) >= call.query.limit and event.seq != last:
            done = False
            break
        index = index + 1 if event.seq == last else 0
        last = event.seq
        if (last, index) > place:
            shown.append(Raw(entry_json(event.entry, codec, seq=last, at=event.at)))
            if len(shown) % _MANY == 0:
                await asyncio.sleep(0)  # others wait
    if done:
        head = await call.app.client.head(run)
        done = head.is_terminal and head.seq <= last
    return JournalEvents(events=tuple(shown), next=last, done=done)


async def explain(call: Call) -> Answer:
    """Why the run stands where it stands."""
    return Answer(body=await call.app.runs.explain(call.path["run"]))


async def export(call: Call) -> Answer:
    """The run as a document. With its seed one can forge the tokens of its hooks."""
    if call.query.with_seed and not call.caller.may("admin"):
        raise Problem(403, "forbidden", "the seed of a run needs the scope 'admin'; leave with_seed out")
    return Answer(body=await call.app.runs.export(call.path["run"], with_seed=call.query.with_seed))


async def state(call: Call) -> Answer:
    """Where the nodes of a blueprint's run stand."""
    return Answer(body=await call.app.runs.state(call.path["run"], at=call.query.at))


async def timeline(call: Call) -> Answer:
    """What happened to the run."""
    return Answer(body=opened(await call.app.runs.timeline(call.path["run"]), call.app.registry.codec))


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/api/runs/{run}/events",
        handler=events,
        scope="read",
        summary="The journal of a run, entry by entry; with `Accept: text/event-stream`, also what comes.",
        query=EventsQuery,
        answers={200: JournalEvents},
        streams=True,
    ),
    Endpoint(
        method="GET",
        path="/api/runs/{run}/explain",
        handler=explain,
        scope="read",
        summary="Why a run stands where it stands, and what to do.",
        answers={200: ExplanationShape},
        problems=(409,),
    ),
    Endpoint(
        method="GET",
        path="/api/runs/{run}/export",
        handler=export,
        scope="signal",
        summary="A run as one document, payloads as they are stored, to import or replay elsewhere.",
        query=ExportQuery,
        answers={200: Any},
    ),
    Endpoint(
        method="GET",
        path="/api/runs/{run}/state",
        handler=state,
        scope="read",
        summary="Where the nodes of a blueprint's run stand, or stood when a frame was written.",
        query=StateQuery,
        answers={200: StateShape},
        problems=(409,),
    ),
    Endpoint(
        method="GET",
        path="/api/runs/{run}/timeline",
        handler=timeline,
        scope="read",
        summary="What happened to a run: each thing once, with its begin and its end.",
        answers={200: TimelineShape},
    ),
)
