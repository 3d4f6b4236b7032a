"""Settings: a flag beats the environment, which beats the file, which beats the default.

The file is `stepwell.toml`, or `[tool.stepwell]` in `pyproject.toml`: in the working directory or the nearest folder
above it that has one. The environment variable of `server.port` is STEPWELL_SERVER_PORT.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tomllib
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from stepwell.cli.console import paint_for, table, width
from stepwell.cli.problems import DONE, CommandError
from stepwell.cli.settings import SETTINGS, Setting
from stepwell.cli.targets import TABLE, targets_in
from stepwell.cli.values import encoded
from stepwell.errors import DefinitionError
from stepwell.model.durations import duration_ms
from stepwell.runtime.remote.targets import Target

_FILE, _PROJECT = "stepwell.toml", "pyproject.toml"
_BY_KEY = {setting.key: setting for setting in SETTINGS}
_TABLES = {key.partition(".")[0] for key in _BY_KEY if "." in key}
_NUMBER = re.compile(r"\d+(\.\d+)?")
_PASSWORD = re.compile(r"(://[^/@]*?:)[^/@]*@")


class Found(Struct, frozen=True):
    """A value that somebody gave, and where."""

    value: Any
    source: str


class Settings:
    """What is set, where, and the defaults of the rest."""

    def __init__(self, found: Mapping[str, Found]) -> None:
        self._found = found

    @classmethod
    def load(cls, file: str | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the file (this one, else $STEPWELL_CONFIG, else the nearest) and the environment. `CommandError` names
        the setting and the place."""
        named = file or environment.get("STEPWELL_CONFIG")
        path = Path(named) if named else _nearest(Path.cwd())
        if named and path is not None and not path.is_file():
            raise CommandError(f"there is no configuration file {named} (in {Path.cwd()})")
        found = {} if path is None else dict(_from_file(path))
        return cls(found | dict(_from_environment(environment)))

    def over(self, flags: Mapping[str, Any]) -> Settings:
        """The same under flags, by the keys of their settings; None is a flag that was not given."""
        given = {key: Found(value, _BY_KEY[key].flag) for key, value in flags.items() if value is not None}
        return Settings({**self._found, **given})

    def get(self, key: str, flag: Any = None) -> Any:
        """The flag if it was given, else what is set, else the default."""
        if flag is not None:
            return flag
        found = self._found.get(key)
        return _BY_KEY[key].default if found is None else found.value

    def is_set(self, key: str) -> bool:
        """Whether the environment or the file says something about it."""
        return key in self._found

    def source(self, key: str) -> str:
        """Where the value comes from, for people."""
        return self._found[key].source if key in self._found else "default"

    @property
    def targets(self) -> tuple[Target, ...]:
        """The step workers elsewhere that the file names."""
        return self._found[TABLE].value if TABLE in self._found else ()

    def given(self, table: str) -> dict[str, Any]:
        """The settings of a table that are set, by their names in it."""
        prefix = f"{table}."
        return {key.removeprefix(prefix): found.value for key, found in self._found.items() if key.startswith(prefix)}


async def config(arguments: Namespace) -> int:
    """Print every setting, its value, and where that comes from."""
    settings = Settings.load(arguments.config)
    rows = [(setting.key, _shown(settings.get(setting.key)), settings.source(setting.key)) for setting in SETTINGS]
    rows += [
        (f"{TABLE}[{number}]", f"{target.label}: {', '.join(target.workflows)}", settings.source(TABLE))
        for number, target in enumerate(settings.targets, 1)
    ]
    if arguments.json:
        keys = ("setting", "value", "from")
        values = {setting.key: _plain(settings.get(setting.key)) for setting in SETTINGS}
        given = [(key, values.get(key, shown), source) for key, shown, source in rows]
        print(encoded([dict(zip(keys, row, strict=True)) for row in given]))
        return DONE
    print(*table(("setting", "value", "from"), rows, columns=width(), paint=paint_for(sys.stdout)), sep="\n")
    return DONE


def worker_flags(arguments: Namespace) -> dict[str, Any]:
    """What a command line says of an app, its backend and its worker."""
    queues = arguments.queues
    return {
        "app": arguments.target,
        "backend": arguments.backend,
        "log_format": arguments.log_format,
        "worker.queues": queues and tuple(queue.strip() for queue in queues.split(",") if queue.strip()),
        "worker.concurrency": arguments.concurrency,
    }


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    return _PASSWORD.sub(r"\1***@", url)


# --- files


