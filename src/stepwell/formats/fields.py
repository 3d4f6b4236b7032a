"""The fields of a JSON object, read one by one: each is of its type, or a mistake with its path."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar

from msgspec import Struct

from stepwell.errors import DefinitionError
from stepwell.model.blueprint_rules import is_whole, milliseconds, shown

_T = TypeVar("_T", bound=str)
_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")
_LARGEST = 1e300


class Mistake(Struct, frozen=True, kw_only=True):
    """A field that is missing or of the wrong type. `node_id` names the node that it belongs to, if that has one."""

    code: Literal["MISSING_FIELD", "INVALID_FIELD"] = "INVALID_FIELD"
    path: str
    message: str
    node_id: str | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class Fields:
    """A reader of one object. Fields that are absent or null are None; wrong ones too, after they were noted."""

    def __init__(self, raw: dict[str, Any], path: str, mistakes: list[Mistake], owner: str | None = None) -> None:
        self.raw = raw
        self.path = path
        self.owner = owner
        self._mistakes = mistakes

    def wrong(self, name: str, message: str, code: Literal["MISSING_FIELD", "INVALID_FIELD"] = "INVALID_FIELD") -> None:
        """Note a mistake at a field, or at a path that begins with one."""
        path = f"{self.path}.{name}" if self.path else name
        self._mistakes.append(Mistake(code=code, path=path, message=message, node_id=self.owner))

    def required(self, name: str) -> str | None:
        """A text that must be there."""
        if self.raw.get(name) is None:
            self.wrong(name, "missing; it must be text", "MISSING_FIELD")
            return None
        return self.text(name)

    def text(self, name: str) -> str | None:
        """A text."""
        value = self.raw.get(name)
        if value is None or isinstance(value, str):
            return value
        self.wrong(name, f"must be text, not {shown(value)}")
        return None

    def object(self, name: str) -> dict[str, Any] | None:
        """An object of anything."""
        value = self.raw.get(name)
        if value is None or isinstance(value, dict):
            return value
        self.wrong(name, f"must be an object, not {shown(value)}")
        return None

    def texts(self, name: str) -> list[str]:
        """An array of texts; empty if absent."""
        value = self.raw.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong(name, f"must be an array of texts, not {shown(value)}")
            return []
        for index, item in enumerate(value):
            if not isinstance(item, str):
                self.wrong(f"{name}[{index}]", f"must be text, not {shown(item)}")
        return [item for item in value if isinstance(item, str)]

    def text_or_texts(self, name: str) -> str | dict[str, str] | None:
        """A text that is not empty, or an object of texts."""
        value = self.raw.get(name)
        if value is None or isinstance(value, str):
            return value or None
        if not isinstance(value, dict):
            self.wrong(name, f"must be text or an object of texts, not {shown(value)}")
            return None
        for key, item in value.items():
            if not isinstance(item, str):
                self.wrong(key_path(name, key), f"must be text, not {shown(item)}")
        return {key: item for key, item in value.items() if isinstance(item, str)}

    def number(self, name: str, *, least: float) -> float | None:
        """A number of at least so much."""
        value = self.raw.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.wrong(name, f"must be a number, not {shown(value)}")
        elif not least <= value <= _LARGEST:
            self.wrong(name, f"must be {least:g} or more, not {shown(value)}")
        else:
            return float(value)
        return None

    def whole(self, name: str) -> int | None:
        """A whole number."""
        value = self.raw.get(name)
        if value is None:
            return None
        if not is_whole(value):
            self.wrong(name, f"must be a whole number, not {shown(value)}")
            return None
        return int(value)

    def count(self, name: str) -> int | None:
        """A whole number, 1 or more."""
        value = self.whole(name)
        if value is not None and value < 1:
            self.wrong(name, f"is {value}; it must be 1 or more")
            return None
        return value

    def duration(self, name: str) -> int | None:
        """Milliseconds, from a number of them or from text."""
        value = self.raw.get(name)
        if value is None:
            return None
        try:
            return milliseconds(value)
        except DefinitionError as error:
            self.wrong(name, str(error))
            return None

    def choice(self, name: str, options: tuple[_T, ...]) -> _T | None:
        """One of a few words."""
        value = self.raw.get(name)
        for option in options:
            if value == option:
                return option
        if value is not None:
            self.wrong(name, f"must be {' or '.join(repr(option) for option in options)}, not {shown(value)}")
        return None


def key_path(path: str, key: str) -> str:
    """The path of an entry of an object: `nodes.load`, or `nodes["not plain"]`."""
    return f"{path}.{key}" if _PLAIN.fullmatch(key) else f'{path}["{key}"]'
