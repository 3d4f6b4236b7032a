"""All routes of the server."""

from __future__ import annotations

from stepwell.server import hooks
from stepwell.server.access import routes as access
from stepwell.server.compat import routes as compat
from stepwell.server.endpoints import Endpoint
from stepwell.server.routes import bulk, document, looking, messages, runs, streams, workflows
from stepwell.server.seeing import health, metrics

ENDPOINTS: tuple[Endpoint, ...] = (
    *access.ENDPOINTS,
    *compat.ENDPOINTS,
    *hooks.ENDPOINTS,
    *runs.ENDPOINTS,
    *looking.ENDPOINTS,
    *streams.ENDPOINTS,
    *messages.ENDPOINTS,
    *bulk.ENDPOINTS,
    *workflows.ENDPOINTS,
    *document.ENDPOINTS,
    *health.ENDPOINTS,
    *metrics.ENDPOINTS,
)
