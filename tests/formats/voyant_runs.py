"""Workflows, an app in virtual time, and the record of a run, for tests of the shapes of Voyant."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from stepwell import Context, Event, FatalError, Retry, Signal, Stepwell, Stream, current_step, step, workflow
from stepwell.errors import StepError
from stepwell.formats.voyant import RunView, run_record
from stepwell.model.ids import RunId
from stepwell.model.runs import Head
from stepwell.runtime.options import WorkerOptions
from stepwell.testing.virtual import VirtualClock, VirtualLoop

T = TypeVar("T")
WORKER = WorkerOptions(poll_ms=5_000, gc_threshold=0, renewal="loop", impure_check=False)

approve = Signal("approve", Any)
paid = Event("payment.settled", Any)
log = Stream("log", Any)
effects: list[str] = []


class Invoice(msgspec.Struct):
    """An input with a type."""

    booking_id: str = msgspec.field(name="bookingId")
    amount: float = 1.0


@step(retry=None)
async def load(what: Any = None) -> Any:
    effects.append("load")
    return {"total": 120.0, "what": what}


@step(retry=None)
async def nothing() -> None:
    effects.append("nothing")


@step(retry=None)
async def charge(amount: Any = 1) -> Any:
    effects.append("charge")
    if amount == "fatal":
        raise FatalError("card refused")
    if amount == "slow":
        await asyncio.sleep(100)
    if amount == "late":
        raise TimeoutError("too late")
    return {"charged": amount}


@step(retry=None)
async def book() -> str:
    effects.append("book")
    return "booked"


@book.compensate
async def unbook(result: str) -> str:
    effects.append(f"unbook {result}")
    return "undone"


@step(retry=None)
async def rent(how: str) -> str:
    return how


async def return_it(result: str, how: str) -> None:
    effects.append("return")
    if how == "lost":
        raise FatalError("it is lost")


rent.compensate(step(retry=None)(return_it))


@step(retry=Retry(attempts=3, first_delay="10s", jitter=0))
async def flaky() -> str:
    effects.append("flaky")
    if effects.count("flaky") < 3:
        raise RuntimeError("not yet")
    return "at last"


@workflow(id="double")
async def double(ctx: Context, n: Any = None) -> Any:
    return await load(n)


@workflow(id="typed")
async def typed(ctx: Context, invoice: Invoice) -> str:
    await nothing()
    return invoice.booking_id


@workflow(id="charging")
async def charging(ctx: Context, amount: Any) -> Any:
    await load()
    return await charge(amount)


@workflow(id="invoice.issue")
async def issue(ctx: Context, booking: Any = None) -> Any:
    loaded = await load(booking)
    ctx.metadata["phase"] = "cooling"
    await ctx.sleep("60s")
    got = await ctx.receive(paid)
    by = await ctx.receive(approve, timeout="1d", default="nobody")
    return {"loaded": loaded, "paid": got, "by": by}


@workflow(id="listening")
async def listening(ctx: Context) -> Any:
    return await ctx.receive(paid)


@workflow(id="approval")
async def approval(ctx: Context) -> Any:
    return await ctx.receive(approve)


@workflow(id="patient")
async def patient(ctx: Context) -> Any:
    return [await ctx.receive(approve, timeout="1h", default="none"), await ctx.receive(approve)]


@workflow(id="tokens")
async def tokens(ctx: Context) -> Any:
    hook = await ctx.create_hook(Any, token="order-7-approval")
    first = await hook
    second = await (await ctx.create_hook(Any))
    return [first, second]


@workflow(id="two.sleeps")
async def two_sleeps(ctx: Context) -> str:
    async def often() -> None:
        for _ in range(3):
            await ctx.sleep("10m")

    await asyncio.gather(ctx.sleep("1h"), often())
    return "done"


@workflow(id="race")
async def race(ctx: Context) -> str:
    waits = {asyncio.ensure_future(ctx.sleep("1h")), asyncio.ensure_future(ctx.receive(approve))}
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait(waits)
    return "both"


@workflow(id="child")
async def child(ctx: Context, how: Any = None) -> Any:
    if how == "fails":
        raise FatalError("the child failed")
    if how == "waits":
        return await ctx.receive(approve)
    return await load(how)


@workflow(id="parent")
async def parent(ctx: Context, how: Any = None) -> Any:
    return await child(how)


@workflow(id="saga")
async def saga(ctx: Context, how: str = "") -> str:
    async with ctx.saga():
        await book()
        await rent(how)
        raise FatalError("no luck")


@workflow(id="streaming")
async def streaming(ctx: Context) -> None:
    ctx.send(log, "one")
    ctx.send(log, {"two": 2.0})
    await nothing()


@workflow(id="stubborn")
async def stubborn(ctx: Context) -> str:
    return await flaky()


@workflow(id="timed", timeout="10s")
async def timed(ctx: Context) -> None:
    await ctx.sleep("1h")


@workflow(id="pipeline")
async def pipeline(ctx: Context, fails: Any = None) -> Any:
    """Steps and waits in turn, then a step that fails the first time."""
    loaded = await load()
    await ctx.sleep("10s")
    by = await ctx.receive(approve)
    await book()
    try:
        charged = await charge("fatal" if fails and effects.count("charge") < 1 else 5)
    except StepError as error:
        raise FatalError(error.message) from None
    return {"loaded": loaded, "by": by, "charged": charged}


@step(retry=Retry(attempts=2, first_delay="1s", jitter=0))
async def talk(how: Any) -> None:
    current_step().send(log, "begun")
    await asyncio.sleep(20)
    if how == "fails" and current_step().attempt == 1:
        raise RuntimeError("once more")
    current_step().send(log, "done")


@workflow(id="talking")
async def talking(ctx: Context, how: Any = None) -> None:
    await talk(how)


@workflow(id="parent.and.signal")
async def parent_and_signal(ctx: Context) -> Any:
    found, _ = await asyncio.gather(child("waits"), ctx.receive(approve))
    return found


@workflow(id="a-b")
async def a_b(ctx: Context) -> None:
    await nothing()


@workflow(id="a")
async def a(ctx: Context) -> None:
    await nothing()


@workflow(id="long")
async def long(ctx: Context) -> None:
    await ctx.sleep("60d")


@workflow(id="short")
async def short(ctx: Context) -> None:
    await ctx.sleep("2s")


@workflow(id="hurried")
async def hurried(ctx: Context) -> Any:
    return await ctx.receive(approve, timeout="10s", default="late")


@workflow(id="slow.after")
async def slow_after(ctx: Context) -> None:
    await ctx.receive(approve)
    await charge("slow")


@workflow(id="many")
async def many(ctx: Context) -> None:
    for _ in range(130):
        await ctx.receive(approve)


@workflow(id="saga.waiting")
async def saga_waiting(ctx: Context) -> None:
    async with ctx.saga():
        await book()
        await ctx.receive(approve)


@workflow(id="twice")
async def twice(ctx: Context) -> None:
    await load(1)
    await load(2)


@step(retry=None)
async def number(fails: bool = False) -> None:
    if fails:
        raise FatalError("no")


@workflow(id="numbers")
async def numbers(ctx: Context, fails: bool) -> None:
    await number.options(name="ten")()
    await number.options(name="2")()
    await number.options(name="1")(fails)


FLOWS = [
    hurried,
    slow_after,
    talking,
    parent_and_signal,
    a_b,
    a,
    long,
    short,
    many,
    saga_waiting,
    twice,
    numbers,
    double,
    typed,
    charging,
    issue,
    listening,
    approval,
    patient,
    tokens,
    two_sleeps,
    race,
    child,
    parent,
    saga,
    streaming,
    stubborn,
    timed,
    pipeline,
    book,
    rent,
]
UNDOING = ("unbook", "return_it")


class World:
    """One app in virtual time; on SQLite, whose threads no virtual loop knows, in real time."""

    def __init__(self, *, url: str = "memory://", **options: Any) -> None:
        effects.clear()
        self.clock = VirtualClock()
        self._is_virtual = not url.startswith("sqlite")
        virtual = {"clock": self.clock, "worker_options": WORKER} if self._is_virtual else {}
        given: Any = {"include": FLOWS, **virtual, **options}
        self.app = Stepwell(url, **given)

    def drive(self, body: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a test to its end, with the app open."""

        async def opened() -> T:
            async with self.app:
                return await body()

        with asyncio.Runner(loop_factory=(lambda: VirtualLoop(self.clock)) if self._is_virtual else None) as runner:
            return runner.run(opened())

    async def record(self, run: str, **view: Any) -> dict[str, Any]:
        """The record of a run, as JSON has it."""
        loaded, frames = await self.app.client.journal(RunId(run), after=0)
        record = run_record(RunView(head=loaded.head, frames=frames, undoing=UNDOING, **view))
        return msgspec.json.decode(msgspec.json.encode(record))  # type: ignore[no-any-return]

    async def parked(self, run: str) -> Head:
        """Wait until the run is parked, or has ended."""

        async def look() -> Head | None:
            head = await self.app.runs.get(run)
            return head if head.owner is None and (head.waiting or head.is_terminal) else None

        return await self.until(look)

    async def pending(self, run: str, *ids: str) -> dict[str, Any]:
        """Wait until the run is parked and waits for these. Its record."""

        async def look() -> dict[str, Any] | None:
            await self.parked(run)
            record = await self.record(run)
            return record if {wait["clientWaitpointId"] for wait in record["pendingWaitpoints"]} == {*ids} else None

        return await self.until(look)

    async def until(self, condition: Callable[[], Awaitable[T | None]]) -> T:
        """The first answer that is true."""
        for _ in range(1000):
            if answer := await condition():
                return answer
            await asyncio.sleep(5)
        raise AssertionError("it never came true")
