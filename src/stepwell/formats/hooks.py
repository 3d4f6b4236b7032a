"""HTTP as hooks know it: the request that completes one, what a plain hook makes of it, and the run's answer.

The journal holds bodies as text where they are text, so that people can read them there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, overload
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from stepwell.errors import CodecError, DefinitionError

T = TypeVar("T")

FORM_TYPE = "application/x-www-form-urlencoded"
TEXT_TYPE = "text/plain; charset=utf-8"
JSON_TYPE = "application/json; charset=utf-8"
_MAX_FIELDS = 1000
_CHARSETS = ("utf-8", "us-ascii", "iso-8859-1", "windows-1252", "utf-16")
"""Not all that Python knows: some take quadratic time, and a name would choose the module that is imported."""
_BODILESS = frozenset({"GET", "HEAD", "DELETE"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = frozenset({"connection", "content-length", "content-type", "keep-alive", "te", "trailer", "upgrade"})
_FRAMING |= {"proxy-connection", "transfer-encoding"}


class HookRequest(Struct, frozen=True, kw_only=True):
    """The HTTP request that completed a hook, of whatever content type.

    `path` is what followed the token. `query` and `headers` are pairs in the order in which they came; names of headers
    are in lower case, and those with credentials are left out. `id` tells it from other requests to this run: one that
    is delivered again has the same.
    """

    method: str = "POST"
    path: str = ""
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    id: str = ""

    @property
    def content_type(self) -> str:
        """As it was sent, parameters included; empty if there was none."""
        return self.header("content-type") or ""

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key == wanted), None)

    def text(self) -> str:
        """The body as text, by the charset of the content type, or UTF-8. `CodecError` if it is none."""
        charset = _charset(self.content_type)
        try:
            return self.body.decode(charset)
        except UnicodeDecodeError as error:
            raise CodecError(f"the body of the request is not {charset} at byte {error.start}") from None

    def form(self) -> dict[str, str]:
        """The fields of a form (`application/x-www-form-urlencoded`); of one that is there several times, the last.
        `CodecError` if the body is none."""
        kind = media_type(self.content_type)
        if kind != FORM_TYPE:
            raise CodecError(f"the body of the request is {kind or 'of no type'}, and no {FORM_TYPE}")
        return dict(_pairs(self.text()))

    @overload
    def json(self) -> Any: ...
    @overload
    def json(self, type: type[T]) -> T: ...
    def json(self, type: Any = Any) -> Any:
        """The body as JSON of that type; plain values if none is given. `CodecError` names the field."""
        try:
            return msgspec.json.decode(self.body, type=type)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise CodecError(f"the body of the request: {error}") from None


class HookResponse(Struct, frozen=True, kw_only=True):
    """What a run answers to a request. Only bytes are sent; `HookResponse.json` and `.text` make them."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        given: object = self.body  # types are hints to those who call
        if not isinstance(self.status, int) or not 200 <= self.status <= 599:
            raise DefinitionError(f"HookResponse(status={self.status!r}): give a status from 200 to 599")
        if not isinstance(given, bytes):
            cure = "give bytes, or use HookResponse.json(value) or HookResponse.text(text)"
            raise DefinitionError(f"HookResponse(body={self.body!r:.100}): {cure}")
        if self.status in (204, 304) and self.body:
            raise DefinitionError(f"HookResponse(status={self.status}): such an answer has no body")
        for name, value in {**self.headers, "content-type": self.content_type}.items():
            _check_header(name, value)
        if reserved := sorted(_FRAMING & {name.lower() for name in self.headers}):
            cure = "use content_type=" if reserved == ["content-type"] else "the server sets it"
            raise DefinitionError(f"HookResponse(headers=): {reserved[0]!r} cannot be given here: {cure}")

    @classmethod
    def json(cls, value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HookResponse:
        """An answer in JSON. `CodecError` for what JSON cannot hold."""
        try:
            body = msgspec.json.encode(value)
        except Exception as error:  # encoding runs code of users
            raise CodecError(f"the answer of a hook cannot be written as JSON: {error}") from error
        return cls(status=status, body=body, content_type=JSON_TYPE, headers=headers or {})

    @classmethod
    def text(cls, text: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HookResponse:
        """An answer in plain text."""
        return cls(status=status, body=text.encode(), content_type=TEXT_TYPE, headers=headers or {})


class RecordedRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request as a message holds it: the body is `text`, or base64 in `body`."""

    method: str = "POST"
    path: str = ""
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    text: str = ""

    @classmethod
    def of(cls, request: HookRequest) -> RecordedRequest:
        """The record of a request; its `id` is the message's."""
        text, body = _divided(request.body)
        return cls(
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.headers,
            body=body,
            text=text,
        )

    def restored(self, id: str) -> HookRequest:
        """The request, as it came in the message `id`."""
        return HookRequest(
            method=self.method,
            path=self.path,
            query=self.query,
            headers=self.headers,
            body=self.body or self.text.encode(),
            id=id,
        )


class RecordedResponse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer as the journal holds it: the body is `text`, or base64 in `body`."""

    status: int = 200
    content_type: str = ""
    headers: dict[str, str] = {}
    body: bytes = b""
    text: str = ""

    @classmethod
    def of(cls, response: HookResponse) -> RecordedResponse:
        """The record of an answer."""
        text, body = _divided(response.body)
        headers = dict(response.headers)
        return cls(status=response.status, content_type=response.content_type, headers=headers, body=body, text=text)

    def restored(self) -> HookResponse:
        """The answer."""
        return HookResponse(
            status=self.status,
            body=self.body or self.text.encode(),
            content_type=self.content_type,
            headers=self.headers,
        )


def plain_value(request: HookRequest) -> bytes | None:
    """The JSON of what a hook gets that takes no request. None: nothing can be made of this content type.

    JSON is taken as it is; of a form, and of the query where there is no body, a mapping of its fields; of text, the
    text. A field that is there several times gives a list. `CodecError` for a body that is not what it says.
    """
    if request.method in _BODILESS:
        return _mapping(request.query)
    kind = media_type(request.content_type)
    if kind == "application/json" or kind.endswith("+json") or not kind:
        return _json(request.body, may_be_empty=not kind)
    if kind == FORM_TYPE:
        return _mapping(_pairs(request.text()))
    if kind.startswith("text/"):
        return msgspec.json.encode(request.text())
    return None


def media_type(content_type: str) -> str:
    """A content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def query_pairs(query: bytes) -> tuple[tuple[str, str], ...]:
    """The parameters of a URL. `CodecError` for what is not percent-encoded UTF-8."""
    return _pairs(query.decode("latin-1"))


def _json(body: bytes, *, may_be_empty: bool) -> bytes:
    # Without the space around it: what begins with `{"$` must be known to do so.
    text = body.strip(b" \t\r\n")
    if not text and may_be_empty:
        return b"null"
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"the body of the request is not JSON: {error}") from None
    return text


def _mapping(pairs: tuple[tuple[str, str], ...]) -> bytes:
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return msgspec.json.encode({name: found[0] if len(found) == 1 else found for name, found in fields.items()})


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS))
    except UnicodeDecodeError:
        raise CodecError("the fields of the request are not percent-encoded UTF-8") from None
    except ValueError:
        raise CodecError(f"the request has more than {_MAX_FIELDS} fields") from None


def _charset(content_type: str) -> str:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
            if charset not in _CHARSETS:
                known = ", ".join(_CHARSETS)
                raise CodecError(f"the charset {charset[:100]!r} of the request is not known; known are {known}")
            return charset
    return "utf-8"


def _divided(body: bytes) -> tuple[str, bytes]:
    """A body as text, or else as bytes."""
    try:
        return body.decode(), b""
    except UnicodeDecodeError:
        return "", body


def _check_header(name: str, value: str) -> None:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise DefinitionError(f"HookResponse(headers=): {name!r:.100} is no name of a header")
    if not isinstance(value, str) or not value.isprintable() or not _is_latin(value):
        raise DefinitionError(f"HookResponse(headers=): {name}: {value!r:.100} is not one line of Latin-1 text")


def _is_latin(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
