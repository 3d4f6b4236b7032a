"""Signatures of requests to step workers: that of the protocol, which covers the body alone, and ours next to it, which
covers method, path and headers too, and is good for one request within a few minutes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import heapq
import hmac
from collections.abc import Mapping, Sequence

from msgspec import Struct

from stepwell.errors import StepwellError
from stepwell.formats.voyant.headers import DISPATCH_AUTH, NONCE, OURS, SIGNATURE, TIMESTAMP

WINDOW_MS = 5 * 60_000
"""How far the clocks of the two ends may be apart."""
NONCES_MAX = 100_000
NONCE_LENGTH_MAX = 200


class Unsigned(StepwellError):
    """A request that was not signed with a known secret, or not as it is now."""


def sign_v1(secret: bytes, body: bytes) -> str:
    """What `x-voyant-dispatch-auth` is for a body."""
    return _base64(hmac.digest(_usable(secret), body, "sha256"))


def verify_v1(secrets: Sequence[bytes], header: str | None, body: bytes) -> None:
    """`Unsigned` unless one of the secrets made the header for this body."""
    if not header:
        raise Unsigned(f"missing {DISPATCH_AUTH} header")
    given = _bytes(header, DISPATCH_AUTH)
    if not _is_any(given, [hmac.digest(_usable(secret), body, "sha256") for secret in secrets]):
        raise Unsigned(f"{DISPATCH_AUTH} signature does not match request body")


def key_id(secret: bytes) -> str:
    """What a secret is called in public."""
    return hmac.digest(_usable(secret), b"stepwell key id", "sha256").hex()[:16]


class SignedRequest(Struct, frozen=True, kw_only=True):
    """What our signature covers: all but the host. Names of headers are lower case; of those that are not ours nothing
    is signed. `path` is as in the request, without a query."""

    method: str = "POST"
    path: str
    headers: Mapping[str, str]
    body: bytes


def sign_v2(secret: bytes, request: SignedRequest) -> str:
    """What `x-stepwell-signature` is. The headers hold key id, timestamp and nonce already."""
    return _base64(hmac.digest(_usable(secret), _signed(request), "sha256"))


def verify_v2(secrets: Sequence[bytes], request: SignedRequest, nonces: Nonces, now_ms: int) -> None:
    """`Unsigned` unless one of the secrets signed this request, lately, and it is here for the first time."""
    headers = request.headers
    missing = next((name for name in (SIGNATURE, TIMESTAMP, NONCE) if not headers.get(name)), None)
    if missing is not None:
        raise Unsigned(f"missing {missing} header")
    given = _bytes(headers[SIGNATURE], SIGNATURE)
    signed = _signed(request)
    if not _is_any(given, [hmac.digest(_usable(secret), signed, "sha256") for secret in secrets]):
        raise Unsigned(f"{SIGNATURE} signature does not match the request")
    nonces.use(headers[NONCE], _moment(headers[TIMESTAMP]), now_ms)


class Nonces:
    """The nonces of the last minutes. What was signed before the newest one that was forgotten is refused: so memory is
    bounded, and nothing is accepted twice, whatever the clock does."""

    def __init__(self, limit: int = NONCES_MAX) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self._by_time: list[tuple[int, str]] = []
        self._floor_ms = -1

    def use(self, nonce: str, at_ms: int, now_ms: int) -> None:
        """Take note of a nonce of a request that was signed then. `Unsigned` if it was used, or is too old to tell."""
        if len(nonce) > NONCE_LENGTH_MAX:
            raise Unsigned(f"malformed {NONCE} header (at most {NONCE_LENGTH_MAX} characters)")
        if abs(now_ms - at_ms) > WINDOW_MS:
            raise Unsigned(f"{TIMESTAMP} is more than {WINDOW_MS // 60_000} minutes away from the clock of the worker")
        if at_ms <= self._floor_ms:
            raise Unsigned(f"{TIMESTAMP} is older than the nonces that the worker remembers")
        self._forget_before(now_ms - WINDOW_MS)
        if nonce in self._known:
            raise Unsigned(f"{NONCE} was used before")
        self._known.add(nonce)
        heapq.heappush(self._by_time, (at_ms, nonce))
        while len(self._by_time) > self._limit:
            self._forget_one()

    def _forget_before(self, before_ms: int) -> None:
        while self._by_time and self._by_time[0][0] < before_ms:
            self._forget_one()

    def _forget_one(self) -> None:
        self._floor_ms, nonce = heapq.heappop(self._by_time)
        self._known.discard(nonce)


def _signed(request: SignedRequest) -> bytes:
    names = sorted(name for name in request.headers if name.startswith(OURS) and name != SIGNATURE)
    for name in names:
        if "\n" in request.headers[name] or "\r" in request.headers[name]:
            raise Unsigned(f"malformed {name} header (a line break)")
    lines = ["v2", request.method.upper(), request.path, *(f"{name}:{request.headers[name]}" for name in names)]
    return "\n".join([*lines, hashlib.sha256(request.body).hexdigest()]).encode()


def _is_any(given: bytes, expected: Sequence[bytes]) -> bool:
    """Whether it is one of these, in a time that does not tell which."""
    found = [hmac.compare_digest(given, one) for one in expected]
    return any(found)


def _bytes(header: str, name: str) -> bytes:
    try:
        given = base64.b64decode(header.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise Unsigned(f"malformed {name} header (expected base64)") from None
    return given


def _moment(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise Unsigned(f"malformed {TIMESTAMP} header (expected ms since 1970)")
    return int(text)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _usable(secret: bytes) -> bytes:
    if not secret:
        raise ValueError("the secret is empty")
    return secret
