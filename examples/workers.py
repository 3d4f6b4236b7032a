"""A starter without code and a worker in another process: they share a file, and names."""

import asyncio
import sys
import tempfile
from pathlib import Path

from stepwell import Context, Stepwell, WorkflowRef, step, workflow

Total = WorkflowRef[list[int], int]("total", input=list[int], output=int)  # all that the starter knows


@step
def add(numbers: list[int]) -> int:
    return sum(numbers)


@workflow
async def total(ctx: Context, numbers: list[int]) -> int:
    return await add(numbers)


async def work(url: str) -> None:
    """What `stepwell worker examples/workers.py` does, too: drains on SIGTERM and Ctrl-C."""
    app = Stepwell(url, include=[total])
    await app.worker(concurrency=10, queues=["default"]).run()


async def start(url: str) -> None:
    worker = await asyncio.create_subprocess_exec(sys.executable, __file__, url)
    async with Stepwell(url) as app:
        handle = await app.start(Total, [1, 2, 3])
        assert await handle.result(timeout="30s") == 6
    worker.terminate()
    assert await worker.wait() == 0


async def one_process(url: str) -> None:
    """Or in a web server, say: the app and its worker in one process."""
    app = Stepwell(url, include=[total])
    async with app, app.worker(concurrency=100):
        assert await (await app.start(total, [4, 5])).result() == 9


async def main() -> None:
    if len(sys.argv) > 1:
        await work(sys.argv[1])
        return
    url = f"sqlite:///{Path(tempfile.mkdtemp())}/runs.db"
    await start(url)
    await one_process(url)


if __name__ == "__main__":
    asyncio.run(main())
