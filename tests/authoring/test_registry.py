"""The registry: what an app includes, which code drives a run, and how its types are prepared."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from stepwell import (
    Codec,
    CodecError,
    Context,
    DefinitionError,
    RunConflictError,
    RunError,
    StepError,
    Stepwell,
    WorkflowRef,
    step,
    workflow,
)
from stepwell.authoring.registry import Registry
from stepwell.cli.places import app_of, definitions_of
from stepwell.testing import StepwellTest
from tests.authoring import shop

if TYPE_CHECKING:
    from somewhere import Unknown  # type: ignore[import-not-found]

SHOP = "tests.authoring.shop"


def registry_of(*include: object) -> Registry:
    return Registry(include, Codec())


def versions(*given: tuple[str, list[str]]) -> Registry:
    """A registry with these versions of one workflow, each with what it accepts."""
    registry = registry_of()
    for version, accepts in given:

        @workflow(id="it", version=version, accepts=accepts)
        async def it(ctx: Context) -> None: ...

        registry.add(it)
    return registry


# --- what is included


@pytest.mark.parametrize("item", [SHOP, shop, shop.sell])
def test_modules_their_names_and_objects_are_included(item: object) -> None:
    assert [found.id for found in registry_of(item, item).workflows()] == ["sell"]


class Absent:
    """Stands for something that is not there now, as Flask's `request` and Django's `settings` do."""

    @property
    def __class__(self) -> type:
        raise RuntimeError("working outside of request context")

    @__class__.setter
    def __class__(self, value: type) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("working outside of request context")


def test_what_a_module_holds_is_not_asked_what_it_is() -> None:
    module = ModuleType("web")
    module.request = Absent()  # type: ignore[attr-defined]
    module.sell = shop.sell  # type: ignore[attr-defined]

    assert [item.id for item in registry_of(module).workflows()] == [shop.sell.id]
    assert list(definitions_of(module)) == ["sell"]
    assert app_of(module) is None


def test_a_module_is_imported_if_it_is_not_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, SHOP)

    assert registry_of(SHOP).find("sell") is not shop.sell


def test_steps_and_references_may_be_included() -> None:
    assert list(registry_of(shop.price, WorkflowRef("elsewhere")).workflows()) == []


def test_nothing_else_is_included() -> None:
    with pytest.raises(DefinitionError, match="include holds 7; give modules, module names, workflows, steps or nodes"):
        Stepwell("memory://", include=[7])


def test_two_workflows_of_one_name_are_refused() -> None:
    @workflow(id="sell")
    async def other(ctx: Context) -> None: ...

    with pytest.raises(DefinitionError, match=r"two workflows are called <workflow sell>: .*give one an id="):
        registry_of(shop.sell, other)


def test_redefining_a_workflow_replaces_it() -> None:
    registry = versions(("1", []), ("1", []))

    assert len(list(registry.workflows())) == 1


# --- which code drives a run


@pytest.mark.parametrize(
    ("given", "version", "found"),
    [
        ([("", [])], "", ""),
        ([("1", []), ("2", [])], "1", "1"),
        ([("1", []), ("2", [])], "", "2"),
        ([("2", ["1"])], "1", "2"),
        ([("2", ["1"]), ("3", ["1"])], "1", "3"),
        ([("2", ["1"]), ("1", [])], "1", "1"),
    ],
)
def test_a_run_is_driven_by_its_version_or_one_that_accepts_it(given: Any, version: str, found: str) -> None:
    workflow_found = versions(*given).find("it", version)

    assert workflow_found is not None
    assert workflow_found.spec.version == found


@pytest.mark.parametrize(("id", "version"), [("it", "3"), ("another", "")])
def test_no_code_is_no_answer(id: str, version: str) -> None:
    assert versions(("1", []), ("2", ["1"])).find(id, version) is None


def test_a_worker_takes_what_its_code_can_drive() -> None:
    assert versions(("2", ["1"])).kinds() == ("it@", "it@1", "it@2")


# --- types


async def unknown_input(ctx: Context, input: Unknown) -> None: ...


async def unknown_result(ctx: Context) -> Unknown: ...


async def unwritable_input(ctx: Context, input: Callable[[], None]) -> None: ...


async def unwritable_result(ctx: Context) -> Callable[[], None]: ...


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (unknown_input, "Unknown"),
        (unknown_result, "Unknown"),
        (unwritable_input, "the input of workflow unwritable_input"),
        (unwritable_result, "the result of workflow unwritable_result"),
    ],
)
def test_a_type_that_cannot_be_written_down_is_an_error_of_the_app(fn: Any, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        registry_of(workflow(fn))
    assert message in str(caught.value)


@pytest.mark.parametrize("fn", [unknown_input, unwritable_result])
def test_the_types_of_steps_are_checked_too(fn: Any) -> None:
    with pytest.raises(DefinitionError):
        registry_of(step(fn))


def test_annotations_of_others_are_taken_as_hints(stepwell: StepwellTest) -> None:
    @workflow
    async def foreign(ctx: Context) -> int:
        return await step(strange, name="strange")(20) + await step(stranger, name="stranger")(1)

    assert stepwell.run_sync(foreign).result == 42


def strange(n: Unknown) -> Any:
    return 2 * n


def stranger(n: Callable[[], None]) -> Callable[[], None]:
    return 2 * n  # type: ignore[no-any-return, operator]


def test_a_default_input_has_to_fit() -> None:
    @workflow
    async def defaulted(ctx: Context, n: int = "seven") -> None: ...  # type: ignore[assignment]

    with pytest.raises(CodecError, match="default input of defaulted"):
        registry_of(defaulted)


def test_a_reference_has_the_types_that_it_is_given(stepwell: StepwellTest) -> None:
    stepwell.app.registry.add(shop.sell)
    reference = WorkflowRef[str, int]("sell", input=str, output=int)

    assert stepwell.run_sync(reference, "abc").result == 3
    with pytest.raises(CodecError, match="input of workflow sell"):
        stepwell.run_sync(reference, 7)  # type: ignore[misc]


@step
async def join(first: str, *rest: list[str], last: int = 0, **named: dict[str, int]) -> str:
    return f"{first}{rest}{last}{named}"


@workflow
async def joins(ctx: Context) -> list[str]:
    return [
        await join("a", ["b"], ["c"], ["d"]),
        await join("a", ["b"], last=1),
        await join("a", ["b"], x={"n": 2}, y={"n": 3}),
    ]


def test_arguments_beyond_the_named_ones_have_their_types(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(joins).result == [
        "a(['b'], ['c'], ['d'])0{}",
        "a(['b'],)1{}",
        "a(['b'],)0{'x': {'n': 2}, 'y': {'n': 3}}",
    ]


@workflow
async def joins_wrongly(ctx: Context) -> list[str]:
    problems = []
    calls: list[Any] = [lambda: join("a", ["b"], [3]), lambda: join("a", ["b"], x={"n": "3"}), lambda: join(["a"])]  # type: ignore[list-item, dict-item, arg-type]
    for call in calls:
        try:
            await call()
        except (CodecError, StepError) as error:
            problems.append(str(error))
    return problems


def test_an_argument_that_does_not_fit_is_named(stepwell: StepwellTest) -> None:
    rest, named, first = stepwell.run_sync(joins_wrongly).result

    assert "argument rest of step join" in rest
    assert "argument x of step join" in named
    assert "argument first of step join" in first


# --- errors


@step(raises=KeyError, retry=None)
async def look_up(key: str) -> None:
    raise KeyError(key)


@workflow
async def looks_up(ctx: Context) -> list[object]:
    try:
        await look_up("a")
    except KeyError as error:
        return [error.args[0]]
    return []


def test_listed_errors_cross_as_themselves(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(looks_up).result == ["a"]


@workflow
async def inner(ctx: Context) -> None:
    raise LookupError("lost")


@workflow
async def outer(ctx: Context) -> None:
    await inner()


def test_the_error_of_a_child_keeps_its_type_on_the_way_up(stepwell: StepwellTest) -> None:
    run = stepwell.run_sync(outer)

    assert run.error is not None
    assert run.error.is_(LookupError)
    assert run.error.is_(RunError)
    assert not run.error.is_(RunConflictError)
