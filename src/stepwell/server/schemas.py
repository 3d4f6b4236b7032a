"""JSON Schema of the types of bodies, with each Struct as a component that others refer to.

msgspec has this, but not for Structs with payloads (`Raw`) that have defaults, as entries of journals do.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec import inspect as types

Schema = dict[str, Any]
_PREFIX = "#/components/schemas/"
_BOUNDS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
}
_PLAIN: Mapping[type[types.Type], Schema] = {
    types.AnyType: {},
    types.RawType: {},
    types.NoneType: {"type": "null"},
    types.BoolType: {"type": "boolean"},
    types.IntType: {"type": "integer"},
    types.FloatType: {"type": "number"},
    types.StrType: {"type": "string"},
    types.BytesType: {"type": "string", "contentEncoding": "base64"},
}
_LENGTHS: Mapping[type[types.Type], tuple[str, str]] = {
    types.StrType: ("minLength", "maxLength"),
    types.ListType: ("minItems", "maxItems"),
    types.VarTupleType: ("minItems", "maxItems"),
    types.FrozenSetType: ("minItems", "maxItems"),
    types.DictType: ("minProperties", "maxProperties"),
}


class Components:
    """Schemas by name, as they are referred to."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self._names: dict[type[Struct], str] = {}

    def schema(self, kind: Any) -> Schema:
        """The schema of a type; what it refers to becomes a component."""
        return self.of(types.type_info(kind))

    def name(self, kind: type[Struct]) -> str:
        """The name of a Struct's component."""
        self.schema(kind)
        return self._names[kind]

    def of(self, info: Any) -> Schema:
        """The schema of what `msgspec.inspect` says of a type."""
        if isinstance(info, types.Metadata):
            return {**self.of(info.type), **(info.extra_json_schema or {})}
        if isinstance(info, types.StructType):
            return {"$ref": _PREFIX + self._component(info)}
        return {**self._shape(info), **_bounds(info)}

    def _shape(self, info: Any) -> Schema:
        match info:
            case types.UnionType():
                return self._union(info)
            case types.LiteralType():
                return {"enum": list(info.values)}
            case types.ListType() | types.VarTupleType() | types.FrozenSetType() | types.SetType():
                items = self.of(info.item_type)
                return {"type": "array", **({"items": items} if items else {})}
            case types.TupleType():
                parts = [self.of(item) for item in info.item_types]
                return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
            case types.DictType():
                values = self.of(info.value_type)
                return {"type": "object", **({"additionalProperties": values} if values else {})}
            case _:
                return dict(_PLAIN[type(info)])

    def _union(self, info: types.UnionType) -> Schema:
        parts = [self.of(part) for part in info.types]
        tags = [part for part in info.types if isinstance(part, types.StructType) and part.tag_field]
        schema: Schema = {"anyOf": parts}
        if len(tags) > 1 and len(tags) == len(parts):
            mapping = {str(part.tag): _PREFIX + self._component(part) for part in tags}
            schema["discriminator"] = {"propertyName": tags[0].tag_field, "mapping": mapping}
        return schema

    def _component(self, info: types.StructType) -> str:
        name = self._names.get(info.cls)
        if name is None:
            name = self._names[info.cls] = self._free_name(info.cls)
            self.schemas[name] = {}  # its place: it may refer to itself
            self.schemas[name] = self._object(info)
        return name

    def _free_name(self, kind: type[Struct]) -> str:
        name = kind.__name__
        if name in self.schemas:
            name = f"{kind.__module__.rpartition('.')[2].capitalize()}{name}"
        assert name not in self.schemas, f"two Structs are called {name}"
        return name

    def _object(self, info: types.StructType) -> Schema:
        properties: dict[str, Schema] = {}
        required = []
        if info.tag_field is not None:
            properties[info.tag_field] = {"const": info.tag}
            required.append(info.tag_field)
        for field in info.fields:
            properties[field.encode_name] = {**self.of(field.type), **_default(field)}
            if field.required:
                required.append(field.encode_name)
        schema: Schema = {"type": "object", "description": _description(info.cls), "properties": properties}
        if required:
            schema["required"] = required
        if info.forbid_unknown_fields:
            schema["additionalProperties"] = False
        return schema


def _bounds(info: Any) -> Schema:
    bounds = {text: value for name, text in _BOUNDS.items() if (value := getattr(info, name, None)) is not None}
    for name, text in zip(("min_length", "max_length"), _LENGTHS.get(type(info), ()), strict=False):
        if (value := getattr(info, name, None)) is not None:
            bounds[text] = value
    return bounds


def _default(field: types.Field) -> Schema:
    default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    if default is msgspec.NODEFAULT or default is None or isinstance(default, Raw | msgspec.UnsetType):
        return {}
    return {"default": msgspec.to_builtins(default)}


def _description(kind: type[Struct]) -> str:
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split())
