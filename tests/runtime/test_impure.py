"""Impure calls in bodies: told to those who develop, and not looked for elsewhere."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from stepwell import Context, Stepwell, step, workflow
from stepwell.runtime.working import WorkerKeywords


@step
async def work() -> None: ...


@workflow
async def clocked(ctx: Context) -> None:
    for _ in range(3):
        time.monotonic()
        await work()


@workflow
async def also_clocked(ctx: Context) -> None:
    time.sleep(0)


def warnings_of(caplog: pytest.LogCaptureFixture, **options: bool) -> list[str]:
    """What is logged while two runs of the one workflow and one of the other are carried out."""

    async def scenario() -> None:
        keywords: WorkerKeywords = {"impure_check": True} if options else {}
        async with Stepwell("memory://", include=[clocked, also_clocked]) as app, app.worker(**keywords):
            for ref in (clocked, clocked, also_clocked):
                await (await app.start(ref)).result(timeout=10)

    with caplog.at_level(logging.WARNING, logger="stepwell"):
        asyncio.run(scenario())
    return [record.getMessage() for record in caplog.records]


def test_nothing_is_looked_for_in_production(caplog: pytest.LogCaptureFixture) -> None:
    assert warnings_of(caplog) == []


def test_each_place_of_a_workflow_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    first, second = warnings_of(caplog, impure_check=True)

    line = clocked.fn.__code__.co_firstlineno + 3
    assert first.startswith(
        f"workflow clocked calls time.monotonic() at test_impure.py:{line}, in clocked: "
        "replay would see something else. Use ctx.now() (seen in run "
    )
    assert second.startswith("workflow also_clocked calls time.sleep() at ")
    assert "Use await ctx.sleep(...)" in second


def test_stepwell_debug_turns_it_on(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_DEBUG", "1")

    assert len(warnings_of(caplog)) == 2
