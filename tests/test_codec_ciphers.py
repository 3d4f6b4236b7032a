"""AesGcm: keys that can be changed, errors that name keys and show none, and bytes that cannot be forged."""

from __future__ import annotations

import sys
from base64 import b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from stepwell.codec import AesGcm, Codec
from stepwell.errors import CodecError, DefinitionError, SealedError

OLD = bytes(range(32))
NEW = bytes(range(32, 64))
WHERE = "the result of step charge"


def one() -> AesGcm:
    return AesGcm({"k1": OLD}, current="k1")


@given(st.binary(max_size=300))
def test_what_was_encrypted_comes_back(data: bytes) -> None:
    assert one().decrypt(one().encrypt(data)) == data


def test_nothing_of_the_value_is_in_the_bytes() -> None:
    assert b"hunter2" not in one().encrypt(b"hunter2" * 10)


def test_equal_values_look_different() -> None:
    cipher = one()
    assert len({cipher.encrypt(b"yes") for _ in range(100)}) == 100


def test_the_bytes_name_the_key() -> None:
    assert one().encrypt(b"x").startswith(b"\x01\x02k1")


def test_the_new_key_encrypts_and_the_old_one_still_reads() -> None:
    before = one().encrypt(b"old")
    both = AesGcm({"k1": OLD, "k2": NEW}, current="k2")

    assert both.decrypt(before) == b"old"
    assert AesGcm({"k2": NEW}, current="k2").decrypt(both.encrypt(b"new")) == b"new"


def test_a_missing_key_is_named_with_what_its_absence_may_mean() -> None:
    with pytest.raises(SealedError, match=r"the key 'k1', and the keys here are 'k2'; add that key.*is erased"):
        AesGcm({"k2": NEW}, current="k2").decrypt(one().encrypt(b"x"))


@pytest.mark.parametrize("at", [0, 1, 2, 4, 20, -1])
def test_a_changed_byte_is_found_and_shows_nothing(at: int) -> None:
    sealed = bytearray(one().encrypt(b"hunter2"))
    sealed[at] ^= 1

    with pytest.raises(CodecError) as caught:
        one().decrypt(bytes(sealed))

    assert "hunter2" not in str(caught.value)


def test_the_id_of_the_key_cannot_be_changed_even_to_the_same_key() -> None:
    twins = AesGcm({"k1": OLD, "k2": OLD}, current="k1")
    sealed = twins.encrypt(b"x")

    with pytest.raises(SealedError, match="its bytes were changed, or the key 'k2' is another"):
        twins.decrypt(sealed[:2] + b"k2" + sealed[4:])


@given(st.binary(max_size=60))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        one().decrypt(data)


@given(st.integers(0, 33))
def test_what_was_cut_off_is_refused(length: int) -> None:
    with pytest.raises(CodecError):
        one().decrypt(one().encrypt(b"hunter2")[:length])


def test_keys_come_as_text() -> None:
    sealed = one().encrypt(b"x")
    texts = [OLD.hex(), OLD.hex().upper(), urlsafe_b64encode(OLD).decode()]

    assert [AesGcm({"k1": text}, current="k1").decrypt(sealed) for text in texts] == [b"x"] * 3


def test_a_new_key_is_a_key_and_no_two_are_equal() -> None:
    first, second = AesGcm.generate_key(), AesGcm.generate_key()

    assert len(b64decode(first)) == 32
    assert first != second
    AesGcm({"k": first}, current="k")


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (b"short", "has 5 bytes, and a key has 32"),
        ("c2VjcmV0", "has 6 bytes"),
        ("%" * 44, "is neither base64 nor hex"),
        ("x" * 64, "is neither base64 nor hex"),
        ("\N{SNOWMAN}", "is neither base64 nor hex"),
        ("", "has 0 bytes"),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(key: Any, problem: str) -> None:
    with pytest.raises(DefinitionError, match=f"the key 'main' {problem}.*generate_key") as caught:
        AesGcm({"main": key}, current="main")

    assert not key or str(key) not in str(caught.value)


