"""The workflow of all simulated runs: it carries out a plan, and answers what it saw.

What it answers is a list that begins with the operation's name, so that `oracle` can tell whether some execution
without faults gives it. Each step gets the marks of what it stands on.
"""

from __future__ import annotations

import asyncio
from typing import Any

from stepwell.authoring.context import ChildHandle, Context
from stepwell.authoring.messages import Event, Signal, Stream
from stepwell.authoring.running import current_step
from stepwell.authoring.steps import step
from stepwell.authoring.workflows import Definition, workflow
from stepwell.errors import HookError, RunClosedError, RunError, StepError
from stepwell.model.policies import Retry
from stepwell.testing.simulator.acting import Effort, executed
from stepwell.testing.simulator.elsewhere import away
from stepwell.testing.simulator.graphs import WORKER, blueprint_of, case_of, relay
from stepwell.testing.simulator.ledger import Execution, marks_in
from stepwell.testing.simulator.plans import (
    EVENT,
    Again,
    Away,
    Child,
    Collect,
    Do,
    Gather,
    Graph,
    Group,
    Limit,
    Map,
    Note,
    Plan,
    Race,
    Saga,
    Seq,
    Shield,
    Sleep,
    Try,
    Wait,
)

ATTEMPTS = 3
BIG = 12_000
SHARED = "the-shared-hook"
_STOOD_ON = 6

_news = Event(EVENT, str)
_chunks = Stream("chunks", int)


class UnluckyError(Exception):
    """A step fails on purpose."""


class UndoneError(Exception):
    """A saga fails on purpose."""


@step(retry=Retry(attempts=ATTEMPTS, first_delay="3s"))
async def act(what: Do, stands_on: list[str]) -> str:
    """A step that does what its plan says."""

    def result(execution: Execution) -> str:
        if _fails(what, execution):
            raise UnluckyError(f"attempt {execution.attempt} of {what.label}")
        return what.label

    effort = Effort(what.ms, what.kills, what.sends)
    label, mark = await executed(current_step(), effort, stands_on, result)
    return label + mark + ("x" * BIG if what.big else "")


def _fails(what: Do, execution: Execution) -> bool:
    if what.fails < 0:
        return int(execution.mark.strip("~")) % 3 == 0
    return execution.attempt <= what.fails


@step
async def book(label: str, stands_on: list[str]) -> str:
    """A step that can be undone."""
    return await act(Do(label), stands_on)


@book.compensate
async def unbook(booked: str, label: str, stands_on: list[str]) -> str:
    """Undoes it."""
    return await act(Do(f"undo {label}"), [*marks_in(booked), *stands_on])


@workflow(id="play")
async def play(ctx: Context, plan: Plan) -> Any:
    """Carry out a plan."""
    return await _Player(ctx).follow(plan, ())


@workflow(id="insist", retry=Retry(attempts=3, first_delay="5s"))
async def insist(ctx: Context, plan: Plan) -> Any:
    """Carry out a plan; start over if it fails."""
    return await _Player(ctx).follow(plan, ())


_ALL: tuple[Definition[Any, Any], ...] = (play, insist, relay, WORKER, away)
WORKFLOWS = {found.id: found for found in _ALL}


