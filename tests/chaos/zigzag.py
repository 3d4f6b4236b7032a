"""A program whose steps take their time, on the loop and in threads, and say how they ended."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time

from stepwell import Context, Signal, Stepwell, current_step, step, workflow
from stepwell.runtime.options import WorkerOptions

LOG = os.environ.get("CHAOS_LOG", "")
LEASE_MS = 2000
ROUNDS = 3
BULK = 30_000
# Workers die here for no fault of their runs, perhaps many times before one of these has got anywhere.
OPTIONS = WorkerOptions(lease_ms=LEASE_MS, margin_ms=500, poll_ms=200, concurrency=50, max_takes=1000)
go_on = Signal("go_on", int)


class Execution:
    """One execution of a step, in the log: `begun`, then `done` or `told` (to stop). Lines are short, and never mix."""

    def __init__(self) -> None:
        this = current_step()
        self._text = f"{this.run_id} {this.id} {os.getpid()} {os.urandom(6).hex()}"
        self.say("begun")

    def say(self, what: str) -> None:
        with open(LOG, "a") as log:
            log.write(f"{self._text} {what} {time.time_ns() // 1_000_000}\n")


@step
async def on_loop(x: int) -> int:
    execution = Execution()
    try:
        for _ in range(10):
            await asyncio.sleep(0.03)
    except asyncio.CancelledError:
        execution.say("told")
        raise
    execution.say("done")
    return x + 1


@step
def in_thread(x: int) -> int:
    execution = Execution()
    for _ in range(10):
        time.sleep(0.03)
        if current_step().cancelled:
            execution.say("told")
            return -1
    execution.say("done")
    return x + 1


@step
async def bulky(x: int) -> str:
    """A result that does not fit into a frame."""
    execution = Execution()
    execution.say("done")
    return str(x % 10) * BULK


@workflow
async def zigzag(ctx: Context, n: int) -> int:
    x = n
    for _ in range(ROUNDS):
        x = await on_loop(x)
        x += len(await bulky(x))
        x = await in_thread(x)
        x = sum(await asyncio.gather(on_loop(x), in_thread(x)))
        await ctx.sleep(0.01)
    return x + await ctx.receive(go_on)


def expected(n: int) -> int:
    """What `zigzag` gives when it is sent 100."""
    x = n
    for _ in range(ROUNDS):
        x += 2 + BULK
        x = 2 * (x + 1)
    return x + 100


async def work(url: str) -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    app = Stepwell(url, include=[sys.modules[__name__]], worker_options=OPTIONS)
    async with app:
        await app.worker().run()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
