"""References and sealed payloads cannot be forged, and what only looks like them stays a value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct, field

from stepwell.codec import Codec, blob_key, blob_ref, escape, is_blob_ref, spill, typed
from stepwell.errors import CodecError
from stepwell.model.failures import NULL

WHERE = "the input of workflow checkout"


class Reverse:
    """Stands for a cipher: not secret, but not readable by chance either."""

    def encrypt(self, data: bytes) -> bytes:
        return b"!" + data[::-1]

    def decrypt(self, data: bytes) -> bytes:
        if data[:1] != b"!":
            raise ValueError("made by somebody else")
        return data[:0:-1]


class Dollar(Struct):
    blob: str = field(name="$blob")
    size: int = 0


_keys = st.sampled_from(["$blob", "$sealed", "$raw", "$", "a"])
_lookalikes = st.recursive(st.text(max_size=5) | st.integers(), lambda s: st.dictionaries(_keys, s, max_size=3))


@given(_lookalikes, st.sampled_from([None, Reverse()]))
def test_a_users_value_is_never_taken_for_ours(value: object, cipher: Reverse | None) -> None:
    prepared = Codec(cipher).typed(Any)

    raw = prepared.encode(value, where=WHERE)

    assert not is_blob_ref(raw)
    assert prepared.decode(raw, where=WHERE) == value


@given(_lookalikes, st.sampled_from([None, 1]))
def test_json_from_elsewhere_is_never_taken_for_ours(value: object, indent: int | None) -> None:
    raw = escape(json.dumps(value, indent=indent).encode())

    assert not is_blob_ref(raw)
    assert typed(Any).decode(raw, where=WHERE) == value


def test_a_struct_may_have_our_names_too() -> None:
    forged = Dollar("another-run/secret", 3)

    raw = typed(Dollar).encode(forged, where=WHERE)

    assert not is_blob_ref(raw)
    assert typed(Dollar).decode(raw, where=WHERE) == forged


@given(st.text(), st.integers(0, 2**50))
def test_a_reference_gives_its_key(key: str, size: int) -> None:
    ref = blob_ref(key, size)

    assert is_blob_ref(ref)
    assert blob_key(ref) == key


def test_only_what_is_larger_than_the_threshold_is_spilled() -> None:
    assert not spill(Raw(b"x" * 10), 10)
    assert spill(Raw(b"x" * 11), 10)


def test_a_reference_must_be_loaded_before_it_is_decoded() -> None:
    with pytest.raises(CodecError, match="reference to the blob 'run/1'"):
        typed(Any).decode(blob_ref("run/1", 5), where=WHERE)


def test_the_bytes_behind_a_reference_decode_like_any_payload() -> None:
    prepared = Codec(Reverse()).typed(dict[str, str])
    stored = bytes(prepared.encode({"$blob": "x" * 20}, where=WHERE))

    assert prepared.decode(Raw(stored), where=WHERE) == {"$blob": "x" * 20}


def test_a_cipher_hides_the_value() -> None:
    prepared = Codec(Reverse()).typed(str)

    raw = prepared.encode("hunter2", where=WHERE)

    assert b"hunter2" not in bytes(raw)
    assert list(json.loads(bytes(raw))) == ["$sealed"]
    assert prepared.decode(raw, where=WHERE) == "hunter2"


def test_null_stays_null_under_a_cipher() -> None:
    assert Codec(Reverse()).typed(str | None).encode(None, where=WHERE) is NULL


def test_a_payload_from_before_the_cipher_is_still_read() -> None:
    assert Codec(Reverse()).typed(int).decode(typed(int).encode(5, where=WHERE), where=WHERE) == 5


def test_an_encrypted_payload_without_its_cipher_is_an_error() -> None:
    raw = Codec(Reverse()).typed(Any).encode("hunter2", where=WHERE)

    with pytest.raises(CodecError, match=f"^{WHERE} is encrypted: give the app the codec"):
        typed(Any).decode(raw, where=WHERE)


@pytest.mark.parametrize("payload", [b'{"$sealed":"YWJj"}', b'{"$sealed":"a"}', b'{"$sealed":"'])
def test_a_payload_that_was_tampered_with_is_an_error(payload: bytes) -> None:
    with pytest.raises(CodecError, match=f"^{WHERE}"):
        Codec(Reverse()).typed(Any).decode(Raw(payload), where=WHERE)


def test_the_plain_form_is_the_json_itself() -> None:
    codec = Codec(Reverse(), max_payload=10)
    looks_sealed = {"$sealed": "by a user"}

    assert bytes(codec.typed(int).plain.encode(5, where=WHERE)) == b"5"
    raw = typed(Any).plain.encode(looks_sealed, where=WHERE)
    assert bytes(raw) == b'{"$sealed":"by a user"}'
    assert typed(Any).plain.decode(raw, where=WHERE) == looks_sealed
    assert typed(int).plain.plain is typed(int).plain
    with pytest.raises(CodecError, match="may take 10"):
        codec.typed(str).plain.encode("x" * 20, where=WHERE)
