"""Payloads that are not plain values: references to large ones, encrypted ones, and what only looks like them.

Our own payloads are objects whose bytes begin with `{"$blob":`, `{"$sealed":` or `{"$raw":`. Everything that comes
from a user and begins with `{"$` is wrapped as `{"$raw": ...}`, so that nobody can pass off a dict as a reference.
Only these exact bytes count: `{ "$blob"` or an escaped dollar sign is a plain value.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Protocol

import msgspec
from msgspec import Raw, Struct

from stepwell.errors import CodecError, SealedError

MAX_PAYLOAD = 64 * 2**20
"""The largest encoded value, in bytes."""
SPILL_THRESHOLD = 10_240
"""The size above which a payload goes to the blob store, in bytes."""

DOLLAR = b'{"$'
_RAW = b'{"$raw":'
_BLOB = b'{"$blob":'
_SEALED = b'{"$sealed":"'


class Cipher(Protocol):
    """Encrypts and decrypts payloads. `decrypt` raises on bytes that it did not make."""

    def encrypt(self, data: bytes, /) -> bytes: ...
    def decrypt(self, data: bytes, /) -> bytes: ...


class BlobRef(Struct, frozen=True):
    """Where the bytes of a payload are, and how many."""

    key: str = msgspec.field(name="$blob")
    size: int


_encode_ref = msgspec.json.Encoder().encode
_decode_ref = msgspec.json.Decoder(BlobRef).decode


def spill(raw: Raw, threshold: int = SPILL_THRESHOLD) -> bool:
    """Whether this payload belongs in the blob store."""
    return len(raw) > threshold


def blob_ref(key: str, size: int) -> Raw:
    """The payload that stands for the one at `key`."""
    return Raw(_encode_ref(BlobRef(key=key, size=size)))


def is_blob_ref(raw: Raw) -> bool:
    """Whether this payload only says where the real one is."""
    return bytes(memoryview(raw)[:9]) == _BLOB


def blob_key(raw: Raw) -> str:
    """Where the payload is that this reference stands for."""
    return _decode_ref(raw).key


def escape(data: bytes) -> Raw:
    """A payload of JSON that was encoded elsewhere, for example by an HTTP client. Does not validate it."""
    return Raw(_RAW + data + b"}" if data.startswith(DOLLAR) else data)


def seal(data: bytes, cipher: Cipher) -> Raw:
    """Encrypt."""
    return Raw(b'%b%b"}' % (_SEALED, b64encode(cipher.encrypt(data))))


def unwrap(raw: Raw, cipher: Cipher | None, *, where: str) -> bytes:
    """The value's own JSON, of a payload that begins with `{"$`."""
    data = bytes(raw)
    if data.startswith(_SEALED):
        data = _unseal(data, cipher, where)
    if data.startswith(_RAW):
        return data[len(_RAW) : -1]
    if data.startswith(_BLOB):
        raise CodecError(f"{where} is a reference to the blob {blob_key(raw)!r}: load that, and decode its bytes")
    return data


def _unseal(data: bytes, cipher: Cipher | None, where: str) -> bytes:
    if cipher is None:
        raise SealedError(f"{where} is encrypted: give the app the codec that it was written with")
    try:
        return cipher.decrypt(b64decode(data[len(_SEALED) : -2]))
    except CodecError as error:  # of a cipher of ours, which says all
        raise SealedError(f"{where} cannot be decrypted: {error}") from None
    except Exception as error:  # ciphers raise what they like
        raise SealedError(f"{where} cannot be decrypted: was it written with another key? ({error!r})") from error
