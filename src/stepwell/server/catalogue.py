"""All routes of the server."""

from __future__ import annotations

from stepwell.server import hooks
from stepwell.server.access import routes as access
from stepwell.server.compat import routes as compat
from stepwell.server.endpoints import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *access.ENDPOINTS,
    *compat.ENDPOINTS,
    *hooks.ENDPOINTS,
)
