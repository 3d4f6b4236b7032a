"""Is this process alive, and can it do its work?

`/healthz` is for what restarts a process that hangs: it answers as long as the event loop turns. `/readyz` is for what
sends it requests, and for people: it says what is wrong and what to do.
"""

from __future__ import annotations

from msgspec import Struct

from stepwell.server.endpoints import Answer, Call, Endpoint


class Alive(Struct, frozen=True, kw_only=True):
    """The event loop turns. `uptime` in seconds."""

    ok: bool
    uptime: float
    draining: bool


class CheckResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str = ""
    cure: str = ""


class Ready(Struct, frozen=True, kw_only=True):
    """Whether this process can do its work, and why not."""

    ok: bool
    checks: list[CheckResult]


async def healthz(call: Call) -> Answer:
    """That this is answered is the answer."""
    server = call.server
    body = Alive(ok=True, uptime=round(server.seeing.uptime(), 3), draining=server.is_draining)
    return Answer(body=body, headers=_NEVER_STORED)


async def readyz(call: Call) -> Answer:
    """503 if something is wrong."""
    health = await call.server.seeing.health()
    checks = [CheckResult(name=c.name, ok=c.ok, detail=c.detail, cure=c.cure) for c in health.checks]
    return Answer(body=Ready(ok=health.ok, checks=checks), status=200 if health.ok else 503, headers=_NEVER_STORED)


_NEVER_STORED = {"cache-control": "no-store"}

ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/healthz",
        handler=healthz,
        scope=None,
        summary="Whether the process is alive: the event loop turns.",
        needs_nothing=True,
        answers={200: Alive},
    ),
    Endpoint(
        method="GET",
        path="/readyz",
        handler=readyz,
        scope=None,
        summary="Whether the process can do its work: the backend answers, and the worker here works.",
        answers={200: Ready, 503: Ready},
    ),
)
