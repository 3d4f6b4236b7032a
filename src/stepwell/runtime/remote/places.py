"""Where a worker is: what `Target` was given, how one gets there, and how it is called without telling secrets."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct

from stepwell.errors import DefinitionError
from stepwell.runtime.remote.asgi import AsgiSender
from stepwell.runtime.remote.inline import InlineSender
from stepwell.runtime.remote.sending import Sender

if TYPE_CHECKING:
    from stepwell.runtime.remote.targets import Target

_SHAPES = (
    "a URL, an ASGI application (scope, receive, send), app.step_worker(), or an async function (body, headers) -> "
    "(status, headers, body)"
)


class Place(Struct, frozen=True):
    """Where a worker is. `open` makes the way there."""

    label: str
    open: Callable[[Target], Sender]


def place_of(to: object) -> Place:
    """What is meant. `DefinitionError` says what is wrong with it."""
    if isinstance(to, str):
        return Place(_checked_url(to), lambda target: _http(to, target))
    handle = getattr(to, "handle", None)
    if inspect.iscoroutinefunction(handle) and _parameters(handle) == 2:
        return Place(f"step worker {type(to).__name__}", lambda _: InlineSender(handle))
    if not callable(to):
        raise DefinitionError(f"Target({to!r:.100}): give {_SHAPES}")
    match _parameters(to):
        case 2:
            return Place(f"function {_name(to)}", lambda _: InlineSender(to))
        case 3:
            return Place(f"application {_name(to)}", lambda _: AsgiSender(to))
        case _:
            raise DefinitionError(f"Target({_name(to)}): a worker in this process is {_SHAPES}")


def _http(url: str, target: Target) -> Sender:
    try:
        module: Any = importlib.import_module("stepwell.runtime.remote.http")
    except ModuleNotFoundError as missing:
        if missing.name != "httpx":
            raise
        text = "targets at URLs need httpx, which is not installed: pip install 'stepwell[remote]'"
        raise ModuleNotFoundError(text, name="httpx") from missing
    sender: Sender = module.HttpSender(url, connect=target.connect_ms / 1000, trust_env=target.trust_env)
    return sender


def _checked_url(url: str) -> str:
    """The URL without what may be secret: its query."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise DefinitionError(f"Target({_bare(url)!r}): that is no URL: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise DefinitionError(f"Target({_bare(url)!r}): give a URL that begins with http:// or https://")
    if not parts.hostname:
        raise DefinitionError(f"Target({_bare(url)!r}): the URL names no host")
    if parts.username is not None or parts.password is not None:
        raise DefinitionError(
            f"Target({_bare(url)!r}): the URL holds a user or a password; sign the requests with secret= instead"
        )
    if parts.fragment or any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        raise DefinitionError(f"Target({_bare(url)!r}): a URL has no spaces here, and nothing after a #")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"


def _bare(url: str) -> str:
    """As it may be shown: without user, password and query."""
    scheme, colon, rest = url.partition("://")
    where, slash, path = rest.partition("/")
    return f"{scheme}{colon}{where.rpartition('@')[2]}{slash}{path}".partition("?")[0][:200]


def _parameters(to: Callable[..., Any]) -> int:
    """How many arguments it must be given by place."""
    try:
        parameters = inspect.signature(to).parameters.values()
    except (TypeError, ValueError):
        return 0
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(1 for item in parameters if item.kind in plain and item.default is inspect.Parameter.empty)


def _name(to: object) -> str:
    return getattr(to, "__qualname__", type(to).__qualname__)
