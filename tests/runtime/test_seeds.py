"""Runs that begin with results of steps: the steps are not run, whenever the body comes to ask for them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from tests.helpers import run, until
from tests.runtime.conftest import OpenApp

from stepwell import Context, Retry, Signal, Stepwell, step, workflow
from stepwell.model.entries import Created
from stepwell.model.ids import RunId
from stepwell.runtime.client import NewStart

go = Signal("go", int)
ran: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    ran.clear()


@step(retry=None)
async def one() -> int:
    ran.append("one")
    return 1


@step(retry=None)
async def two(n: int) -> int:
    ran.append("two")
    return n + 1


@step(retry=None)
async def three(n: int) -> int:
    ran.append("three")
    return n + 1


@step(retry=None)
async def fails_first() -> None:
    ran.append("fails")
    if len(ran) < 2:
        raise ValueError("once more")


@workflow
async def counting(ctx: Context) -> list[int]:
    first = await one()
    sent = await ctx.receive(go)
    second = await two(first)
    return [first, sent, second, await three(second), await three(second)]


@workflow
async def together(ctx: Context) -> list[int]:
    return list(await asyncio.gather(one(), two(1), three(2)))


@workflow
async def again(ctx: Context, n: int) -> int:
    found = await one()
    if n:
        ctx.continue_as_new(n - 1)
    return found


@workflow(retry=Retry(attempts=2, first_delay=0, jitter=0))
async def tries(ctx: Context) -> int:
    await fails_first()
    return await one()


FLOWS = [counting, together, again, tries]


async def seeded(app: Stepwell, workflow: Any, input: Any = None, **seeds: Any) -> Any:
    """The handle of a run with these results."""
    created = Created(
        workflow=workflow.id,
        input=Raw(msgspec.json.encode(input)),
        seed="00" * 16,
        seeds={id.replace("__", ":"): Raw(msgspec.json.encode(value)) for id, value in seeds.items()},
    )
    app.ensure_worker()
    assert await app.client.create([NewStart(id=RunId("s"), created=created)]) == [None]
    return app.handle("s", workflow)


def test_a_step_with_a_seed_is_not_run_whatever_comes_before_it(app_of: OpenApp) -> None:
    async def main() -> None:
        async with app_of(*FLOWS) as app:
            handle = await seeded(app, counting, one=10, two=20, three__2=40)
            await until(lambda: _waits(app))
            await handle.send(go, 5)
            assert await handle.result() == [10, 5, 20, 21, 40]
            assert ran == ["three"]
            assert (await app.runs.replay("s")).error is None

    run(main())


async def _waits(app: Stepwell) -> bool:
    return bool((await app.runs.get("s")).waiting)


def test_seeds_and_steps_run_side_by_side(app_of: OpenApp) -> None:
    async def main() -> None:
        async with app_of(*FLOWS) as app:
            assert await (await seeded(app, together, two=7)).result() == [1, 7, 3]
            assert sorted(ran) == ["one", "three"]

    run(main())


def test_a_seed_that_does_not_fit_its_step_fails_it() -> None:
    async def main() -> None:
        async with Stepwell("memory://", include=FLOWS) as app:
            handle = await seeded(app, together, two="text")
            with pytest.raises(Exception, match="the result of step two that the run was created with does not fit"):
                await handle.result()

    run(main())


def test_a_fork_from_a_step_with_a_seed_runs_it() -> None:
    async def main() -> None:
        async with Stepwell("memory://", include=FLOWS) as app:
            await (await seeded(app, together, two=7, three=9)).result()
            ran.clear()
            fork = await app.runs.fork("s", from_step="two")
            assert await app.handle(fork).result() == [1, 2, 9]
            assert sorted(ran) == ["one", "two"]

    run(main())


def test_a_new_generation_has_no_seeds() -> None:
    async def main() -> None:
        async with Stepwell("memory://", include=FLOWS) as app:
            assert await (await seeded(app, again, 1, one=10)).result() == 1
            assert ran == ["one"]

    run(main())


def test_a_generation_that_retries_has_the_seeds_of_the_one_before() -> None:
    async def main() -> None:
        async with Stepwell("memory://", include=FLOWS) as app:
            assert await (await seeded(app, tries, one=10)).result() == 10
            assert ran == ["fails", "fails"]

    run(main())


def test_a_paused_run_takes_its_seeds_when_it_goes_on() -> None:
    async def main() -> None:
        async with Stepwell("memory://", include=FLOWS, worker=False) as app:
            handle = await _unstarted(app)
            await app.runs.pause("s")
            app.ensure_worker(True)
            await until(lambda: _is_paused(app))
            await app.runs.resume("s")
            assert await handle.result() == [1, 7, 3]

    run(main())


async def _unstarted(app: Stepwell) -> Any:
    created = Created(workflow="together", seed="00" * 16, seeds={"two": Raw(b"7")})
    assert await app.client.create([NewStart(id=RunId("s"), created=created)]) == [None]
    return app.handle("s", together)


async def _is_paused(app: Stepwell) -> bool:
    return (await app.runs.get("s")).status == "paused"


def test_a_seed_whose_key_is_not_here_leaves_the_run_open() -> None:
    async def main() -> None:
        async with Stepwell("memory://", include=FLOWS) as app:
            await seeded(app, together, two={"$sealed": "AAAA"})

            async def error() -> str:
                return (await app.runs.get("s")).error

            assert "encrypted" in await until(error)
            assert not (await app.runs.get("s")).is_terminal

    run(main())
