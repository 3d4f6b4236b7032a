"""Compressed payloads: smaller or as they were, read by every codec, and never larger than allowed."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from stepwell.codec import AesGcm, Cipher, Codec, Compression, typed
from stepwell.errors import CodecError, DefinitionError, SealedError

WHERE = "the result of step charge"
LONG = "the same words again and again " * 200
CIPHER = AesGcm({"k": bytes(32)}, current="k")

ciphers = pytest.mark.parametrize("cipher", [None, CIPHER], ids=["plain", "encrypted"])


def packed(value: Any, cipher: Cipher | None = None, **options: Any) -> Raw:
    return Codec(cipher, compress=Compression(**options)).typed(Any).encode(value, where=WHERE)


@ciphers
def test_a_large_value_takes_less_and_comes_back(cipher: Cipher | None) -> None:
    raw = packed(LONG, cipher)

    assert len(raw) < len(LONG) // 10
    assert Codec(cipher).typed(str).decode(raw, where=WHERE) == LONG


@given(
    st.recursive(st.text() | st.integers(), lambda s: st.dictionaries(st.sampled_from(["$deflate", "$raw", "a"]), s))
)
def test_any_value_comes_back(value: object) -> None:
    for cipher in (None, CIPHER):
        assert Codec(cipher).typed(Any).decode(packed(value, cipher, above=0), where=WHERE) == value


def test_a_compressed_payload_says_so() -> None:
    assert list(json.loads(bytes(packed(LONG)))) == ["$deflate"]


@ciphers
def test_small_values_are_left_alone(cipher: Cipher | None) -> None:
    value = "a" * 1000

    assert len(packed(value, cipher)) >= 1000
    assert len(packed(value, cipher, above=500)) < 200


def test_what_would_not_become_smaller_is_left_alone() -> None:
    value = b64encode(bytes(range(256))).decode() + "!" * 10

    assert bytes(packed(value, above=0)) == json.dumps(value).encode()


@pytest.mark.parametrize("annotation", [str, Any, str | None])
def test_what_was_compressed_is_read_after_it_is_turned_off(annotation: Any) -> None:
    assert typed(annotation).decode(packed(LONG), where=WHERE) == LONG


def test_what_was_written_before_it_was_turned_on_is_read() -> None:
    assert Codec(compress=True).typed(str).decode(typed(str).encode(LONG, where=WHERE), where=WHERE) == LONG


def test_a_value_of_another_type_is_told_as_such() -> None:
    with pytest.raises(CodecError, match=f"^{WHERE}: expected int, got str"):
        typed(int).decode(packed(LONG), where=WHERE)


def test_an_encrypted_atom_without_its_cipher_is_said_to_be_encrypted() -> None:
    raw = Codec(CIPHER).typed(str).encode("a", where=WHERE)

    with pytest.raises(SealedError, match=f"^{WHERE} is encrypted: give the app the codec"):
        typed(str).decode(raw, where=WHERE)


def deflated(data: bytes) -> Raw:
    return Raw(b'{"$deflate":"%b"}' % b64encode(data))


def sealed(data: bytes) -> Raw:
    return Raw(b'{"$sealed":"%b"}' % b64encode(CIPHER.encrypt(data)))


@pytest.mark.parametrize("wrap", [deflated, sealed])
def test_a_bomb_is_refused_before_it_is_unpacked(wrap: Any) -> None:
    bomb = wrap(zlib.compress(b'"' + b" " * 50_000_000 + b'"'))

    with pytest.raises(
        CodecError, match=rf"^{WHERE} would unpack to more than the 1000 bytes of Codec\(max_payload=\)"
    ):
        Codec(CIPHER, max_payload=1000).typed(Any).decode(bomb, where=WHERE)


@ciphers
def test_the_largest_value_that_is_allowed_comes_back(cipher: Cipher | None) -> None:
    codec = Codec(cipher, compress=True, max_payload=5002)
    for value in ("x" * 5000, {"$a": "x" * 4993}):
        raw = codec.typed(Any).encode(value, where=WHERE)
        assert codec.typed(Any).decode(raw, where=WHERE) == value
        with pytest.raises(CodecError, match="would unpack to more than"):
            Codec(cipher, max_payload=4900).typed(Any).decode(raw, where=WHERE)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"no zlib", r"its bytes were changed"),
        (zlib.compress(b'"abc"')[:-2], "its end is missing"),
        (zlib.compress(b'"abc"')[:-1] + b"\0", "its bytes were changed"),
    ],
)
def test_bytes_that_were_changed_are_an_error(data: bytes, problem: str) -> None:
    with pytest.raises(CodecError, match=f"^{WHERE} cannot be unpacked: {problem}"):
        typed(Any).decode(deflated(data), where=WHERE)


@pytest.mark.parametrize("options", [{"level": 0}, {"level": 10}, {"above": -1}])
def test_options_that_mean_nothing_are_refused(options: dict[str, int]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(DefinitionError, match=rf"^Compression\({name}={value}\): give"):
        Compression(**options)


def test_compress_is_a_yes_a_no_or_how() -> None:
    with pytest.raises(DefinitionError, match=r"Codec\(compress='zstd'\): give True, False or a Compression"):
        Codec(compress="zstd")  # type: ignore[arg-type]


def test_parts_of_payloads_are_not_compressed() -> None:
    assert bytes(Codec(compress=True).typed(Any).plain.encode(LONG, where=WHERE)) == json.dumps(LONG).encode()


def test_json_that_is_packed_as_it_is_comes_back() -> None:
    codec = Codec(compress=True)
    data = json.dumps({"$sealed": LONG}).encode()

    raw = codec.sealed(data)

    assert len(raw) < 1000
    assert bytes(codec.opened(raw, where=WHERE)) == data
