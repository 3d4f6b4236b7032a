"""Steps prepared for one app: types resolved, values ready to be written down."""

from __future__ import annotations

import inspect
from typing import Any
from zlib import crc32

import msgspec
from msgspec import Raw

from stepwell.authoring.steps import Step
from stepwell.codec import Codec, Typed, resolve_annotations
from stepwell.errors import DefinitionError
from stepwell.model.policies import StepOptions

_ATOMS = frozenset({int, str, bool, float, type(None)})


class BoundStep:
    """A step prepared for one app: its types are resolved and its values can be written down."""

    __slots__ = (
        "_has_sum",
        "_more_keywords",
        "_more_positional",
        "_named",
        "_positional",
        "_result",
        "_where",
        "codec",
        "fn",
        "is_plain",
        "options",
        "step",
    )

    def __init__(self, step: Step[..., Any], codec: Codec) -> None:
        self.step = step
        self.codec = codec
        self.options: StepOptions = step.spec
        self._has_sum = codec.cipher is None
        self.fn = step.__wrapped__
        self.is_plain = step.is_async and step.spec.timeout_ms is None and step.spec.deadline_ms is None
        self._where = f"the result of step {step.spec.name}"
        hints = {} if step.signature is None else _hints(step)
        result = _typed_or_plain(codec, hints.get("return", Any), is_strict=not step.is_foreign)
        self._result: Typed[Any] = result
        self._positional: list[tuple[str, Typed[Any]]] = []
        self._named: dict[str, Typed[Any]] = {}
        # Arguments are not recorded, so they are not encrypted either.
        self._more_positional = ("args", codec.typed(Any).plain)
        self._more_keywords: Typed[Any] = codec.typed(Any).plain
        for parameter in () if step.signature is None else step.signature.parameters.values():
            hint = hints.get(parameter.name, Any)
            self._prepare(parameter, _typed_or_plain(codec, hint, is_strict=not step.is_foreign).plain)

    @property
    def output(self) -> Typed[Any]:
        """The type of the result."""
        return self._result

    @property
    def parameter_names(self) -> list[str]:
        """The parameters that have names, in order."""
        return list(self._named)

    @property
    def has_defaults(self) -> bool:
        """Whether it can be called without arguments."""
        signature = self.step.signature
        parameters = () if signature is None else signature.parameters.values()
        return all(
            item.default is not item.empty or item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD)
            for item in parameters
        )

    def decode_argument(self, name: str, raw: Raw, *, where: str) -> Any:
        """The argument that a JSON value stands for."""
        return self._named.get(name, self._more_keywords).decode(raw, where=where)

    def decode_result(self, raw: Raw) -> Any:
        """The value that the body sees."""
        return self._result.decode(raw, where=self._where)

    def isolate_result(self, value: Any) -> tuple[Raw, Any]:
        """The payload of a result, and what the body will see; `CodecError` if these differ from `value`."""
        return self._result.isolate(value, where=self._where)

    def isolate_args(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], int]:
        """Arguments that share nothing with the body's objects, and a checksum of them; 0 under a cipher, because who
        reads it could try which arguments have it."""
        if not kwargs:
            for value in args:
                if type(value) not in _ATOMS:
                    break
            else:
                return args, kwargs, crc32(msgspec.json.encode(args)) if self._has_sum else 0
        return self._copied(args, kwargs)

    def _copied(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any], int]:
        total = 0
        copies = []
        known = len(self._positional)
        for index, value in enumerate(args):
            name, typed = self._positional[index] if index < known else self._more_positional
            raw, copy = typed.isolate(value, where=f"argument {name} of step {self.options.name}")
            total = crc32(raw, total)
            copies.append(copy)
        keywords = {}
        for name, value in kwargs.items():
            typed = self._named.get(name, self._more_keywords)
            raw, keywords[name] = typed.isolate(value, where=f"argument {name} of step {self.options.name}")
            total = crc32(raw, total)
        return tuple(copies), keywords, total if self._has_sum else 0

    def _prepare(self, parameter: inspect.Parameter, typed: Typed[Any]) -> None:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            self._more_positional = (parameter.name, typed)
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            self._more_keywords = typed
        else:
            self._named[parameter.name] = typed
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
                self._positional.append((parameter.name, typed))


def _hints(step: Step[..., Any]) -> dict[str, Any]:
    try:
        return resolve_annotations(step.__wrapped__)
    except DefinitionError:
        if step.is_foreign:
            return {}
        raise


def _typed_or_plain(codec: Codec, annotation: Any, *, is_strict: bool) -> Typed[Any]:
    try:
        return codec.typed(annotation)
    except DefinitionError:
        if is_strict:
            raise
        # A function that its user did not write: its annotations promise nothing about JSON.
        return codec.typed(Any)
