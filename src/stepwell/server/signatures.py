"""Signed webhooks by the rules of Standard Webhooks (https://www.standardwebhooks.com): who may complete a hook.

The headers `webhook-id`, `webhook-timestamp` (seconds since the Unix epoch) and `webhook-signature` go with a body; a
signature is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. Several may stand side by side, with spaces
between, and so may several secrets here: so both ends can change secrets without a gap.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256

from stepwell.errors import DefinitionError

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_S = 300
_PREFIX = "whsec_"
_VERSION = "v1,"
_DIGITS_MAX = 15
_SIGNATURES_MAX = 16


def sign(secret: str, body: bytes, *, id: str, timestamp: int) -> dict[str, str]:
    """The headers that go with a body, for those who send webhooks, and for tests."""
    signatures = [_signature(key, body, id, str(timestamp)) for key in _keys(secret)]
    return {ID: id, TIMESTAMP: str(timestamp), SIGNATURE: " ".join(signatures)}


def is_signed(secret: str, body: bytes, headers: Mapping[str, str], *, now: float) -> bool:
    """Whether the body comes from somebody who has a secret, and was signed within 5 minutes of `now` (seconds).

    `headers` are by lower-case name. Compares in constant time. `DefinitionError` if a secret is none.
    """
    keys = _keys(secret)
    id, timestamp, given = (headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not id or not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > _DIGITS_MAX:
        return False
    signatures = [text.encode() for text in given.split(" ") if text.startswith(_VERSION)][:_SIGNATURES_MAX]
    expected = [_signature(key, body, id, timestamp).encode() for key in keys]
    matches = [hmac.compare_digest(one, other) for one in expected for other in signatures]
    return any(matches) and abs(now - int(timestamp)) <= TOLERANCE_S


def _signature(key: bytes, body: bytes, id: str, timestamp: str) -> str:
    digest = hmac.digest(key, b"%b.%b.%b" % (id.encode("latin-1", "replace"), timestamp.encode(), body), sha256)
    return _VERSION + b64encode(digest).decode()


def _keys(secret: str) -> list[bytes]:
    """The keys of a secret: one, or several with spaces between. An empty key would let everybody in."""
    keys = [_key(text) for text in secret.split()]
    if not keys:
        raise DefinitionError("the secret of a webhook is empty; give whsec_ and base64")
    return keys


def _key(text: str) -> bytes:
    try:
        key = b64decode(text.removeprefix(_PREFIX), validate=True)
    except ValueError:
        raise DefinitionError(
            "the secret of a webhook is not base64; give whsec_ and base64, as its sender does"
        ) from None
    if not key:
        raise DefinitionError("the secret of a webhook is empty; give whsec_ and base64")
    return key
