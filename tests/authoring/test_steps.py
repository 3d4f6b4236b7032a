"""Steps: how they are made, how arguments are bound, what their options are."""

from __future__ import annotations

import functools
import threading
from datetime import timedelta

import pytest

from stepwell import Context, DefinitionError, Retry, StepError, step, workflow
from stepwell.testing import StepwellTest
from tests.helpers import run


@step
async def add(a: int, b: int = 1) -> int:
    return a + b


@step
def thread_name() -> str:
    return threading.current_thread().name


@step
async def keywords_only(*, text: str, times: int = 2) -> str:
    return text * times


@step
async def gather_all(first: int, *rest: int, **named: int) -> list[int]:
    return [first, *rest, *named.values()]


# --- outside of a workflow


def test_elsewhere_a_step_just_runs() -> None:
    assert run(add(1, b=2)) == 3


def test_elsewhere_a_sync_step_runs_in_a_thread() -> None:
    assert run(thread_name()) != threading.current_thread().name


def test_the_function_itself_is_kept() -> None:
    assert thread_name.fn() == threading.current_thread().name
    assert add.fn.__name__ == "add"
    assert repr(add) == "<step add>"


def test_a_call_that_is_not_awaited_is_named_by_python() -> None:
    coroutine = add(1)

    assert (coroutine.__name__, coroutine.__qualname__) == ("add", "add")
    coroutine.close()


# --- arguments


@workflow
async def bindings(ctx: Context) -> list[object]:
    return [
        await add(1),
        await add(b=5, a=1),
        await keywords_only(text="x"),
        await gather_all(1, 2, 3, four=4),
    ]


def test_arguments_are_bound_as_in_any_call(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(bindings).result == [2, 6, "xx", [1, 2, 3, 4]]


@workflow
async def too_many(ctx: Context) -> str:
    try:
        await add(1, 2, 3)  # type: ignore[call-arg]
    except TypeError as error:
        return str(error)
    return ""


def test_arguments_that_do_not_fit_are_a_type_error(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(too_many).result == "add() too many positional arguments"


@step
async def total(numbers: list[int], extra: dict[str, int]) -> int:
    await add(0)
    return sum(numbers) + sum(extra.values())


@workflow
async def changes_its_arguments(ctx: Context) -> int:
    numbers = [1, 2]
    call = total(numbers, extra={"a": 3})
    result = await call
    numbers.append(100)
    return result + sum(numbers)


def test_a_step_has_its_own_copy_of_its_arguments(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(changes_its_arguments).result == 6 + 103


# --- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeuot": "5s"}, "step add has no option 'timeuot'; there are: deadline, key"),
        ({"name": ""}, "a name has no spaces and none of"),
        ({"name": "a b"}, "a name has no spaces and none of"),
        ({"name": "a[b]"}, "a name has no spaces and none of"),
        ({"timeout": -1}, "timeout of step add is -1; a duration cannot be negative"),
        ({"deadline": "soon"}, "deadline of step add is 'soon'"),
        ({"raises": int}, "raises of step add holds <class 'int'>; give exception classes"),
        ({"raises": (ValueError, KeyboardInterrupt)}, "give exception classes"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        add.options(**options)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_durations_are_kept_in_milliseconds() -> None:
    spec = add.options(timeout="5s", deadline=timedelta(minutes=1), lease=2).spec

    assert (spec.timeout_ms, spec.deadline_ms, spec.lease_ms) == (5000, 60_000, 2000)


def test_options_add_to_those_of_the_step_and_leave_it_alone() -> None:
    once = add.options(retry=None)
    both = once.options(key="7", raises=ValueError)

    assert (both.spec.retry, both.spec.key, both.spec.raises) == (Retry(attempts=1), "7", (ValueError,))
    assert add.spec.key is None


@step(name="other", retry=Retry(attempts=2))
async def named() -> None: ...


def test_a_decorator_takes_options() -> None:
    assert (named.spec.name, named.spec.retry.attempts, named.__name__) == ("other", 2, "other")


# --- functions of others


@workflow
async def foreign(ctx: Context) -> list[object]:
    return [
        await step(max, name="largest")([1, 3, 2]),
        await step(len)([1, 2]),
        await step(functools.partial(int, base=2))("101"),
        await step(lambda: 7)(),
    ]


def test_a_function_of_others_becomes_a_step(stepwell: StepwellTest) -> None:
    run = stepwell.run_sync(foreign)

    assert run.result == [3, 2, 5, 7]
    assert run.steps == ["largest", "len", "int", "lambda"]


def test_a_step_of_a_step_has_other_options() -> None:
    assert step(add, name="plus").spec.name == "plus"


def test_only_functions_become_steps() -> None:
    with pytest.raises(DefinitionError, match="a step is made of a function"):
        step("add")  # type: ignore[call-overload]


class Doubler:
    async def __call__(self, n: int) -> int:
        return 2 * n


@workflow
async def calls_an_object(ctx: Context) -> int:
    return await step(Doubler(), name="double")(4)


def test_an_object_that_is_called_is_a_function(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(calls_an_object).result == 8
    assert run(step(Doubler())(4)) == 8


# --- methods


def test_a_method_is_refused_where_it_is_defined() -> None:
    with pytest.raises(DefinitionError, match="step buy is a method"):

        class Shop:
            @step
            async def buy(self) -> None: ...


def test_a_step_in_a_class_is_called_through_the_class_only() -> None:
    class Shop:
        @step
        async def buy(item: int) -> int:
            return item

    assert run(Shop.buy(1)) == 1
    with pytest.raises(DefinitionError, match="called as a method of Shop"):
        Shop().buy  # noqa: B018


# --- compensations


def test_a_compensation_is_a_step() -> None:
    @add.options(name="adding").compensate
    async def subtract(result: int, a: int, b: int) -> None: ...

    assert subtract.spec.name == "subtract"


def test_a_step_can_be_a_compensation_and_options_keep_it() -> None:
    source = step(add, name="source")

    assert source.compensate(add) is add
    assert source.options(key="1").compensation is add


# --- errors


@step(retry=None)
async def decline() -> None:
    raise PermissionError("declined")


@workflow
async def declined(ctx: Context) -> list[object]:
    try:
        await decline()
    except StepError as error:
        return [error.type, error.step, error.attempts, error.is_(OSError), error.is_(ValueError), str(error)]
    return []


def test_an_error_says_what_failed(stepwell: StepwellTest) -> None:
    text = "step decline failed after 1 attempt: PermissionError: declined"

    assert stepwell.run_sync(declined).result == ["PermissionError", "decline", 1, True, False, text]
