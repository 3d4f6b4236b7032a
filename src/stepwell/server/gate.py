"""What every request passes: limits of headers, body and time; who asks and whether they may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from stepwell.server.access import Unauthorized
from stepwell.server.endpoints import Call
from stepwell.server.problems import Problem
from stepwell.server.queries import TOKEN_PARAMETER, parsed_query, query_of

if TYPE_CHECKING:
    from stepwell.server.application import Server

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGone(Exception):
    """Who asked does not wait for an answer any more."""


def check_headers(server: Server, scope: Mapping[str, Any]) -> None:
    """`Problem` 431 for too many headers, or too long ones."""
    headers = scope["headers"]
    options = server.options
    size = 0
    for name, value in headers:
        size += len(name) + len(value)
    if len(headers) > options.max_header_count or size > options.max_headers:
        raise Problem(
            431,
            "headers_too_large",
            f"at most {options.max_header_count} headers of {options.max_headers} bytes together are taken",
            headers={"connection": "close"},
        )


async def admit(server: Server, call: Call) -> None:
    """Find out who asks, and set their app. `Problem` 401, 403."""
    endpoint = call.endpoint
    values = parsed_query(call.scope["query_string"])
    if endpoint.scope is None:
        await _enter_named(server, call)
    else:
        call.caller = await _caller(server, call, values)
        if call.caller.kind == "open":
            _check_origin(server, call)
        _check_scope(call)
        call.app = await server.app_of(call.caller.namespace)
    call.query = query_of(endpoint.query, values)


async def _enter_named(server: Server, call: Call) -> None:
    """Open routes may have the namespace in their path."""
    namespace = call.path.get("namespace")
    if namespace is None:
        return
    if not server.serves(namespace):
        raise Problem(404, "no_such_hook", "there is no such hook")  # as for a wrong token: who asks learns nothing
    call.app = await server.app_of(namespace)


def is_still_admitted(server: Server, call: Call) -> bool:
    """Whether who sent this request would be let in now."""
    values = parsed_query(call.scope["query_string"])
    return server.access.still_admits(call.header("authorization"), _token_in_url(call, values))


def _token_in_url(call: Call, values: dict[str, list[str]]) -> str | None:
    return values.get(TOKEN_PARAMETER, [None])[0] if call.endpoint.method == "GET" else None


async def _caller(server: Server, call: Call, values: dict[str, list[str]]) -> Any:
    in_url = _token_in_url(call, values)
    try:
        return await server.access.authenticate(
            call.header("authorization"), access_token=in_url, address=call.client_address
        )
    except Unauthorized as error:
        text = str(error)
        raise Problem(401, "unauthorized", text, headers={"www-authenticate": 'Bearer realm="stepwell"'}) from None


def _check_origin(server: Server, call: Call) -> None:
    """Without keys, any page in the developer's browser could ask: so only pages of this machine may, and only under a
    name of this machine, which no other site's name can be bent to (DNS rebinding)."""
    host = call.header("host")
    if host is not None and not _is_loopback(host):
        text = f"a server in dev mode answers as localhost, not as {host[:100]!r}; with keys it has other names, too"
        raise Problem(403, "forbidden", text)
    origin = call.header("origin")
    if origin is None or origin in server.options.cors_origins or "*" in server.options.cors_origins:
        return
    if not _is_loopback(origin.partition("://")[2]):
        text = f"a server in dev mode does not answer pages of {origin[:100]!r}; list it in cors_origins"
        raise Problem(403, "forbidden", text)


def _is_loopback(authority: str) -> bool:
    """Whether a host, maybe with a port, is this machine under a name that nobody else can give it."""
    name = authority.rpartition("]")[0].removeprefix("[") if authority.startswith("[") else authority.partition(":")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _check_scope(call: Call) -> None:
    caller, endpoint = call.caller, call.endpoint
    assert endpoint.scope is not None, "open routes have no caller"
    if not caller.may(endpoint.scope):
        held = ", ".join(sorted(caller.scopes)) or "none"
        raise Problem(403, "forbidden", f"this needs the scope {endpoint.scope!r}; the scopes of this key are: {held}")
    if caller.run is None:
        return
    if call.path.get("run") != caller.run:
        raise Problem(403, "forbidden", "this token is for one run, and this is not about it")
    if caller.stream is not None and call.path.get("stream") != caller.stream:
        raise Problem(403, "forbidden", "this token is for one stream, and this is not it")


async def read_body(server: Server, call: Call, receive: Receive) -> bytes:
    """Read the body, bounded in size. `Problem` 400, 413, 415; `ClientGone`."""
    limit = server.options.max_body
    length = call.header("content-length")
    if length is not None and (not length.isascii() or not length.isdigit() or len(length) > 15):
        raise Problem(400, "invalid_length", "the header content-length is not a number")
    if length is not None and int(length) > limit:
        raise _too_large(limit)
    _check_encoding(call)
    return await _received(receive, limit)


async def _received(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return b"".join([*chunks, chunk]) if chunks else chunk
        chunks.append(chunk)


def _check_encoding(call: Call) -> None:
    """What is compressed is refused: who unpacks it for strangers has no limit. The type is not asked for: curl says
    that JSON is a form, and browsers that it is text; a page that is not allowed to ask is found by its origin."""
    encoding = call.header("content-encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        raise Problem(415, "unsupported_media_type", f"send the body as it is, not {encoding[:100]!r}")


def _too_large(limit: int) -> Problem:
    text = f"the body is larger than {limit} bytes; put large data where steps can fetch it, and send a reference"
    return Problem(413, "body_too_large", text, headers={"connection": "close"})
