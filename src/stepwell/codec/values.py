"""Values to payloads and back, by annotation; a value that would come back as another is refused.

`Typed.isolate` is the one call of the hot path: it encodes, decodes, compares, and hands out what was decoded, so that
a workflow sees the same object on the first run as on every replay. For atoms of the annotated type nothing can get
lost, so they are encoded and no more.
"""

from __future__ import annotations

import inspect
import math
import re
import reprlib
from collections.abc import Callable, Mapping
from sys import maxsize
from types import UnionType
from typing import Any, Generic, NoReturn, TypeVar, Union, get_args, get_origin

import msgspec
import msgspec.inspect
from msgspec import Raw

from stepwell.codec.annotations import annotation_problem
from stepwell.codec.compare import Difference, children, difference
from stepwell.codec.payloads import DOLLAR, MAX_PAYLOAD, Cipher, Compression, is_ours, pack, unwrap
from stepwell.codec.schemas import json_schema
from stepwell.errors import CodecError, DefinitionError
from stepwell.model.failures import NULL

T = TypeVar("T")
Custom = Mapping[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]]
"""For each class: a function to what JSON can hold, and one back."""

# Encoding and decoding run code of users: hooks, `__post_init__`, validators. So they may raise anything.

_PLAIN: frozenset[type] = frozenset({int, str, bool, float, type(None)})
_AT = re.compile(r"(?s)^(.*) - at `(.*)`$")
_DEPTH_MAX = 100


class Codec:
    """How an app writes values down: `types` adds classes that JSON does not know, `cipher` encrypts every payload.

    `compress` makes large payloads smaller, before they are encrypted; any codec reads them. `max_payload` is the most
    bytes that one value may take.
    """

    def __init__(
        self,
        cipher: Cipher | None = None,
        *,
        types: Custom | None = None,
        compress: bool | Compression = False,
        max_payload: int = MAX_PAYLOAD,
    ) -> None:
        if compress not in (True, False) and not isinstance(compress, Compression):
            raise DefinitionError(f"Codec(compress={compress!r}): give True, False or a Compression")
        self.cipher = cipher
        self.compression = Compression() if compress is True else compress or None
        self.max_payload = max_payload
        self._types = dict(types or {})
        self._prepared: dict[Any, Typed[Any]] = {}
        self._encoder = msgspec.json.Encoder(enc_hook=self._to_json)
        for kind in self._types:
            if not isinstance(msgspec.inspect.type_info(kind), msgspec.inspect.CustomType):
                raise DefinitionError(f"Codec(types=): {kind.__qualname__} has a JSON form already; wrap it in a class")

    def bare(self) -> Codec:
        """The same without cipher and compression: for payloads that others write down."""
        return Codec(types=self._types, max_payload=self.max_payload)

    def typed(self, annotation: Any) -> Typed[Any]:
        """Prepare an annotation, once. None given (`inspect.Parameter.empty`) and `Any` mean plain JSON types."""
        try:
            return self._prepared[annotation]
        except KeyError:
            prepared = self._prepared[annotation] = self._prepare(annotation)
            return prepared
        except TypeError:  # not hashable
            return self._prepare(annotation)

    def sealed(self, data: bytes) -> Raw:
        """The payload of JSON that is known to come back as it is."""
        if self.cipher is None and self.compression is None and not data.startswith(DOLLAR):
            return Raw(data)
        return pack(data, self.cipher, self.compression)

    def opened(self, raw: Raw, *, where: str) -> Raw:
        """The JSON of a payload."""
        if not is_ours(raw):
            return raw
        return Raw(unwrap(raw, self.cipher, where=where, limit=self.max_payload))

    def same(self, one: Raw, other: Raw, *, where: str) -> bool:
        """Whether two payloads hold the same JSON. A cipher may give other bytes each time."""
        return one == other or self.opened(one, where=where) == self.opened(other, where=where)

    def _prepare(self, annotation: Any) -> Typed[Any]:
        if annotation is inspect.Parameter.empty or annotation is object:
            annotation = Any
        if problem := annotation_problem(annotation, custom=self._is_custom):
            raise DefinitionError(
                f"the type {_show_type(annotation)} cannot be used for values that are recorded: {problem}"
            )
        decoder = msgspec.json.Decoder(annotation, dec_hook=self._from_json)
        return Typed(annotation, self._encoder.encode, decoder.decode, self)

    def _is_custom(self, kind: Any) -> bool:
        return kind in self._types or _is_pydantic(kind)

    def _to_json(self, value: Any) -> Any:
        if pair := self._types.get(type(value)):
            return pair[0](value)
        if _is_pydantic(type(value)):
            return Raw(value.model_dump_json(by_alias=True, round_trip=True).encode())
        raise TypeError

    def _from_json(self, kind: type[Any], plain: Any) -> Any:
        if pair := self._types.get(kind):
            return pair[1](plain)
        if _is_pydantic(kind):
            return kind.model_validate_json(msgspec.json.encode(plain))
        return plain


