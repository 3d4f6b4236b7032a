"""Exceptions are built from their record alone, so that a workflow sees the same one live and on replay."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, structs

from stepwell.codec import Codec, exception_of, failure_of
from stepwell.errors import CodecError, StepError
from stepwell.model.failures import NULL, Failure
from tests.test_codec_payloads import Reverse


class CardError(Exception):
    pass


class CardDeclined(CardError):
    def __init__(self, reason: str, code: int = 0) -> None:
        super().__init__(reason, code)
        self.reason = reason
        self.code = code


class Formatted(Exception):
    """Its args are not those of its constructor."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Reduced(Formatted):
    """... but it says how to be copied."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Reduced, (self.code,)


class Odd(CardError):
    """It is copied by another function, so its args have to do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return str, ("odd",)


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def raised(exception: BaseException) -> BaseException:
    try:
        raise exception
    except BaseException as caught:
        return caught


def recorded(failure: Failure) -> Failure:
    return msgspec.json.decode(msgspec.json.encode(failure), type=Failure)


def cross(exception: BaseException, *raises: type[BaseException]) -> BaseException:
    return exception_of(recorded(failure_of(exception, raises=raises)), raises=raises)


def test_a_failure_names_the_types_that_say_something() -> None:
    failure = failure_of(raised(CardDeclined("no", 5)))

    assert failure.types == (f"{__name__}.CardDeclined", f"{__name__}.CardError")
    assert failure.is_(CardError)
    assert failure.args == NULL


def test_a_plain_exception_has_no_types_to_name() -> None:
    assert failure_of(Exception("x")).types == ()
    assert str(failure_of(Exception("x"))) == "Exception: x"


def test_an_unlisted_type_arrives_as_a_step_error() -> None:
    failure = failure_of(raised(CardDeclined("no")), step="charge", attempts=3)

    error = exception_of(recorded(failure))

    assert isinstance(error, StepError)
    assert (error.step, error.attempts, error.type) == ("charge", 3, "CardDeclined")
    assert error.is_(CardError)
    assert "raise exception" in error.__notes__[0]


def test_a_listed_type_arrives_as_itself() -> None:
    error = cross(raised(CardDeclined("no", 5)), CardDeclined)

    assert type(error) is CardDeclined
    assert (error.reason, error.code) == ("no", 5)
    assert "raise exception" in error.__notes__[0]


def test_a_listed_base_stands_for_its_subclasses() -> None:
    error = cross(CardDeclined("no", 5), CardError)

    assert type(error) is CardError
    assert error.args == ("no", 5)


def test_the_most_derived_of_the_listed_types_wins() -> None:
    assert type(cross(CardDeclined("no"), CardError, CardDeclined)) is CardDeclined


def test_an_error_of_the_operating_system_keeps_its_file() -> None:
    error = cross(FileNotFoundError(2, "No such file", "a.txt"), FileNotFoundError)

    assert isinstance(error, FileNotFoundError)
    assert error.filename == "a.txt"


def test_a_class_may_say_how_to_be_copied() -> None:
    error = cross(Reduced(5), Reduced)

    assert isinstance(error, Reduced)
    assert error.code == 5


def test_a_class_that_is_copied_in_another_way_is_built_from_its_args() -> None:
    assert cross(Odd("x"), Odd).args == ("x",)


def test_an_exception_that_was_never_raised_has_only_its_last_line() -> None:
    assert failure_of(ValueError("x")).traceback == "ValueError: x\n"


def with_attribute() -> CardDeclined:
    error = CardDeclined("no")
    error.response = object()  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    "exception",
    [Formatted(5), CardDeclined(object()), CardDeclined((1, 2)), Broken("x"), with_attribute()],  # type: ignore[arg-type]
    ids=["other args", "an object", "a tuple", "no text", "an attribute"],
)
def test_what_cannot_be_built_again_is_a_step_error_that_says_so(exception: Exception) -> None:
    error = cross(exception, type(exception))

    assert isinstance(error, StepError)
    assert error.is_(type(exception))
    assert f"{type(exception).__qualname__} arrives as StepError" in error.traceback


def test_a_note_on_the_exception_does_not_matter() -> None:
    exception = CardDeclined("no")
    exception.add_note("tried twice")

    assert type(cross(exception, CardDeclined)) is CardDeclined


@pytest.mark.parametrize("args", [NULL, Raw(b"[1,2,3,4]"), Raw(b"5")])
def test_a_record_that_the_class_no_longer_fits_gives_a_step_error(args: Raw) -> None:
    failure = structs.replace(failure_of(CardDeclined("no"), raises=(CardDeclined,)), args=args)

    assert isinstance(exception_of(failure, raises=(CardDeclined,)), StepError)


def test_no_class_is_found_by_the_name_in_a_record() -> None:
    failure = Failure(types=("os.PathLike", "builtins.SystemExit"), args=Raw(b'["x"]'))

    assert isinstance(exception_of(failure, raises=(CardDeclined,)), StepError)


def test_a_step_error_keeps_what_it_reports() -> None:
    inner = exception_of(failure_of(CardDeclined("no"), step="charge", attempts=3))

    failure = failure_of(raised(inner))

    assert (failure.type, failure.step, failure.attempts) == ("CardDeclined", "charge", 3)
    assert failure.is_(CardDeclined)
    assert failure.is_(StepError)


