"""Who may do what: keys, tokens, the audit log; see `Access`. And which URLs this server may call."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stepwell.server.access.access import Access, Unauthorized
from stepwell.server.access.audit import AuditEntry, AuditLog
from stepwell.server.access.keys import KeyRing
from stepwell.server.access.scopes import Caller, Scope
from stepwell.server.access.tokens import Tokens

if TYPE_CHECKING:
    from stepwell.server.access.egress import guarded_client
    from stepwell.server.access.guard import CheckedUrl, UrlError, UrlPolicy, checked_url

__all__ = [
    "Access",
    "AuditEntry",
    "AuditLog",
    "Caller",
    "CheckedUrl",
    "KeyRing",
    "Scope",
    "Tokens",
    "Unauthorized",
    "UrlError",
    "UrlPolicy",
    "checked_url",
    "guarded_client",
]

_HOMES = {
    "CheckedUrl": "stepwell.server.access.guard",
    "UrlError": "stepwell.server.access.guard",
    "UrlPolicy": "stepwell.server.access.guard",
    "checked_url": "stepwell.server.access.guard",
    "guarded_client": "stepwell.server.access.egress",
}


def __getattr__(name: str) -> Any:
    """Imported when asked for: only who calls URLs needs httpx."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
