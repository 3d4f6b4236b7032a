"""Blueprints as a command line names them: JSON files, and what Python files and modules hold."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from msgspec import Struct

from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.implementations import found_implementations
from stepwell.cli.places import definitions_of, load_module, split_target
from stepwell.cli.problems import CommandError
from stepwell.errors import BlueprintError


class Included(Struct, frozen=True):
    """What `--include` brings: modules, and blueprints that JSON files hold."""

    modules: list[ModuleType]
    blueprints: list[Blueprint[Any, Any]]

    @property
    def everything(self) -> list[object]:
        """For the `include` of others."""
        return [*self.modules, *self.blueprints]

    def implementations(self) -> set[str]:
        """What `uses` may name."""
        return set(found_implementations(self.everything))

    def blueprint_ids(self) -> set[str]:
        """What subflows may name."""
        held = [item for module in self.modules for item in definitions_of(module).values()]
        return {item.id for item in (*held, *self.blueprints) if isinstance(item, Blueprint)}


def included(places: Sequence[str]) -> Included:
    """Import them, and read those that are JSON. What they print is not the command's output."""
    modules, texts = [], []
    for place in dict.fromkeys(places):
        if is_json(place):
            texts.append((place, read_text(place)))
        else:
            with contextlib.redirect_stdout(sys.stderr):
                modules.append(load_module(place))
    blueprints: list[Blueprint[Any, Any]] = []
    for place, text in texts:
        blueprints.append(_read(place, text, [*modules, *blueprints]))
    return Included(modules, blueprints)


def is_json(place: str) -> bool:
    """Whether a place is a JSON file, and no Python."""
    path = Path(place)
    return path.suffix == ".json" or (path.is_file() and path.suffix != ".py")


def read_text(place: str) -> bytes:
    """What a file holds."""
    path = Path(place)
    if not path.is_file():
        raise CommandError(f"there is no file {place} in {Path.cwd()}; give a JSON file, or FILE.py:BLUEPRINT")
    return path.read_bytes()


def blueprint_at(place: str, given: Included) -> tuple[Blueprint[Any, Any], list[ModuleType]]:
    """The blueprint, and the module that holds it if it is Python. `BlueprintError`."""
    if is_json(place):
        return _same_in(given.modules, _read(place, read_text(place), given.everything), place), []
    module, found = python_blueprints(place)
    if len(found) != 1:
        raise CommandError(
            f"which blueprint of {module.__name__}? write FILE:BLUEPRINT; there are: {', '.join(_names(found))}"
        )
    return found[0], [module]


def python_blueprints(place: str) -> tuple[ModuleType, list[Blueprint[Any, Any]]]:
    """Those that `FILE.py`, `FILE.py:NAME` or `MODULE:NAME` names: one, or without a name, all that it holds."""
    file, name = split_target(place)
    with contextlib.redirect_stdout(sys.stderr):
        module = load_module(file)
    held = {key: item for key, item in definitions_of(module).items() if isinstance(item, Blueprint)}
    found = [item for key, item in held.items() if not name or name in (key, item.id)]
    if not found:
        what = f"no blueprint {name!r}" if name else "no blueprint"
        raise CommandError(f"{module.__name__} has {what}; it has: {', '.join(held) or 'none'}")
    return module, list({id(item): item for item in found}.values())


def _read(place: str, text: bytes, include: list[object]) -> Blueprint[Any, Any]:
    try:
        return Blueprint.from_json(text, include=include)
    except BlueprintError as error:
        raise CommandError(
            f"{place}: {error}\nAll that is wrong, with lines: stepwell blueprint lint {place}"
        ) from None


def _same_in(modules: Iterable[ModuleType], blueprint: Blueprint[Any, Any], place: str) -> Blueprint[Any, Any]:
    """The one of a module that has read the same file. An app cannot have two of one id and version."""
    for module in modules:
        for name, item in definitions_of(module).items():
            if (item.id, item.spec.version) != (blueprint.id, blueprint.spec.version):
                continue
            if isinstance(item, Blueprint) and item.document == blueprint.document:
                return item
            raise CommandError(
                f"{place} and {module.__name__}.{name} are both called {blueprint.id!r}, and are not the same; give "
                f"one of them another id or version"
            )
    return blueprint


def _names(blueprints: Iterable[Blueprint[Any, Any]]) -> list[str]:
    return [blueprint.id for blueprint in blueprints]
