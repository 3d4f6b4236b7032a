"""API keys: `sw_<id>_<secret>`.

A key is known by its id; of its secret only the SHA-256 is kept, which is enough since the secret is 256 random bits.
What happens to keys is a log that all servers of a backend read: created, rotated, revoked. A record that this version
cannot read disables the key that it names, since it may say that the key may do less. One that names no key is left
out, and told in the log.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, structs

from stepwell.errors import DefinitionError
from stepwell.runtime.bells import ring
from stepwell.runtime.client import Client
from stepwell.runtime.namespaces import checked_namespace
from stepwell.server.access.logs import Log
from stepwell.server.access.scopes import Scope, parse_scopes

TOPIC = "api keys"
"""Told when something about keys or secrets has changed."""

KEY_PREFIX = "sw_"
_KEY = re.compile(r"sw_([0-9a-f]{16})_([0-9A-Za-z]{43})")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43
_NAME_MAX = 100
_NOBODY = bytes(32)
_log = logging.getLogger("stepwell.access")


class KeyNotFoundError(DefinitionError):
    """There is no key with this id, or none that the caller may see."""


class KeyClosedError(DefinitionError):
    """The key is revoked or expired, so nothing more can be done with it."""


class Key(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is told of a key. Times in ms. `old_until`: the secret before the last rotation is taken until then.

    `is_readable`: False if a newer version has changed it in a way that this one does not know; then it is refused.
    """

    id: str
    name: str = ""
    namespace: str = ""
    scopes: tuple[Scope, ...]
    created_at: int
    created_by: str = ""
    expires_at: int | None = None
    revoked_at: int | None = None
    rotated_at: int | None = None
    old_until: int | None = None
    is_readable: bool = True

    def refusal(self, now: int) -> str | None:
        """Why the key is not taken; None if it is."""
        if not self.is_readable:
            return f"key {self.id} was changed by a newer version of Stepwell: update this server"
        if self.revoked_at is not None:
            return f"key {self.id} is revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return f"key {self.id} has expired"
        return None


class IssuedKey(Struct, frozen=True):
    """A key with its text, which is shown once and never again."""

    key: Key
    text: str

    def __repr__(self) -> str:
        return f"IssuedKey({self.key!r}, text=<hidden>)"


_Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class _Created(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="created"):
    id: str
    digest: _Digest
    at: int
    by: str = ""
    name: str = ""
    namespace: str = ""
    scopes: tuple[Scope, ...]
    expires_at: int | None = None


class _Rotated(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="rotated"):
    id: str
    digest: _Digest
    at: int
    by: str = ""
    old_until: int


class _Revoked(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="revoked"):
    id: str
    at: int
    by: str = ""


class _Named(Struct):
    """What every record of a key has."""

    id: str


_Record = _Created | _Rotated | _Revoked
_decode = msgspec.json.Decoder(_Record).decode
_decode_name = msgspec.json.Decoder(_Named).decode


class _Held(Struct, frozen=True):
    """A key with what its secrets are compared with."""

    key: Key
    digest: bytes
    old_digest: bytes = _NOBODY

    def __repr__(self) -> str:
        return f"_Held({self.key!r})"


