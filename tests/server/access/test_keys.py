"""API keys: made, taken, refused; also by servers that only hear of them."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.errors import BackendError, DefinitionError
from stepwell.server.access import Access, Unauthorized
from stepwell.server.access.following import LOOK_EVERY_S, STALE_AFTER_S
from stepwell.server.access.keys import IssuedKey, KeyClosedError, KeyNotFoundError, status_of
from stepwell.testing.faults import Call, NthCall
from tests.server.access.support import DAY_MS, Place, bearer, play


async def is_taken(access: Access, text: str) -> bool:
    try:
        await access.authenticate(bearer(text))
    except Unauthorized:
        return False
    return True


async def new_key(access: Access, *scopes: str, **options: object) -> IssuedKey:
    return await access.keys.create(scopes=scopes or ("read",), **options)  # type: ignore[arg-type]


def test_a_key_says_who_asks_and_what_they_may() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            issued = await new_key(access, "read", "signal", name="shop", namespace="acme", by="cli")

            caller = await access.authenticate(bearer(issued.text))

            assert (caller.kind, caller.id, caller.name, caller.namespace) == ("key", issued.key.id, "shop", "acme")
            assert caller.may("signal")
            assert not caller.may("trigger")
            assert not caller.may("admin")
            assert caller.who == f"key:{issued.key.id}"

    play(test)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "missing Authorization header"),
        ("Basic abc", "Authorization header must use the Bearer scheme"),
        ("bearer abc", "Authorization header must use the Bearer scheme"),
        ("Bearer", "Authorization header must use the Bearer scheme"),
        ("Bearer ", "bearer token does not match any configured value"),
        ("Bearer abc", "bearer token does not match any configured value"),
        ("Bearer é", "bearer token does not match any configured value"),
        ("Bearer sw_0000000000000000_" + "0" * 43, "bearer token does not match any configured value"),
        ("Bearer st_x.y", "bearer token does not match any configured value"),
    ],
)
def test_whoever_has_no_key_is_told_what_is_missing(header: str | None, message: str) -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            with pytest.raises(Unauthorized) as refused:
                await access.authenticate(header)
        assert str(refused.value) == message

    play(test)


def test_a_key_in_the_url_is_refused_even_if_it_is_right() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            issued = await new_key(access)
            with pytest.raises(Unauthorized, match="short-lived tokens only"):
                await access.authenticate(None, access_token=issued.text)

    play(test)


@given(place=st.integers(0, 62), letter=st.sampled_from("aZ09_.~"))
def test_a_key_with_another_letter_is_no_key(place: int, letter: str) -> None:
    async def test(where: Place) -> None:
        async with where.server() as access:
            text = (await new_key(access)).text
            changed = text[:place] + letter + text[place + 1 :]
            assert await is_taken(access, changed) == (changed == text)
            assert not await is_taken(access, text[: place + 0])
            assert not await is_taken(access, text + letter)

    play(test)


def test_a_revoked_key_is_refused_at_once_and_for_good() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            issued = await new_key(access)
            key = await access.keys.revoke(issued.key.id, by="cli")
            again = await access.keys.revoke(issued.key.id)

            assert key.revoked_at is not None
            assert again == key
            assert not await is_taken(access, issued.text)
            with pytest.raises(KeyClosedError, match="revoked"):
                await access.keys.rotate(issued.key.id)
        async with place.server() as later:
            assert not await is_taken(later, issued.text)

    play(test)


def test_a_key_is_refused_when_its_time_has_come() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            issued = await new_key(access, expires_in_ms=DAY_MS)
            await asyncio.sleep(DAY_MS / 1000 - 1)
            assert await is_taken(access, issued.text)
            await asyncio.sleep(1)
            assert not await is_taken(access, issued.text)
            assert status_of(access.keys.find(issued.key.id), place.clock.now()) == "expired"
            with pytest.raises(KeyClosedError, match="expired"):
                await access.keys.rotate(issued.key.id)

    play(test)


def test_a_rotated_key_has_another_secret_and_the_same_rights() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            old = await new_key(access, "trigger", namespace="acme")
            new = await access.keys.rotate(old.key.id)

            assert not await is_taken(access, old.text)
            caller = await access.authenticate(bearer(new.text))
            assert (caller.id, caller.namespace, caller.scopes) == (old.key.id, "acme", frozenset({"trigger"}))

    play(test)


def test_the_secret_before_a_rotation_is_taken_for_its_grace() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            old = await new_key(access)
            new = await access.keys.rotate(old.key.id, grace_ms=3_600_000)
            await asyncio.sleep(3599)
            assert await is_taken(access, old.text)
            await asyncio.sleep(1)
            assert not await is_taken(access, old.text)
            assert await is_taken(access, new.text)

            newest = await access.keys.rotate(old.key.id, grace_ms=3_600_000)
            assert [await is_taken(access, key.text) for key in (old, new, newest)] == [False, True, True]

    play(test)


def test_another_server_hears_of_a_key_by_a_notice() -> None:
    async def test(place: Place) -> None:
        async with place.server() as one, place.server() as other:
            issued = await new_key(one)
            await asyncio.sleep(0.01)
            assert await is_taken(other, issued.text)

            await one.keys.revoke(issued.key.id)
            await asyncio.sleep(0.01)
            assert not await is_taken(other, issued.text)

    play(test)


def test_another_server_finds_a_revocation_when_its_notice_was_lost() -> None:
    async def test(place: Place) -> None:
        async def deaf(call: Call) -> object:
            return None if call.name == "queue.notify" else await call.apply()

        async with place.server() as one, place.server() as other:
            issued = await new_key(one)
            await asyncio.sleep(0.01)
            place.policy = deaf
            await one.keys.revoke(issued.key.id)
            assert await is_taken(other, issued.text)
            await asyncio.sleep(LOOK_EVERY_S)
            assert not await is_taken(other, issued.text)

    play(test)


def test_while_the_backend_is_down_keys_are_taken_for_a_minute_and_then_nobody_is_let_in() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            issued = await new_key(access)
            place.is_down = True
            await asyncio.sleep(STALE_AFTER_S - LOOK_EVERY_S - 1)
            assert await is_taken(access, issued.text)

            await asyncio.sleep(LOOK_EVERY_S + 1)
            with pytest.raises(BackendError):
                await access.authenticate(bearer(issued.text))
            with pytest.raises(BackendError):  # at once, without asking again
                await access.authenticate(bearer(issued.text))

            place.is_down = False
            await asyncio.sleep(LOOK_EVERY_S)
            assert await is_taken(access, issued.text)

    play(test)


def test_a_backend_that_hangs_is_one_that_is_down() -> None:
    async def test(place: Place) -> None:
        async def hang(call: Call) -> object:
            return await asyncio.get_running_loop().create_future()

        async with place.server() as access:
            issued = await new_key(access)
            place.policy, before = hang, place.policy
            await asyncio.sleep(STALE_AFTER_S + 1)
            with pytest.raises(BackendError):
                await access.authenticate(bearer(issued.text))
            place.policy = before

    play(test)


@pytest.mark.parametrize("how", ["before", "after", "twice"])
def test_an_append_with_an_unclear_answer_makes_one_key(how: str) -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            place.policy = NthCall(1, how, name="streams.append")  # type: ignore[arg-type, assignment]
            issued = await new_key(access)
            assert await is_taken(access, issued.text)
            assert [key.id for key in access.keys.all()] == [issued.key.id]
        assert len(await place.streams("api keys")) == 1

    play(test)


def test_servers_that_make_keys_at_the_same_time_do_not_lose_one() -> None:
    async def test(place: Place) -> None:
        async with place.server() as one, place.server() as other:
            made = await asyncio.gather(*(new_key(server) for server in (one, other) * 10))
            await asyncio.sleep(LOOK_EVERY_S)
            for server in (one, other):
                assert all([await is_taken(server, issued.text) for issued in made])

    play(test)


def test_a_record_of_a_newer_version_disables_the_key_that_it_names_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            first, second = await new_key(access), await new_key(access)
            streams = access.keys._client.backend.streams
            await streams.append("api keys", 2, [b"no json", b'{"type":"narrowed","id":"%s"}' % first.key.id.encode()])
            await access.keys.refresh()

            assert not await is_taken(access, first.text)
            assert await is_taken(access, second.text)
            assert status_of(access.keys.find(first.key.id), 0) == "unreadable"
            assert "record 2 of the API keys cannot be read, and is left out" in caplog.text
            assert f"so key {first.key.id} is refused" in caplog.text

    play(test)


def test_a_record_that_does_not_fit_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            issued = await new_key(access)
            record = msgspec.json.encode({"type": "revoked", "id": "unknown", "at": 0})
            await access.keys._client.backend.streams.append("api keys", 1, [record])
            await access.keys.refresh()
            assert await is_taken(access, issued.text)
            assert "about key unknown and does not fit" in caplog.text

    play(test)


def test_secrets_are_not_in_the_store_nor_in_reprs_nor_in_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def test(place: Place) -> None:
        async with place.server() as access:
            issued = await new_key(access)
            secret = issued.text.rpartition("_")[2]
            await access.authenticate(bearer(issued.text))
            assert not await is_taken(access, issued.text[:-1] + ("a" if issued.text[-1] != "a" else "b"))

            assert secret not in repr(issued)
            assert secret not in repr(access.keys._held)
        assert secret[:-1] not in caplog.text
        assert secret.encode() not in b"".join(await place.streams("api keys"))
        assert f"the secret is not that of key {issued.key.id}" in caplog.text

    play(test)


def test_why_a_key_is_refused_is_logged_ten_times_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            for _ in range(50):
                with pytest.raises(Unauthorized):
                    await access.authenticate("Bearer wrong", address="192.0.2.1")
        assert caplog.text.count("refused a call from 192.0.2.1: this is no key") == 10

    play(test)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"scopes": []}, "give at least one of read, trigger, signal, admin"),
        ({"scopes": ["write"]}, "there is no scope 'write'; there are: read, trigger, signal, admin"),
        ({"scopes": ["read"], "namespace": "A b"}, "namespace 'A b': give 1 to 63"),
        ({"scopes": ["read"], "name": "x" * 101}, "up to 100 printable characters"),
        ({"scopes": ["read"], "name": "a\nb"}, "up to 100 printable characters"),
        ({"scopes": ["read"], "expires_in_ms": 0}, "expires at once"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(options: dict[str, object], error: str) -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            with pytest.raises(DefinitionError, match=error):
                await access.keys.create(**options)  # type: ignore[arg-type]
            assert access.keys.all() == []

    play(test)


def test_an_unknown_key_cannot_be_changed() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            with pytest.raises(KeyNotFoundError, match="there is no key 'abc'"):
                await access.keys.revoke("abc")
            with pytest.raises(KeyNotFoundError):
                await access.keys.rotate("abc")

    play(test)


def test_keys_are_listed_by_namespace() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            for name, namespace in (("a", ""), ("b", "acme"), ("c", "acme")):
                await new_key(access, name=name, namespace=namespace)
            assert [key.name for key in access.keys.all()] == ["a", "b", "c"]
            assert [key.name for key in access.keys.all("acme")] == ["b", "c"]
            assert access.namespaces() == {"", "acme"}

    play(test)


def test_in_dev_mode_no_key_is_needed_and_one_that_is_sent_counts() -> None:
    async def test(place: Place) -> None:
        async with place.server(dev=True) as access:
            for header in (None, "Bearer anything", "Basic abc"):
                caller = await access.authenticate(header)
                assert (caller.kind, caller.namespace, caller.may("admin")) == ("open", "", True)

            issued = await new_key(access, namespace="acme")
            assert (await access.authenticate(bearer(issued.text))).namespace == "acme"
            await access.keys.revoke(issued.key.id)
            assert not await is_taken(access, issued.text)

    play(test)


def test_keys_last_on_sqlite(tmp_path: object) -> None:
    from stepwell import Stepwell

    async def test() -> None:
        url = f"sqlite:///{tmp_path}/keys.db"
        async with Stepwell(url, worker=False) as app, Access.open(app) as access:
            issued = await new_key(access)
            rotated = await access.keys.rotate(issued.key.id)
        async with Stepwell(url, worker=False) as app, Access.open(app) as access:
            assert not await is_taken(access, issued.text)
            assert await is_taken(access, rotated.text)

    asyncio.run(test())
