"""One simulation: a scenario carried out, in virtual time, from its first call to its last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import msgspec
from msgspec import Struct

from stepwell.authoring.messages import Signal
from stepwell.backends.memory.world import World
from stepwell.engine.driver import Driver
from stepwell.model.entries import OpenHook
from stepwell.model.ids import CommandId, RunId
from stepwell.model.runs import Wait
from stepwell.model.tokens import make_token
from stepwell.testing.simulator.actions import NEWS, begin, perform
from stepwell.testing.simulator.answers import give
from stepwell.testing.simulator.elsewhere import Elsewhere
from stepwell.testing.simulator.endings import Endings
from stepwell.testing.simulator.fleet import MAX_TAKES, Fleet
from stepwell.testing.simulator.graphs import case_of, plan_in
from stepwell.testing.simulator.journals import NEVER, Journal, Rules, new_registry
from stepwell.testing.simulator.ledger import Execution, Ledger
from stepwell.testing.simulator.network import Network
from stepwell.testing.simulator.plans import GRAPH, Graph
from stepwell.testing.simulator.processes import SimLoop, be_nobody
from stepwell.testing.simulator.scenarios import (
    Crash,
    Drain,
    Fault,
    Freeze,
    Jump,
    RunScript,
    Scenario,
)
from stepwell.testing.simulator.witness import Violation, Witness
from stepwell.testing.virtual import VirtualClock

_STILL_MS = 900_000
_ROUNDS = 400
_ROOMY = 20
_FEW = 6


class Verdict(Struct, kw_only=True):
    """What became of a simulation. `violation` is None if all went well. `log`: what workers said, if that was kept."""

    scenario: Scenario
    violation: Violation | None
    journals: dict[RunId, Journal]
    calls: int
    steps: int
    virtual_ms: int
    log: list[str]

    @property
    def fingerprint(self) -> str:
        """The same for two simulations in which the same happened."""
        frames = [(run, len(journal.frames), journal.bodies[-1].hex()) for run, journal in self.journals.items()]
        return f"{self.calls} {self.steps} {self.virtual_ms} {frames}"


def simulate(scenario: Scenario, *, keeps_log: bool = False) -> Verdict:
    """Carry out a scenario. The same scenario always comes to the same verdict."""
    clock = VirtualClock(seed=scenario.seed)
    loop = SimLoop(clock)
    log: list[str] = []
    try:
        with _quiet(lambda: clock.monotonic(), log if keeps_log else None):
            simulation = loop.run_until_complete(_simulated(scenario, clock))
            simulation.fleet.bury()
    finally:
        loop.close()
    witness = simulation.witness
    return Verdict(
        scenario=scenario,
        violation=witness.found.result() if witness.found.done() else None,
        journals=witness.journals,
        calls=simulation.network.calls,
        steps=len(simulation.ledger.executions),
        virtual_ms=round(clock.monotonic() * 1000),
        log=log,
    )


async def _simulated(scenario: Scenario, clock: VirtualClock) -> _Simulation:
    be_nobody()
    simulation = _Simulation(scenario, clock)
    await simulation.run()
    return simulation


class _Simulation:
    def __init__(self, scenario: Scenario, clock: VirtualClock) -> None:
        self.scenario = scenario
        self.clock = clock
        self.world = World()
        settings = scenario.settings
        self.rules = _rules(scenario)
        self.witness = Witness(self.world, clock, self.rules)
        self.ledger = Ledger(self.witness.began, self.witness.returned)
        choice = Random(f"execution {scenario.seed}")
        self.network = Network(scenario, Random(choice.random()), self.witness)
        self.elsewhere = Elsewhere(clock, self.ledger, Random(f"elsewhere {scenario.seed}"), self.witness.report)
        self.elsewhere.illness = self.network.illness
        self.fleet = Fleet(
            settings,
            world=self.world,
            clock=clock,
            network=self.network,
            shared=(self.ledger, self.elsewhere),
            choice=Random(choice.random()),
        )
        if b'"graph"' in msgspec.json.encode(scenario):  # they keep each blueprint that was started
            self.fleet.registries = (new_registry(), new_registry(is_ignorant=True))
        self.witness.still_running = self._still_running
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop), "simulations run on no other"
        self._rested: asyncio.Future[None] = loop.create_future()
        self._rested.set_result(None)
        loop.is_alive = self._is_alive
        loop.on_failure = self._has_come_to_rest
        self._nudges = 0

    async def run(self) -> None:
        """Everything, until it is over or something is wrong."""
        story: asyncio.Future[Any] = asyncio.ensure_future(self._story())
        # Named as those whose timers are no sign of life.
        watch: asyncio.Future[Any] = asyncio.create_task(self._watch(), name="stepwell lookout")
        try:
            over: list[asyncio.Future[Any]] = [story, watch, self.witness.found]
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
            if story.done() and (error := story.exception()) is not None:
                self.witness.report(7, "-", f"a client met {_plain(error)}")
        finally:
            self.fleet.stop()
            self.elsewhere.stop()
            story.cancel()
            watch.cancel()
            await asyncio.wait([story, watch])

    # --- the story

    async def _story(self) -> None:
        async with asyncio.TaskGroup() as group:
            for script in self.scenario.runs:
                group.create_task(self._follow(script))
            for fault in self.scenario.faults:
                group.create_task(self._strike(fault))
        self.network.calm()
        for _ in range(_ROUNDS):
            await self._rest()
            live = [journal for journal in self.witness.journals.values() if not journal.is_settled]
            if not live:
                break
            nudged = [await self._nudge(journal) for journal in live]
            if not any(nudged):
                self._stuck(live)
        else:
            self._stuck(live)
        journals, report = self.witness.journals, self.witness.report
        endings = Endings(journals, self.fleet, world=self.world, ledger=self.ledger, wrong=report)
        endings.may_die = len(self.scenario.faults) > _FEW
        await endings.check()

    async def _follow(self, script: RunScript) -> None:
        await asyncio.sleep(script.at / 1000)
        await self.fleet.ask(lambda app: begin(app, script))
        began = self.clock.monotonic()
        for number, action in enumerate(script.actions):
            await asyncio.sleep(max(0.0, began + action.at / 1000 - self.clock.monotonic()))
            await self.fleet.ask(lambda app, a=action, n=number: perform(app, script, a, n))  # type: ignore[misc]

    async def _strike(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at / 1000)
        match fault:
            case Crash():
                slot = self.fleet.slot(fault.worker)
                slot.down_ms = fault.down_ms
                if slot.process is not None:
                    slot.process.turns_left = fault.turns
            case Drain():
                await self.fleet.drain(self.fleet.slot(fault.worker))
            case Jump():
                self._jump(fault)
            case Freeze():
                process = self.fleet.slot(fault.worker).process
                if process is not None and not process.is_frozen:
                    process.freeze()
                    await asyncio.sleep(fault.ms / 1000)
                    process.thaw()
            case _:
                self.network.begin(fault)
                await asyncio.sleep(fault.ms / 1000)
                self.network.end(fault)

    def _jump(self, fault: Jump) -> None:
        if fault.worker < 0:
            self.clock.advance(fault.by_ms / 1000)
            self.witness.last_change_ms += fault.by_ms
            for process in self.fleet.processes:
                process.jolt()
            return
        slot = self.fleet.slot(fault.worker)
        slot.skew_ms += fault.by_ms
        if slot.process is not None:
            slot.process.clock.skew_ms = slot.skew_ms  # type: ignore[attr-defined]

    def _still_running(self, run: RunId) -> list[Execution]:
        """Executions of the run in processes that had the time to stop them when their lease ended."""
        awake = {process.name for process in self.fleet.processes if process.is_awake}
        return [item for item in self.ledger.executions if item.run == run and not item.over and item.process in awake]

    # --- coming to rest

    async def _rest(self) -> None:
        """Until nothing would ever happen by itself."""
        self._rested = asyncio.get_running_loop().create_future()
        await self._rested

    def _has_come_to_rest(self, error: BaseException) -> bool:
        if self._rested.done():
            self.witness.report(7, "-", str(error))
        else:
            self._rested.set_result(None)
        return True

    def _is_alive(self) -> bool:
        """Whether the rounds of workers, whose timers alone are no sign of life, may still find something."""
        return self._rested.done() or any(run.head.wake_at is not None for run in self.world.runs.values())

    async def _watch(self) -> None:
        """Something must happen in each quarter of an hour."""
        while True:
            await asyncio.sleep(_STILL_MS / 2000)
            if self.clock.now() - self.witness.last_change_ms > _STILL_MS + self.rules.skew_ms:
                self._stuck([journal for journal in self.witness.journals.values() if not journal.is_settled])

    def _stuck(self, live: list[Journal]) -> None:
        lines = [f"{journal.run}: {self.world.runs[journal.run].head}" for journal in live]
        self.witness.report(7, live[0].run if live else "-", "nothing moves any more:\n  " + "\n  ".join(lines))

    async def _nudge(self, journal: Journal) -> bool:
        """Give a run what it waits for; whether there was such a thing."""
        driver = journal.driver()
        with contextlib.closing(_Evicting(driver)):
            if driver.ended is not None:
                return False
            driver.feed([], max(driver.at, driver.fold.not_before))
            is_paused, waits = driver.is_paused, driver.waits()
        run = journal.run
        if is_paused:
            self._nudges += 1
            request = f"nudge-{self._nudges}"
            await self.fleet.ask(lambda app: app.runs.resume(run, request_id=request))
            return True
        if journal.created.workflow == GRAPH:
            plan = plan_in(journal.created)
            given = [await self._answer(run, plan, wait) for wait in waits]
        else:
            given = [await self._give(journal, wait) for wait in waits]
        return any(given) or any(wait.kind == "child" for wait in waits)

    async def _answer(self, run: RunId, plan: Graph, wait: Wait) -> bool:
        """Answer a node of a blueprint, if it waits for that."""
        if wait.kind not in ("token", "signal"):
            return False
        self._nudges += 1
        text, visit = f"nudge-{self._nudges}", wait.detail
        return bool(await self.fleet.ask(lambda app: give(app, run, case_of(plan), visit, id=text)))

    async def _give(self, journal: Journal, wait: Wait) -> bool:
        self._nudges += 1
        run, text = journal.run, f"nudge-{self._nudges}"
        if wait.kind == "signal":
            signal = Signal(wait.name, str)
            await self.fleet.ask(lambda app: app.handle(run).send(signal, text, id=text))
        elif wait.kind == "event":
            await self.fleet.ask(lambda app: app.publish(NEWS, text, id=text))
        elif wait.kind == "token":
            token = _token(journal, CommandId(wait.name))
            await self.fleet.ask(lambda app: app.complete(token, text, id=text))
        else:
            return False
        return True


def _rules(scenario: Scenario) -> Rules:
    settings = scenario.settings
    jumps = sum(abs(fault.by_ms) for fault in scenario.faults if isinstance(fault, Jump))
    slow_ms = 12 * settings.latency_ms + 2_000
    is_quiet = not scenario.faults and b'"kills"' not in msgspec.json.encode(scenario)
    # A worker that is full, or whose clock differs, has reasons to be late.
    is_prompt = is_quiet and settings.concurrency >= _ROOMY and not any(settings.skews_ms)
    return Rules(
        max_takes=MAX_TAKES + len(scenario.faults),  # what buries a run may be lost as well
        skew_ms=max(map(abs, settings.skews_ms)) + jumps,
        clocks_ms=NEVER if any(settings.skews_ms) or jumps else 0,
        lateness_ms=slow_ms + settings.poll_ms if is_prompt else NEVER,
        slack_ms=slow_ms if is_quiet else NEVER,
    )


def _token(journal: Journal, hook: CommandId) -> str:
    intended = journal.intents.get(hook)
    if isinstance(intended, OpenHook):
        return intended.token
    return make_token(journal.run, journal.base, hook, journal.created.seed)


def _plain(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


class _Evicting:
    def __init__(self, driver: Driver) -> None:
        self.close = driver.evict


@contextlib.contextmanager
def _quiet(now: Callable[[], float], log: list[str] | None) -> Iterator[None]:
    """Workers complain of what we do to them: into `log`, or nowhere."""
    loggers = [logging.getLogger("stepwell"), logging.getLogger("asyncio")]
    handler = _Kept(now, log)
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.CRITICAL + 1 if log is None else logging.WARNING)
    try:
        yield
    finally:
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


class _Kept(logging.Handler):
    def __init__(self, now: Callable[[], float], log: list[str] | None) -> None:
        super().__init__()
        self._now = now
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if self._log is not None:
            self._log.append(f"{self._now():9.3f} {self.format(record)}")
