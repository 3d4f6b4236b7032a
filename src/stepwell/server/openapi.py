"""The OpenAPI 3.1 document of the routes, made of their declarations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, get_args

import msgspec

from stepwell.server.endpoints import Endpoint
from stepwell.server.examples import EXAMPLES
from stepwell.server.problems import PROBLEM_TYPE, ErrorBody, ProblemBody
from stepwell.server.queries import TOKEN_PARAMETER, AnyQuery
from stepwell.server.schemas import Components, Schema
from stepwell.server.shapes import JournalEvents
from stepwell.server.showing import JournalEntry

_EVENTS = "text/event-stream"
_JSON = "application/json"
_PARAMETER = re.compile(r"{(\w+)(?::path)?}")
_ABOUT = (
    "Trigger, watch and steer durable runs. Errors are problems (RFC 9457); on the routes that are compatible with "
    "Voyant, `{error, message}`. See docs/http.md."
)
_ALWAYS = (400, 405, 431, 503)
_TEXTS = {
    401: "No key, or none that is known.",
    403: "The key may not do this.",
    408: "The body did not arrive in time.",
    409: "The run, or what was asked for, is in another state.",
    413: "The body is too large.",
    429: "Too many failed attempts from there.",
    431: "The headers are too large.",
    503: "The server is stopping, busy, or cannot reach its backend. Try again.",
}


def openapi(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The document."""
    return _Document().of(endpoints)


class _Document:
    def __init__(self) -> None:
        self._components = Components()
        self._errors: dict[str, Any] = {}

    def of(self, endpoints: Iterable[Endpoint]) -> dict[str, Any]:
        """The whole of it."""
        self._components.schema(ProblemBody)
        self._components.schema(ErrorBody)
        self._journal()
        paths: dict[str, dict[str, Any]] = {}
        for endpoint in endpoints:
            operation = self._operation(endpoint)
            paths.setdefault(_PARAMETER.sub(r"{\1}", endpoint.path), {})[endpoint.method.lower()] = operation
        return {
            "openapi": "3.1.0",
            "info": {"title": "Stepwell", "version": "1", "description": _ABOUT},
            "paths": dict(sorted(paths.items())),
            "components": {
                "schemas": dict(sorted(self._components.schemas.items())),
                "responses": dict(sorted(self._errors.items())),
                "securitySchemes": {
                    "key": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "An API key (`sw_...`), or a token for one run (`st_...`).",
                    },
                    "token": {
                        "type": "apiKey",
                        "in": "query",
                        "name": TOKEN_PARAMETER,
                        "description": "A token for one run, where headers cannot be set. Reading only.",
                    },
                },
            },
        }

    def _journal(self) -> None:
        """Entries are written with `seq`, `at`, and their tag as `type`."""
        mapping = {}
        for kind in get_args(JournalEntry):
            name = self._components.name(kind)
            schema = self._components.schemas[name]
            tag = schema["properties"].pop("t")
            schema["properties"] = {
                "seq": {"type": "integer", "description": "The frame of the journal."},
                "at": {"type": "integer", "description": "ms since the Unix epoch"},
                "type": tag,
                **schema["properties"],
            }
            schema["required"] = ["seq", "at", "type", *(item for item in schema["required"] if item != "t")]
            mapping[tag["const"]] = f"#/components/schemas/{name}"
        self._components.schemas["JournalEvent"] = {
            "description": "An entry of a journal.",
            "anyOf": [{"$ref": ref} for ref in mapping.values()],
            "discriminator": {"propertyName": "type", "mapping": mapping},
        }
        page = self._components.schemas[self._components.name(JournalEvents)]
        page["properties"]["events"] = {"type": "array", "items": {"$ref": "#/components/schemas/JournalEvent"}}

    def _operation(self, endpoint: Endpoint) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "operationId": _operation_id(endpoint),
            "summary": endpoint.summary,
            "tags": [_tag(endpoint)],
            "security": _security(endpoint),
        }
        if endpoint.scope is not None:
            operation["x-scope"] = endpoint.scope
        if parameters := self._parameters(endpoint):
            operation["parameters"] = parameters
        if endpoint.body is not None:
            operation["requestBody"] = self._request(endpoint)
        operation["responses"] = self._responses(endpoint)
        return operation

    def _parameters(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in _PARAMETER.findall(endpoint.path)
        ]
        if endpoint.query is not None and endpoint.query is not AnyQuery:
            parameters += [self._query(field) for field in msgspec.inspect.type_info(endpoint.query).fields]  # type: ignore[attr-defined]
        if endpoint.streams:
            text = "The id of the last event that the client has; what comes after it is sent."
            schema: Schema = {"type": "string"}
            parameters.append({"name": "Last-Event-ID", "in": "header", "description": text, "schema": schema})
        for name, text in _HEADERS.get((endpoint.method, endpoint.path), {}).items():
            parameters.append({"name": name, "in": "header", "description": text, "schema": {"type": "string"}})
        return parameters

    def _query(self, field: msgspec.inspect.Field) -> dict[str, Any]:
        schema = _not_null(self._components.of(field.type))
        description = schema.pop("description", None)
        default = field.default
        if isinstance(default, str | int | float) and default != "":
            schema["default"] = default
        parameter = {"name": field.encode_name, "in": "query", "required": field.required, "schema": schema}
        return {**parameter, "description": description} if description else parameter

    def _request(self, endpoint: Endpoint) -> dict[str, Any]:
        if endpoint.body is bytes:
            return {"required": endpoint.body_required, "content": {"*/*": {}}}
        media: dict[str, Any] = {"schema": self._components.schema(endpoint.body)}
        example = EXAMPLES.get((endpoint.method, endpoint.path))
        if example is not None and example.body is not None:
            media["example"] = example.body
        return {"required": endpoint.body_required, "content": {_JSON: media}}

    def _responses(self, endpoint: Endpoint) -> dict[str, Any]:
        responses = {str(status): self._answer(endpoint, status, kind) for status, kind in endpoint.answers.items()}
        for status in _problems(endpoint):
            if str(status) not in responses:
                responses[str(status)] = {"$ref": self._problem(status, is_compat=endpoint.is_compat)}
        return dict(sorted(responses.items()))

    def _problem(self, status: int, *, is_compat: bool) -> str:
        body, media = ("ErrorBody", _JSON) if is_compat else ("ProblemBody", PROBLEM_TYPE)
        name = f"{'Error' if is_compat else 'Problem'}{status}"
        self._errors[name] = {
            "description": _TEXTS.get(status, HTTPStatus(status).phrase),
            "content": {media: {"schema": {"$ref": f"#/components/schemas/{body}"}}},
        }
        return f"#/components/responses/{name}"

    def _answer(self, endpoint: Endpoint, status: int, kind: Any) -> dict[str, Any]:
        response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if kind is None:
            return response
        if kind is bytes:
            return {**response, "content": {"text/plain": {"schema": {"type": "string"}}}}
        media: dict[str, Any] = {"schema": self._components.schema(kind)}
        example = EXAMPLES.get((endpoint.method, endpoint.path))
        if example is not None and example.answer is not None and status == example.status:
            media["example"] = example.answer
        response["content"] = {_JSON: media}
        if endpoint.streams:
            response["content"][_EVENTS] = {"schema": {"type": "string"}}
        return response


