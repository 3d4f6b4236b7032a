"""Who may do what: keys, tokens, the audit log. See `Access`."""

from stepwell.server.access.access import Access, Unauthorized
from stepwell.server.access.audit import AuditEntry, AuditLog
from stepwell.server.access.keys import KeyRing
from stepwell.server.access.scopes import Caller, Scope
from stepwell.server.access.tokens import Tokens

__all__ = ["Access", "AuditEntry", "AuditLog", "Caller", "KeyRing", "Scope", "Tokens", "Unauthorized"]
