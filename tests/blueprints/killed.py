"""A process that works on one run and is killed by each node, the first time that this runs. Started until it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from stepwell import Blueprint, NodeContext, Stepwell
from tests.blueprints.realms import committed

FOLDER = Path(sys.argv[1])


async def deadly(ctx: NodeContext[Any]) -> str:
    with (FOLDER / "log").open("a") as file:
        file.write(f"{ctx.node_id}\n")
    if not (mark := FOLDER / ctx.node_id).exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.node_id


async def main() -> None:
    flow: Blueprint[Any, Any] = Blueprint("deadly")
    for id in "abcd":
        flow.node(id, deadly)
    for source, target in ("ab", "ac", "bd", "cd"):
        flow.edge(source, target)
    async with Stepwell(f"sqlite:///{FOLDER / 'runs.db'}", include=[flow]) as app:
        handle = await app.start(flow, None, id="r")
        print(await handle.result(), dict(sorted((await committed(app, "r")).items())))


if __name__ == "__main__":
    asyncio.run(main())
