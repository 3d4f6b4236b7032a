"""One scenario played once: its clients, its workers, and the one call that goes wrong.

Worker and client are two processes, as far as the store can tell: two apps over one named world. The observer is a
third, whose calls never fail and never count; what a script waits for, it waits for through that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from typing import Any, Literal, NamedTuple, TypeVar

from msgspec import structs

from stepwell import BackendError, Codec, Handle, Head, RunError, Stepwell, Stream, Workflow, current_step
from stepwell.authoring.registry import Registry
from stepwell.backends.memory.world import World
from stepwell.model.ids import RunId
from stepwell.ports import Backend
from stepwell.runtime.options import WorkerOptions
from stepwell.testing import FaultyBackend, NthCall, VirtualClock, VirtualLoop
from stepwell.testing.faults import How

T = TypeVar("T")
Side = Literal["worker", "client", "both"]
"""Whose calls count. "both": client and worker are one process, which holds the runs that it starts at once."""

_MINUTE_MS = 60_000
# Virtual time costs only what is done in it, so the safety nets are wide: each look is a call, and each call a play.
WORKER = WorkerOptions(
    lease_ms=60 * _MINUTE_MS, poll_ms=30 * _MINUTE_MS, grace_ms=0, renewal="loop", gc_threshold=0, impure_check=True
)
_LOOK_SECONDS = 1800.0
_ENDS_WITHIN = 7 * 86_400
_REPEATS = 3

effects: Counter[str] = Counter()
"""How often the body of each step ran in this play, by run and step."""


def did() -> None:
    """The current step takes effect."""
    step = current_step()
    effects[f"{step.run_id}/{step.id}"] += 1


class StuckError(AssertionError):
    """A play that does not end, within a week."""


class Fault(NamedTuple):
    """Whose call goes wrong, which one, and how."""

    side: Side
    how: How
    n: int


class App(Stepwell):
    """An app of one process. With a `policy`, its backend goes wrong on purpose."""

    def __init__(self, url: str, clock: VirtualClock, scenario: Scenario, policy: NthCall | None) -> None:
        options = structs.replace(WORKER, cached_runs=scenario.cached_runs)
        super().__init__(url, clock=clock, worker=False, worker_options=options)
        self.registry = _registry(scenario.workflows)
        self._policy = policy

    async def __aenter__(self) -> App:
        await super().__aenter__()
        self.client.look_seconds = _LOOK_SECONDS
        return self

    async def _open_backend(self) -> Backend:
        backend = await super()._open_backend()
        return backend if self._policy is None else FaultyBackend(backend, self._policy)


@cache
def _registry(workflows: tuple[Workflow[Any, Any], ...]) -> Registry:
    """Types are prepared once for all plays."""
    return Registry(workflows, Codec())


class Play:
    """What a script works with."""

    def __init__(self, app: App, observer: App) -> None:
        self.app = app
        self.observer = observer

    @property
    def world(self) -> World:
        """What is stored."""
        store = self.observer.backend.store
        return getattr(store, "inner", store)._world  # type: ignore[no-any-return]

    async def again(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call; if the backend gave no answer, the caller's part is to repeat the same call."""
        for _ in range(_REPEATS):
            try:
                return await call()
            except BackendError:
                await asyncio.sleep(1)
        return await call()

    async def start(self, workflow: Any, *input: Any, **options: Any) -> Handle[Any]:
        """Start a run, by default under its workflow's name."""
        options.setdefault("id", workflow.id)
        return await self.again(lambda: self.app.start(workflow, *input, **options))

    async def end(self, handle: Handle[Any]) -> object:
        """The run's result, or how it failed."""
        try:
            return await self.again(handle.result)
        except RunError as error:
            return [type(error).__name__, str(error.error)]

    async def run(self, workflow: Any, *input: Any, **options: Any) -> object:
        """Start a run and wait for its end."""
        return await self.end(await self.start(workflow, *input, **options))

    async def read(self, handle: Handle[Any], stream: Stream[T]) -> list[T]:
        """All of a stream, when its run has ended."""

        async def chunks() -> list[T]:
            return [chunk async for chunk in handle.stream(stream)]

        return await self.again(chunks)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until the condition holds."""
        while not condition():
            await asyncio.sleep(60)

    async def waits(self, run: str, *kinds: str) -> None:
        """Wait until the run is parked, waiting for one of these kinds of things (or for anything)."""

        def is_parked() -> bool:
            head = self._resting(run)
            return head is not None and any(not kinds or wait.kind in kinds for wait in head.waiting)

        await self.until(is_parked)

    async def has_status(self, run: str, status: str) -> None:
        """Wait until nobody holds the run and it has this status."""
        await self.until(lambda: (head := self._resting(run)) is not None and head.status == status)

    def _resting(self, run: str) -> Head | None:
        """The head of a run that nobody holds, and that nobody is about to take."""
        there = self.world.runs.get(RunId(run))
        if there is None or there.head.owner is not None or there.head.is_terminal:
            return None
        wake_at = there.head.wake_at
        return there.head if wake_at is None or wake_at > self.observer.backend.clock.now() else None

    async def settled(self) -> None:
        """Wait until every run has ended, and owes nothing."""
        await self.until(lambda: all(run.head.is_settled for run in self.world.runs.values()))

    async def began(self, step: str) -> None:
        """Wait until the step's body was begun, in whichever run."""
        await self.until(lambda: any(key.endswith(f"/{step}") for key in effects))


