"""Crashes at every durable boundary: what a run must survive, tried out one by one.

A worker's life can only be cut between two writes; what it does in between leaves no trace. So a run is carried out
once to count the writes of its worker. Then, for each of them, it is carried out in a new world, where that write is
the last thing the worker does, or the first that it no longer does. A new worker goes on from what is stored.

A dead worker is a `FaultyBackend` that does nothing any more and answers whatever makes its worker stop.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from typing import Any, Literal

from msgspec import Struct, structs

from stepwell.authoring.workflows import WorkflowRef
from stepwell.engine.mismatch import describe
from stepwell.errors import DefinitionError
from stepwell.model.durations import Duration
from stepwell.model.entries import Ended, Entry, FrameCodec
from stepwell.model.ids import RunId
from stepwell.model.runs import RunQuery
from stepwell.ports import Store
from stepwell.runtime.handles import Handle
from stepwell.testing.fakes import Effects, Fakes
from stepwell.testing.faults import Call, last_words
from stepwell.testing.scripts import Script, ended
from stepwell.testing.virtual import RewoundClock
from stepwell.testing.worlds import AppOptions, TestApp, World

MAX_CRASHES = 2000
"""Of longer runs, only every so many writes are tried."""

_LINES = 10


class Experiment(Struct, frozen=True, kw_only=True):
    """What is run, over and over. `start` holds the options of the start."""

    workflow: WorkflowRef[Any, Any]
    input: tuple[Any, ...]
    fakes: Fakes
    script: Script
    timeout: Duration | None
    start: dict[str, Any]
    max_crashes: int = MAX_CRASHES


class Crash(Struct, frozen=True, kw_only=True):
    """One run: its worker was killed `when` its `write`-th write (the `call`, such as "store.append") took effect.
    `what` says what that write was for: "step charge completed".

    `when` is None for the undisturbed run; then `write` is how many there were. `effects` counts how often each step's
    body ran, by step id; those of child runs have the child's workflow and id before it.
    """

    when: Literal["before", "after"] | None
    write: int
    call: str
    what: str = ""
    ended: Ended
    effects: Counter[str]

    def __str__(self) -> str:
        if self.when is None:
            return "undisturbed"
        return f"killed {self.when} write {self.write} ({self.what or self.call})"


class Repeat(Struct, frozen=True):
    """A step whose body ran more often (at worst `worst` times) after these crashes than undisturbed (`usual`)."""

    step: str
    usual: int
    worst: int
    crashes: tuple[Crash, ...]


class CrashReport(Struct, frozen=True):
    """What became of a run under crashes. The first of `crashes` is the undisturbed run. Print it to read it."""

    crashes: tuple[Crash, ...]
    workflow: str = ""

    @property
    def boundaries(self) -> int:
        """How many writes the undisturbed run needs: at each, a worker may die before and after."""
        return self.crashes[0].write

    @property
    def results(self) -> list[Ended]:
        """The ends, the undisturbed one first."""
        return [crash.ended for crash in self.crashes]

    @property
    def different(self) -> list[Crash]:
        """The crashes after which the run ended otherwise."""
        usual = _outcome(self.crashes[0].ended)
        return [crash for crash in self.crashes if _outcome(crash.ended) != usual]

    @property
    def repeated(self) -> dict[str, int]:
        """Steps whose body ran more often under some crash than without: step id -> how often, at worst.

        That it can happen is the nature of steps; what such a step does outside must bear it. See `idempotency_key`.
        """
        return {repeat.step: repeat.worst for repeat in self.repeats}

    @property
    def repeats(self) -> list[Repeat]:
        """The same with the crashes that did it, by step id."""
        usual = self.crashes[0].effects
        found: dict[str, list[Crash]] = {}
        for crash in self.crashes[1:]:
            for id, count in crash.effects.items():
                if count > usual[id]:
                    found.setdefault(id, []).append(crash)
        return [
            Repeat(id, usual[id], max(crash.effects[id] for crash in crashes), tuple(crashes))
            for id, crashes in sorted(found.items())
        ]

    def assert_same(self) -> None:
        """`AssertionError` with the crashes after which the run ended otherwise than undisturbed."""
        if self.different:
            raise AssertionError("\n  ".join(self._differences()))

    def __str__(self) -> str:
        tried = len({crash.write for crash in self.crashes[1:]})
        writes = (
            f"each of its {tried} writes" if tried == self.boundaries else f"{tried} of its {self.boundaries} writes"
        )
        head = f"{self.workflow} was killed before and after {writes}: {len(self.crashes) - 1} crashes"
        if self.different:
            return "\n".join([f"{head}, {len(self.different)} ended otherwise", *self._differences(), *self._effects()])
        return "\n".join([f"{head}, all ended as undisturbed: {_described(self.crashes[0].ended)}", *self._effects()])

    def _differences(self) -> list[str]:
        different = self.different
        lines = [f"{crash}: {_described(crash.ended)}" for crash in different[:_LINES]]
        if len(different) > _LINES:
            lines.append(f"and {len(different) - _LINES} more crashes")
        return [f"undisturbed, it ended with: {_described(self.crashes[0].ended)}", *lines]

    def _effects(self) -> list[str]:
        repeats = self.repeats
        if not repeats:
            return ["no step ran more often than undisturbed"]
        size = max(len(repeat.step) for repeat in repeats)
        lines = ["steps that ran again, and with them what they do outside:"]
        for repeat in repeats:
            more = f", and {len(repeat.crashes) - 1} more" if len(repeat.crashes) > 1 else ""
            times = f"{repeat.worst} times instead of {repeat.usual}"
            lines.append(f"  {repeat.step.ljust(size)}  {times}: {repeat.crashes[0]}{more}")
        cure = "let the other side know current_step().idempotency_key, or look first whether it is done"
        return [*lines, f"cure, where that would hurt: {cure}"]


async def try_crashes(experiment: Experiment, options: AppOptions, world: World) -> CrashReport:
    """Kill the worker before and after each of its writes. Results are not compared: see `CrashReport`."""
    most = experiment.max_crashes
    if most < 2:
        raise DefinitionError(f"crash_everywhere(max_crashes={most}): give 2 or more; each write is tried twice")
    usual = await _Trial(experiment, options, world, 0).run()
    crashes = [usual]
    step = max(1, -(-2 * usual.write // most))
    log = logging.getLogger("stepwell")
    log.addFilter(_is_grave)
    try:
        for write in range(1, usual.write + 1, step):
            crashes.append(await _Trial(experiment, options, world, write, "before").run())
            crashes.append(await _Trial(experiment, options, world, write, "after").run())
    finally:
        log.removeFilter(_is_grave)
    return CrashReport(tuple(crashes), experiment.workflow.id)


def _is_grave(record: logging.LogRecord) -> bool:
    """That a worker has lost its runs is what is tried here, and not worth a warning."""
    return record.levelno > logging.WARNING


class _Doom:
    """A policy that ends at write number `at` (0: never)."""

    def __init__(self, at: int, when: Literal["before", "after"] | None) -> None:
        self.at = at
        self.when = when
        self.writes = 0
        self.call = ""
        self.what = ""
        self.dead = asyncio.Event()

    async def __call__(self, call: Call) -> Any:
        if not self.dead.is_set() and call.is_write:
            self.writes += 1
            if self.writes == self.at:
                self.call, self.what = call.name, _purpose(call)
                if self.when == "after":
                    await call.apply()
                self.dead.set()
        return last_words(call) if self.dead.is_set() else await call.apply()


class _Trial:
    """One run in a world of its own, whose time begins where every other's begins."""

    def __init__(
        self,
        experiment: Experiment,
        options: AppOptions,
        world: World,
        write: int,
        when: Literal["before", "after"] | None = None,
    ) -> None:
        self.experiment = experiment
        self.world = world
        self.doom = _Doom(write, when)
        self.effects = Effects()
        self.url = f"memory://crash-{id(self):x}"
        self.options = structs.replace(options, clock=RewoundClock(options.clock))

    async def run(self) -> Crash:
        world, apps = self.world, list(self.world.apps)
        client = self._app(worker=False)
        try:
            with world.guard() as broken:
                async with client:
                    end = await self._run(client, broken)
        finally:
            world.apps[:] = apps
        doom = self.doom
        plain = self.options.codec.opened(end.value, where="the result of the run")  # to be compared with others
        return Crash(
            when=doom.when,
            write=doom.at or doom.writes,
            call=doom.call,
            what=doom.what,
            ended=structs.replace(end, value=plain),
            effects=self.effects.named(RunId(self.experiment.start["id"])),
        )

    async def _run(self, client: TestApp, broken: asyncio.Future[Any]) -> Ended:
        given = self.experiment
        async with self._app(policy=self.doom).worker():
            handle: Handle[Any] = await client.start(given.workflow, *given.input, **given.start)
            end = asyncio.ensure_future(ended(client, handle, given.script, timeout=given.timeout, broken=broken))
            death = asyncio.ensure_future(self.doom.dead.wait())
            try:
                await asyncio.wait([end, death], return_when=asyncio.FIRST_COMPLETED)
            except BaseException:
                end.cancel()
                raise
            finally:
                death.cancel()
        try:
            if not end.done():
                await _end_leases(client.backend.store)
                async with self._app().worker():
                    return await end
            return await end
        finally:
            end.cancel()

    def _app(self, **options: Any) -> TestApp:
        app = TestApp(self.url, self.options, self.effects, self.world, **options)
        app.prepare(self.experiment.workflow, RunId(self.experiment.start["id"]), self.experiment.fakes)
        return app


