"""The state that the nodes of a run share, and what can be stored."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import Blueprint, NodeContext, NodeResult, Retry
from tests.authoring.playing import one, play


class TestState:
    def test_writes_are_seen_by_those_that_follow(self) -> None:
        async def write(ctx: NodeContext[Any]) -> None:
            ctx.state.set("total", 3)
            ctx.state.delete("gone")

        async def read(ctx: NodeContext[Any]) -> Any:
            return [
                ctx.state.keys(),
                ctx.state["total"],
                "gone" in ctx.state,
                ctx.state.get("gone", 7),
                list(ctx.state),
            ]

        flow = Blueprint[Any, Any]("f").node("w", write).node("r", read).edge("w", "r")
        assert play(flow, {"gone": 1, "x": 2}).result == [["total", "x"], 3, False, 7, ["total", "x"]]

    def test_a_node_sees_its_own_writes(self) -> None:
        async def look(ctx: NodeContext[Any]) -> Any:
            ctx.state.set("a", 1)
            before = (ctx.state["a"], ctx.state.keys(), "b" in ctx.state)
            ctx.state.delete("a")
            with pytest.raises(KeyError):
                ctx.state["a"]
            return [*before, ctx.state.get("a"), ctx.state.keys()]

        assert play(one(look), {"c": 0}).result == [1, ["a", "c"], False, None, ["c"]]

    def test_writes_of_a_failed_attempt_are_dropped(self) -> None:
        async def write(ctx: NodeContext[Any]) -> Any:
            found = ctx.state.get("tries", 0)
            ctx.state.set("tries", found + 1)
            if ctx.step.attempt < 3:
                raise ValueError
            return found

        assert play(one(write, retry=Retry(attempts=3)), {}).result == 0

    def test_branches_that_write_different_keys_lose_none(self) -> None:
        def writer(key: str) -> Any:
            async def write(ctx: NodeContext[Any]) -> None:
                await asyncio.sleep(1)
                ctx.state.set(key, key.upper())

            return write

        async def read(ctx: NodeContext[Any]) -> Any:
            return {key: ctx.state[key] for key in ctx.state}

        flow = Blueprint[Any, Any]("f").node("read", read)
        for key in "abcdef":
            flow.node(f"write-{key}", writer(key), uses=key).edge(f"write-{key}", "read")
        assert play(flow, {}).result == {key: key.upper() for key in "abcdef"}

    def test_what_is_read_cannot_be_changed_in_place(self) -> None:
        async def change(ctx: NodeContext[Any]) -> Any:
            ctx.state["items"].append(1)
            return None

        async def read(ctx: NodeContext[Any]) -> Any:
            return ctx.state["items"]

        flow = Blueprint[Any, Any]("f").node("c", change).node("r", read).edge("c", "r")
        assert play(flow, {"items": []}).result == []

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ({"a": [1, object()]}, "the output of node 'it'"),
            (float("nan"), "the output of node 'it'"),
        ],
    )
    def test_an_output_that_cannot_be_stored_fails_the_node(self, value: Any, expected: str) -> None:
        async def give(ctx: NodeContext[Any]) -> Any:
            return value

        assert expected in play(one(give)).error.message

    def test_a_write_that_cannot_be_stored_names_key_and_path(self) -> None:
        async def write(ctx: NodeContext[Any]) -> None:
            ctx.state.set("cart", {"items": [1, {2}, object()]})

        message = play(one(write)).error.message
        assert "key 'cart' of node 'it'" in message
        assert "['items'][2]" in message

    def test_an_action_must_be_text(self) -> None:
        async def give(ctx: NodeContext[Any]) -> Any:
            return NodeResult(action=7)  # type: ignore[arg-type]

        assert "the action of node 'it' is 7; give text, or None" in play(one(give)).error.message
