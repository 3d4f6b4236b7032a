"""All routes of the server."""

from __future__ import annotations

from stepwell.server.endpoints import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = ()
