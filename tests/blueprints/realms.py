"""Where the acceptance tests run: each backend, in virtual time, with workers that die at any write.

A realm is one store and one clock. Apps over it are processes, as far as the store can tell. SQLite works in threads of
its own, which virtual time does not see, so its loop looks for a moment whether one has something to say.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, Self, TypeVar

from msgspec import structs

from stepwell import Handle, Stepwell, current_step
from stepwell.model.entries import Entry, StepCompleted
from stepwell.model.ids import RunId
from stepwell.model.runs import RunQuery
from stepwell.ports import Backend
from stepwell.runtime.options import WorkerOptions
from stepwell.testing import FaultyBackend, VirtualClock, VirtualLoop
from stepwell.testing.faults import Call, Policy, last_words

T = TypeVar("T")
MINUTE_MS = 60_000
# Nothing is cached, so each wake-up replays. Leases are long: only a test about them lets one end.
WORKER = WorkerOptions(
    lease_ms=600 * MINUTE_MS, poll_ms=300 * MINUTE_MS, grace_ms=0, cached_runs=0, renewal="loop", gc_threshold=0
)

effects: Counter[str] = Counter()
"""How often the code of each visit ran in this test, by run and visit."""


def did() -> None:
    """The current node takes effect."""
    step = current_step()
    effects[f"{step.run_id}/{step.id}"] += 1


class Doom:
    """A policy: its process dies before or after its `n`-th write. Then nothing happens any more."""

    def __init__(self, n: int, when: Literal["before", "after"]) -> None:
        self.n = n
        self.when = when
        self.writes = 0
        self.dead = asyncio.Event()

    async def __call__(self, call: Call) -> Any:
        if not self.dead.is_set() and call.is_write:
            self.writes += 1
            if self.writes == self.n:
                if self.when == "after":
                    await call.apply()
                self.dead.set()
        return last_words(call) if self.dead.is_set() else await call.apply()


class App(Stepwell):
    """An app of one process. With a `policy`, its backend goes wrong on purpose."""

    policy: Policy | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.client.look_seconds = 1800.0  # time costs nothing, a look does
        return self

    async def _open_backend(self) -> Backend:
        backend = await super()._open_backend()
        return backend if self.policy is None else FaultyBackend(backend, self.policy)


class Realm:
    """One store and one clock."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.name = name
        self.clock = VirtualClock()
        effects.clear()

    def app(self, *include: object, policy: Policy | None = None, **options: Any) -> App:
        """A process. It works only where it is told to."""
        keywords = {name: options.pop(name) for name in ("event_sinks", "middleware") if name in options}
        app = App(
            self.url,
            include=include,
            clock=self.clock,
            worker=False,
            worker_options=structs.replace(WORKER, **options),
            **keywords,
        )
        app.policy = policy
        return app

    @asynccontextmanager
    async def working(self, *include: object, **options: Any) -> AsyncIterator[App]:
        """A process that works."""
        async with self.app(*include, **options) as app, app.worker():
            yield app

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Drive a test, in virtual time."""
        loop = VirtualLoop(self.clock)
        loop.is_alive = lambda: True
        with asyncio.Runner(loop_factory=lambda: loop) as runner, _patience(loop, is_needed=self.name == "sqlite"):
            return runner.run(loop.drive(coroutine))


@contextmanager
def _patience(loop: VirtualLoop, *, is_needed: bool) -> Iterator[None]:
    """Let the loop look at its wake-up pipe before it moves time, and have somewhere to move it: a thread may be about
    to write there."""
    if not is_needed:
        yield
        return
    reader, writer = os.pipe()
    loop.add_reader(reader, lambda: None)

    def tick() -> None:
        nonlocal timer
        timer = loop.call_later(10, tick)

    timer = loop.call_later(10, tick)
    try:
        yield
    finally:
        timer.cancel()
        loop.remove_reader(reader)
        os.close(reader)
        os.close(writer)


async def stands(app: Stepwell, run: str, *nodes: str) -> None:
    """Until these nodes wait."""
    while True:
        state = await app.runs.state(run)
        if all(node in state.nodes and state.nodes[node].status == "waiting" for node in nodes):
            return
        await asyncio.sleep(1)


async def entries_of(app: Stepwell, run: str) -> list[Entry]:
    """The whole journal of a run."""
    _, frames = await app.client.journal(RunId(run))
    return [entry for _, frame in frames for entry in frame.entries]


async def committed(app: Stepwell, run: str) -> Counter[str]:
    """How often each visit's result is in the journal."""
    return Counter(entry.id for entry in await entries_of(app, run) if isinstance(entry, StepCompleted))


async def end_leases(app: Stepwell) -> None:
    """As if the leases of the dead had run out."""
    store = app.backend.store
    page = await store.search(RunQuery(limit=1000))
    await store.renew([(head.id, head.owner) for head in page.runs if head.owner is not None], 0)


@asynccontextmanager
async def dying(app: App) -> AsyncIterator[Doom]:
    """A worker in a process that may die; what it says about that is not worth reading."""
    doom = app.policy
    assert isinstance(doom, Doom), "an app whose policy lets it die"
    log = logging.getLogger("stepwell")
    log.addFilter(_is_grave)
    try:
        async with app, app.worker():
            yield doom
    finally:
        log.removeFilter(_is_grave)


def _is_grave(record: logging.LogRecord) -> bool:
    return record.levelno > logging.WARNING


Script = Callable[[App, Handle[Any]], Awaitable[None]]


async def survives(
    realm: Realm, flow: Any, input: Any, check: Callable[[Any], None], *, script: Script | None = None
) -> list[Counter[str]]:
    """Kill the worker before and after each of its writes; another one goes on. The results are checked, and what was
    committed is returned, a counter per run."""
    found: list[Counter[str]] = []
    n, is_over = 0, False
    while not is_over:
        n += 1
        for when in ("before", "after"):
            run = f"{when}-{n}"
            async with realm.app(flow) as client:
                mortal = realm.app(flow, policy=Doom(n, when))
                async with dying(mortal) as doom:
                    handle = await client.start(flow, input, id=run)
                    side = asyncio.create_task(script(client, handle)) if script is not None else None
                    end = asyncio.create_task(handle.result())
                    death = asyncio.create_task(doom.dead.wait())
                    await asyncio.wait([end, death], return_when=asyncio.FIRST_COMPLETED)
                    death.cancel()
                    is_over = not doom.dead.is_set()
                await end_leases(client)
                async with realm.working(flow):
                    check(await end)
                if side is not None:
                    await side
                found.append(await committed(client, run))
    return found
