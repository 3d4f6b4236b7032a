"""Stepwell over HTTP: an ASGI application. The extra `stepwell[server]`.

The parts that need no web library, such as `stepwell.server.access`, can be imported without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepwell.server.application import Server
    from stepwell.server.options import ServerOptions
    from stepwell.server.problems import Problem

__all__ = ["Problem", "Server", "ServerOptions"]

_PLACES = {"Problem": "problems", "Server": "application", "ServerOptions": "options"}


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    return value
