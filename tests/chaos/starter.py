"""A client that starts runs and sends to them as fast as it can, and tells what was accepted. It is killed."""

from __future__ import annotations

import asyncio
import itertools
import sys

from stepwell import Stepwell
from tests.chaos import program


async def main(url: str, name: str, has_worker: bool) -> None:
    async with Stepwell(url, include=[program], worker=has_worker) as app:
        for n in itertools.count():
            handle = await app.start(program.tree, n, id=f"{name}-{n}")
            print("started", handle.id, flush=True)
            await handle.send(program.go_on, 100, id=f"go-{handle.id}")
            print("sent", handle.id, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] == "worker"))
