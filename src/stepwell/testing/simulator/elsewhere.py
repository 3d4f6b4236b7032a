"""A step worker elsewhere, and what lies between it and the workers here: it is slow, dies, hangs, lies and comes late.

It has a process life of its own. What it hears of a run it compares with what it has heard before: to a worker, the
journal of a run only grows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from stepwell.authoring.remotes import Dispatch, InvocationHost, RemoteWorkflow
from stepwell.authoring.running import StepContext
from stepwell.engine.remote.calls import Answer, RemoteCall, WaitRequest
from stepwell.errors import WorkerError
from stepwell.model.entries import StepCompleted, StepFailed
from stepwell.model.failures import Failure
from stepwell.model.ids import CommandId, RunId
from stepwell.model.policies import Retry
from stepwell.model.tokens import make_worker_token
from stepwell.testing.simulator.bodies import (
    CODEC,
    COUNTED,
    BlockedError,
    Body,
    BrokenError,
    Done,
    Request,
    request_of,
)
from stepwell.testing.simulator.ledger import Execution, Ledger, forever
from stepwell.testing.simulator.plans import AWAY, Do, Plan
from stepwell.testing.simulator.processes import Process, SimLoop, current_process
from stepwell.testing.virtual import VirtualClock

away: RemoteWorkflow[Plan, Any] = RemoteWorkflow(
    AWAY,
    input=Plan,
    worker_retry=Retry(attempts=25, first_delay="1s", backoff=2.0, max_delay="20s", jitter=0.2),
)
"""Runs whose body is carried out elsewhere."""

BIG = 12_000
_STREAM = "work"
_STRUCK = 5
"""So often in a row may an invocation go wrong by chance: after 25 attempts its run has failed for good."""
_IDLE_S = 15.0
_BEAT_S = 5.0
_PLAIN_S = 240.0
_DOWN_S = 0.7
_BETWEEN_S = 0.01

_json = msgspec.json.encode


class Stepped(Struct, frozen=True):
    """A step is over."""

    id: str
    attempt: int
    done: Done
    record: Raw


class Sent(Struct, frozen=True):
    """A chunk of a step's stream."""

    source: str
    attempt: int
    k: int
    text: str


class Beat(Struct, frozen=True):
    """It still works."""


class Over(Struct, frozen=True):
    """The invocation is over."""

    answer: Answer


Event = Stepped | Sent | Beat | Over | None


