"""JSON Schema of annotations, for those who send values without our types."""

from __future__ import annotations

from typing import Any

import msgspec


def json_schema(annotation: Any) -> dict[str, Any]:
    """What JSON fits the annotation (JSON Schema 2020-12). `{}`, or a schema with a title alone, means anything.

    Of classes that a codec converts, nothing is known but the name; of pydantic models, what they say themselves.
    """
    parts: dict[str, Any] = {}

    def foreign(kind: type) -> dict[str, Any]:
        make = getattr(kind, "model_json_schema", None)
        if make is None:
            return {"title": kind.__qualname__}
        schema: dict[str, Any] = make(ref_template="#/$defs/{model}")
        parts.update(schema.pop("$defs", {}))
        return schema

    try:
        schema = msgspec.json.schema(annotation, schema_hook=foreign)
    except Exception:  # annotations are code of users, and any text about them is better than none
        return {}
    if parts:
        # Within a part, "#" is the whole document.
        schema = {**schema, "$defs": {**parts, **schema.get("$defs", {})}}
    return schema
