"""Acts stand in the journal behind what they follow from, so that a cut keeps them with it."""

from __future__ import annotations

import asyncio

from stepwell import Context, Retry, step, workflow
from stepwell.authoring.context import function_program
from stepwell.authoring.registry import Registry
from stepwell.codec import Codec
from stepwell.engine.decisions import Arrival
from stepwell.engine.driver import Driver
from stepwell.engine.prefix import Where, settled_prefix
from stepwell.model.entries import Confirmed, Created, Entry, Frame, Intended, Parent, StepCompleted, StepFailed
from stepwell.model.failures import Failure
from stepwell.model.ids import Claim, CommandId, RunId
from stepwell.model.runs import Head


@step
async def work() -> None:
    raise AssertionError("answered by the test")


@step(retry=None)
async def fragile() -> None:
    raise AssertionError("answered by the test")


async def tell(ctx: Context) -> None:
    await work()
    ctx.metadata.parent.increment("worked")


@workflow(retry=Retry(attempts=2))
async def both(ctx: Context) -> None:
    await asyncio.gather(tell(ctx), fragile())


def driver() -> Driver:
    parent = Parent(run=RunId("above"), base=1, command=CommandId("both"))
    created = Created(workflow="both", seed="00" * 16, parent=parent)
    registry = Registry([both, work, fragile], Codec())
    head = Head(id=RunId("run"), workflow="both", created_at=0)
    frames = [(1, Frame(0, Claim("c:1"), (created,)))]
    return Driver(head, frames, Claim("c:1"), lambda origin: function_program(both, registry, origin))


def test_an_act_stands_behind_what_it_follows_from_and_before_what_came_later() -> None:
    driven = driver()
    driven.feed([], 1)
    failed = StepFailed(id=CommandId("fragile"), failure=Failure(types=("Down",)))
    arrivals = [Arrival(2, StepCompleted(id=CommandId("work"))), Arrival(3, failed)]

    decision = driven.feed(arrivals, 3)

    entries: list[Entry] = decision.entries
    assert [type(entry) for entry in entries[:3]] == [StepCompleted, Intended, StepFailed]
    frame = driven.frame(decision)
    confirmed = Frame(4, Claim("c:1"), (Confirmed(id=CommandId("@metadata.parent")),))
    kept = settled_prefix([frame, confirmed], Where.FAILURE, base=1)
    assert CommandId("@metadata.parent") in [
        entry.id for part in kept for entry in part.entries if isinstance(entry, Intended)
    ]
