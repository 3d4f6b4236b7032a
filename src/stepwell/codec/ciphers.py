"""AES-GCM for payloads, with named keys: a new key takes over, old ones still read, and a deleted one erases.

What `encrypt` answers is the header, the nonce, the ciphertext and its tag. The header is a version byte, the length of
the key's id, and the id; the tag covers it, so it cannot be changed either. The nonce is drawn anew for each payload:
one derived from the value would show who reads the store which payloads are equal, and one that counts would need
a counter that all processes share and that no restored backup sets back.
"""

from __future__ import annotations

import binascii
import importlib
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepwell.errors import CodecError, DefinitionError, SealedError

_VERSION = 1
_NONCE = 12
_KEY = 32
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_VARIABLE = "STEPWELL_KEYS"


class AesGcm:
    """A cipher for `Codec`: AES-256 in Galois/Counter Mode. Encrypts with the key `current`, decrypts with any.

    `keys` are 32 bytes each, or text in base64 or hex, by their ids, which everybody may see. To rotate: add a key and
    make it current; what the others encrypted stays readable. Delete a key, and what it encrypted is gone for good, in
    backups too. `DefinitionError` if a key is no key, or the package `cryptography` is missing.
    """

    __slots__ = ("_ciphers", "_header", "current")

    def __init__(self, keys: Mapping[str, bytes | str], *, current: str) -> None:
        make = _aead()
        self._ciphers: dict[str, Any] = {_checked_id(id): make(_key(id, key)) for id, key in keys.items()}
        if current not in self._ciphers:
            raise DefinitionError(f"AesGcm(current={current!r}): {_known(self._ciphers)}; name one of them")
        self.current = current
        self._header = bytes([_VERSION, len(current)]) + current.encode()

    @classmethod
    def from_environment(cls, name: str = _VARIABLE) -> AesGcm:
        """The keys in an environment variable: `id:key,id:key`. The first is current."""
        text = os.environ.get(name)
        if text is None:
            raise DefinitionError(f"the environment variable {name} is not set; set it to `id:key`, {_HOW}")
        return cls._parsed(text, where=f"the environment variable {name}")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> AesGcm:
        """The keys in a file: `id:key` in each line; lines that begin with `#` say nothing. The first is current."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DefinitionError(f"the keys cannot be read: {error}; give a file of lines `id:key`, {_HOW}") from error
        return cls._parsed(text, where=f"the file {os.fspath(path)}")

    @staticmethod
    def generate_key() -> str:
        """A new key, drawn from the operating system, as text in base64."""
        return b64encode(os.urandom(_KEY)).decode()

    def encrypt(self, data: bytes, /) -> bytes:
        """With the current key."""
        nonce = os.urandom(_NONCE)
        header = self._header
        sealed: bytes = self._ciphers[self.current].encrypt(nonce, data, header)
        return header + nonce + sealed

    def decrypt(self, data: bytes, /) -> bytes:
        """With the key that it names. `SealedError` says which is missing; `CodecError`: these are other bytes."""
        if len(data) < 2 or data[0] != _VERSION:
            raise CodecError("it was not encrypted by AesGcm, or by a newer Stepwell")
        end = 2 + data[1]
        id = data[2:end].decode("ascii", "backslashreplace")
        cipher = self._ciphers.get(id)
        if cipher is None:
            raise SealedError(
                f"it was encrypted with the key {id!r}, and {_known(self._ciphers)}; add that key to read it. If it "
                f"was deleted on purpose, what it encrypted is erased"
            )
        try:
            plain: bytes = cipher.decrypt(data[end : end + _NONCE], data[end + _NONCE :], data[:end])
        except Exception:  # the library's own type is not loaded here; it says nothing more
            problem = f"its bytes were changed, or the key {id!r} is another than the one that encrypted it"
            raise SealedError(problem) from None
        return plain

    def __repr__(self) -> str:
        return f"AesGcm({', '.join(self._ciphers)}; current: {self.current})"

    @classmethod
    def _parsed(cls, text: str, *, where: str) -> AesGcm:
        keys: dict[str, str] = {}
        lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
        for number, item in enumerate(filter(None, map(str.strip, ",".join(lines).split(","))), 1):
            id, colon, key = item.partition(":")
            id = id.strip()
            if not colon or id in keys:  # the text may be a key, so it is not shown
                problem = f"names {id!r} twice" if colon else f"has no `:` in its item {number}"
                raise DefinitionError(f"{where} {problem}: write `id:key`, {_HOW}")
            keys[id] = key.strip()
        if not keys:
            raise DefinitionError(f"{where} holds no keys: write `id:key`, {_HOW}")
        return cls(keys, current=next(iter(keys)))


_HOW = "with a key of AesGcm.generate_key(); several with commas between them, the current one first"


def _aead() -> Any:
    try:
        return importlib.import_module("cryptography.hazmat.primitives.ciphers.aead").AESGCM
    except ModuleNotFoundError as missing:
        raise DefinitionError(
            "AesGcm needs the package cryptography, which is not installed: pip install 'stepwell[encryption]'"
        ) from missing


def _checked_id(id: str) -> str:
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise DefinitionError(
            f"AesGcm: {id!r} is no id of a key; take 1 to 64 letters, digits, dots, underscores and hyphens"
        )
    return id


def _key(id: str, key: bytes | str) -> bytes:
    """The bytes of a key. What is wrong is never shown: it may be nearly right."""
    data = key if isinstance(key, bytes) else _decoded(key)
    if data is None or len(data) != _KEY:
        found = "is neither base64 nor hex" if data is None else f"has {len(data)} bytes"
        raise DefinitionError(
            f"AesGcm: the key {id!r} {found}, and a key has {_KEY}; make one with AesGcm.generate_key()"
        )
    return data


def _decoded(text: str) -> bytes | None:
    try:
        if len(text) == 2 * _KEY:
            return bytes.fromhex(text)
        return b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, binascii.Error):
        return None


def _known(ids: Mapping[str, object]) -> str:
    names = ", ".join(repr(id) for id in ids)
    return f"the keys here are {names}" if names else "there are no keys here"
