"""Signatures of requests to step workers, and what a forged or repeated one meets."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from stepwell.formats.voyant.signing import (
    WINDOW_MS,
    Nonces,
    SignedRequest,
    Unsigned,
    key_id,
    sign_v1,
    sign_v2,
    verify_v1,
    verify_v2,
)

SECRET = b"s3cret"
OTHER = b"another"
BODY = b'{"protocolVersion":1,"runId":"run_inv_001"}'

# printf '%s' "$BODY" | openssl dgst -sha256 -hmac s3cret -binary | base64
V1 = "X/2s7XVnvShEC77L3vfdPauV4Z1ox1Rs0KAu58NqMpw="
# printf 'v2\nPOST\n/steps\nx-stepwell-accept:lines\nx-stepwell-key-id:k1\nx-stepwell-nonce:n-1\n
#   x-stepwell-timestamp:1770000000000\n%s' "$(printf '%s' "$BODY" | openssl dgst -sha256 -r | cut -d' ' -f1)" |
#   openssl dgst -sha256 -hmac s3cret -binary | base64            (in one line)
V2 = "ATR7eY+cqhaMHVgW0AbvPsP3CeHYOnkvbUQhsFqtEes="

NOW = 1770000000000
HEADERS = {
    "content-type": "application/json",
    "x-stepwell-timestamp": str(NOW),
    "x-stepwell-nonce": "n-1",
    "x-stepwell-key-id": "k1",
    "x-stepwell-accept": "lines",
}
REQUEST = SignedRequest(path="/steps", headers=HEADERS, body=BODY)


def stamped(name: str, value: str) -> SignedRequest:
    return signed(replace(REQUEST, headers={**HEADERS, name: value}))


def signed(request: SignedRequest = REQUEST, secret: bytes = SECRET) -> SignedRequest:
    return replace(request, headers={**request.headers, "x-stepwell-signature": sign_v2(secret, request)})


def verify(request: SignedRequest, nonces: Nonces | None = None, now: int = NOW) -> None:
    verify_v2([SECRET], request, nonces or Nonces(), now)


def refused(request: SignedRequest, nonces: Nonces | None = None, now: int = NOW) -> str:
    with pytest.raises(Unsigned) as caught:
        verify(request, nonces, now)
    return str(caught.value)


# --- of the protocol


def test_a_body_is_signed_as_openssl_does() -> None:
    assert sign_v1(SECRET, BODY) == V1


def test_any_secret_of_a_rotation_will_do() -> None:
    verify_v1([OTHER, SECRET], V1, BODY)
    verify_v1([SECRET], sign_v1(SECRET, b""), b"")


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (None, "missing x-voyant-dispatch-auth header"),
        ("", "missing x-voyant-dispatch-auth header"),
        ("not base64!", "malformed x-voyant-dispatch-auth header (expected base64)"),
        ("é", "malformed x-voyant-dispatch-auth header (expected base64)"),
        ("abc", "malformed x-voyant-dispatch-auth header (expected base64)"),
        ("abcd", "x-voyant-dispatch-auth signature does not match request body"),
        (base64.b64encode(bytes(32)).decode(), "x-voyant-dispatch-auth signature does not match request body"),
        (sign_v1(OTHER, BODY), "x-voyant-dispatch-auth signature does not match request body"),
        (sign_v1(SECRET, BODY + b" "), "x-voyant-dispatch-auth signature does not match request body"),
    ],
)
def test_a_body_that_was_not_signed_is_refused(header: str | None, text: str) -> None:
    with pytest.raises(Unsigned) as caught:
        verify_v1([SECRET], header, BODY)
    assert str(caught.value) == text


def test_without_secrets_nothing_is_signed() -> None:
    with pytest.raises(Unsigned):
        verify_v1([], V1, BODY)


def test_an_empty_secret_is_none() -> None:
    with pytest.raises(ValueError, match="empty"):
        sign_v1(b"", BODY)
    with pytest.raises(ValueError, match="empty"):
        sign_v2(b"", REQUEST)


@given(st.binary(min_size=1), st.binary())
def test_what_was_signed_is_known(secret: bytes, body: bytes) -> None:
    verify_v1([secret], sign_v1(secret, body), body)


# --- ours


def test_a_request_is_signed_as_openssl_does() -> None:
    assert sign_v2(SECRET, REQUEST) == V2


def test_a_signed_request_is_let_in() -> None:
    verify(signed())
    verify_v2([OTHER, SECRET], signed(), Nonces(), NOW)


@pytest.mark.parametrize("name", ["x-stepwell-signature", "x-stepwell-timestamp", "x-stepwell-nonce"])
def test_a_request_without_one_of_its_headers_is_refused(name: str) -> None:
    request = signed()
    assert refused(replace(request, headers={**request.headers, name: ""})) == f"missing {name} header"


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"path": "/other"},
        {"path": "/steps\nx-stepwell-accept:lines"},
        {"body": BODY + b" "},
        {"body": b""},
    ],
)
def test_a_request_that_was_changed_is_refused(change: dict[str, str]) -> None:
    assert refused(replace(signed(), **change)) == "x-stepwell-signature signature does not match the request"


@pytest.mark.parametrize("name", [name for name in HEADERS if name.startswith("x-stepwell-")])
def test_a_header_that_was_changed_or_taken_out_is_noticed(name: str) -> None:
    request = signed()
    changed = {**request.headers, name: request.headers[name] + "1"}
    assert "does not match" in refused(replace(request, headers=changed))
    without = {key: value for key, value in request.headers.items() if key != name}
    assert "x-stepwell" in refused(replace(request, headers=without))


def test_a_header_that_was_added_is_noticed() -> None:
    request = signed()
    added = {**request.headers, "x-stepwell-cancel": "because"}
    assert "does not match" in refused(replace(request, headers=added))


def test_headers_of_others_are_not_signed() -> None:
    request = signed()
    verify(replace(request, headers={**request.headers, "traceparent": "00-1"}))


def test_a_header_cannot_hide_another() -> None:
    two = replace(REQUEST, headers={**HEADERS, "x-stepwell-hooks": "a"})
    one = replace(REQUEST, headers={**HEADERS, "x-stepwell-accept": "lines\nx-stepwell-hooks:a"})
    request = replace(one, headers={**one.headers, "x-stepwell-signature": sign_v2(SECRET, two)})
    assert refused(request) == "malformed x-stepwell-accept header (a line break)"


def test_a_secret_that_is_not_known_signs_nothing() -> None:
    assert "does not match" in refused(signed(secret=OTHER))


@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "9" * 17, "١"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    assert refused(stamped("x-stepwell-timestamp", text)) == (
        "malformed x-stepwell-timestamp header (expected ms since 1970)"
    )


def test_what_was_signed_long_ago_or_in_the_future_is_refused() -> None:
    verify(signed(), now=NOW + WINDOW_MS)
    verify(signed(), now=NOW - WINDOW_MS)
    assert "more than 5 minutes away" in refused(signed(), now=NOW + WINDOW_MS + 1)
    assert "more than 5 minutes away" in refused(signed(), now=NOW - WINDOW_MS - 1)


def test_a_request_is_let_in_once() -> None:
    nonces = Nonces()
    verify(signed(), nonces)
    assert refused(signed(), nonces, NOW + WINDOW_MS) == "x-stepwell-nonce was used before"
    verify(stamped("x-stepwell-nonce", "n-2"), nonces)


def test_a_forged_request_uses_up_no_nonce() -> None:
    nonces = Nonces()
    refused(signed(secret=OTHER), nonces)
    verify(signed(), nonces)


def test_a_long_nonce_is_refused() -> None:
    assert refused(stamped("x-stepwell-nonce", "n" * 201)).startswith("malformed x-stepwell-nonce")


def test_nonces_are_forgotten_when_their_time_is_over() -> None:
    nonces = Nonces(limit=2)
    for n in range(10):
        at = NOW + n * (WINDOW_MS + 1)
        nonces.use(f"n-{n}", at, at)
    nonces.use("n-0", at, at)


def test_where_nonces_do_not_fit_what_is_older_is_refused() -> None:
    nonces = Nonces(limit=2)
    for n in range(3):
        nonces.use(f"n-{n}", NOW + n, NOW)
    with pytest.raises(Unsigned, match="older than the nonces"):
        nonces.use("n-0", NOW, NOW)
    nonces.use("n-4", NOW + 1, NOW)
    with pytest.raises(Unsigned, match=r"used before|older"):
        nonces.use("n-1", NOW + 1, NOW)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=60), st.integers(1, 10))
def test_no_nonce_is_accepted_twice_however_little_is_remembered(uses: list[tuple[int, int]], limit: int) -> None:
    nonces, accepted = Nonces(limit), []
    for n, at in uses:
        try:
            nonces.use(f"{n}", NOW + n, NOW + at)
        except Unsigned:
            continue
        accepted.append(n)
    assert len(accepted) == len(set(accepted))


def test_a_secret_has_a_name_that_does_not_tell_it() -> None:
    assert key_id(SECRET) == key_id(SECRET)
    assert key_id(SECRET) != key_id(OTHER)
    assert len(key_id(SECRET)) == 16
