"""Short-lived tokens: what they allow, and what ends them."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.errors import DefinitionError
from stepwell.server.access import Access, Caller, Unauthorized
from stepwell.server.access.following import LOOK_EVERY_S
from stepwell.server.access.tokens import DEFAULT_TTL_MS, MAX_TTL_MS
from tests.server.access.support import DAY_MS, Place, bearer, play

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \0é"


async def new_caller(access: Access, *scopes: str, **options: object) -> Caller:
    issued = await access.keys.create(scopes=scopes or ("read",), **options)  # type: ignore[arg-type]
    return await access.authenticate(bearer(issued.text))


async def reader(access: Access, text: str) -> Caller | None:
    try:
        return await access.authenticate(None, access_token=text)
    except Unauthorized as error:
        assert str(error).startswith(("bearer token does not match", "a URL may hold"))  # noqa: PT017
        return None


def test_a_token_is_for_one_run_of_its_keys_namespace() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            caller = await new_caller(access, "read", "signal", namespace="acme")
            token = access.tokens.issue(caller, run="order-7", scopes=["read", "signal"])

            for holder in (await reader(access, token.text), await access.authenticate(bearer(token.text))):
                assert holder is not None
                assert (holder.kind, holder.id, holder.namespace) == ("token", token.id, "acme")
                assert (holder.run, holder.stream) == ("order-7", None)
                assert holder.scopes == {"read", "signal"}
                assert holder.expires_at == token.expires_at == place.clock.now() + DEFAULT_TTL_MS

    play(test)


def test_a_token_of_an_admin_may_only_read_unless_more_is_said() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            token = access.tokens.issue(await new_caller(access, "admin"), run="r", stream="log/out")
            holder = await reader(access, token.text)

            assert holder is not None
            assert (holder.run, holder.stream) == ("r", "log/out")
            assert [scope for scope in ("read", "trigger", "signal", "admin") if holder.may(scope)] == ["read"]  # type: ignore[arg-type]
            assert not holder.is_operator

    play(test)


@pytest.mark.parametrize(
    ("scopes", "options", "error"),
    [
        (["signal"], {}, "does not have the scope 'signal'"),
        (["write"], {}, "there is no scope 'write'"),
        ([], {}, "give at least one"),
        (["read"], {"ttl_ms": MAX_TTL_MS + 1}, "lives between 1s and 1d"),
        (["read"], {"ttl_ms": 0}, "lives between 1s and 1d"),
    ],
)
def test_a_token_never_allows_more_than_its_key(scopes: list[str], options: dict[str, int], error: str) -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            caller = await new_caller(access, "read")
            with pytest.raises(DefinitionError, match=error):
                access.tokens.issue(caller, run="r", scopes=scopes, **options)

    play(test)


def test_a_token_issues_no_tokens() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            token = access.tokens.issue(await new_caller(access), run="r")
            holder = await access.authenticate(bearer(token.text))
            with pytest.raises(DefinitionError, match="ask with a key"):
                access.tokens.issue(holder, run="r")

    play(test)


@given(data=st.data())
def test_a_token_with_any_letter_changed_is_refused(data: st.DataObject) -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            text = access.tokens.issue(await new_caller(access), run="order-7", stream="s").text
            at = data.draw(st.integers(0, len(text) - 1))
            letter = data.draw(st.sampled_from(LETTERS).filter(lambda letter: letter != text[at]))
            assert await reader(access, text[:at] + letter + text[at + 1 :]) is None
            assert await reader(access, text[:at]) is None
            assert await reader(access, text + letter) is None
            assert await reader(access, text) is not None

    play(test)


def test_a_token_of_a_backend_is_worth_nothing_at_another() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            text = access.tokens.issue(await new_caller(access), run="r").text
        place.url = "memory://another"
        async with place.server() as access:
            assert await reader(access, text) is None

    play(test)


def test_a_token_ends_with_its_time() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            token = access.tokens.issue(await new_caller(access), run="r", ttl_ms=60_000)
            await asyncio.sleep(59)
            assert await reader(access, token.text)
            await asyncio.sleep(1)
            assert await reader(access, token.text) is None

    play(test)


def test_a_token_says_that_it_ends_with_its_key() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            caller = await new_caller(access, expires_in_ms=60_000)
            assert access.tokens.issue(caller, run="r").expires_at == caller.expires_at

    play(test)


def test_a_token_ends_when_its_key_is_revoked() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            caller = await new_caller(access)
            token = access.tokens.issue(caller, run="r")
            await access.keys.revoke(caller.id)
            assert await reader(access, token.text) is None

    play(test)


def test_a_token_ends_when_the_secret_that_asked_for_it_ends() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            caller = await new_caller(access)
            token = access.tokens.issue(caller, run="r", ttl_ms=MAX_TTL_MS)
            await asyncio.sleep(1)
            await access.keys.rotate(caller.id, grace_ms=3_600_000)
            later = access.tokens.issue(caller, run="r", ttl_ms=MAX_TTL_MS)
            assert await reader(access, token.text)
            await asyncio.sleep(3600)
            assert await reader(access, token.text) is None
            assert await reader(access, later.text)

    play(test)


def test_all_servers_of_a_backend_take_a_token() -> None:
    async def test(place: Place) -> None:
        async with place.server() as one, place.server() as other:
            token = one.tokens.issue(await new_caller(one), run="r")
            await asyncio.sleep(0.01)
            assert await reader(other, token.text)
        assert len(await place.streams("server secrets")) == 1

    play(test)


def test_servers_that_begin_together_agree_on_a_secret() -> None:
    async def test(place: Place) -> None:
        async def first(call: object) -> object:
            await asyncio.sleep(0.001)
            return await call.apply()  # type: ignore[attr-defined]

        place.policy = first
        servers = [place.server() for _ in range(3)]
        one, *others = await asyncio.gather(*(server.__aenter__() for server in servers))
        token = one.tokens.issue(await new_caller(one), run="r")
        await asyncio.sleep(0.1)
        assert all([await reader(other, token.text) for other in others])
        for server in servers:
            await server.__aexit__(None, None, None)
        assert len(await place.streams("server secrets")) == 1

    play(test)


def test_tokens_of_an_older_secret_are_read_until_they_expire() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            caller = await new_caller(access)
            old = access.tokens.issue(caller, run="r")
            await access.tokens.secrets.rotate()
            at_once = access.tokens.issue(caller, run="r")
            await asyncio.sleep(10)
            new = access.tokens.issue(caller, run="r")
            assert [_version(token.text) for token in (old, at_once, new)] == [0, 0, 1]
            assert all([await reader(access, token.text) for token in (old, at_once, new)])

    play(test)


def test_a_secret_that_got_out_can_be_ended_with_all_its_tokens() -> None:
    async def test(place: Place) -> None:
        async with place.server() as access, place.server() as other:
            caller = await new_caller(access)
            old = access.tokens.issue(caller, run="r")
            await access.tokens.secrets.rotate(ends_others=True)
            new = access.tokens.issue(caller, run="r")
            await asyncio.sleep(LOOK_EVERY_S)
            for server in (access, other):
                assert await reader(server, old.text) is None
                assert await reader(server, new.text)

    play(test)


def test_a_secret_that_cannot_be_read_is_told_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    async def test(place: Place) -> None:
        async with place.app() as app:
            await app.backend.streams.append("server secrets", 0, [b"no json", b'{"secret":"ab","at":0}'])
        async with place.server() as access:
            token = access.tokens.issue(await new_caller(access), run="r")
            assert _version(token.text) == 2
            assert await reader(access, token.text)
            assert "server secret 0 cannot be read" in caplog.text
            assert "server secret 1 cannot be read" in caplog.text

    play(test)


def test_tokens_of_dev_mode_end_with_dev_mode() -> None:
    async def test(place: Place) -> None:
        async with place.server(dev=True) as access:
            token = access.tokens.issue(await access.authenticate(None), run="r")
            holder = await reader(access, token.text)
            assert holder is not None
            assert not holder.may("admin")
        async with place.server() as access:
            assert await reader(access, token.text) is None

    play(test)


def test_a_token_is_hidden_in_reprs_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def test(place: Place) -> None:
        async with place.server() as access:
            token = access.tokens.issue(await new_caller(access), run="r")
            assert token.text not in repr(token)
            await asyncio.sleep(DAY_MS / 1000)
            assert await reader(access, token.text) is None
            assert f"token {token.id}: it has expired" in caplog.text
            assert token.text not in caplog.text
            for record in access.tokens.secrets._known:
                assert record is not None
                assert record.secret not in repr(access.tokens.secrets._known)

    play(test)


def _version(text: str) -> int:
    packed = text.removeprefix("st_").partition(".")[0]
    return int(msgspec.json.decode(urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))["v"])
