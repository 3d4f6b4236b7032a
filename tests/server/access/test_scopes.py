"""Scopes and namespaces as people write them."""

from __future__ import annotations

import pytest

from stepwell.errors import DefinitionError
from stepwell.server.access.scopes import SCOPES, Caller, parse_scopes


def test_admin_may_everything_and_each_other_scope_only_itself() -> None:
    for held in SCOPES:
        caller = Caller(kind="key", scopes=frozenset({held}))
        assert {scope for scope in SCOPES if caller.may(scope)} == (set(SCOPES) if held == "admin" else {held})


def test_strangers_may_nothing() -> None:
    assert not any(Caller.stranger().may(scope) for scope in SCOPES)


def test_operators_are_admins_of_the_default_namespace() -> None:
    admin = frozenset({"admin"})
    assert Caller(kind="key", scopes=admin).is_operator  # type: ignore[arg-type]
    assert not Caller(kind="key", scopes=admin, namespace="acme").is_operator  # type: ignore[arg-type]
    assert not Caller(kind="token", scopes=admin, run="r").is_operator  # type: ignore[arg-type]
    assert not Caller(kind="key", scopes=frozenset({"read"})).is_operator


def test_scopes_are_read_with_blanks_around_them() -> None:
    assert parse_scopes([" read", "signal "]) == {"read", "signal"}


@pytest.mark.parametrize("names", [["write"], ["read", "*"], [""], []])
def test_scopes_that_are_none_are_told(names: list[str]) -> None:
    with pytest.raises(DefinitionError, match="read, trigger, signal, admin"):
        parse_scopes(names)
