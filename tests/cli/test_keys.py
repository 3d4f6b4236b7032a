"""`stepwell keys ...` on a database of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stepwell import Stepwell
from stepwell.cli import main
from stepwell.server.access import Access, Caller, Unauthorized

URL = "sqlite:///.stepwell/stepwell.db"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STEPWELL_BACKEND", "STEPWELL_NAMESPACE", "STEPWELL_APP"):
        monkeypatch.delenv(name, raising=False)


def out(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return msgspec.json.decode(out(capsys, *words, "--json"))


def caller(text: str) -> Caller | None:
    """Who a server of this backend takes the holder for."""

    async def ask() -> Caller | None:
        async with Stepwell(URL, worker=False) as app, Access.open(app) as access:
            try:
                return await access.authenticate(f"Bearer {text}")
            except Unauthorized:
                return None

    return asyncio.run(ask())


def test_create_prints_the_key_alone_and_makes_the_database(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--name", "shop", "--scopes", "read, trigger", "--namespace", "acme"]) == 0
    printed = capsys.readouterr()

    assert printed.out.startswith("sw_")
    found = caller(printed.out.strip())
    assert found is not None
    assert (found.name, found.namespace, found.scopes) == ("shop", "acme", frozenset({"read", "trigger"}))
    assert "it is shown only now" in printed.err


def test_create_gives_one_scope_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    made = json(capsys, "keys", "create", "--expires", "90d")
    assert made["key"]["scopes"] == ["read"]
    assert made["key"]["expires_at"] - made["key"]["created_at"] == 90 * 86_400_000
    assert made["key"]["created_by"] == "command line"


def test_list_shows_keys_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    one = json(capsys, "keys", "create", "--name", "one", "--expires", "90d")
    two = json(capsys, "keys", "create", "--name", "two", "--namespace", "acme", "--scopes", "admin")
    assert main(["keys", "revoke", two["key"]["id"]]) == 0
    capsys.readouterr()

    lines = out(capsys, "keys", "list").splitlines()
    assert lines[0].split() == ["STATUS", "ID", "SCOPES", "AGE", "EXPIRES", "NAMESPACE", "NAME"]
    assert lines[1].split()[:3] == ["active", one["key"]["id"], "read"]
    assert lines[1].split()[-2:] == ["(default)", "one"]
    assert lines[2].split()[:3] == ["revoked", two["key"]["id"], "admin"]
    assert [key["name"] for key in json(capsys, "keys", "list", "--namespace", "acme")["keys"]] == ["two"]
    assert one["secret"].rpartition("_")[2] not in out(capsys, "keys", "list", "--json")


def test_revoke_ends_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    made = json(capsys, "keys", "create")
    assert json(capsys, "keys", "revoke", made["key"]["id"])["key"]["status"] == "revoked"
    assert caller(made["secret"]) is None


def test_rotate_gives_another_secret_and_a_grace_to_the_one_so_far(capsys: pytest.CaptureFixture[str]) -> None:
    first = json(capsys, "keys", "create")
    second = json(capsys, "keys", "rotate", first["key"]["id"], "--grace", "1h")
    assert caller(first["secret"]) == caller(second["secret"]) != None  # noqa: E711
    third = json(capsys, "keys", "rotate", first["key"]["id"])
    assert [caller(key["secret"]) is not None for key in (first, second, third)] == [False, False, True]


def test_rotate_tokens_can_end_those_that_are_out(capsys: pytest.CaptureFixture[str]) -> None:
    made = json(capsys, "keys", "create")

    async def issue() -> str:
        async with Stepwell(URL, worker=False) as app, Access.open(app) as access:
            return access.tokens.issue(await access.authenticate(f"Bearer {made['secret']}"), run="r").text

    token = asyncio.run(issue())
    out(capsys, "keys", "rotate-tokens")
    assert caller(token) is not None
    out(capsys, "keys", "rotate-tokens", "--now")
    assert caller(token) is None


def test_keys_are_in_the_default_namespace_whatever_is_set(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPWELL_NAMESPACE", "acme")
    made = json(capsys, "keys", "create")
    monkeypatch.delenv("STEPWELL_NAMESPACE")
    found = caller(made["secret"])
    assert found is not None
    assert found.namespace == ""


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["keys", "create", "--scopes", "write"], 2, "there is no scope 'write'; there are: read, trigger"),
        (["keys", "create", "--expires", "soon"], 2, "--expires is 'soon'"),
        (["keys", "create", "--namespace", "A b"], 2, "namespace 'A b'"),
        (["keys", "revoke", "nope"], 2, "there is no key 'nope'; `stepwell keys list` shows all"),
        (["keys", "rotate", "nope"], 2, "there is no key 'nope'"),
        (["keys", "list", "--backend", "sqlite:///none.db"], 3, "there is no database none.db"),
    ],
)
def test_wrong_use_is_told(words: list[str], code: int, error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create"]) == 0
    capsys.readouterr()

    assert main(words) == code
    assert error in capsys.readouterr().err
