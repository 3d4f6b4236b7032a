"""As much of JSON Schema as our schema uses. A keyword that this does not know fails the test."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value == int(value),
}
_NOTES = {"$schema", "$id", "$defs", "title", "description", "default", "examples", "then"}


class Checker:
    """Whether documents keep to a schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._root = schema

    def accepts(self, value: object, schema: dict[str, Any] | None = None) -> bool:
        schema = self._root if schema is None else schema
        return all(getattr(self, f"_{key.strip('$')}")(value, schema) for key in schema if key not in _NOTES)

    def _type(self, value: Any, schema: dict[str, Any]) -> bool:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return any(_TYPES[kind](value) for kind in kinds)

    def _ref(self, value: Any, schema: dict[str, Any]) -> bool:
        return self.accepts(value, self._root["$defs"][schema["$ref"].removeprefix("#/$defs/")])

    def _required(self, value: Any, schema: dict[str, Any]) -> bool:
        return not isinstance(value, dict) or all(name in value for name in schema["required"])

    def _properties(self, value: Any, schema: dict[str, Any]) -> bool:
        inner = schema["properties"]
        return not isinstance(value, dict) or all(self.accepts(value[key], inner[key]) for key in inner if key in value)

    def _additionalProperties(self, value: Any, schema: dict[str, Any]) -> bool:
        named = schema.get("properties", {})
        others = [item for key, item in value.items() if key not in named] if isinstance(value, dict) else []
        return all(self.accepts(item, schema["additionalProperties"]) for item in others)

    def _items(self, value: Any, schema: dict[str, Any]) -> bool:
        return not isinstance(value, list) or all(self.accepts(item, schema["items"]) for item in value)

    def _anyOf(self, value: Any, schema: dict[str, Any]) -> bool:
        return any(self.accepts(value, one) for one in schema["anyOf"])

    def _allOf(self, value: Any, schema: dict[str, Any]) -> bool:
        return all(self.accepts(value, one) for one in schema["allOf"])

    def _if(self, value: Any, schema: dict[str, Any]) -> bool:
        return not self.accepts(value, schema["if"]) or self.accepts(value, schema["then"])

    def _enum(self, value: Any, schema: dict[str, Any]) -> bool:
        return value in schema["enum"]

    def _minimum(self, value: Any, schema: dict[str, Any]) -> bool:
        return not _TYPES["number"](value) or value >= schema["minimum"]

    def _maximum(self, value: Any, schema: dict[str, Any]) -> bool:
        return not _TYPES["number"](value) or value <= schema["maximum"]

    def _minLength(self, value: Any, schema: dict[str, Any]) -> bool:
        return not isinstance(value, str) or len(value) >= schema["minLength"]

    def _pattern(self, value: Any, schema: dict[str, Any]) -> bool:
        return not isinstance(value, str) or re.search(schema["pattern"], value) is not None