_HEADERS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("POST", "/api/runs"): {
        "Idempotency-Key": "The same key starts one run, and answers it again; with another body, 409.",
        "Prefer": "`respond-async`: answer at once, and do not wait for the run to pause or end.",
    },
}


def _problems(endpoint: Endpoint) -> list[int]:
    statuses = {*_ALWAYS, *endpoint.problems}
    if endpoint.scope is not None:
        statuses |= {401, 403, 429}
    if "{" in endpoint.path:
        statuses.add(404)
    if endpoint.method not in ("GET", "HEAD"):
        statuses |= {408, 413}
    if endpoint.body is not None and endpoint.body is not bytes:
        statuses.add(415)
    return sorted(statuses)


def _security(endpoint: Endpoint) -> list[dict[str, list[str]]]:
    if endpoint.scope is None:
        return []
    return [{"key": []}, {"token": []}] if endpoint.method == "GET" else [{"key": []}]


def _operation_id(endpoint: Endpoint) -> str:
    words = re.findall("[a-z]+", _PARAMETER.sub(r"by \1", endpoint.path.removeprefix("/api")))
    return "_".join([endpoint.method.lower(), *words])


def _tag(endpoint: Endpoint) -> str:
    return endpoint.path.removeprefix("/api").lstrip("/").partition("/")[0].partition(".")[0] or "server"


def _not_null(schema: Schema) -> Schema:
    """A parameter is there or not; it is never null."""
    if "anyOf" not in schema:
        return schema
    parts = [part for part in schema["anyOf"] if part != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**parts[0], **rest} if len(parts) == 1 else {**rest, "anyOf": parts}
