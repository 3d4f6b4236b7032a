"""The parameters of a URL as a Struct: what is unknown, twice or malformed is named."""

from __future__ import annotations

from typing import Annotated, Any, get_origin
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from stepwell.server.problems import Problem

_MAX_FIELDS = 100
TOKEN_PARAMETER = "access_token"
"""Where a browser puts a short-lived token, since it cannot set headers for an event stream."""


class AnyQuery(Struct):
    """Of a route whose parameters are nobody's business but the caller's."""


def parsed_query(query: bytes) -> dict[str, list[str]]:
    """All values by name. `Problem` 400."""
    if not query:
        return {}
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except UnicodeDecodeError:
        raise Problem(400, "invalid_query", "the query is not percent-encoded UTF-8") from None
    except ValueError:
        raise Problem(400, "invalid_query", f"the query has more than {_MAX_FIELDS} parameters") from None
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def query_of(kind: type[Struct] | None, values: dict[str, list[str]]) -> Any:
    """The parameters as a `kind`. `Problem` 400 `invalid_query` names the parameter."""
    if kind is AnyQuery:
        return None
    fields = {} if kind is None else {field.encode_name: field for field in msgspec.structs.fields(kind)}
    plain: dict[str, Any] = {}
    for name, given in values.items():
        if name == TOKEN_PARAMETER:
            continue
        if name not in fields:
            known = ", ".join(sorted(fields)) or "none"
            raise Problem(400, "invalid_query", f"there is no parameter {name[:100]!r} here; there are: {known}")
        if _is_repeated(fields[name].type):
            plain[name] = given
        elif len(given) > 1:
            raise Problem(400, "invalid_query", f"the parameter {name!r} is given {len(given)} times; give it once")
        else:
            plain[name] = given[0]
    if kind is None:
        return None
    try:
        return msgspec.convert(plain, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Problem(400, "invalid_query", f"a parameter does not fit: {error}") from None


def _is_repeated(kind: Any) -> bool:
    if get_origin(kind) is Annotated:
        kind = kind.__origin__
    return get_origin(kind) is tuple
