"""How a client reaches its server: options, checked once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from ipaddress import ip_address
from typing import TypedDict
from urllib.parse import urlsplit

from msgspec import Struct

from stepwell.codec import Codec
from stepwell.errors import DefinitionError
from stepwell.model.durations import Duration, duration_ms

URL_VARIABLE = "STEPWELL_URL"
KEY_VARIABLE = "STEPWELL_KEY"


class ClientKeywords(TypedDict, total=False):
    """The options of a client.

    `key` is an API key, or a token for one run; by default the environment variable STEPWELL_KEY. `include` lists
    modules, module names and workflows whose types are used for workflows that are named by text; nothing of them runs
    here. `codec` knows further types. `timeout` bounds one request. `patience` is for how long a request is repeated
    while the server cannot answer it; `reconnect`, how long a wait that has begun goes on without one. `allow_http`
    lets the key go unencrypted to another machine.
    """

    key: str | None
    include: Iterable[object]
    codec: Codec
    timeout: Duration
    patience: Duration
    reconnect: Duration
    allow_http: bool


class ClientOptions(Struct, frozen=True, kw_only=True):
    """The options, checked; times in seconds."""

    url: str
    key: str | None = None
    timeout: float = 30.0
    patience: float = 30.0
    reconnect: float = 600.0

    def __repr__(self) -> str:
        return f"ClientOptions({self.url!r})"


def client_options(url: str | None, given: ClientKeywords) -> ClientOptions:
    """The options that keywords and the environment say. `DefinitionError`."""
    unknown = sorted(set(given) - set(ClientKeywords.__annotations__))
    if unknown:
        known = ", ".join(sorted(ClientKeywords.__annotations__))
        raise DefinitionError(f"a client has no option {unknown[0]!r}; there are: {known}")
    key = given.get("key") or os.environ.get(KEY_VARIABLE) or None
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise DefinitionError("the key holds characters that no key has; is there a line end or a quote in it?")
    times = {
        name: duration_ms(given[name], what=f"Client({name})") / 1000
        for name in ("timeout", "patience", "reconnect")
        if name in given
    }
    if times.get("timeout") == 0:
        raise DefinitionError("Client(timeout=0): a request needs some time")
    base = _checked_url(url or os.environ.get(URL_VARIABLE, ""))
    if key is not None and not given.get("allow_http") and not _is_private(base):
        raise DefinitionError(
            f"{base} would send the key unencrypted to another machine; use https://, or allow_http=True in a network "
            "that nobody else can read"
        )
    return ClientOptions(url=base, key=key, **times)


def client_codec(given: ClientKeywords) -> Codec:
    """How the client writes values. `DefinitionError` for one that encrypts: the server could not read them."""
    codec = given.get("codec") or Codec()
    if codec.cipher is not None:
        raise DefinitionError(
            "Client(codec=): this codec encrypts, and a server takes plain JSON over TLS and encrypts what it keeps "
            "with its own key; give Codec(types=...) without a cipher"
        )
    return codec


def _checked_url(url: str) -> str:
    if not url:
        raise DefinitionError(
            f"there is no URL of a server; write Client('https://flows.example.com'), or set {URL_VARIABLE}"
        )
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DefinitionError(f"{parts.scheme or url!r} is no URL of a server; it begins with https:// and a host")
    if "@" in parts.netloc:
        raise DefinitionError("the URL of the server holds a user name or a password; give the key as key=")
    if parts.query or parts.fragment:
        raise DefinitionError(f"the URL of the server ends with its path, as in https://{parts.hostname}/flows")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _is_private(url: str) -> bool:
    """Whether nobody on the way can read what is sent."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
