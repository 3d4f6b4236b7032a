"""Short-lived tokens, `st_<payload>.<proof>`: for one run, or one stream of it, in the hands of a browser.

Nothing is kept of them. The payload says what the token allows, and the proof is a MAC over its text, keyed with a
secret that all servers of a backend share. A token ends with its time, with its key, and with its secret. Secrets are a
log, too: a new one is used for new tokens, and those before it are read as long as they are needed.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from hashlib import sha256

import msgspec
from msgspec import Struct

from stepwell.errors import DefinitionError
from stepwell.model.durations import format_ms
from stepwell.runtime.bells import ring
from stepwell.runtime.client import Client
from stepwell.server.access.keys import TOPIC, KeyRing
from stepwell.server.access.logs import Log
from stepwell.server.access.scopes import Caller, Scope, parse_scopes

TOKEN_PREFIX = "st_"
DEFAULT_TTL_MS = 15 * 60_000
MAX_TTL_MS = 24 * 3_600_000
_LENGTH_MAX = 4096
_READ_BY_ALL_AFTER_MS = 10_000
_log = logging.getLogger("stepwell.access")


class IssuedToken(Struct, frozen=True):
    """A token with its text."""

    id: str
    text: str
    scopes: tuple[Scope, ...]
    expires_at: int

    def __repr__(self) -> str:
        return f"IssuedToken({self.id!r}, text=<hidden>, expires_at={self.expires_at})"


class _Payload(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a token says. The names are short since tokens stand in URLs."""

    secret: int = msgspec.field(name="v")
    id: str = msgspec.field(name="i")
    key: str = msgspec.field(name="k", default="")
    namespace: str = msgspec.field(name="n", default="")
    run: str = msgspec.field(name="r")
    stream: str | None = msgspec.field(name="s", default=None)
    scopes: tuple[Scope, ...] = msgspec.field(name="c")
    issued_at: int = msgspec.field(name="a")
    expires_at: int = msgspec.field(name="e")