async def _end_leases(store: Store) -> None:
    """As if so much time had passed that the dead worker's leases had run out."""
    cursor = None
    while True:
        page = await store.search(RunQuery(cursor=cursor, limit=1000))
        await store.renew([(head.id, head.owner) for head in page.runs if head.owner is not None], 0)
        cursor = page.cursor
        if cursor is None:
            return


_PURPOSES = {
    "store.create": "a child starts",
    "store.deliver": "another run is told",
    "store.park": "the worker lets runs go",
    "store.release": "a name is freed",
    "store.renew": "the worker keeps its runs",
    "store.reserve": "a name is reserved",
    "store.take": "the worker takes runs",
}


def _purpose(call: Call) -> str:
    """What a write is for, in the words of a workflow."""
    if call.name != "store.append":
        return _PURPOSES.get(call.name, call.name)
    entries = [entry for frame in call.args[0] for entry in FrameCodec.decode(frame.body).entries]
    return ", ".join(dict.fromkeys(_named(entry) for entry in entries)) or call.name


def _named(entry: Entry) -> str:
    kind, name, what = describe(entry)
    return f"{kind} {name} {what}" if name else re.sub("(?<=[a-z])(?=[A-Z])", " ", type(entry).__name__).lower()


def _outcome(end: Ended) -> tuple[object, ...]:
    failure = end.failure
    return end.status, bytes(end.value), None if failure is None else (failure.types, failure.message)


def _described(end: Ended) -> str:
    if end.failure is not None:
        return f"{end.status}, {end.failure}"
    return f"{end.status}, {bytes(end.value).decode()[:200]}"
