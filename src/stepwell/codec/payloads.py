"""Payloads that are not plain values: references to large ones, encrypted and compressed ones, and what only looks so.

Our own payloads are objects whose bytes begin with `{"$blob":`, `{"$sealed":`, `{"$deflate":` or `{"$raw":`. What is
compressed and encrypted is `$sealed`: zlib's bytes begin with an `x`, which no JSON does. Everything that comes
from a user and begins with `{"$` is wrapped as `{"$raw": ...}`, so that nobody can pass off a dict as a reference.
Only these exact bytes count: `{ "$blob"` or an escaped dollar sign is a plain value.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from typing import Protocol

import msgspec
from msgspec import Raw, Struct

from stepwell.errors import CodecError, DefinitionError, SealedError

MAX_PAYLOAD = 64 * 2**20
"""The largest encoded value, in bytes."""
SPILL_THRESHOLD = 10_240
"""The size above which a payload goes to the blob store, in bytes."""

DOLLAR = b'{"$'
_RAW = b'{"$raw":'
_BLOB = b'{"$blob":'
_SEALED = b'{"$sealed":"'
_DEFLATED = b'{"$deflate":"'
_ZLIB = b"x"
_END = b'"}'


class Cipher(Protocol):
    """Encrypts and decrypts payloads. `decrypt` raises on bytes that it did not make."""

    def encrypt(self, data: bytes, /) -> bytes: ...
    def decrypt(self, data: bytes, /) -> bytes: ...


class Compression(Struct, frozen=True, kw_only=True):
    """How `Codec` compresses: payloads of more than `above` bytes, by zlib, with a `level` from 1 (fast) to 9 (small).

    What would not become smaller stays as it is.
    """

    level: int = 6
    above: int = 1024

    def __post_init__(self) -> None:
        if not 1 <= self.level <= 9:
            raise DefinitionError(f"Compression(level={self.level!r}): give a level from 1 (fast) to 9 (small)")
        if self.above < 0:
            raise DefinitionError(f"Compression(above={self.above!r}): give a number of bytes")


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


def is_ours(raw: Raw) -> bool:
    """Whether `unwrap` has something to do; no payload of a user begins so."""
    return bytes(memoryview(raw)[:3]) == DOLLAR


def escape(data: bytes) -> Raw:
    """A payload of JSON that was encoded elsewhere, for example by an HTTP client. Does not validate it."""
    return Raw(_RAW + data + b"}" if data.startswith(DOLLAR) else data)


def pack(data: bytes, cipher: Cipher | None, compression: Compression | None) -> Raw:
    """The payload of a value's own JSON: marked if it looks like ours, compressed if that helps, encrypted."""
    payload = escape(data)
    packed = None
    if compression is not None and len(payload) > compression.above:
        packed = zlib.compress(payload, compression.level)
    if cipher is not None:
        plain = bytes(payload) if packed is None or len(packed) >= len(payload) else packed
        return Raw(b"%b%b%b" % (_SEALED, b64encode(cipher.encrypt(plain)), _END))
    if packed is not None:
        deflated = b"%b%b%b" % (_DEFLATED, b64encode(packed), _END)
        return payload if len(deflated) >= len(payload) else Raw(deflated)
    return payload


def unwrap(raw: Raw, cipher: Cipher | None, *, where: str, limit: int = MAX_PAYLOAD) -> bytes:
    """The value's own JSON, of a payload that begins with `{"$`. `limit` is the most bytes that it may unpack to."""
    data = bytes(raw)
    if data.startswith(_SEALED):
        data = _unseal(data, cipher, where)
        if data.startswith(_ZLIB):
            data = _inflated(data, where, limit)
    elif data.startswith(_DEFLATED):
        data = _inflated(b64decode(data[len(_DEFLATED) : -len(_END)]), where, limit)
    if data.startswith(_RAW):
        return data[len(_RAW) : -1]
    if data.startswith(_BLOB):
        raise CodecError(f"{where} is a reference to the blob {blob_key(raw)!r}: load that, and decode its bytes")
    return data


def _inflated(data: bytes, where: str, limit: int) -> bytes:
    limit += len(_RAW) + 1
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, limit)
    except zlib.error as error:
        raise CodecError(f"{where} cannot be unpacked: its bytes were changed ({error})") from None
    if not stream.eof:
        if len(plain) < limit:
            raise CodecError(f"{where} cannot be unpacked: its end is missing")
        raise CodecError(
            f"{where} would unpack to more than the {limit - len(_RAW) - 1} bytes of Codec(max_payload=); it is not "
            f"read: give the app a codec that allows more, if it may be so large"
        )
    return plain


def decrypt(data: bytes, cipher: Cipher | None, *, where: str) -> bytes:
    """What was encrypted. `SealedError` without the key for it."""
    if cipher is None:
        raise SealedError(f"{where} is encrypted: give the app the codec that it was written with")
    try:
        return cipher.decrypt(data)
    except CodecError as error:  # of a cipher of ours, which says all
        raise SealedError(f"{where} cannot be decrypted: {error}") from None
    except Exception as error:  # ciphers raise what they like
        raise SealedError(f"{where} cannot be decrypted: was it written with another key? ({error!r})") from error


def _unseal(data: bytes, cipher: Cipher | None, where: str) -> bytes:
    try:
        sealed = b64decode(data[len(_SEALED) : -len(_END)])
    except ValueError as error:
        raise SealedError(f"{where} cannot be decrypted: its bytes were changed ({error})") from None
    return decrypt(sealed, cipher, where=where)