class Typed(Generic[T]):
    """One annotation, prepared. `where` names the value in errors: "the result of step charge"."""

    __slots__ = (
        "_above",
        "_atoms",
        "_bare",
        "_cipher",
        "_compression",
        "_decode",
        "_encode",
        "_is_bare",
        "_is_flat",
        "_max_payload",
        "annotation",
    )

    def __init__(
        self,
        annotation: Any,
        encode: Callable[[Any], bytes],
        decode: Callable[[Raw | bytes], T],
        codec: Codec,
    ) -> None:
        self.annotation = annotation
        self._encode = encode
        self._decode = decode
        self._cipher = codec.cipher
        self._compression = codec.compression
        self._above = -1 if codec.cipher else maxsize if codec.compression is None else codec.compression.above
        self._max_payload = codec.max_payload
        self._atoms = _atoms_of(annotation)
        self._is_flat = bool(self._atoms) and annotation is not Any and codec.cipher is None
        self._is_bare = False
        self._bare: Typed[T] | None = None

    @property
    def plain(self) -> Typed[T]:
        """The same for the JSON itself: what is a part of a payload is neither encrypted nor marked."""
        if self._is_bare:
            return self
        if self._bare is None:
            bare = self._bare = Typed(self.annotation, self._encode, self._decode, Codec(max_payload=self._max_payload))
            bare._is_bare = bare._is_flat = True
        return self._bare

    def encode(self, value: T, *, where: str) -> Raw:
        """The payload of a value that fits the annotation and would come back the same; else `CodecError`."""
        return self.isolate(value, where=where)[0]

    def isolate(self, value: T, *, where: str) -> tuple[Raw, T]:
        """The payload, and the value as every later reader will see it."""
        try:
            data = self._encode(value)
        except Exception as error:
            self._refuse(value, error, where)
        if type(value) in self._atoms:
            if data == b"null" and value is not None:
                raise CodecError(_not_finite(where, "", value))
        else:
            value = self._returned(value, data, where)
        if len(data) > self._max_payload:
            raise CodecError(
                f"{where} takes {len(data)} bytes, and one value may take {self._max_payload}; "
                f"store it as a Blob, and pass that"
            )
        if len(data) > self._above or (data.startswith(DOLLAR) and not self._is_bare):
            return self._pack(data), value
        return (Raw(data) if value is not None else NULL), value

    def decode(self, raw: Raw, *, where: str) -> T:
        """The value of a payload; `CodecError` names the field that does not fit."""
        try:
            if self._is_flat or bytes(memoryview(raw)[:3]) != DOLLAR:  # is_ours, without a call
                return self._decode(raw)
            return self._unwrapped(raw, where)
        except CodecError:
            raise
        except Exception as error:
            if self._is_flat and not self._is_bare and is_ours(raw):
                return self._unwrapped(raw, where)  # no value of such a type looks so; this is of another codec
            raise CodecError(f"{where}: {_explain(error)}") from error

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the values."""
        return json_schema(self.annotation)

    def _unwrapped(self, raw: Raw, where: str) -> T:
        data = unwrap(raw, self._cipher, where=where, limit=self._max_payload)
        try:
            return self._decode(data)
        except Exception as error:
            raise CodecError(f"{where}: {_explain(error)}") from error

    def _returned(self, value: T, data: bytes, where: str) -> T:
        try:
            returned = self._decode(data)
        except Exception as error:
            if place := _find(value, _is_not_finite):
                raise CodecError(_not_finite(where, *place)) from error
            raise CodecError(
                f"{where}: {_explain(error)}; it is annotated {_show_type(self.annotation)}: "
                f"give such a value, or change the annotation"
            ) from error
        if found := difference(value, returned):
            raise CodecError(self._changed(found, where))
        return returned

    def _changed(self, found: Difference, where: str) -> str:
        if _is_not_finite(found.before):
            return _not_finite(where, found.path, found.before)
        cure = "annotate the return type (for an input, the parameter), so that it can be rebuilt"
        if self.annotation is not Any:
            cure = f"it is annotated {_show_type(self.annotation)}: give exactly such a value, or change the annotation"
        return (
            f"{_place(where, found.path)} would not come back as it went in: {_show(found.before)} went in, "
            f"{_show(found.after)} came back; {cure}"
        )

    def _refuse(self, value: Any, error: Exception, where: str) -> NoReturn:
        if isinstance(error, RecursionError):
            raise CodecError(f"{where} is nested too deep, or contains itself; flatten it") from None
        path, part = self._culprit(value)
        if isinstance(error, UnicodeEncodeError):
            problem = f"the text {_show(part)} holds half of a surrogate pair, which UTF-8 cannot express; repair it"
        elif isinstance(part, dict):
            problem = f"{_show(part)} has a key that JSON cannot express; use str keys, or a list of pairs"
        elif type(part) is int:
            problem = "the int has too many digits; pass it as text"
        else:
            problem = (
                f"a {type(part).__qualname__} cannot be written as JSON; return plain data, annotate it with a type "
                f"such as a dataclass, or register the class with Codec(types=)"
            )
        raise CodecError(f"{_place(where, path)}: {problem}") from error

    def _culprit(self, value: Any) -> tuple[str, Any]:
        """The innermost part that cannot be encoded."""
        path = ""
        for _ in range(_DEPTH_MAX):
            refused = next((found for found in children(value) if self._is_refused(found[1])), None)
            if refused is None:
                break
            path, value = path + refused[0], refused[1]
        return path, value

    def _is_refused(self, part: Any) -> bool:
        try:
            self._encode(part)
        except Exception:
            return True
        return False

    def _pack(self, data: bytes) -> Raw:
        return NULL if data == b"null" else pack(data, self._cipher, self._compression)


def _atoms_of(annotation: Any) -> frozenset[type]:
    """The types whose values need no check: exactly these are admitted, and JSON keeps them as they are."""
    if annotation is Any:
        return _PLAIN
    if annotation is None:
        return frozenset({type(None)})
    while (inner := getattr(annotation, "__supertype__", None)) is not None:
        annotation = inner
    parts: tuple[Any, ...] = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    plain = [part for part in parts if isinstance(part, type) and part in _PLAIN]
    return frozenset(plain) if len(plain) == len(parts) else frozenset()


def _is_pydantic(kind: Any) -> bool:
    return hasattr(kind, "model_dump_json") and hasattr(kind, "model_validate_json")


def _find(value: Any, is_wanted: Callable[[Any], bool], path: str = "") -> tuple[str, Any] | None:
    """The first part, outermost first, for which `is_wanted` holds."""
    if is_wanted(value):
        return path, value
    return next(filter(None, (_find(part, is_wanted, path + step) for step, part in children(value))), None)


def _is_not_finite(part: Any) -> bool:
    return isinstance(part, float) and not math.isfinite(part)


def _not_finite(where: str, path: str, value: Any) -> str:
    return f"{_place(where, path)} is {value!r}, which JSON cannot express; use None, or a Decimal"


def _explain(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if not isinstance(error, msgspec.MsgspecError):
        return f"{type(error).__qualname__}: {error}"
    match = _AT.match(str(error))
    text, path = (match[1], match[2]) if match else (str(error), "")
    text = text[:1].lower() + text[1:].replace("`", "")
    path = path.removeprefix("$").removeprefix(".")
    return f"field `{path}`: {text}" if path else text


def _place(where: str, path: str) -> str:
    return f"{where}: field `{path.removeprefix('.')}`" if path else where


def _show(value: Any) -> str:
    return f"{reprlib.repr(value)} ({type(value).__qualname__})"


def _show_type(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)


_DEFAULT = Codec()


def typed(annotation: Any) -> Typed[Any]:
    """Prepare an annotation for the codec that knows no further types and does not encrypt."""
    return _DEFAULT.typed(annotation)
