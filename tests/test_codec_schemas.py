"""JSON Schema of what workflows take and give."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pydantic
import pytest

from stepwell.codec import Codec, typed


@dataclass
class Line:
    article: str
    count: int = 1


class Address(pydantic.BaseModel):
    city: str


class Customer(pydantic.BaseModel):
    name: str
    address: Address


@dataclass
class Order:
    lines: list[Line]
    customer: Customer


class Point:
    pass


def test_a_dataclass_has_a_schema_with_its_parts() -> None:
    schema = typed(Line).schema()

    assert schema == {
        "$ref": "#/$defs/Line",
        "$defs": {
            "Line": {
                "title": "Line",
                "type": "object",
                "properties": {"article": {"type": "string"}, "count": {"type": "integer", "default": 1}},
                "required": ["article"],
            }
        },
    }


def test_a_pydantic_model_within_a_dataclass_brings_its_parts_along() -> None:
    schema = typed(Order).schema()

    assert set(schema["$defs"]) >= {"Order", "Line", "Address"}
    assert schema["$defs"]["Address"]["properties"] == {"city": {"title": "City", "type": "string"}}


def test_a_class_that_a_codec_converts_is_known_by_name() -> None:
    codec = Codec(types={Point: (lambda _: 0, lambda _: Point())})

    assert codec.typed(Point).schema() == {"title": "Point"}


@pytest.mark.parametrize("annotation", [Any, object])
def test_anything_has_the_empty_schema(annotation: Any) -> None:
    assert typed(annotation).schema() == {}


@pytest.mark.parametrize("annotation", [int, str, None, list[int], dict[str, float], int | None, Decimal])
def test_plain_types_have_schemas(annotation: Any) -> None:
    assert typed(annotation).schema()