def test_a_step_error_out_of_a_step_is_the_failure_of_that_step() -> None:
    inner = StepError("no", step="inner", attempts=3, types=())

    failure = failure_of(inner, step="outer", attempts=1)

    assert (failure.step, failure.attempts) == ("outer", 1)


def test_arguments_are_encrypted_with_all_other_payloads() -> None:
    codec = Codec(Reverse())
    failure = failure_of(CardDeclined("hunter2"), raises=(CardDeclined,), codec=codec)

    assert b"hunter2" not in bytes(failure.args)
    assert type(exception_of(failure, raises=(CardDeclined,), codec=codec)) is CardDeclined
    with pytest.raises(CodecError, match="encrypted"):
        exception_of(failure, raises=(CardDeclined,))


def test_a_group_tells_what_it_holds() -> None:
    group = ExceptionGroup("2 failed", [ValueError("bad"), ExceptionGroup("more", [KeyError("k")])])

    message = failure_of(group).message

    assert "ValueError: bad" in message
    assert "KeyError: 'k'" in message


def test_a_large_group_is_cut() -> None:
    assert failure_of(ExceptionGroup("all", [ValueError("x")] * 50)).message.endswith("and 40 more")


def test_an_exception_without_text_is_still_recorded() -> None:
    assert failure_of(Broken()).message == "<no message: str() raised RuntimeError>"
    assert failure_of(asyncio.CancelledError()).message == ""


def deep(depth: int) -> None:
    if depth == 0:
        raise ValueError("bottom")
    deep(depth - 1)


def test_a_traceback_holds_the_last_frames() -> None:
    try:
        deep(200)
    except ValueError as error:
        trace = failure_of(error).traceback

    assert 'raise ValueError("bottom")' in trace
    assert "test_a_traceback_holds" not in trace
    assert len(trace) < 8300


def test_a_traceback_tells_the_cause() -> None:
    error = RuntimeError("late")
    error.__cause__ = raised(ValueError("early"))

    assert "ValueError: early" in failure_of(raised(error)).traceback


def test_our_own_frames_are_left_out() -> None:
    with pytest.raises(CodecError) as caught:
        Codec().typed(int).encode("x", where="it")

    trace = failure_of(caught.value).traceback

    assert "stepwell/codec" not in trace
    assert "test_codec_failures.py" in trace


def test_a_long_chain_of_causes_is_recorded() -> None:
    error = ValueError("first")
    for number in range(100):
        error, error.__cause__ = ValueError(str(number)), error

    assert failure_of(raised(error)).traceback.endswith("ValueError: 99\n")


def test_a_record_without_a_traceback_adds_no_note() -> None:
    failure = Failure(types=(f"{__name__}.CardError",), args=Raw(b'["no"]'))

    assert not hasattr(exception_of(failure, raises=(CardError,)), "__notes__")


@given(st.text(st.characters()), st.lists(st.integers() | st.text() | st.none()))
def test_any_text_can_be_recorded_and_gives_the_same_exception(message: str, args: list[object]) -> None:
    failure = failure_of(CardError(message, *args), raises=(CardError,))

    first, again = (exception_of(record, raises=(CardError,)) for record in (failure, recorded(failure)))

    assert type(first) is type(again)
    assert (first.args, first.__notes__) == (again.args, again.__notes__)


@pytest.mark.parametrize("text", ["x" * 100_000, "\ud800" * 10_000, "\N{SNOWMAN}" * 10_000])
def test_texts_are_bounded(text: str) -> None:
    failure = failure_of(raised(ValueError(text)))

    assert len(msgspec.json.encode(failure)) < 34_000


@pytest.mark.parametrize("cross", [(), (CardError,)], ids=["step error", "itself"])
def test_a_text_that_looks_encrypted_is_not_taken_for_it(cross: tuple[type[BaseException], ...]) -> None:
    failure = failure_of(CardError('{"$sealed":"by a user"}'), raises=cross)

    assert not failure.is_sealed
    assert "by a user" in str(exception_of(failure, raises=cross))


class Gone(Exception):
    def __init__(self, code: object) -> None:
        super().__init__("gone")
        self.code = code


class Kind(StrEnum):
    GONE = "gone"


class Unspoken(Exception):
    @property
    def code(self) -> str:
        raise LookupError


@pytest.mark.parametrize("code", ["E", "card_declined", "x" * 100, "§ 4 Nr. 2"])
def test_a_code_that_is_a_short_text_is_kept(code: str) -> None:
    error = cross(Gone(code))

    assert isinstance(error, StepError)
    assert error.code == code


@pytest.mark.parametrize("code", ["", "x" * 101, "two\nlines", "\ud800", 7, None, b"x", ["x"]])
def test_a_code_that_is_anything_else_is_none(code: object) -> None:
    error = cross(Gone(code))

    assert isinstance(error, StepError)
    assert error.code == ""


def test_of_a_code_of_an_enumeration_the_text_is_kept() -> None:
    code = failure_of(Gone(Kind.GONE)).code

    assert (code, type(code)) == ("gone", str)


def test_a_code_that_cannot_be_asked_for_is_none() -> None:
    assert failure_of(Unspoken()).code == ""


def test_a_step_error_that_goes_on_up_keeps_its_code() -> None:
    error = cross(cross(cross(Gone("gone"))))

    assert isinstance(error, StepError)
    assert error.code == "gone"
