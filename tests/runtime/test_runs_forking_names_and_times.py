"""What of a run's own a fork or a retry has anew, and what it keeps: tokens made of the id, and times."""

from __future__ import annotations

import asyncio

import pytest
from tests.helpers import run, until
from tests.runtime.conftest import OpenApp

from stepwell import Context, HookError, Retry, RunCancelledError, RunError, Signal, Stepwell, workflow

go = Signal("go", int)


@workflow
async def own_token(ctx: Context) -> int:
    await ctx.create_hook(int, token=f"token-of-{ctx.run_id}")
    return await ctx.receive(go)


def test_a_retry_frees_a_token_that_is_made_of_its_own_id(app_of: OpenApp) -> None:
    async def scenario() -> None:
        async with app_of(own_token) as app:
            origin = await app.start(own_token, id="origin")

            async def is_held(token: str) -> bool:
                return await app.backend.store.resolve(token) is not None

            await until(lambda: is_held("token-of-origin"))
            await origin.cancel()
            with pytest.raises(RunCancelledError):
                await origin.result(timeout=5)
            retry = app.handle(await app.runs.retry("origin", id="again"))
            await until(lambda: is_held("token-of-again"))
            await retry.send(go, 1)
            assert await retry.result(timeout=5) == 1
            assert not await is_held("token-of-again")

    run(scenario())


@workflow
async def impatient(ctx: Context) -> str:
    try:
        async with asyncio.timeout(0.02):
            await ctx.receive(go)
    except TimeoutError:
        return "late"
    return "in time"


def test_a_fork_from_a_machine_whose_clock_is_behind_keeps_the_times_of_its_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[impatient]) as app:
            origin = await app.start(impatient, id="origin", delay="20ms")
            assert await origin.result(timeout=5) == "late"
            clock = app.backend.clock
            now = clock.now
            with monkeypatch.context() as patch:
                patch.setattr(type(clock), "now", lambda _: now() - 3_600_000)
                fork = await app.runs.fork("origin", id="fork")
            assert await app.handle(fork).result(timeout=5) == "late"

    run(scenario())


@workflow
async def shared_token(ctx: Context) -> str:
    hook = await ctx.create_hook(int, token="the-token-of-all")
    await ctx.receive(go)
    try:
        return f"got {await hook}"
    except HookError:
        return "refused"


def test_a_retry_is_told_when_another_run_has_taken_the_token_that_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[shared_token]) as app:
            origin = await app.start(shared_token, id="origin")
            await until(lambda: app.backend.store.resolve("the-token-of-all"))
            await origin.cancel()
            with pytest.raises(RunCancelledError):
                await origin.result(timeout=5)

            async def nobody_yet(*_: object) -> None:
                """The check of the retry comes before somebody else takes the token."""

            other = await app.start(shared_token, id="other")
            await until(lambda: app.backend.store.resolve("the-token-of-all"))
            with monkeypatch.context() as patch:
                patch.setattr("stepwell.runtime.forking.Forking._check_tokens", nobody_yet)
                again = app.handle(await app.runs.retry("origin", id="again"))
            await again.send(go, 1)
            assert await again.result(timeout=5) == "refused"
            await other.cancel()

    run(scenario())


failures: list[int] = []


@workflow
async def fragile(_: Context) -> str:
    if failures:
        failures.pop()
        raise ValueError("not yet")
    return "done"


@workflow(retry=Retry(attempts=2, first_delay="10ms"))
async def insisting(_: Context) -> str:
    return await fragile()


def test_a_fork_that_begins_again_starts_a_child_that_it_took_over_under_an_id_of_its_own() -> None:
    async def scenario() -> None:
        failures[:] = [1, 2]
        async with Stepwell("memory://", include=[insisting, fragile]) as app:
            origin = await app.start(insisting, id="origin")
            with pytest.raises(RunError, match="not yet"):
                await origin.result(timeout=5)
            fork = app.handle(await app.runs.fork("origin"))
            assert await fork.result(timeout=5) == "done"

    run(scenario())
