"""Random workflows as data, and a machine that drives one by hand: no worker, no store, no clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from msgspec import Raw

from stepwell import Context, Signal, StepError, step, workflow
from stepwell.authoring.context import function_program
from stepwell.authoring.registry import Registry
from stepwell.codec import Codec
from stepwell.engine.decisions import Arrival, Decision
from stepwell.engine.driver import Driver
from stepwell.engine.program import StepCommand
from stepwell.errors import RunError
from stepwell.model.entries import (
    Confirmed,
    Created,
    Frame,
    FrameCodec,
    Received,
    StartChild,
    StepCompleted,
    StepFailed,
)
from stepwell.model.failures import Failure
from stepwell.model.messages import CancelRequested, ChildEnded, Message, PauseRequested, ResumeRequested
from stepwell.model.messages import Signal as SignalMessage
from stepwell.model.runs import Head

Plan = list[Any]
PINGS = {name: Signal(name, int) for name in ("ping", "pong")}
trace: list[str] = []


class Undone(Exception):
    """Raised by plans that fail on purpose."""


@step
async def work(label: str) -> int:
    raise AssertionError("steps are answered by the machine")


@step
async def book(label: str) -> int:
    raise AssertionError("steps are answered by the machine")


@book.compensate
async def unbook(result: int, label: str) -> int:
    raise AssertionError("steps are answered by the machine")


@workflow
async def leaf(ctx: Context, n: int) -> int:
    return n


async def follow(ctx: Context, plan: Plan) -> int:
    """Carry out a plan."""
    kind, *rest = plan
    return await OPERATIONS[kind](ctx, *rest)


async def _seq(ctx: Context, *plans: Plan) -> int:
    total = 0
    for plan in plans:
        total = total * 3 + await follow(ctx, plan)
    return total % 100_003


async def _gather(ctx: Context, *plans: Plan) -> int:
    return sum(await asyncio.gather(*(follow(ctx, plan) for plan in plans)))


async def _group(ctx: Context, *plans: Plan) -> int:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(follow(ctx, plan)) for plan in plans]
    except ExceptionGroup as errors:
        return len(errors.exceptions)
    return sum(task.result() for task in tasks)


async def _race(ctx: Context, *plans: Plan) -> int:
    tasks = [asyncio.create_task(follow(ctx, plan)) for plan in plans]
    try:
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    total = 0
    for task in done:
        total = total * 7 + (0 if task.cancelled() or task.exception() else task.result())
    if rest:
        await asyncio.wait(rest)
    return total % 100_003


async def _timeout(ctx: Context, ms: int, plan: Plan) -> int:
    try:
        async with asyncio.timeout(ms / 1000):
            return await follow(ctx, plan)
    except TimeoutError:
        return await work("late")


async def _saga(ctx: Context, fails: bool, *plans: Plan) -> int:
    try:
        async with ctx.saga():
            total = await book("a")
            for plan in plans:
                total += await follow(ctx, plan)
            total += await book("b")
            if fails:
                raise Undone
            return total
    except Undone:
        return -1


async def _step(ctx: Context, label: str) -> int:
    return await work(label)


async def _sleep(ctx: Context, ms: int) -> int:
    await asyncio.sleep(ms / 1000)
    return ms


async def _receive(ctx: Context, name: str, ms: int) -> int:
    return await ctx.receive(PINGS[name], timeout=ms / 1000, default=-5)


async def _try(ctx: Context, plan: Plan) -> int:
    try:
        return await follow(ctx, plan)
    except (StepError, RunError):
        return -2


async def _child(ctx: Context, n: int) -> int:
    return await leaf(n)


async def _map(ctx: Context, n: int, concurrency: int) -> int:
    outcomes = await ctx.map(work, [str(i) for i in range(n)], concurrency=concurrency, settle=True)
    return sum(outcome.value or 0 for outcome in outcomes)


async def _shield(ctx: Context, plan: Plan) -> int:
    return await asyncio.shield(follow(ctx, plan))


async def _note(ctx: Context, key: str) -> int:
    ctx.metadata.increment(key)
    if ctx.patched("p"):
        return ctx.random.randrange(100)
    raise AssertionError("the code never changes here")


OPERATIONS: dict[str, Callable[..., Any]] = {
    "seq": _seq,
    "gather": _gather,
    "group": _group,
    "race": _race,
    "timeout": _timeout,
    "saga": _saga,
    "step": _step,
    "sleep": _sleep,
    "receive": _receive,
    "try": _try,
    "child": _child,
    "map": _map,
    "shield": _shield,
    "note": _note,
}


@workflow
async def planned(ctx: Context, plan: list[Any]) -> int:
    return await follow(ctx, plan)


def random_plan(choice: Random, depth: int = 3) -> Plan:
    """A plan of at most that depth."""
    leaves = ["step", "step", "step", "sleep", "receive", "child", "map", "note"]
    branches = ["seq", "seq", "gather", "group", "race", "timeout", "saga", "try", "shield"]
    kind = choice.choice(branches if choice.random() < depth / 4 else leaves)
    some = [random_plan(choice, depth - 1) for _ in range(choice.randint(1, 4))] if kind not in leaves else []
    match kind:
        case "step":
            return ["step", choice.choice("abc")]
        case "sleep":
            return ["sleep", choice.choice([0, 1, 5, 50, 1000])]
        case "receive":
            return ["receive", choice.choice(["ping", "pong"]), choice.choice([5, 50, 5000])]
        case "child":
            return ["child", choice.randrange(10)]
        case "map":
            return ["map", choice.randrange(4), choice.randint(1, 3)]
        case "note":
            return ["note", choice.choice("xy")]
        case "timeout":
            return ["timeout", choice.choice([1, 10, 500]), some[0]]
        case "saga":
            return ["saga", choice.random() < 0.5, *some]
        case "try" | "shield":
            return [kind, some[0]]
        case _:
            return [kind, *some]


class Machine:
    """One run, driven by hand. Everything that is random comes from `choice`.

    The run is created with a delay, and a worker takes it so long after its creation.
    """

    def __init__(self, plan: Plan, choice: Random, *, delay_ms: int = 0, taken_after_ms: int = 0) -> None:
        self.choice = choice
        self.salt = choice.random()
        self.registry = Registry([planned, leaf, work, book, unbook], Codec())
        self.now = 1_000_000
        created = Created(
            workflow="planned",
            input=self.registry.input_of(planned, (plan,)),
            seed="00" * 16,
            not_before=self.now + delay_ms if delay_ms else 0,
        )
        self.frames = [(1, Frame(self.now, "test:0", (created,)))]
        self.mail = 0
        self.inbox: list[Arrival] = []
        self.running: dict[str, StepCommand] = {}
        self.acts: list[Any] = []
        self.children: list[tuple[str, StartChild]] = []
        self.crashes = 0
        self.driver = self.load()
        self.now += taken_after_ms
        self.follow(self.driver.feed([], self.now))

    def load(self) -> Driver:
        """A driver made of the journal alone."""
        head = Head(id="run", workflow="planned", created_at=self.now)
        frames = [(seq, FrameCodec.decode(FrameCodec.encode(frame))) for seq, frame in self.frames]
        return Driver(head, frames, "test:0", lambda origin: function_program(planned, self.registry, origin))

    def follow(self, decision: Decision) -> None:
        """Write the decision, then begin its effects."""
        if decision.entries:
            self.frames.append((self.driver.seq + 1, self.driver.frame(decision)))
            self.driver.committed(decision)
        for id in decision.stop:
            self.running.pop(id, None)
        if self.driver.ended is not None:
            self.running.clear()
            return
        for command in decision.start:
            self.running.setdefault(command.id, command)
        self.acts += [act for act in decision.acts if act.id not in [known.id for known in self.acts]]

    def crash(self) -> None:
        """Lose the memory; the journal must say the same."""
        self.crashes += 1
        before = self.driver
        self.driver = self.load()
        decision = self.driver.feed([], self.now) if before.ended is None else Decision()
        assert set(self.driver.steps) == set(before.steps)
        assert self.driver.ended == before.ended
        if before.ended is None:
            self.compare(before, decision)
        before.evict()
        self.running = {}
        self.acts = []
        self.follow(decision)

    def compare(self, before: Driver, decision: Decision) -> None:
        """The new driver stands where the old one stood."""
        after = self.driver
        if after.origin.is_late:
            # Nothing that depends on the time is durable, so the body begins anew.
            assert all(frame.at < after.fold.not_before for _, frame in self.frames[1:])
            return
        assert after.origin.started_at == before.origin.started_at
        if decision.entries:
            return
        assert after.next_wake() == before.next_wake()
        assert after.is_paused == before.is_paused
        assert after.waits() == before.waits()
        if before.program is None:
            assert after.program is None
        else:
            assert after.program.metadata == before.program.metadata

    def send(self, message: Message) -> None:
        """Put a message into the inbox."""
        self.mail += 1
        entry = Received(no=self.mail, id=f"m{self.mail}", at=self.now, message=message)
        self.inbox.append(Arrival(self.now, entry))

    def turn(self) -> None:
        """Let something happen."""
        self.now += self.choice.choice([0, 0, 1, 3, 40])
        arrivals, self.inbox = self.inbox, []
        names = list(self.running)
        self.choice.shuffle(names)
        for id in names[: self.choice.randint(0, 3)]:
            arrivals.append(Arrival(self.now, self.outcome(self.running.pop(id))))
        for act in self.acts[: self.choice.randint(0, 2)]:
            self.acts.remove(act)
            if isinstance(act.act, StartChild):
                self.children.append((act.id, act.act))
            arrivals.append(Arrival(self.now, Confirmed(id=act.id)))
        if not arrivals:
            wake = self.driver.next_wake()
            if wake is not None and not self.running and not self.acts and not self.children:
                self.now = max(self.now, wake)
        self.follow(self.driver.feed(arrivals, self.now))
        if self.children and self.choice.random() < 0.5:
            command, act = self.children.pop(0)
            value = Raw(str(self.choice.randrange(5)).encode())
            self.send(ChildEnded(child=act.child, base=1, command=command, status="completed", value=value))

    def outcome(self, command: StepCommand) -> Any:
        """What becomes of a step: given by its id, so that it is the same however often it runs."""
        fate = Random(f"{self.salt} {command.id}").random()
        if fate < 0.05 and command.definition.options.name == "work":
            failure = Failure(types=("builtins.ValueError",), message="no", step=command.id, attempts=1)
            return StepFailed(id=command.id, failure=failure)
        return StepCompleted(id=command.id, value=Raw(str(int(fate * 100)).encode()))

    def finish(self, *, crash_rate: float = 0.0, noise: float = 0.1, turns: int = 3000) -> None:
        """Go on until the run has ended."""
        for _ in range(turns):
            if self.driver.ended is not None:
                return
            if self.choice.random() < crash_rate:
                self.crash()
            if self.choice.random() < noise:
                self.send(SignalMessage(name=self.choice.choice(["ping", "pong"]), value=Raw(b"7")))
            self.turn()
        raise AssertionError(f"the run has not ended; it waits for {self.driver.waits()}")

    def disturb(self) -> None:
        """Pause, resume or cancel."""
        self.send(self.choice.choice([PauseRequested(), ResumeRequested(), CancelRequested(reason="test")]))
        self.send(ResumeRequested())


def late_machine(plan: Plan, choice: Random) -> Machine:
    """A machine of a run that may have to wait for its start."""
    return Machine(plan, choice, delay_ms=choice.choice([0, 0, 700]), taken_after_ms=choice.choice([0, 0, 600_000]))
