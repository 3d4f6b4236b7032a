"""Targets in a configuration file: `[[targets]]`, once for each step worker elsewhere."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from stepwell.cli.problems import CommandError
from stepwell.errors import DefinitionError
from stepwell.model.values import Secret
from stepwell.runtime.app import Stepwell
from stepwell.runtime.remote.targets import Target

TABLE = "targets"


class _Row(Struct, frozen=True, kw_only=True):
    """One table. `secret` is the name of a secret, never the secret."""

    url: str
    workflows: list[str]
    versions: list[str] | UnsetType = UNSET
    namespaces: list[str] | UnsetType = UNSET
    secret: str | UnsetType = UNSET
    connect_timeout: float | str | UnsetType = UNSET
    idle_timeout: float | str | UnsetType = UNSET
    timeout: float | str | UnsetType = UNSET
    max_answer: int | UnsetType = UNSET
    concurrency: int | UnsetType = UNSET
    name: str | UnsetType = UNSET
    trust_env: bool | UnsetType = UNSET


_FIELDS = tuple(field.name for field in msgspec.structs.fields(_Row))


def targets_in(value: object, path: Path) -> tuple[Target, ...]:
    """The targets that a file names. `CommandError` says which of them is wrong, and how."""
    if not isinstance(value, list):
        raise CommandError(f"{path}: {TABLE} is a list of tables; write [[{TABLE}]] above each of them")
    return tuple(_targets(value, path))


def add_targets(app: Stepwell, targets: tuple[Target, ...], source: str) -> None:
    """Before the app is opened: these too. `CommandError` if it has one for the same runs."""
    for target in targets:
        try:
            app.targets.add(target)
        except DefinitionError as error:
            raise CommandError(f"{source}: {error}") from None


def _targets(rows: list[Any], path: Path) -> Iterator[Target]:
    for number, row in enumerate(rows, 1):
        where = f"{path}: {TABLE}[{number}]"
        for key in row if isinstance(row, dict) else ():
            if key not in _FIELDS:
                close = difflib.get_close_matches(key, _FIELDS, n=1)
                meant = f"; is {close[0]!r} meant?" if close else "."
                raise CommandError(f"{where} has no setting {key!r}{meant} There are: {', '.join(_FIELDS)}")
        try:
            yield _target(msgspec.convert(row, _Row))
        except (msgspec.ValidationError, DefinitionError) as error:
            raise CommandError(f"{where} does not fit: {error}") from None


def _target(row: _Row) -> Target:
    given = {name: value for name in _FIELDS if (value := getattr(row, name)) is not UNSET}
    url, secret = given.pop("url"), given.pop("secret", None)
    return Target(url, **given, secret=None if secret is None else Secret(secret))
