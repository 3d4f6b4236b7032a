"""Files that steps stored: whose they are, and how long they are there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers import run

from stepwell import Blob, Context, RunError, Stepwell, current_step, step, workflow


@step(retry=None)
async def store(path: str) -> Blob:
    return await current_step().blob(path)


@step(retry=None)
async def load(blob: Blob) -> str:
    return (await current_step().read_blob(blob)).decode()


@workflow
async def keeps_a_file(ctx: Context, path: str) -> str:
    return await load(await store(path))


def test_a_fork_says_why_a_file_of_its_origin_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("here")

    async def scenario() -> None:
        async with Stepwell("memory://", include=[keeps_a_file]) as app:
            await (await app.start(keeps_a_file, str(file), id="o")).result(timeout=5)
            fork, again = [await app.runs.fork("o", from_step=cut, id=cut) for cut in ("load", "store")]
            assert await app.handle(fork).result(timeout=5) == "here"
            assert await app.handle(again).result(timeout=5) == "here"
            await app.runs.delete("o")
            gone = await app.runs.fork(fork, from_step="load")
            with pytest.raises(RunError, match="run o, which stored it, was deleted"):
                await app.handle(gone).result(timeout=5)
            assert await app.handle(await app.runs.fork(gone, from_step="store")).result(timeout=5) == "here"
            assert await app.handle(await app.runs.fork(again, from_step="load")).result(timeout=5) == "here"

    run(scenario())
