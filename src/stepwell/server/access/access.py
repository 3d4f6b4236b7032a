"""Finding out who asks."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Self

from stepwell.runtime.app import Stepwell
from stepwell.server.access.audit import AuditEntry, AuditLog
from stepwell.server.access.following import Follower
from stepwell.server.access.keys import KEY_PREFIX, KeyRing
from stepwell.server.access.refusals import Refusals
from stepwell.server.access.scopes import Caller
from stepwell.server.access.tokens import TOKEN_PREFIX, Tokens

_SCHEME = "Bearer "
_SECRETS = frozenset({"token"})
"""Parameters of paths that let those in who know them."""
_log = logging.getLogger("stepwell.access")


class Unauthorized(Exception):
    """The caller did not prove who they are. The text is for them; why exactly is only in our log."""


class Access:
    """Keys, tokens and the audit log of the backend of an app; made by `Access.open`."""

    def __init__(self, app: Stepwell, *, dev: bool = False, audit_keep_days: int = 400) -> None:
        client = app.client
        self.is_open = dev
        self.keys = KeyRing(client)
        self.tokens = Tokens(client, self.keys)
        self.audit = AuditLog(client, keep_days=audit_keep_days)
        self._client = client
        self.on_change: Callable[[], None] | None = None
        """Called when keys or secrets have changed: who was let in may have to go."""
        self._seen = (0, 0)
        self._follower = Follower(client, [self.keys.refresh, self.tokens.secrets.refresh, self._tell])
        self._refusals = Refusals()

    @classmethod
    @asynccontextmanager
    async def open(cls, app: Stepwell, *, dev: bool = False, audit_keep_days: int = 400) -> AsyncIterator[Self]:
        """Read the keys, and keep up with them. The app must be open, and be that of the default namespace.

        `dev`: who asks without a key may do everything. `BackendError` if the backend cannot be read.
        """
        access = cls(app, dev=dev, audit_keep_days=audit_keep_days)
        await access._follower.open()
        access.audit.open()
        try:
            yield access
        finally:
            await access._follower.close()
            await access.audit.close()

    async def be_fresh(self) -> None:
        """Return if callers can be let in: the keys were read within a minute, or now. `BackendError`."""
        await self._follower.be_fresh()

    def namespaces(self) -> frozenset[str]:
        """Those for which there was ever a key."""
        return frozenset(self.keys.namespaces)

    async def authenticate(
        self, authorization: str | None, *, access_token: str | None = None, address: str = ""
    ) -> Caller:
        """Who asks, by the header `Authorization`, else by a token in the URL. `Unauthorized`; `BackendError` if the
        keys could not be read for a minute."""
        if self.is_open and not _is_ours(authorization, access_token):
            return Caller.open()
        text = _credential(authorization, access_token)
        await self._follower.be_fresh()
        now = self._client.clock.now()
        caller, reason = self._holder(text, now)
        if caller is None:
            if self._refusals.admits(address, now):
                _log.warning("refused a call from %s: %s", address or "an unknown address", reason)
            raise Unauthorized("bearer token does not match any configured value")
        return caller

    def still_admits(self, authorization: str | None, access_token: str | None) -> bool:
        """Whether who was let in with this would be let in now, as far as is known here."""
        if self.is_open and not _is_ours(authorization, access_token):
            return True
        return self._holder(_credential(authorization, access_token), self._client.clock.now())[0] is not None

    async def record(
        self,
        caller: Caller,
        *,
        action: str,
        path: Mapping[str, str],
        status: int,
        address: str = "",
        request_id: str = "",
    ) -> None:
        """Write into the audit log that this call was made, and how it was answered. Waits if the log is full."""
        await self.audit.record(
            AuditEntry(
                who=caller.who,
                namespace=caller.namespace,
                action=action,
                object={name: text for name, text in path.items() if name not in _SECRETS},
                status=status,
                address=address,
                request_id=request_id,
            )
        )

    async def _tell(self) -> None:
        seen = (self.keys.position, self.tokens.secrets.position)
        if seen != self._seen:
            self._seen = seen
            if self.on_change is not None:
                self.on_change()

    def _holder(self, text: str, now: int) -> tuple[Caller | None, str]:
        return self._token(text, now) if text.startswith(TOKEN_PREFIX) else self._key(text, now)

    def _token(self, text: str, now: int) -> tuple[Caller | None, str]:
        return self.tokens.verified(text, now, is_open=self.is_open)

    def _key(self, text: str, now: int) -> tuple[Caller | None, str]:
        key, reason = self.keys.verified(text, now)
        if key is None:
            return None, reason
        caller = Caller(
            kind="key",
            id=key.id,
            name=key.name,
            namespace=key.namespace,
            scopes=frozenset(key.scopes),
            expires_at=key.expires_at,
        )
        return caller, ""


def _credential(authorization: str | None, access_token: str | None) -> str:
    """What was sent, as text; one that cannot be a credential becomes one that is none."""
    if authorization is None and access_token is None:
        raise Unauthorized("missing Authorization header")
    if authorization is None:
        text = access_token or ""
        if not text.startswith(TOKEN_PREFIX):
            raise Unauthorized("a URL may hold short-lived tokens only; send keys in the Authorization header")
    elif not authorization.startswith(_SCHEME):
        raise Unauthorized("Authorization header must use the Bearer scheme")
    else:
        text = authorization[len(_SCHEME) :]
    return text if text.isascii() else ""


def _is_ours(authorization: str | None, access_token: str | None) -> bool:
    """Whether somebody sent what looks like a key or token of ours: then it counts, also in dev mode."""
    text = access_token or "" if authorization is None else authorization.removeprefix(_SCHEME)
    return text.startswith((KEY_PREFIX, TOKEN_PREFIX))
