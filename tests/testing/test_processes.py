"""Simulated processes: what they leave behind when they die."""

from __future__ import annotations

import asyncio
import gc

from stepwell.testing.simulator.processes import Process, SimLoop
from stepwell.testing.virtual import VirtualClock


def test_what_a_process_dies_over_is_kept_until_it_is_buried() -> None:
    clock = VirtualClock(seed=1)
    loop = SimLoop(clock)
    told: list[str] = []

    async def work() -> None:
        told.append("worked")

    async def main() -> None:
        asyncio.Task(work())  # nobody but the loop knows of it
        told.append("begun")

    async def scenario() -> None:
        process = Process("worker", loop, clock)
        process.turns_left = 1
        process.spawn(main(), "main")
        await process.death
        gc.collect()  # warns of what is finalized and has never begun
        loop.bury()

    try:
        loop.run_until_complete(scenario())
    finally:
        loop.close()
    assert told == ["begun"]
