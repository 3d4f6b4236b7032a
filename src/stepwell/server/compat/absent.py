"""Manifests, events by filter and schedules: a server of that system answers so where they were not set up."""

from __future__ import annotations

from stepwell.server.endpoints import Answer, Call
from stepwell.server.problems import Problem


async def manifests(_: Call) -> Answer:
    """There are no manifests here."""
    raise Problem(404, "manifests_not_configured")


async def events(_: Call) -> Answer:
    """No filter turns events into runs here."""
    raise Problem(404, "events_not_configured")


async def schedules(_: Call) -> Answer:
    """There are no schedules here."""
    raise Problem(404, "schedules_not_configured")
