"""What is asked of a server, and what it means when no answer comes."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import msgspec
from msgspec import Raw, Struct

from stepwell.client.answers import Trouble
from stepwell.client.options import ClientOptions
from stepwell.errors import BackendError

JSON_TYPE = "application/json"
_SENT_NOTHING = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_FEED_SILENCE = 60.0
"""A feed from which nothing came for so long (s), no ping either, is asked for anew."""
_LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=4.0)
"""Servers close connections that nobody uses after 5 s; whoever is first to go away does not send into the void."""


class Request(Struct, frozen=True, kw_only=True):
    """One request. `is_repeatable`: doing it twice is doing it once. `wait` (s): how long the server may hold it."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    is_repeatable: bool = True
    wait: float = 0.0

    @property
    def asked(self) -> str:
        """Verb and path, for people."""
        return f"{self.method} {self.path}"

    @property
    def target(self) -> str:
        """What follows the URL of the server."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def headers(self) -> dict[str, str]:
        """What is sent besides the key."""
        if self.body is None:
            return {"accept": JSON_TYPE}
        return {"accept": JSON_TYPE, "content-type": JSON_TYPE, "prefer": "respond-async"}


class Answer(Struct, frozen=True):
    """What was answered, if that is what was asked for."""

    status: int
    body: bytes


def request(method: str, path: str, body: Mapping[str, Any] | Struct | Raw | None = None, **options: Any) -> Request:
    """A request, perhaps with a JSON body. Members of a mapping that are None are left out; `Raw` is JSON already."""
    if body is None:
        return Request(method=method, path=path, **options)
    if isinstance(body, Mapping):
        body = {name: value for name, value in body.items() if value is not None}
    return Request(method=method, path=path, body=msgspec.json.encode(body), **options)


def path(*parts: str) -> str:
    """A path of these parts, each quoted: ids may hold anything but spaces."""
    return "/" + "/".join(_quoted(part) for part in parts)


def _quoted(part: str) -> str:
    return part.replace(".", "%2E") if part in (".", "..") else quote(part, safe="")


def feed_headers(last_id: str | None) -> dict[str, str]:
    """Those of a request for an event stream. Compressed, it would come in lumps."""
    headers = {"accept": "text/event-stream", "accept-encoding": "identity", "cache-control": "no-store"}
    return headers if last_id is None else {**headers, "last-event-id": last_id}


def connection_options(options: ClientOptions) -> dict[str, Any]:
    """How the HTTP library is set up: the key goes nowhere else, certificates are checked."""
    headers = {} if options.key is None else {"authorization": f"Bearer {options.key}"}
    return {
        "headers": {"user-agent": "stepwell", **headers},
        "timeout": httpx.Timeout(options.timeout),
        "limits": _LIMITS,
        "follow_redirects": False,
    }


def request_timeout(options: ClientOptions, wait: float) -> httpx.Timeout:
    """How long the parts of a request may take."""
    return httpx.Timeout(options.timeout, read=options.timeout + wait)


def feed_timeout(options: ClientOptions) -> httpx.Timeout:
    """The same for an event stream, which has no end of its own."""
    return httpx.Timeout(options.timeout, read=max(options.timeout, _FEED_SILENCE))


def trouble_of_transport(error: Exception, *, url: str, asked: str) -> Trouble:
    """What it means that a request could not be sent, or its answer not be read."""
    if isinstance(error, httpx.InvalidURL | httpx.DecodingError):
        return Trouble(error=_final(f"{url} cannot be asked for {asked}: {error}", error))
    if (reason := _certificate_problem(error)) is not None:
        text = (
            f"{url} shows a certificate that is not trusted: {reason}; SSL_CERT_FILE names a file with more authorities"
        )
        return Trouble(error=_final(text, error))
    words = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        words = f"no answer in time ({type(error).__name__})"
    is_undone = isinstance(error, _SENT_NOTHING)
    doubt = "" if is_undone else "; it may have been done all the same"
    return Trouble(
        error=_with_cause(BackendError(f"{url} does not answer {asked}: {words}{doubt}"), error),
        is_passing=not isinstance(error, httpx.UnsupportedProtocol),
        is_undone=is_undone,
    )


def trouble_of_cut(*, url: str, asked: str) -> Trouble:
    """The server ended an event stream before its end, as one does that stops."""
    return Trouble(error=BackendError(f"{url} cut off {asked}, again and again"), is_passing=True)


def _final(text: str, cause: Exception) -> BackendError:
    error = BackendError(text)
    error.is_final = True
    return _with_cause(error, cause)


def _with_cause(error: BackendError, cause: Exception) -> BackendError:
    error.__cause__ = cause
    return error


def _certificate_problem(error: BaseException) -> str | None:
    found: BaseException | None = error
    for _ in range(10):
        if isinstance(found, ssl.SSLCertVerificationError):
            return getattr(found, "verify_message", None) or str(found)
        if found is None:
            break
        found = found.__cause__ or found.__context__
    return None