Script = Callable[[Play], Awaitable[object]]


class Scenario(NamedTuple):
    """One feature, used once.

    `answer`: what its script gives, as JSON has it. `is_concurrent`: things happen at the same time in it, so that
    their order in the journal may be another one when a call was repeated later. `cached_runs`: 0 makes the worker
    replay whatever was parked.
    """

    name: str
    script: Script
    workflows: tuple[Workflow[Any, Any], ...]
    answer: object
    is_concurrent: bool = False
    cached_runs: int = 100


class Played(NamedTuple):
    """How a play went: what its script answered, the effects of steps, what was complained about on the way."""

    answer: object
    effects: Counter[str]
    complaints: list[str]
    happened: bool
    call: str


Look = Callable[[Play, Played], Awaitable[T]]
"""What to do with the world when all is over."""


def play(scenario: Scenario, fault: Fault | None, look: Look[T]) -> tuple[Played, T]:
    """Play a scenario in a world of its own, and let `look` have a look at what is stored at the end."""
    clock = VirtualClock()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(_play(scenario, fault, look))


async def _play(scenario: Scenario, fault: Fault | None, look: Look[T]) -> tuple[Played, T]:
    effects.clear()
    policy = None if fault is None else NthCall(fault.n, fault.how, reads=True)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    url = f"memory://play-{id(loop):x}"

    def app(side: Side | None) -> App:
        is_faulty = fault is not None and (side == fault.side or (side == "client" and fault.side == "both"))
        return App(url, loop.clock, scenario, policy if is_faulty else None)

    with _complaints(loop, policy) as complaints:
        async with app(None) as observer, app("client") as client:
            playing = Play(client, observer)
            is_one = fault is not None and fault.side == "both"
            async with client.worker() if is_one else _workers(app, policy), asyncio.timeout(_ENDS_WITHIN):
                answer = await _answer(scenario, playing)
                await _settled(playing)
            happened, call = (False, "") if policy is None else (policy.happened, policy.call)
            played = Played(answer, Counter(effects), complaints, happened, call)
            return played, await look(playing, played)


async def _answer(scenario: Scenario, playing: Play) -> object:
    try:
        return await scenario.script(playing)
    except TimeoutError:
        raise StuckError(f"the script waits for ever:\n{_open_runs(playing.world)}") from None
    except asyncio.CancelledError:
        raise StuckError(f"the script did not come to its end:\n{_open_runs(playing.world)}") from None


@contextlib.asynccontextmanager
async def _workers(app: Callable[[Side | None], App], policy: NthCall | None) -> AsyncIterator[None]:
    """A worker; and when it is dead, another one. Its leases then have to run out."""
    is_up = asyncio.Event()

    async def live() -> None:
        async with app("worker").worker():
            is_up.set()
            await (asyncio.Event() if policy is None else policy.dead).wait()
        async with app(None).worker():
            await asyncio.Event().wait()

    life = asyncio.create_task(live())
    await is_up.wait()
    try:
        yield
    finally:
        life.cancel()
        await asyncio.wait([life])
        if not life.cancelled():
            life.result()


async def _settled(playing: Play) -> None:
    """Every run has ended, and owes nothing."""
    try:
        await playing.settled()
    except asyncio.CancelledError:
        raise StuckError(f"these runs never settle:\n{_open_runs(playing.world)}") from None


def _open_runs(world: World) -> str:
    heads = [run.head for run in world.runs.values()]
    return "\n".join(f"  {head}" for head in [head for head in heads if not head.is_settled] or heads)


class _Complaints(logging.Handler):
    def __init__(self, policy: NthCall | None) -> None:
        super().__init__(logging.ERROR)
        self.policy = policy
        self.found: list[str] = []
        self.deaths = 0

    def emit(self, record: logging.LogRecord) -> None:
        # A dead process may say what it likes: nobody hears it.
        if self.policy is None or not self.policy.dead.is_set():
            self.found.append(self.format(record))


@contextlib.contextmanager
def _complaints(loop: asyncio.AbstractEventLoop, policy: NthCall | None) -> Any:
    """Errors that are logged, and those of tasks that nobody asked: a fault of a port must cause neither."""
    logger = logging.getLogger("stepwell")
    handler = _Complaints(policy)
    loop.set_exception_handler(lambda _, context: handler.found.append(str(context)))
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield handler.found
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates
