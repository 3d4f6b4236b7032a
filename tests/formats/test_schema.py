"""The schema for editors accepts what we read, and refuses what is wrong in form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from stepwell.errors import DefinitionError
from stepwell.formats.schema import blueprint_schema
from stepwell.formats.unknown import FIELDS
from stepwell.model.blueprint_rules import PARAMETERS, milliseconds
from stepwell.model.blueprints import ALIASES
from tests.formats.checking import Checker
from tests.formats.documents import BAD, GOOD, Document
from tests.formats.test_flowcraft import PARAMETERS as WRONG_PARAMETERS

SCHEMA = blueprint_schema()
CHECKER = Checker(SCHEMA)
DEFINED = SCHEMA["$defs"]


@pytest.mark.parametrize("document", GOOD.values(), ids=GOOD)
def test_good_documents_keep_to_the_schema(document: Document) -> None:
    assert CHECKER.accepts(document)


@pytest.mark.parametrize("document", [document for document, _ in BAD.values()], ids=BAD)
def test_mistakes_of_form_break_the_schema(document: Document) -> None:
    assert not CHECKER.accepts(document)


@pytest.mark.parametrize("name", sorted(WRONG_PARAMETERS.keys() - {"gather"}))
def test_wrong_parameters_break_the_schema(name: str) -> None:
    uses, params, _ = WRONG_PARAMETERS[name]

    assert not CHECKER.accepts({"id": "g", "nodes": [{"id": "n", "uses": uses, "params": params}]})


@pytest.mark.parametrize(
    "text", ["1h30m", "250ms", "1.5s", "2w 1d", "5", "m", "", "1m1h", "1s ", "-1s", "soon", "1s1s"]
)
def test_durations_are_those_that_we_read(text: str) -> None:
    try:
        milliseconds(text)
    except DefinitionError:
        is_read = False
    else:
        is_read = True

    assert CHECKER.accepts(text, DEFINED["duration"]) == is_read


def test_the_schema_knows_the_fields_that_we_read() -> None:
    described = {
        "": SCHEMA,
        "node": DEFINED["node"],
        "config": DEFINED["config"],
        "edge": DEFINED["edge"],
        "metadata": SCHEMA["properties"]["metadata"],
    }

    assert {name: tuple(part["properties"]) for name, part in described.items()} == FIELDS


def test_the_schema_knows_the_parameters_of_built_in_nodes() -> None:
    described = {
        uses: set(part["then"]["properties"]["params"]["properties"])
        for part in DEFINED["node"]["allOf"]
        for uses in part["if"]["properties"]["uses"]["enum"]
    }

    assert described == {uses: set(PARAMETERS[ALIASES[uses]]) for uses in ALIASES if PARAMETERS[ALIASES[uses]]}


def test_every_field_is_described() -> None:
    assert [path for path, field in _fields(SCHEMA, "") if "description" not in field] == []


def _fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        if schema is not DEFINED["nodeWithId"]:
            yield f"{path}/{name}", field
            yield from _fields(field, f"{path}/{name}")
    for name, part in schema.get("$defs", {}).items():
        yield from _fields(part, f"{path}/{name}")
    for part in schema.get("allOf", ()):
        params = part["then"]["properties"]["params"]
        yield from _fields(params, f"{path}/{part['if']['properties']['uses']['enum'][0]}")
