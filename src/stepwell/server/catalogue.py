"""All routes of the server."""

from __future__ import annotations

from stepwell.server import hooks
from stepwell.server.endpoints import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (*hooks.ENDPOINTS,)