@pytest.mark.parametrize("id", ["", "a b", "a:b", "x" * 65, "é", 5])
def test_an_id_that_the_header_cannot_hold_is_refused(id: Any) -> None:
    with pytest.raises(DefinitionError, match="is no id of a key; take 1 to 64"):
        AesGcm({id: OLD}, current=id)


@pytest.mark.parametrize(("keys", "known"), [({"a": OLD}, "the keys here are 'a'"), ({}, "there are no keys here")])
def test_the_current_key_must_be_there(keys: dict[str, bytes], known: str) -> None:
    with pytest.raises(DefinitionError, match=rf"AesGcm\(current='b'\): {known}; name one"):
        AesGcm(keys, current="b")


def test_it_does_not_show_its_keys() -> None:
    cipher = AesGcm({"a": OLD, "b": NEW}, current="b")

    assert repr(cipher) == "AesGcm(a, b; current: b)"
    assert not hasattr(cipher, "__dict__")


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_KEYS", f" k2:{NEW.hex()} , k1:{OLD.hex()}, ")

    cipher = AesGcm.from_environment()

    assert cipher.current == "k2"
    assert cipher.decrypt(one().encrypt(b"x")) == b"x"


def test_keys_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# since May\nk2: {NEW.hex()}\n\nk1:{OLD.hex()}\n")

    assert repr(AesGcm.from_file(path)) == "AesGcm(k2, k1; current: k2)"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no keys"),
        (f"k1:{OLD.hex()},k1:{NEW.hex()}", "names 'k1' twice"),
        (OLD.hex(), "has no `:` in its item 1"),
    ],
)
def test_text_that_holds_no_keys_is_refused_and_not_shown(
    text: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEYS", text)

    with pytest.raises(DefinitionError, match=f"^the environment variable MY_KEYS {problem}: write `id:key`") as caught:
        AesGcm.from_environment("MY_KEYS")

    assert OLD.hex() not in str(caught.value)


def test_keys_that_are_nowhere_are_an_error_with_a_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STEPWELL_KEYS", raising=False)

    with pytest.raises(DefinitionError, match=r"STEPWELL_KEYS is not set; set it to `id:key`.*generate_key"):
        AesGcm.from_environment()
    with pytest.raises(DefinitionError, match=r"the keys cannot be read: .*nowhere"):
        AesGcm.from_file(tmp_path / "nowhere")


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)

    with pytest.raises(DefinitionError, match=r"pip install 'stepwell\[encryption\]'"):
        one()


def test_a_payload_says_which_value_needs_which_key() -> None:
    raw = Codec(one()).typed(str).encode("hunter2", where=WHERE)

    with pytest.raises(SealedError, match=f"^{WHERE} cannot be decrypted: it was encrypted with the key 'k1'"):
        Codec(AesGcm({"k2": NEW}, current="k2")).typed(str).decode(raw, where=WHERE)


def test_a_changed_payload_is_an_error_without_its_value() -> None:
    raw = bytearray(Codec(one()).typed(str).encode("hunter2", where=WHERE))
    raw[40] = ord("A") if raw[40] != ord("A") else ord("B")

    with pytest.raises(SealedError, match=f"^{WHERE} cannot be decrypted: its bytes were changed"):
        Codec(one()).typed(str).decode(Raw(raw), where=WHERE)


def test_a_codec_without_its_cipher_writes_plain_payloads_of_the_same_types() -> None:
    codec = Codec(one(), types={complex: (str, complex)}, compress=True, max_payload=100)
    bare = codec.bare()
    assert bytes(bare.typed(complex).encode(1j, where="it")) == b'"1j"'
    with pytest.raises(CodecError, match="may take 100"):
        bare.typed(str).encode("x" * 200, where="it")
