"""The routes of the Voyant orchestrator, with its paths, bodies, codes and messages."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from stepwell.errors import RunNotFoundError
from stepwell.formats.voyant import RunRecord, Trigger
from stepwell.server.compat.absent import events, manifests, schedules
from stepwell.server.compat.injecting import InjectionQuery, inject_event, inject_signal, inject_token
from stepwell.server.compat.records import run_of, stored_record
from stepwell.server.compat.resuming import Resumed, ResumeQuery, resume
from stepwell.server.compat.starting import trigger
from stepwell.server.compat.stopping import cancel
from stepwell.server.endpoints import Answer, Call, Endpoint
from stepwell.server.problems import Problem

# The handlers read these bodies by themselves, to say what is wrong in that system's words.


class EventBody(Struct, frozen=True, rename="camel"):
    """An event. Without a payload, it is null."""

    event_type: str
    payload: Any = None


class SignalBody(Struct, frozen=True):
    """A signal. Without a payload, it is null."""

    name: str
    payload: Any = None


class TokenBody(Struct, frozen=True):
    """A value for a token. Without a payload, it is null."""

    payload: Any = None


class CancelBody(Struct, frozen=True):
    """Why."""

    reason: str | None = None


class ResumeBody(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Where to go on, and with what. `seedResults` are results of steps by their ids."""

    resume_from_step: str = ""
    workflow_id: str = ""
    run_id: str = ""
    triggered_by_user_id: str | None = None
    tags: list[str] = []
    seed_results: dict[str, Any] = {}
    input: Any = None


async def get_run(call: Call) -> Answer:
    """The record of a run."""
    try:
        return Answer(body=await stored_record(call, run_of(call)))
    except RunNotFoundError:
        raise Problem(404, "not_found") from None


_RECORD = {200: RunRecord, 202: RunRecord}


def _injection(path: str, handler: Any, summary: str, body: Any, *, body_required: bool = True) -> Endpoint:
    return Endpoint(
        method="POST",
        path=f"/api/runs/{{run}}/{path}",
        handler=handler,
        scope="signal",
        summary=summary,
        query=InjectionQuery,
        body=body,
        body_required=body_required,
        answers=_RECORD,
        problems=(409,),
        is_compat=True,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/api/runs",
        handler=trigger,
        scope="trigger",
        summary="Start a run, and answer when it has paused or ended.",
        body=Trigger,
        answers=_RECORD,
        problems=(409,),
        is_compat=True,
    ),
    Endpoint(
        method="GET",
        path="/api/runs/{run}",
        handler=get_run,
        scope="read",
        summary="A run, with its journal.",
        answers={200: RunRecord},
        is_compat=True,
    ),
    _injection("events", inject_event, "Give a run an event that it waits for.", EventBody),
    _injection("signals", inject_signal, "Send a run a signal that it waits for.", SignalBody),
    _injection(
        "tokens/{token:path}", inject_token, "Complete a token that a run waits for.", TokenBody, body_required=False
    ),
    Endpoint(
        method="POST",
        path="/api/runs/{run}/cancel",
        handler=cancel,
        scope="signal",
        summary="Cancel a run, and answer when it has ended.",
        body=CancelBody,
        body_required=False,
        answers=_RECORD,
        problems=(409,),
        is_compat=True,
    ),
    Endpoint(
        method="POST",
        path="/api/runs/{run}/resume",
        handler=resume,
        scope="trigger",
        summary="Start a run that goes on where this one failed, or where a run elsewhere did.",
        query=ResumeQuery,
        body=ResumeBody,
        body_required=False,
        answers={200: Resumed, 202: Resumed},
        problems=(404, 409),
        is_compat=True,
    ),
    Endpoint(
        method="POST",
        path="/api/manifests",
        handler=manifests,
        scope="admin",
        summary="Not configured: there are no manifests here.",
        body=Any,
        body_required=False,
        answers={},
        problems=(404,),
        is_compat=True,
    ),
    Endpoint(
        method="GET",
        path="/api/manifests/{environment}",
        handler=manifests,
        scope="read",
        summary="Not configured: there are no manifests here.",
        answers={},
        problems=(404,),
        is_compat=True,
    ),
    Endpoint(
        method="POST",
        path="/api/events",
        handler=events,
        scope="trigger",
        summary="Not configured: no filter turns events into runs here. See /api/publish.",
        body=Any,
        body_required=False,
        answers={},
        problems=(404,),
        is_compat=True,
    ),
    Endpoint(
        method="GET",
        path="/api/schedules/{environment}",
        handler=schedules,
        scope="read",
        summary="Not configured: there are no schedules here.",
        answers={},
        problems=(404,),
        is_compat=True,
    ),
)
