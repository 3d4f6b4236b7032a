"""A blueprint that only computes stops in the end, and lets others on."""

from __future__ import annotations

import asyncio

import pytest

from stepwell import Blueprint, RunError, Stepwell
from stepwell.engine.graph import machine


def spinning() -> Blueprint[object, object]:
    """Two loops, one in the other, of 10,000 iterations each."""
    flow = Blueprint[object, object]("spinning").set("begin", i="0")
    flow.set("outer body", j="0").set("inner body", j="j + 1").set("next", i="i + 1")
    flow.loop("outer", start="outer body", end="next", condition="i < 10000")
    flow.loop("inner", start="inner body", end="inner body", condition="j < 10000")
    return flow.edge("begin", "outer").edge("outer body", "inner").edge("inner", "next")


def test_a_blueprint_that_only_computes_fails_and_lets_others_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "BUDGET", 5_000)

    async def scenario() -> None:
        async with Stepwell("memory://") as app:
            handle = await app.start(spinning(), {})
            with pytest.raises(RunError, match="did 5000 things at once") as caught:
                await handle.result(timeout=5)
            assert "'spinning'" in str(caught.value)

    asyncio.run(scenario())
