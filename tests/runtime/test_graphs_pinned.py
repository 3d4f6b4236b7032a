"""Where the blueprints are that runs are pinned to: once for all runs, and not in their journals."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from stepwell import Blueprint, Context, NodeContext, Stepwell, workflow
from stepwell.runtime.payloads import _blueprints


async def pass_on(ctx: NodeContext[object]) -> object:
    return ctx.input


def chain(nodes: int, last: str = "end") -> Blueprint[object, object]:
    flow = Blueprint[object, object]("chain").node("n0", pass_on)
    for n in range(1, nodes):
        flow.node(f"n{n}", pass_on).edge(f"n{n - 1}", f"n{n}")
    return flow.wait(last).edge(f"n{nodes - 1}", last)


long = chain(20)


@workflow
async def call_twice(ctx: Context) -> int:
    await ctx.start(long, 1)
    await ctx.start(long, 2)
    return 2


def blobs(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as database:
        return dict(database.execute("select key, length(data) from blobs").fetchall())


def journal_bytes(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        (total,) = database.execute("select sum(length(body)) from frames").fetchone()
        return int(total)


def test_runs_share_one_copy_of_a_blueprint(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    async def scenario() -> None:
        async with Stepwell(f"sqlite:///{path}", include=[long]) as app:
            for n in range(5):
                await app.start(long, n, id=f"r{n}")

    asyncio.run(scenario())
    ((key, size),) = blobs(path).items()
    assert size > 1000
    assert key.startswith("blueprints of all runs/")
    assert journal_bytes(path) < 5 * 1000


def test_a_small_blueprint_stays_in_the_frame(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    async def scenario() -> None:
        async with Stepwell(f"sqlite:///{path}") as app:
            await app.start(chain(1), 1)

    asyncio.run(scenario())
    assert blobs(path) == {}


def test_a_run_goes_on_from_the_shared_copy_when_another_was_deleted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"

    async def scenario() -> object:
        async with Stepwell(url, include=[long]) as app:
            first = await app.start(long, 1, id="first")
            await app.start(long, 2, id="second")
            await first.cancel()
            with pytest.raises(Exception, match="cancelled"):
                await first.result(timeout=5)
            await app.runs.delete("first")
        _blueprints.clear()  # another process
        other = chain(20, last="another end")
        async with Stepwell(url, include=[other]) as app:
            second = app.handle("second")
            while not (await app.runs.state("second")).waiting:
                await asyncio.sleep(0.01)
            assert await second.resume("end", output="done")
            return await second.result(timeout=5)

    assert asyncio.run(scenario()) == "done"


def test_a_parent_holds_no_copy_of_the_blueprints_of_its_children(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    async def scenario() -> object:
        async with Stepwell(f"sqlite:///{path}", include=[call_twice, long]) as app:
            return await (await app.start(call_twice)).result(timeout=5)

    assert asyncio.run(scenario()) == 2
    assert len(blobs(path)) == 1
    assert journal_bytes(path) < 10_000
