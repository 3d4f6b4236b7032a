"""Middleware of an app: what runs around the nodes of its blueprints."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.helpers import run

from stepwell import Blueprint, DefinitionError, Middleware, NodeContext, NodeResult, Stepwell
from stepwell.testing import StepwellTest


class Tracing(Middleware):
    """Notes what it sees."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen

    async def before_node(self, ctx: NodeContext[Any]) -> None:
        self.seen.append(f"{self.name} before {ctx.id}")

    async def after_node(self, ctx: NodeContext[Any], result: NodeResult | None, error: BaseException | None) -> None:
        self.seen.append(f"{self.name} after {ctx.id}: {error if result is None else result.output}")


class Doubling(Middleware):
    """Changes results."""

    async def around_node(
        self, ctx: NodeContext[Any], next: Callable[[], Coroutine[Any, Any, NodeResult]]
    ) -> NodeResult:
        result = await next()
        return NodeResult(output=result.output * 2, action=result.action)


async def one(ctx: NodeContext[Any]) -> int:
    return 1


FLOW: Blueprint[Any, int] = Blueprint("counted").node("one", one)


def test_the_middleware_of_an_app_runs_around_its_nodes() -> None:
    seen: list[str] = []

    async def body() -> int:
        async with Stepwell("memory://", middleware=[Tracing("a", seen), Tracing("b", seen), Doubling()]) as app:
            return await (await app.start(FLOW, {})).result()

    assert run(body()) == 2
    assert seen == ["a before one", "b before one", "a after one: 1", "b after one: 1"]


def test_tests_have_the_middleware_that_they_ask_for() -> None:
    with StepwellTest(middleware=[Doubling()]) as test:
        assert test.run_sync(FLOW, {}).result == 2


def test_a_class_is_no_middleware() -> None:
    with pytest.raises(DefinitionError, match="give instances of subclasses of Middleware"):
        Stepwell("memory://", middleware=[Doubling])  # type: ignore[list-item]
