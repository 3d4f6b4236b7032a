"""Signatures of webhooks: the published vector, and everything that must not pass."""

from __future__ import annotations

import pytest

from stepwell import DefinitionError
from stepwell.server.signatures import TOLERANCE_S, is_signed, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = b'{"test": 2432232314}'
NOW = 1614265330
PUBLISHED = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(NOW),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def test_a_body_is_signed_as_the_published_vector_says() -> None:
    assert sign(SECRET, BODY, id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=NOW) == PUBLISHED
    assert is_signed(SECRET, BODY, PUBLISHED, now=NOW)


def test_the_prefix_of_a_secret_may_be_left_out() -> None:
    assert is_signed(SECRET.removeprefix("whsec_"), BODY, PUBLISHED, now=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-id": "msg_other"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": f"{NOW}.0"},
        {"webhook-timestamp": f"-{NOW}"},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-timestamp": "١٦١٤٢٦٥٣٣٠"},
        {"webhook-signature": ""},
        {"webhook-signature": "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook-signature": "v1,h0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook-signature": "v1,\xe9"},
    ],
)
def test_headers_that_were_changed_do_not_pass(changes: dict[str, str]) -> None:
    assert not is_signed(SECRET, BODY, {**PUBLISHED, **changes}, now=NOW)


@pytest.mark.parametrize("missing", sorted(PUBLISHED))
def test_headers_that_are_missing_do_not_pass(missing: str) -> None:
    headers = {name: value for name, value in PUBLISHED.items() if name != missing}

    assert not is_signed(SECRET, BODY, headers, now=NOW)


def test_another_body_or_secret_does_not_pass() -> None:
    assert not is_signed(SECRET, BODY + b" ", PUBLISHED, now=NOW)
    assert not is_signed(OTHER, BODY, PUBLISHED, now=NOW)


@pytest.mark.parametrize("late", [TOLERANCE_S, -TOLERANCE_S])
def test_a_clock_may_differ_by_the_tolerance_and_no_more(late: int) -> None:
    assert is_signed(SECRET, BODY, PUBLISHED, now=NOW + late)
    assert not is_signed(SECRET, BODY, PUBLISHED, now=NOW + late + (1 if late > 0 else -1))


def test_one_of_several_signatures_is_enough() -> None:
    both = sign(f"{OTHER} {SECRET}", BODY, id="msg", timestamp=NOW)

    assert is_signed(SECRET, BODY, both, now=NOW)
    assert is_signed(OTHER, BODY, both, now=NOW)


def test_one_of_several_secrets_is_enough() -> None:
    assert is_signed(f"{OTHER} {SECRET}", BODY, PUBLISHED, now=NOW)


def test_signatures_of_other_versions_are_passed_over() -> None:
    mixed = {**PUBLISHED, "webhook-signature": f"v1a,abc {PUBLISHED['webhook-signature']} v9,xyz"}

    assert is_signed(SECRET, BODY, mixed, now=NOW)


@pytest.mark.parametrize("secret", ["", " ", "whsec_", "whsec_!", "not base64"])
def test_what_is_no_secret_is_refused_and_not_used(secret: str) -> None:
    with pytest.raises(DefinitionError, match="the secret of a webhook"):
        is_signed(secret, BODY, PUBLISHED, now=NOW)
