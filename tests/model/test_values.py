"""A secret is known by its name, and only a running step learns more."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.errors import DefinitionError, NotInWorkflowError
from stepwell.model.values import Blob, Secret, secrets_from


def test_a_secret_is_recorded_by_name() -> None:
    assert msgspec.json.encode(Secret("stripe")) == b'{"secret":"stripe"}'
    assert msgspec.json.decode(b'{"secret":"stripe"}', type=Secret) == Secret("stripe")


def test_a_secret_is_revealed_by_the_provider_of_the_step() -> None:
    with secrets_from({"stripe": "hunter2"}.__getitem__):
        assert Secret("stripe").reveal() == "hunter2"


def test_a_secret_is_revealed_nowhere_else() -> None:
    with secrets_from(str.upper):
        pass

    with pytest.raises(NotInWorkflowError, match=r"Secret\('stripe'\).reveal\(\) works only in a running step"):
        Secret("stripe").reveal()


def test_a_step_in_a_thread_may_reveal_too() -> None:
    async def main() -> str:
        with secrets_from(str.upper):
            return await asyncio.to_thread(Secret("stripe").reveal)

    assert asyncio.run(main()) == "STRIPE"


@given(st.text("abcdef", min_size=1), st.from_regex(r"[A-Z0-9]{20}", fullmatch=True))
def test_what_was_revealed_shows_up_nowhere(name: str, value: str) -> None:
    secret = Secret(name)
    with secrets_from(lambda _: value):
        secret.reveal()

        shown = f"{secret} {secret!r} {msgspec.json.encode(secret)!r} {hash(secret)}"

    assert value not in shown


def test_a_secret_has_a_name() -> None:
    with pytest.raises(DefinitionError, match="give the name"):
        Secret("")


def test_a_blob_is_a_reference() -> None:
    blob = Blob("run/invoice", 3, "invoice.pdf", "ff")

    assert msgspec.json.decode(msgspec.json.encode(blob), type=Blob) == blob