class Connection:
    """What comes back from an invocation. None: nothing more, for the connection is broken. `held_s`: so late."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, speaks: bool) -> None:
        self.speaks = speaks
        self.left = -1
        self.held_s = 0.0
        self.is_mute = False
        self.loop = loop
        self._events: deque[Event] = deque()
        self._news: asyncio.Future[None] | None = None
        self._kept: list[Event] = []

    def tell(self, event: Event) -> None:
        """Of a worker that speaks lines, each thing as it happens; else all at the end."""
        if not self.speaks and not isinstance(event, Over):
            self._kept += () if isinstance(event, Beat) else (event,)
            return
        for each in (*self._kept, event):
            self._send(each)
        self._kept.clear()

    async def read(self) -> Event:
        """What comes next, whenever that is."""
        while not self._events:
            self._news = self.loop.create_future()
            await self._news
        return self._events.popleft()

    def _put(self, event: Event) -> None:
        self._events.append(event)
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def lose(self) -> None:
        """The other end is gone."""
        self._put(None)

    def _send(self, event: Event) -> None:
        if self.left == 0:
            event = None
        self.left -= 1
        if self.is_mute:
            return
        if self.held_s:
            self.loop.call_later(self.held_s, self._put, event)
        else:
            self._put(event)

    async def next(self) -> Event:
        """What comes next. `TimeoutError`."""
        async with asyncio.timeout(_IDLE_S if self.speaks else _PLAIN_S):
            return await self.read()


class Known(Struct):
    """What a worker has heard of one life of a run: by kind and id, from which invocation on, and what; which
    waits each of its answers named, and which were over for each invocation. `is_whole`: it began here."""

    facts: dict[tuple[str, str], tuple[tuple[int, int], bytes]] = {}
    named: dict[int, set[str]] = {}
    over: dict[int, frozenset[str]] = {}
    is_whole: bool = True


class Elsewhere:
    """The worker elsewhere, over all its lives. `illness` says what goes wrong with an invocation, `report` takes what
    it finds wrong itself."""

    def __init__(
        self, clock: VirtualClock, ledger: Ledger, choice: Random, report: Callable[[int, str, str], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop), "simulations run on no other"
        self.tokens: dict[RunId, str] = {}
        self.illness: Callable[[], str] = str
        self.choice = choice
        self.process: Process | None = None
        self._loop = loop
        self._clock = clock
        self._ledger = ledger
        self._report = report
        self._processes: list[Process] = []  # nothing of a dead one is finalized while others go on
        self._known: dict[tuple[RunId, str], Known] = {}
        self._struck: Counter[tuple[RunId, str, int]] = Counter()
        self._strays: list[asyncio.Task[None]] = []
        self._lives = 0
        self._keeper = loop.create_task(self._keep())

    def stop(self) -> None:
        """Kill it for good."""
        self._keeper.cancel()
        if self.process is not None:
            self.process.kill()

    async def _keep(self) -> None:
        while True:
            self._lives += 1
            self.process = Process(f"elsewhere, life {self._lives}", self._loop, self._clock)
            self._processes.append(self.process)
            await self.process.death
            self.process = None
            await asyncio.sleep(_DOWN_S)

    # --- here: what a dispatcher does

    async def invoke(
        self, this: StepContext, call: RemoteCall, host: InvocationHost, wire: Dispatch | None = None
    ) -> Answer:
        """Let it carry out the body as far as that goes; over the wire, if there is one."""
        request = request_of(call, this.attempt)
        process = current_process()
        execution = Execution(
            mark=self._ledger.new_mark(),
            run=this.run_id,
            step=this.id,
            attempt=this.attempt,
            at=process.clock.now(),
            process=process.name,
            identity=process.identity,
        )
        self._ledger.begin(execution, request.marks)
        try:
            answer = await (self._talk(request, call, host) if wire is None else wire(call, host))
        except BaseException as error:
            self._ledger.finish(execution, type(error).__name__)
            raise
        self._ledger.finish(execution, "returned")
        return answer

    async def _talk(self, request: Request, call: RemoteCall, host: InvocationHost) -> Answer:
        self.compare(request)
        how = self.how(request)
        await asyncio.sleep(self.choice.choice((0, 0, 0.002, 0.03)))
        process = self.process
        if how == "refuses" or process is None:
            raise WorkerError("nobody takes it, on purpose", retry_after=self.choice.choice((None, 4)))
        connection = self.connected(process, how)
        task = process.spawn(self.serve(request, connection, how), "a body")
        if how == "twice":
            process.spawn(self.serve(request, Connection(self._loop, speaks=True), ""), "the same body")
        notes = _Notes(call, host, self.choice)
        try:
            answer = await _heard(connection, notes)
        except TimeoutError:
            if how == "late":
                self._listen_on(connection, notes)
            raise WorkerError("it has not answered in time, on purpose", code="timeout") from None
        finally:
            if how not in ("late", "mute") and self.choice.random() < 0.7:
                task.cancel()  # it sees that the connection is closed
        if how == "rubbish":
            raise WorkerError("its answer makes no sense, on purpose")
        return answer

    def connected(self, process: Process, how: str) -> Connection:
        connection = Connection(self._loop, speaks=self._lives % 3 != 0)
        process.death.add_done_callback(lambda _: connection.lose())
        connection.is_mute = how in ("mute", "hangs")
        if how == "breaks":
            connection.left = self.choice.choice((0, 1, 2, 4))
        if how == "late":
            connection.speaks = True
            connection.held_s = self.choice.choice((16.0, 20.0, 40.0))
        return connection

    def _listen_on(self, connection: Connection, notes: _Notes) -> None:
        """A dispatcher that does not notice that its attempt is over: what it does now must change nothing."""

        async def listen() -> None:
            with contextlib.suppress(TimeoutError, WorkerError):
                await _heard(connection, notes)

        self._strays.append(asyncio.create_task(listen()))

    def how(self, request: Request) -> str:
        """What goes wrong this time."""
        how = self.illness()
        key = request.run, request.life, request.number
        if not how or self._struck[key] >= _STRUCK:
            return ""
        self._struck[key] += 1
        return how

    # --- what it has heard

    def compare(self, request: Request) -> None:
        """Against all that it heard in invocations before this one."""
        is_first = request.number == 1 and not request.resolved
        known = self._known.setdefault((request.run, request.life), Known(is_whole=is_first))
        now = request.number, request.attempt
        told = {("step", id): fact for id, fact in request.steps.items()}
        told |= {("wait", id): fact for id, fact in request.resolved.items()}
        told |= {("change", str(n)): _json(item) for n, item in enumerate(request.counted)}
        for key, (since, fact) in known.facts.items():
            if since < now and key not in told:
                self._wrong(request, f"{' '.join(key)} is not in the journal any more")
            elif key in told and told[key] != fact:
                self._wrong(request, f"{' '.join(key)} is {told[key]!r}, and was {fact!r}")
        if known.over.setdefault(request.number, frozenset(request.resolved)) != frozenset(request.resolved):
            self._wrong(request, f"{[*request.resolved]} are over, which changed while the invocation went on")
        if known.is_whole and request.cancel is None:
            last = max((number for number in known.named if number < request.number), default=0)
            for id in request.resolved.keys() - known.named.get(last, set()):
                if ("wait", id) not in known.facts:
                    self._wrong(request, f"the wait {id} is over, and the answer before did not name it")
        for key, fact in told.items():
            since, _ = known.facts.get(key, (now, fact))
            known.facts[key] = min(since, now), fact
        if request.changed not in (-1, len(request.counted)):
            self._wrong(request, f"{request.changed} changes of metadata are applied, of {len(request.counted)}")

    def _wrong(self, request: Request, text: str) -> None:
        self._report(2, request.run, f"invocation {request.number}, attempt {request.attempt}: {text}")

    # --- there: what a worker does

    async def serve(self, request: Request, connection: Connection, how: str) -> None:
        if how == "hangs":
            await forever()
        if how == "dies":
            asyncio.get_running_loop().call_later(self.choice.choice((0.001, 0.05, 2)), current_process().kill)
        answer = await self._answered(request, connection, how)
        connection.tell(Over(answer))

    async def _answered(self, request: Request, connection: Connection, how: str) -> Answer:
        async def act(id: str, plan: Do, attempt: int, is_last: bool) -> Done:
            return await self._act(request, connection, id, plan, attempt, is_last)

        body = Body(request, act)
        if request.cancel is not None:
            undone = {id: Raw(b"{}") for id in await body.clean_up()}
            return Answer(status="cancelled", undone=undone, speaks=_words(connection))
        told: dict[str, Any]
        try:
            told = {"status": "completed", "output": Raw(_json(await body.carry_out()))}
        except BrokenError as error:
            failure = Failure(types=("Error",), message=str(error), code="UNKNOWN")
            told = {"status": "failed", "failure": failure}
        except BlockedError as error:
            self._remember(request, error.waits)
            told = {"status": "waiting", "waits": self._twisted(request, error.waits, how)}
        changes = body.changes
        more = {COUNTED: Raw(_json(body.counted))} if body.counted else {}
        return Answer(
            **told,
            changes=tuple(changes[max(0, request.changed) :]),
            changed=len(changes),
            more=more,
            speaks=_words(connection),
        )

    def _remember(self, request: Request, waits: tuple[WaitRequest, ...]) -> None:
        known = self._known[request.run, request.life]
        for wait in waits:
            known.named.setdefault(request.number, set()).add(wait.id)
            if wait.kind == "MANUAL":
                command = CommandId(wait.name)
                self.tokens[request.run] = make_worker_token(request.run, request.base, command, request.key)

    def _twisted(self, request: Request, waits: tuple[WaitRequest, ...], how: str) -> tuple[WaitRequest, ...]:
        """What a worker says that does not know what it says: waits that are over, waits twice, and other times of
        those that were named before."""
        if how != "lies":
            return waits  # over the wire, waits that are over, or that are named twice, are "rubbish"
        named = self._known[request.run, request.life].named
        before = {id for number, ids in named.items() if number < request.number for id in ids}
        twisted = [
            replace(wait, delay_ms=self.choice.choice((0, 1, 77_000)))
            if wait.delay_ms is not None and wait.id in before
            else wait
            for wait in waits
        ]
        over = [WaitRequest(id=id, kind="SIGNAL", name="ping") for id in request.resolved if id.startswith("signal")]
        return tuple(twisted) if request.changed < 0 else (*over, *twisted, *twisted[:1])

    async def _act(
        self, request: Request, connection: Connection, id: str, plan: Do, attempt: int, is_last: bool
    ) -> Done:
        """An attempt of a step."""
        process, ledger = current_process(), self._ledger
        execution = Execution(
            mark=ledger.new_mark(),
            run=request.run,
            step=CommandId(id),
            attempt=attempt,
            at=process.clock.now(),
            process=process.name,
            identity="elsewhere",
            sends=plan.sends,
        )
        began = process.clock.now()
        count = ledger.note(execution)
        if count <= plan.kills:
            process.kill()
            await forever()
        for k in range(plan.sends):
            connection.tell(Sent(id, attempt, k, f"{execution.mark}{k}"))
            await asyncio.sleep(_BETWEEN_S)
        await self._worked(plan.ms / 1000, connection)
        is_ok = attempt > plan.fails if plan.fails >= 0 else int(execution.mark.strip("~")) % 3 != 0
        ledger.finish(execution, "returned" if is_ok else "UnluckyError")
        text = plan.label + execution.mark + "x" * BIG * plan.big if is_ok else f"attempt {attempt} of {plan.label}"
        done = Done(is_ok, text)
        if is_ok or is_last:
            record = {"startedAt": began, "finishedAt": process.clock.now(), "runtime": "node"}
            record |= {"after": len(request.resolved)} if connection.speaks else {}
            connection.tell(Stepped(id, attempt, done, Raw(_json(record))))
        return done

    async def _worked(self, seconds: float, connection: Connection) -> None:
        while seconds > _BEAT_S:
            await asyncio.sleep(_BEAT_S)
            seconds -= _BEAT_S
            connection.tell(Beat())
        await asyncio.sleep(seconds)


class _Notes:
    """What a dispatcher hands on as it hears it."""

    def __init__(self, call: RemoteCall, host: InvocationHost, choice: Random) -> None:
        self._call = call
        self._host = host
        self.choice = choice

    def take(self, event: Stepped | Sent) -> None:
        """A step is over, or has sent something."""
        if isinstance(event, Sent):
            value = CODEC.sealed(_json(event.text))
            self._host.write(_STREAM, source=event.source, attempt=event.attempt, k=event.k, value=value)
            return
        id, via, record = CommandId(event.id), self._call.id, CODEC.sealed(bytes(event.record))
        if event.done.is_ok:
            value = CODEC.sealed(_json(event.done.value))
            self._host.note(StepCompleted(id=id, value=value, attempt=event.attempt, via=via, record=record))
        else:
            failure = Failure(types=("Error",), message=event.done.value, code="UNKNOWN")
            self._host.note(StepFailed(id=id, failure=failure, attempt=event.attempt, via=via, record=record))
        if self.choice.random() < 0.6:
            self._host.save_notes()


async def _heard(connection: Connection, notes: _Notes) -> Answer:
    """All that comes, until the answer."""
    while True:
        event = await connection.next()
        if event is None:
            raise WorkerError("the connection broke, on purpose")
        if isinstance(event, Over):
            return event.answer
        if not isinstance(event, Beat):
            notes.take(event)


def _words(connection: Connection) -> tuple[str, ...]:
    return ("cancel", "lines") if connection.speaks else ()
