"""Exceptions to failures and back.

A workflow must see the same exception on the first run as on every replay, so it never sees the real one: the failure
is recorded first, and the exception is built from the record. Types that a step lists in `raises` are built again as
themselves; the record is matched against that list and never imports a class. All others become a `StepError`.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Raw

from stepwell.codec.compare import difference
from stepwell.codec.values import Codec
from stepwell.errors import CodecError, StepError, type_name
from stepwell.model.failures import NULL, SEALED, Failure

_HERE = str(Path(__file__).parent.parent) + os.sep
_FRAMES_MAX = 20
_TEXT_MAX = 8192
_NESTED_MAX = 10
_CODE_MAX = 100
_UNNAMED = (Exception, BaseException, object)
_PLAIN = Codec()


def failure_of(
    exception: BaseException,
    *,
    raises: Sequence[type[BaseException]] = (),
    codec: Codec = _PLAIN,
    step: str | None = None,
    attempts: int = 0,
) -> Failure:
    """What the journal keeps of an exception. Of a `StepError`: the types, the step and the message it reports."""
    trace = _trace(exception)
    if isinstance(exception, StepError):
        return Failure(
            types=_unique(*exception.types, *_types(exception)),
            message=_text(exception.message),
            traceback=trace,
            step=exception.step if step is None else step,
            attempts=exception.attempts if step is None else attempts,
            code=_code(exception),
        )
    types = _types(exception)
    args = NULL
    if (crossing := _crossing(types, raises)) is not None:
        args = _args(exception, crossing, codec)
        if args is NULL:
            trace += (
                f"{crossing.__qualname__} arrives as StepError: its args {exception.args!r:.200} do not rebuild it\n"
            )
    return Failure(
        types=types,
        message=_message(exception),
        traceback=_text(trace),
        args=args,
        step=step,
        attempts=attempts,
        code=_code(exception),
    )


def exception_of(
    failure: Failure, *, raises: Sequence[type[BaseException]] = (), codec: Codec = _PLAIN
) -> BaseException:
    """The exception to raise for a failure: of a type in `raises` if it is one of them, else a `StepError`.

    A listed base class stands for its subclasses. The same failure always gives the same exception. `SealedError` if it
    is encrypted, and the key is not here.
    """
    failure = failure.opened()
    crossing = _crossing(failure.types, raises)
    if crossing is not None and (exception := _rebuilt(failure, crossing, codec)) is not None:
        if failure.traceback:
            exception.add_note(failure.traceback.rstrip())
        return exception
    return StepError(
        failure.message,
        step=failure.step or "",
        attempts=failure.attempts,
        types=failure.types,
        traceback=failure.traceback,
        code=failure.code,
    )


def _types(exception: BaseException) -> tuple[str, ...]:
    return tuple(_text(type_name(kind)) for kind in type(exception).__mro__ if kind not in _UNNAMED)


def _crossing(types: Sequence[str], raises: Sequence[type[BaseException]]) -> type[BaseException] | None:
    """The most derived of the listed types; `Exception` itself has no name in a record, and stands for nothing."""
    listed = {type_name(kind): kind for kind in raises}
    return next((listed[name] for name in types if name in listed), None)


def _args(exception: BaseException, crossing: type[BaseException], codec: Codec) -> Raw:
    """The arguments, if they are plain and make the same exception again; else NULL."""
    try:
        raw, args = codec.typed(Any).isolate(_arguments(exception), where="args")
        rebuilt = crossing(*args)
        if str(rebuilt) != str(exception):
            return NULL
    except Exception:  # a constructor may raise anything
        return NULL
    kept, lost = vars(rebuilt), vars(exception)
    if type(exception) is not crossing:
        lost = {name: value for name, value in lost.items() if name in kept}
    lost = {name: value for name, value in lost.items() if name != "__notes__"}
    same = difference(exception.args, rebuilt.args) is None and difference(lost, kept) is None
    return raw if same else NULL


def _arguments(exception: BaseException) -> list[Any]:
    """As copying has them: an OSError knows its file name only there, and a class may say better in `__reduce__`."""
    reduced = exception.__reduce__()
    if isinstance(reduced, tuple) and reduced[0] is type(exception):
        return list(reduced[1])
    return list(exception.args)


def _rebuilt(failure: Failure, crossing: type[BaseException], codec: Codec) -> BaseException | None:
    try:
        args = codec.typed(Any).decode(failure.args, where="args")
        return None if args is None else crossing(*args)
    except CodecError:
        raise
    except Exception:  # the constructor has changed since: a StepError says what is known
        return None


def _message(exception: BaseException) -> str:
    try:
        text = str(exception)
    except Exception as error:  # a broken __str__ must not hide the failure
        text = f"<no message: str() raised {type(error).__qualname__}>"
    if isinstance(exception, BaseExceptionGroup):
        text = f"{text}: {'; '.join(_nested(exception))}"
    return _text(text)


def _code(exception: BaseException) -> str:
    """What programs know the failure by, if the exception says so: a text of one line, as it is or not at all."""
    try:
        code = getattr(exception, "code", None)
    except Exception:  # it may be a property that raises anything
        return ""
    if not isinstance(code, str) or not 1 <= len(code) <= _CODE_MAX or not code.isprintable():
        return ""
    # Of a text that is an enum's member, the text.
    return str.__str__(code)


def _nested(group: BaseExceptionGroup[BaseException]) -> Iterator[str]:
    for inner in group.exceptions[:_NESTED_MAX]:
        yield f"{type(inner).__qualname__}: {_message(inner)}"
    if len(group.exceptions) > _NESTED_MAX:
        yield f"and {len(group.exceptions) - _NESTED_MAX} more"


def _trace(exception: BaseException) -> str:
    """Where it was raised, causes included: the last frames of users' code, cut at the front."""
    summary = traceback.TracebackException.from_exception(exception, limit=-_FRAMES_MAX * 3)
    _strip(summary, 0)
    text = "".join(summary.format())
    return _text(text if len(text) <= _TEXT_MAX else f"...\n{text[-_TEXT_MAX:]}")


def _strip(summary: traceback.TracebackException, depth: int) -> None:
    frames = [frame for frame in summary.stack if not frame.filename.startswith(_HERE)]
    summary.stack = traceback.StackSummary.from_list(frames[-_FRAMES_MAX:])
    if depth < _FRAMES_MAX:
        for inner in (summary.__cause__, summary.__context__, *(summary.exceptions or ())):
            if inner is not None:
                _strip(inner, depth + 1)


def _text(text: str) -> str:
    """At most 8 KiB of text that UTF-8 can express, and that nobody takes for one that a cipher hid."""
    if text.startswith(SEALED):
        text = f" {text}"
    data = text.encode("utf-8", "backslashreplace")
    return data.decode() if len(data) <= _TEXT_MAX + 4 else data[:_TEXT_MAX].decode("utf-8", "ignore") + "..."


def _unique(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
