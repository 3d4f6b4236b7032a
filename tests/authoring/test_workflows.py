"""Workflows: their shape, their options, and calling them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stepwell import Context, DefinitionError, NotInWorkflowError, Retry, RunError, WorkflowRef, workflow
from stepwell.testing import StepwellTest


@workflow
async def greet(ctx: Context, name: str = "you") -> str:
    return f"hello {name}"


@workflow
async def nothing(ctx: Context) -> None: ...


def plain(ctx: Context) -> None: ...


async def no_context() -> None: ...


async def two_inputs(ctx: Context, a: int, b: int) -> None: ...


async def starred(ctx: Context, *inputs: int) -> None: ...


async def keyword_only(ctx: Context, *, input: int) -> None: ...


async def method(self: object, ctx: Context) -> None: ...


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (plain, "workflow plain is not an `async def`"),
        (no_context, "workflow no_context takes ()"),
        (two_inputs, "one input, a dataclass or Struct if it is more than one value"),
        (starred, "workflow starred takes"),
        (keyword_only, "workflow keyword_only takes"),
        (method, "workflow method is a method"),
    ],
)
def test_a_workflow_has_a_context_and_at_most_one_input(fn: Callable[..., Any], message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        workflow(fn)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tiemout": "5s"}, "workflow it has no option 'tiemout'; there are: accepts, id"),
        ({"id": ""}, "an id is not empty and has no '@'"),
        ({"id": "a@1"}, "an id is not empty and has no '@'"),
        ({"timeout": "soon"}, "timeout of workflow it is 'soon'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    async def it(ctx: Context) -> None: ...

    with pytest.raises(DefinitionError) as caught:
        workflow(**options)(it)
    assert message in str(caught.value)


def test_options_are_validated_into_one_value() -> None:
    @workflow(id="x", version="2", accepts=["1"], timeout="1m", retry=Retry(attempts=2), tags={"a": "b"}, queue="q")
    async def it(ctx: Context) -> None: ...

    spec = it.spec
    assert (spec.id, spec.version, spec.accepts, spec.timeout_ms) == ("x", "2", ("1",), 60_000)
    assert (spec.tags, spec.queue, spec.retry) == ({"a": "b"}, "q", Retry(attempts=2))
    assert repr(it) == "<workflow x v2>"


def test_a_workflow_is_not_called_elsewhere() -> None:
    with pytest.raises(NotInWorkflowError, match=r"start it: await app.start\(greet, ...\)"):
        greet("you")


@workflow
async def parent(ctx: Context) -> list[object]:
    reference = WorkflowRef[str, str]("greet")
    return [await greet("a"), await greet(name="b"), await reference("c"), await nothing()]  # type: ignore[call-overload]


def test_calling_a_workflow_runs_it_as_a_child(stepwell: StepwellTest) -> None:
    stepwell.app.registry.add(greet)
    stepwell.app.registry.add(nothing)

    assert stepwell.run_sync(parent).result == ["hello a", "hello b", "hello c", None]


@workflow
async def calls_with_two(ctx: Context) -> str:
    try:
        return await greet("a", "b")  # type: ignore[call-overload, no-any-return]
    except TypeError as error:
        return str(error)


def test_a_workflow_takes_one_input(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(calls_with_two).result == "workflow greet takes one input, 2 were given"


def test_an_input_may_have_a_default(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(greet).result == "hello you"  # type: ignore[call-overload]
    assert stepwell.run_sync(greet, "me").result == "hello me"


def test_an_input_that_is_missing_or_too_much_is_refused(stepwell: StepwellTest) -> None:
    @workflow
    async def needs(ctx: Context, n: int) -> int:
        return n

    with pytest.raises(DefinitionError, match="workflow needs needs its input"):
        stepwell.run_sync(needs)  # type: ignore[call-overload]
    with pytest.raises(DefinitionError, match="workflow nothing takes no input, 7 was given"):
        stepwell.run_sync(nothing, 7)  # type: ignore[call-overload]


def test_a_result_that_does_not_fit_fails_the_run(stepwell: StepwellTest) -> None:
    @workflow
    async def lies(ctx: Context) -> int:
        return "seven"  # type: ignore[return-value]

    with pytest.raises(RunError, match="the result of workflow lies"):
        _ = stepwell.run_sync(lies).result


@pytest.mark.parametrize("option", ["limit", "schedules"])
def test_an_option_of_a_later_version_is_refused(option: str) -> None:
    async def it(ctx: Context) -> None: ...

    with pytest.raises(DefinitionError, match="is not available in this version"):
        workflow(**{option: [1]})(it)  # type: ignore[arg-type]
