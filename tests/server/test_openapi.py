"""The OpenAPI document says what is there, and is one."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import pytest
from httpx import ASGITransport, AsyncClient
from schemathesis.specs.openapi.definitions import OPENAPI_31
from tools.generate_openapi import TARGET, render

from stepwell import Stepwell
from stepwell.server import Server, ServerOptions
from stepwell.server.catalogue import ENDPOINTS
from stepwell.server.openapi import openapi
from tests.helpers import run

DOCUMENT: dict[str, Any] = json.loads(json.dumps(openapi(ENDPOINTS)))


def test_the_checked_in_document_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == render(), "run: PYTHONPATH=src python tools/generate_openapi.py"


def test_it_is_valid_openapi_3_1() -> None:
    jsonschema_rs.Draft202012Validator(OPENAPI_31).validate(DOCUMENT)


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(_references(item) for item in value.values()))
    return set().union(*(_references(item) for item in value)) if isinstance(value, list) else set()


def test_every_reference_leads_somewhere() -> None:
    for reference in _references(DOCUMENT):
        found: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def test_every_schema_is_one() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})
        assert schema.get("description"), f"{name} says nothing"


def test_every_route_is_in_it_once_and_has_a_name_of_its_own() -> None:
    operations = [
        (verb, path, operation) for path, verbs in DOCUMENT["paths"].items() for verb, operation in verbs.items()
    ]
    names = [operation["operationId"] for _, _, operation in operations]

    assert len(operations) == len(ENDPOINTS)
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_examples_fit_their_schemas(path: str) -> None:
    for operation in DOCUMENT["paths"][path].values():
        media = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in (item for part in media for item in part.get("content", {}).values()):
            if "example" in content:
                schema = {**content["schema"], "components": DOCUMENT["components"]}
                jsonschema_rs.Draft202012Validator(schema).validate(content["example"])


def test_it_is_served() -> None:
    async def main() -> Any:
        async with Stepwell("memory://") as app:
            transport = ASGITransport(Server(app, ServerOptions()))
            async with AsyncClient(transport=transport, base_url="http://localhost") as http:
                return (await http.get("/openapi.json")).json()

    assert run(main()) == DOCUMENT