class KeyRing:
    """The keys of a backend as of the last `refresh`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._records = Log(client, "api keys")
        self._next = 0
        self._held: dict[str, _Held] = {}
        self.namespaces: set[str] = set()
        """Those for which there was ever a key."""
        self._reading = asyncio.Lock()

    async def refresh(self) -> None:
        """Read what is new. `BackendError`."""
        async with self._reading:
            page = await self._records.rest(self._next)
            for index, record in enumerate(page.items, self._next):
                self._take_in(index, record)
            self._next = page.next

    # --- looking

    @property
    def position(self) -> int:
        """How many records were read: another number, and something has changed."""
        return self._next

    def all(self, namespace: str | None = None) -> list[Key]:
        """All keys, revoked and expired ones too, in the order of their making; None: of every namespace."""
        keys = [held.key for held in self._held.values()]
        return keys if namespace is None else [key for key in keys if key.namespace == namespace]

    def find(self, id: str) -> Key:
        """`KeyNotFoundError`."""
        held = self._held.get(id)
        if held is None:
            raise KeyNotFoundError(f"there is no key {id[:100]!r}; `stepwell keys list` shows all")
        return held.key

    def verified(self, text: str, now: int) -> tuple[Key | None, str]:
        """The key that this text is; or None, and why, for our log only.

        The same work is done for every text, so that time does not tell whether there is such a key.
        """
        match = _KEY.fullmatch(text)
        id, secret = (match[1], match[2]) if match else ("", text[:_SECRET_LENGTH])
        held = self._held.get(id)
        digest, old_digest = (held.digest, held.old_digest) if held else (_NOBODY, _NOBODY)
        given = sha256(secret.encode()).digest()
        is_new = hmac.compare_digest(digest, given)
        is_old = hmac.compare_digest(old_digest, given)
        if match is None:
            return None, "this is no key"
        if held is None:
            return None, f"there is no key {id}"
        if is_old and not is_new and now >= (held.key.old_until or 0):
            return None, f"the secret of key {id} was replaced"
        if not is_new and not is_old:
            return None, f"the secret is not that of key {id}"
        refusal = held.key.refusal(now)
        return (held.key, "") if refusal is None else (None, refusal)

    def vouches(self, id: str, issued_at: int, now: int) -> str | None:
        """Why the key does not stand for what was issued with it at that time; None if it does."""
        held = self._held.get(id)
        if held is None:
            return f"there is no key {id}"
        key = held.key
        if key.rotated_at is not None and issued_at < key.rotated_at and now >= (key.old_until or 0):
            return f"the secret of key {id} was replaced since"
        return key.refusal(now)

    # --- changing

    async def create(
        self,
        *,
        scopes: Iterable[str],
        name: str = "",
        namespace: str = "",
        expires_in_ms: int | None = None,
        by: str = "",
    ) -> IssuedKey:
        """A new key. `DefinitionError` for what makes no sense, `BackendError`."""
        if len(name) > _NAME_MAX or not name.isprintable():
            raise DefinitionError(f"the name of a key is up to {_NAME_MAX} printable characters, not {name[:150]!r}")
        if expires_in_ms is not None and expires_in_ms <= 0:
            raise DefinitionError('a key that expires at once is of no use; give a time such as "90d"')
        now, secret = self._client.clock.now(), self._new_secret()
        record = _Created(
            id=self._client.backend.clock.random_bytes(8).hex(),
            digest=_digest(secret),
            at=now,
            by=by,
            name=name,
            namespace=checked_namespace(namespace),
            scopes=tuple(sorted(parse_scopes(scopes))),
            expires_at=None if expires_in_ms is None else now + expires_in_ms,
        )
        await self._write(record)
        return IssuedKey(self.find(record.id), _text(record.id, secret))

    async def rotate(self, id: str, *, grace_ms: int = 0, by: str = "") -> IssuedKey:
        """A new secret for the key. The one before is taken for `grace_ms` more; one that is older ends now."""
        await self.refresh()
        now, secret = self._client.clock.now(), self._new_secret()
        self._check_open(self.find(id), now)
        await self._write(_Rotated(id=id, digest=_digest(secret), at=now, by=by, old_until=now + grace_ms))
        key = self.find(id)
        self._check_open(key, now)  # somebody may have revoked it meanwhile
        return IssuedKey(key, _text(id, secret))

    async def revoke(self, id: str, *, by: str = "") -> Key:
        """End a key for good. Revoking again does nothing."""
        await self.refresh()
        key = self.find(id)
        if key.revoked_at is None:
            await self._write(_Revoked(id=id, at=self._client.clock.now(), by=by))
        return self.find(id)

    # --- inside

    async def _write(self, record: _Record) -> None:
        await self._records.append([msgspec.json.encode(record)])
        await ring(self._client.backend.queue, [TOPIC])
        await self._client.repeated(self.refresh)

    def _check_open(self, key: Key, now: int) -> None:
        refusal = key.refusal(now)
        if refusal is not None:
            raise KeyClosedError(f"{refusal}; create another one")

    def _new_secret(self) -> str:
        number = int.from_bytes(self._client.backend.clock.random_bytes(32), "big")
        digits = []
        for _ in range(_SECRET_LENGTH):
            number, digit = divmod(number, len(_DIGITS))
            digits.append(_DIGITS[digit])
        return "".join(reversed(digits))

    def _take_in(self, index: int, data: bytes) -> None:
        try:
            record = _decode(data)
        except msgspec.MsgspecError as error:
            self._disable(index, data, error)
            return
        held = self._held.get(record.id)
        match record:
            case _Created() if held is None:
                self._held[record.id] = _Held(_key_of(record), bytes.fromhex(record.digest))
                self.namespaces.add(record.namespace)
            case _Rotated() if held is not None and held.key.revoked_at is None:
                key = structs.replace(held.key, rotated_at=record.at, old_until=record.old_until)
                self._held[record.id] = _Held(key, bytes.fromhex(record.digest), held.digest)
            case _Revoked() if held is not None:
                self._change(held, revoked_at=held.key.revoked_at or record.at)
            case _:
                _log.error("record %d of the API keys is about key %s and does not fit it; left out", index, record.id)

    def _disable(self, index: int, data: bytes, error: Exception) -> None:
        try:
            id = _decode_name(data).id
        except msgspec.MsgspecError:
            _log.error("record %d of the API keys cannot be read, and is left out: %s", index, error)
            return
        _log.error("record %d of the API keys cannot be read, so key %s is refused: %s", index, id, error)
        held = self._held.get(id) or _Held(Key(id=id, scopes=(), created_at=0), _NOBODY)
        self._change(held, is_readable=False)

    def _change(self, held: _Held, **changes: object) -> None:
        self._held[held.key.id] = structs.replace(held, key=structs.replace(held.key, **changes))


def _key_of(record: _Created) -> Key:
    return Key(
        id=record.id,
        name=record.name,
        namespace=record.namespace,
        scopes=record.scopes,
        created_at=record.at,
        created_by=record.by,
        expires_at=record.expires_at,
    )


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _text(id: str, secret: str) -> str:
    return f"{KEY_PREFIX}{id}_{secret}"


KeyStatus = Literal["active", "expired", "revoked", "unreadable"]


def status_of(key: Key, now: int) -> KeyStatus:
    """In one word."""
    if not key.is_readable:
        return "unreadable"
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.refusal(now) is not None else "active"