class _Secret(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record. `ends_others`: tokens of earlier secrets are not taken any more."""

    secret: str
    at: int
    ends_others: bool = False

    def __repr__(self) -> str:
        return f"_Secret(at={self.at})"


_decode_payload = msgspec.json.Decoder(_Payload).decode
_decode_secret = msgspec.json.Decoder(_Secret).decode


class Secrets:
    """The secrets of a backend's servers as of the last `refresh`. The version of one is its index in the log."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._records = Log(client, "server secrets")
        self._known: list[_Secret | None] = []
        self._reading = asyncio.Lock()

    async def refresh(self) -> None:
        """Read what is new; make the first one if there is none. `BackendError`."""
        async with self._reading:
            while not await self._read():
                await self._records.put(len(self._known), (self._new(ends_others=False),))

    async def rotate(self, *, ends_others: bool = False) -> None:
        """A new secret. Tokens so far are good until they expire, or with `ends_others` no longer."""
        await self._records.append([self._new(ends_others=ends_others)])
        await ring(self._client.backend.queue, [TOPIC])
        await self._client.repeated(self.refresh)

    @property
    def position(self) -> int:
        """How many there are: another number, and something has changed."""
        return len(self._known)

    def current(self, now: int) -> tuple[int, bytes]:
        """The one for new tokens. One that was just made is left alone until every server has read it, if it can."""
        newest: tuple[int, bytes] | None = None
        for version, record in enumerate(self._known):
            if record is None:
                continue
            if newest is None or record.ends_others or record.at + _READ_BY_ALL_AFTER_MS <= now:
                newest = version, bytes.fromhex(record.secret)
        assert newest is not None, "`refresh` makes the first one"
        return newest

    def find(self, version: int) -> bytes | None:
        """The one of that version, if its tokens may still be taken."""
        if not 0 <= version < len(self._known):
            return None
        record = self._known[version]
        if record is None or any(later is not None and later.ends_others for later in self._known[version + 1 :]):
            return None
        return bytes.fromhex(record.secret)

    async def _read(self) -> bool:
        page = await self._records.rest(len(self._known))
        for data in page.items:
            self._known.append(_secret_of(len(self._known), data))
        return any(self._known)

    def _new(self, *, ends_others: bool) -> bytes:
        clock = self._client.backend.clock
        secret = _Secret(secret=clock.random_bytes(32).hex(), at=self._client.clock.now(), ends_others=ends_others)
        return msgspec.json.encode(secret)


class Tokens:
    """Issues tokens and reads them."""

    def __init__(self, client: Client, keys: KeyRing) -> None:
        self._client = client
        self._keys = keys
        self.secrets = Secrets(client)

    def issue(
        self,
        caller: Caller,
        *,
        run: str,
        stream: str | None = None,
        scopes: Iterable[str] = ("read",),
        ttl_ms: int = DEFAULT_TTL_MS,
    ) -> IssuedToken:
        """A token for a run of the caller's namespace, or one stream of it; never for more than the caller may."""
        wanted = parse_scopes(scopes)
        if caller.kind not in ("key", "open"):
            raise DefinitionError("a token cannot issue tokens; ask with a key")
        for scope in sorted(wanted):
            if not caller.may(scope):
                raise DefinitionError(f"this key does not have the scope {scope!r}, so it cannot give it to a token")
        if not 1000 <= ttl_ms <= MAX_TTL_MS:
            raise DefinitionError(f"a token lives between 1s and {format_ms(MAX_TTL_MS)}, not {format_ms(ttl_ms)}")
        now = self._client.clock.now()
        version, secret = self.secrets.current(now)
        payload = _Payload(
            secret=version,
            id=self._client.backend.clock.random_bytes(8).hex(),
            key=caller.id,
            namespace=caller.namespace,
            run=run,
            stream=stream,
            scopes=tuple(sorted(wanted)),
            issued_at=now,
            expires_at=min(now + ttl_ms, caller.expires_at or now + ttl_ms),
        )
        text = _packed(msgspec.json.encode(payload))
        return IssuedToken(
            payload.id, f"{TOKEN_PREFIX}{text}.{_proof(text, secret)}", payload.scopes, payload.expires_at
        )

    def verified(self, text: str, now: int, *, is_open: bool = False) -> tuple[Caller | None, str]:
        """Who the holder of this text is; or None, and why, for our log only. `is_open`: tokens without a key count."""
        packed, _, proof = text.removeprefix(TOKEN_PREFIX).partition(".")
        payload = _payload_of(packed) if len(text) <= _LENGTH_MAX else None
        secret = None if payload is None else self.secrets.find(payload.secret)
        # The text of the proof is compared, not its bytes: several texts can stand for the same bytes.
        is_ours = hmac.compare_digest(_proof(packed, secret or bytes(32)).encode(), proof.encode())
        if payload is None:
            return None, "this is no token"
        if secret is None:
            return None, "the secret of this token is unknown, or ended"
        if not is_ours:
            return None, "the proof of this token is wrong"
        refusal = self._refusal(payload, now, is_open=is_open)
        return (_caller_of(payload), "") if refusal is None else (None, f"token {payload.id}: {refusal}")

    def _refusal(self, payload: _Payload, now: int, *, is_open: bool) -> str | None:
        if payload.expires_at <= now:
            return "it has expired"
        if not payload.key:
            return None if is_open else "it was issued in dev mode"
        return self._keys.vouches(payload.key, payload.issued_at, now)


def _caller_of(payload: _Payload) -> Caller:
    return Caller(
        kind="token",
        id=payload.id,
        name=payload.key and f"of key {payload.key}",
        namespace=payload.namespace,
        scopes=frozenset(payload.scopes),
        run=payload.run,
        stream=payload.stream,
        expires_at=payload.expires_at,
    )


def _secret_of(version: int, data: bytes) -> _Secret | None:
    try:
        secret = _decode_secret(data)
        if len(bytes.fromhex(secret.secret)) >= 32:
            return secret
    except ValueError:
        pass
    _log.error("server secret %d cannot be read; tokens that were issued with it are refused here", version)
    return None


def _payload_of(packed: str) -> _Payload | None:
    try:
        return _decode_payload(urlsafe_b64decode(packed.encode() + b"=" * (-len(packed) % 4)))
    except ValueError:
        return None


def _packed(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _proof(packed: str, secret: bytes) -> str:
    return _packed(hmac.digest(secret, f"{TOKEN_PREFIX}{packed}".encode(), sha256))
