"""The OpenAPI document, as a route."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from stepwell.server.endpoints import Answer, Call, Endpoint
from stepwell.server.openapi import openapi
from stepwell.server.routing import Routes

_documents: WeakKeyDictionary[Routes, bytes] = WeakKeyDictionary()


async def document(call: Call) -> Answer:
    """All routes."""
    routes = call.server.routes
    body = _documents.get(routes)
    if body is None:
        body = _documents[routes] = msgspec.json.encode(openapi(routes.endpoints))
    return Answer(body=body)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/openapi.json",
        handler=document,
        scope=None,
        summary="This document.",
        answers={200: dict[str, Any]},
    ),
)
