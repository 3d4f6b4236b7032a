"""The pytest plugin: the fixture `stepwell`, and async tests that ask for it.

Such a test runs on the fixture's own loop, in virtual time, and needs no other plugin. Where pytest-asyncio or anyio
are installed too, they do not get to see it as an async test. Imports what it needs when a test asks for it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

from stepwell import testing

if TYPE_CHECKING:
    from stepwell.testing.fixture import StepwellTest


@pytest.fixture
def stepwell_options() -> dict[str, Any]:
    """Options of `StepwellTest` for the fixture `stepwell`; override it to set `lifespan`, `secrets`, `seed` ..."""
    return {}


@pytest.fixture
def stepwell(stepwell_options: dict[str, Any]) -> Generator[StepwellTest, None, None]:
    """Runs workflows in virtual time, with fakes: `run = await stepwell.run(checkout, order, fakes={...})`."""
    with testing.StepwellTest(**stepwell_options) as test:
        yield test


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run an async test that has the fixture on the fixture's loop."""
    test = pyfuncitem.funcargs.get("stepwell")
    function = None if test is None else _async_function(pyfuncitem)
    if not hasattr(test, "drive") or function is None:
        return (yield)

    @functools.wraps(function)
    def run(**arguments: Any) -> None:
        test.drive(function(**arguments))

    del run.__wrapped__  # or it would still look async to others
    before = pyfuncitem.obj
    pyfuncitem.obj = run
    try:
        return (yield)
    finally:
        pyfuncitem.obj = before


def _async_function(item: pytest.Function) -> Callable[..., Any] | None:
    """The test's own function if it is async; what pytest-asyncio (in its auto mode) made of it is undone."""
    function: Any = item.obj
    if not inspect.iscoroutinefunction(function) and type(item).__module__.partition(".")[0] == "pytest_asyncio":
        function = inspect.unwrap(function)
    return function if inspect.iscoroutinefunction(function) else None