class _Player:
    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.hooks = 0
        self.has_shared = False

    async def follow(self, plan: Plan, after: tuple[str, ...]) -> Any:
        """The answer of a plan that stands on `after`."""
        method = getattr(self, f"_{type(plan).__name__.lower()}")
        return await method(plan, after)

    # --- leaves

    async def _do(self, plan: Do, after: tuple[str, ...]) -> Any:
        step = act if not plan.limit_ms else act.options(timeout=plan.limit_ms / 1000)
        result = await step(plan, list(after[-_STOOD_ON:]))
        return ["do", result.rstrip("x")]

    async def _sleep(self, plan: Sleep, after: tuple[str, ...]) -> Any:  # noqa: ARG002
        if plan.ms % 2:
            await self.ctx.sleep(plan.ms / 1000)
        else:
            await asyncio.sleep(plan.ms / 1000)
        return ["slept"]

    async def _wait(self, plan: Wait, after: tuple[str, ...]) -> Any:  # noqa: ARG002
        timeout = None if plan.ms is None else plan.ms / 1000
        if plan.source == "hook":
            return await self._hook(plan, timeout)
        source = _news if plan.source == EVENT else Signal(plan.source, str)
        found = await self.ctx.receive(source, timeout=timeout, default=None)
        return ["none", plan.source] if found is None else ["got", plan.source, found.rstrip("x")]

    async def _hook(self, plan: Wait, timeout: float | None) -> Any:
        self.hooks += 1
        token = None if not plan.token else f"hook-{self.ctx.run_id}-{self.hooks}"
        if plan.token == "shared" and not self.has_shared:  # two hooks of one token would be one
            self.has_shared, token = True, SHARED
        try:
            return ["got", plan.source, await (await self.ctx.create_hook(str, token=token, timeout=timeout))]
        except HookError:
            return ["refused"]
        except TimeoutError:
            return ["none", plan.source]

    async def _map(self, plan: Map, after: tuple[str, ...]) -> Any:
        async def one(index: int) -> str:
            if plan.children:
                _, result = await play(Do(f"m{index}"))
                return str(result)
            return await act(Do(f"m{index}"), list(after[-_STOOD_ON:]))

        outcomes = await self.ctx.map(one, range(plan.count), concurrency=plan.concurrency, settle=True)
        return ["map", *(outcome.value for outcome in outcomes)]

    async def _collect(self, plan: Collect, after: tuple[str, ...]) -> Any:  # noqa: ARG002
        found: list[str] = []
        async for text in self.ctx.receive_all(Signal(plan.source, str)):
            found.append(text.rstrip("x"))
            if len(found) == plan.count:
                break
        return ["collected", *(["got", plan.source, text] for text in found)]

    async def _note(self, plan: Note, after: tuple[str, ...]) -> Any:  # noqa: ARG002
        ctx = self.ctx
        ctx.metadata.increment(plan.key)
        number = ctx.random.randrange(1_000_000)
        ctx.send(_chunks, number)
        return ["note", plan.key, number, ctx.patched("new")]

    # --- branches

    async def _seq(self, plan: Seq, after: tuple[str, ...]) -> Any:
        values = []
        for each in plan.plans:
            value = await self.follow(each, after)
            after = (*after, *marks_in(value))
            values.append(value)
        return ["seq", *values]

    async def _gather(self, plan: Gather, after: tuple[str, ...]) -> Any:
        return ["gather", *await asyncio.gather(*(self.follow(each, after) for each in plan.plans))]

    async def _group(self, plan: Group, after: tuple[str, ...]) -> Any:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.follow(each, after)) for each in plan.plans]
        except ExceptionGroup as errors:
            if errors.split((StepError, RunError))[1] is not None:
                raise
            return ["group failed"]
        return ["group", *(task.result() for task in tasks)]

    async def _race(self, plan: Race, after: tuple[str, ...]) -> Any:
        tasks = [asyncio.create_task(self.follow(each, after)) for each in plan.plans]
        try:
            done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        won = [[i, "raised" if task.exception() else task.result()] for i, task in enumerate(tasks) if task in done]
        if rest:
            await asyncio.wait(rest)
        return ["race", *won]

    async def _limit(self, plan: Limit, after: tuple[str, ...]) -> Any:
        try:
            async with asyncio.timeout(plan.ms / 1000):
                return ["in time", await self.follow(plan.plan, after)]
        except TimeoutError:
            return ["late"]

    async def _try(self, plan: Try, after: tuple[str, ...]) -> Any:
        try:
            return ["fine", await self.follow(plan.plan, after)]
        except (StepError, RunError):
            return ["failed"]

    async def _shield(self, plan: Shield, after: tuple[str, ...]) -> Any:
        return await asyncio.shield(self.follow(plan.plan, after))

    async def _saga(self, plan: Saga, after: tuple[str, ...]) -> Any:
        try:
            async with self.ctx.saga():
                first = await book("x", list(after[-_STOOD_ON:]))
                value = await self.follow(plan.plan, (*after, *marks_in(first)))
                second = await book("y", [*after[-_STOOD_ON:], *marks_in(value)][-_STOOD_ON:])
                if plan.fails:
                    raise UndoneError
                return ["saga", first, value, second]
        except UndoneError:
            return ["undone"]

    async def _child(self, plan: Child, after: tuple[str, ...]) -> Any:  # noqa: ARG002
        if plan.how == "await":
            return ["child", await play(plan.plan)]
        told = Seq((Wait("ping", 20_000), plan.plan))
        child: ChildHandle[Any] = await self.ctx.start(
            play,
            told if plan.how == "tell" else plan.plan,
            on_parent_end="abandon" if plan.how == "abandon" else "cancel",
        )
        if plan.how == "tell":
            return ["told", await self._tell(child), await child.result()]
        if plan.how == "cancel":
            await child.cancel()
            try:
                return ["child", await child.result()]
            except RunError as error:
                return ["stopped", type(error).__name__]
        return ["started"]

    async def _tell(self, child: ChildHandle[Any]) -> bool:
        try:
            await child.send(Signal("ping", str), f"from {self.ctx.run_id}")
        except RunClosedError:
            return False
        return True

    async def _graph(self, plan: Graph, after: tuple[str, ...]) -> Any:  # noqa: ARG002
        return ["graph", await blueprint_of(plan)(case_of(plan).input)]

    async def _away(self, plan: Away, after: tuple[str, ...]) -> Any:  # noqa: ARG002
        return ["away", await away(plan.plan)]

    async def _again(self, plan: Again, after: tuple[str, ...]) -> Any:  # noqa: ARG002
        self.ctx.continue_as_new(plan.plan)
