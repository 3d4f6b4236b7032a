"""What each execution of a simulated step does around its result: it is noted, kills, beats, sends and takes time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec import Struct

from stepwell.authoring.messages import Stream
from stepwell.authoring.running import StepContext
from stepwell.testing.simulator.ledger import Execution, Ledger, forever
from stepwell.testing.simulator.processes import current_process

T = TypeVar("T")

_work = Stream("work", str)


class Effort(Struct, frozen=True):
    """What an execution costs: so much time, the process in the first `kills` executions of its step, and so many
    chunks that it sends."""

    ms: int = 0
    kills: int = 0
    sends: int = 0


async def executed(
    this: StepContext, effort: Effort, stands_on: Sequence[str], result: Callable[[Execution], T]
) -> tuple[T, str]:
    """One execution of a step that stands on these marks; answers the result, and its own mark."""
    ledger, process = this.get(Ledger), current_process()
    execution = Execution(
        mark=ledger.new_mark(),
        run=this.run_id,
        step=this.id,
        attempt=this.attempt,
        at=process.clock.now(),
        process=process.name,
        identity=process.identity,
        sends=effort.sends,
    )
    count = ledger.begin(execution, stands_on)
    try:
        if count <= effort.kills:
            process.kill()
            await forever()
        this.heartbeat(count)
        for number in range(effort.sends):
            this.send(_work, f"{execution.mark}{number}")
            await asyncio.sleep(0.01)
        await asyncio.sleep(effort.ms / 1000)
        value = result(execution)
    except BaseException as error:
        ledger.finish(execution, type(error).__name__)
        raise
    ledger.finish(execution, "returned")
    return value, execution.mark