def _nearest(folder: Path) -> Path | None:
    for place in (folder, *folder.parents):
        if (place / _FILE).is_file():
            return place / _FILE
        project = place / _PROJECT
        if project.is_file() and _table_of(project) is not None:
            return project
    return None


def _table_of(path: Path) -> dict[str, Any] | None:
    """What the file says about us; None if it is another's file, and says nothing."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} is not TOML: {error}") from None
    if path.name != _PROJECT:
        return document
    found: dict[str, Any] | None = document.get("tool", {}).get("stepwell")
    return found


def _from_file(path: Path) -> Iterator[tuple[str, Found]]:
    folder = path.resolve().parent
    for name, value in (_table_of(path) or {}).items():
        if name == TABLE:
            yield TABLE, Found(targets_in(value, path), _source(path, folder))
        elif name not in _TABLES:
            yield name, _checked(name, value, path, folder)
        elif not isinstance(value, dict):
            raise CommandError(f"{path}: {name} is a table; write [{name}], and its settings below")
        else:
            for key, item in value.items():
                yield f"{name}.{key}", _checked(f"{name}.{key}", item, path, folder)


def _checked(key: str, value: object, path: Path, folder: Path) -> Found:
    setting = _BY_KEY.get(key)
    if setting is None:
        raise CommandError(f"{path}: there is no setting {key!r}{_instead(key)}")
    try:
        converted = _fitting(setting, value)
    except (msgspec.ValidationError, DefinitionError) as error:
        raise CommandError(f"{path}: the setting {key!r} does not fit: {error}") from None
    return Found(_placed(key, converted, folder), _source(path, folder))


def _source(path: Path, folder: Path) -> str:
    return path.name if folder == Path.cwd().resolve() else str(path)


def _fitting(setting: Setting, value: object, *, is_text: bool = False) -> Any:
    converted = msgspec.convert(value, setting.type, strict=not is_text)
    if setting.is_duration:
        if is_text and _NUMBER.fullmatch(converted):
            converted = float(converted)
        duration_ms(converted, what=setting.key)
    return converted


def _instead(key: str) -> str:
    """The nearest name, and all that there are in that table."""
    prefix = f"{key.partition('.')[0]}." if "." in key and key.partition(".")[0] in _TABLES else ""
    known = [name for name in _BY_KEY if name.startswith(prefix) and ("." in name) == bool(prefix)]
    tables = [] if prefix else [*(f"[{table}]" for table in sorted(_TABLES)), f"[[{TABLE}]]"]
    close = difflib.get_close_matches(key, known, n=1)
    meant = f"; is {close[0]!r} meant?" if close else "."
    names = ", ".join([*(name.removeprefix(prefix) for name in known), *tables])
    return f"{meant} There are{f' in [{prefix[:-1]}]' if prefix else ''}: {names}"


def _placed(key: str, value: Any, folder: Path) -> Any:
    """Places in a file are seen from its folder, whatever the working directory is."""
    if folder == Path.cwd().resolve() or not isinstance(value, str):
        return value
    if key == "backend" and value.startswith("sqlite:///") and not value.startswith("sqlite:////"):
        return f"sqlite:///{(folder / value.removeprefix('sqlite:///')).as_posix()}"
    if key == "app":
        place, colon, name = value.rpartition(":")
        if not colon or name.endswith(".py"):
            place, colon, name = value, "", ""
        file = folder / (place if place.endswith(".py") else place.replace(".", "/") + ".py")
        return f"{file}{colon}{name}" if file.is_file() else value
    return value


# --- the environment


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Found]]:
    known = {setting.variable: setting for setting in SETTINGS}
    for name, text in environment.items():
        setting = known.get(name)
        if setting is not None and text:
            yield setting.key, Found(_of_text(setting, text), name)
        elif setting is None and name.startswith(tuple(f"STEPWELL_{table.upper()}_" for table in _TABLES)):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"is {close[0]} meant?" if close else "`stepwell config` lists all settings"
            raise CommandError(f"the environment variable {name} is no setting; {hint}")


def _of_text(setting: Setting, text: str) -> Any:
    given = [item.strip() for item in text.split(",") if item.strip()] if setting.is_list else text
    try:
        return _fitting(setting, given, is_text=True)
    except (msgspec.ValidationError, DefinitionError) as error:
        raise CommandError(f"the environment variable {setting.variable}={text!r} does not fit: {error}") from None


# --- showing


def _plain(value: Any) -> Any:
    return without_password(value) if isinstance(value, str) else value


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None or value == "" else str(_plain(value))
