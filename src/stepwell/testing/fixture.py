"""The fixture `stepwell`: an app on the memory backend, in virtual time, with fakes.

Each test has its own world, clock and loop. A run is carried out by the real worker, store and engine; only time,
chance and the steps that the test names are replaced.
"""

from __future__ import annotations

import asyncio
from asyncio.events import _get_running_loop
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self, TypedDict, TypeVar, Unpack, cast, overload

from stepwell.authoring.nodes import Middleware
from stepwell.authoring.workflows import WorkflowRef
from stepwell.codec import Codec
from stepwell.errors import DefinitionError
from stepwell.formats.hooks import HookRequest, HookResponse
from stepwell.model.durations import Duration, duration_ms
from stepwell.model.ids import RunId
from stepwell.runtime.app import AppKeywords, Lifespan, Stepwell
from stepwell.runtime.eventbus import EventSink
from stepwell.runtime.handles import Handle
from stepwell.runtime.remote.targets import Target
from stepwell.testing.crashing import MAX_CRASHES, CrashReport, Experiment, try_crashes
from stepwell.testing.fakes import Effects, Fakes
from stepwell.testing.outcomes import TestRun, outcome_of
from stepwell.testing.scripts import Script, ended, requested
from stepwell.testing.virtual import EPOCH, VirtualClock, VirtualLoop
from stepwell.testing.worlds import AppOptions, TestApp, World

In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")


class StartKeywords(TypedDict, total=False):
    """`fakes` maps steps to what stands in for them: a value to return (it must fit the step's type), an exception to
    raise, or a callable, sync or async, of the step's arguments. A fake stands for the step's `.options(...)` too.
    """

    fakes: Fakes
    id: str
    tags: dict[str, str]
    metadata: dict[str, Any]
    version: str


class RunKeywords(StartKeywords, total=False):
    """`messages` are sent so long after the start: `(signal, "1h", value)`, `(event, "2h", value)`, and for hooks
    `("hook", "3h", value)` with the hook's id in the run ("hook", then "hook:2") or its token; the value of a hook that
    takes requests is a `HookRequest`. `timeout` is virtual.
    """

    messages: Script
    timeout: Duration


class CrashKeywords(RunKeywords, total=False):
    """`max_crashes` bounds how often the run is repeated: of a run with more writes, only every so many are tried."""

    max_crashes: int


class SetupKeywords(TypedDict, total=False):
    """What an app has besides. See `Stepwell`."""

    lifespan: Lifespan
    secrets: Callable[[str], str] | Mapping[str, str]
    public_url: str
    middleware: Sequence[Middleware]
    event_sinks: Sequence[EventSink]
    targets: Sequence[Target]


class StepwellTest:
    """Runs workflows in virtual time on a memory backend. With pytest: the fixture `stepwell`.

    `seed` decides over everything random, `start` is when time begins; the rest goes to the app.
    """

    __test__ = False

    def __init__(
        self,
        *,
        include: Iterable[object] = (),
        seed: int = 0,
        start: datetime = EPOCH,
        codec: Codec | None = None,
        **options: Unpack[SetupKeywords],
    ) -> None:
        self.clock = VirtualClock(start=start, seed=seed)
        self.effects = Effects()
        keywords = cast(AppKeywords, options)  # the one is a part of the other
        self._options = AppOptions(codec=codec or Codec(), clock=self.clock, include=tuple(include), keywords=keywords)
        self.world = World()
        self._app = TestApp("memory://", self._options, self.effects, self.world)
        self._runner = asyncio.Runner(loop_factory=self._make_loop)
        self._count = 0
        self._is_open = False

    # --- life

    def drive(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end on this test's loop, with the app open. What fails the world is raised here."""
        return self._runner.run(self._drive(coroutine))

    def close(self) -> None:
        """Stop the worker and close everything; idempotent."""
        try:
            if self._is_open:
                self._is_open = False
                self._runner.run(self._app.__aexit__())
        finally:
            self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _drive(self, coroutine: Coroutine[Any, Any, T]) -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop), "the runner makes no other"
        try:
            if not self._is_open:
                await self._app.__aenter__()
                self._is_open = True
        except BaseException:
            coroutine.close()
            raise
        return await loop.drive(coroutine)

    def _make_loop(self) -> VirtualLoop:
        loop = VirtualLoop(self.clock)
        self.world.attach(loop)
        return loop

    # --- what tests use

    @property
    def app(self) -> Stepwell:
        """The app, which is open."""
        return self._app

    @property
    def now(self) -> datetime:
        """The virtual time."""
        return datetime.fromtimestamp(self.clock.now() / 1000, UTC)

    async def sleep(self, duration: Duration) -> None:
        """Let virtual time pass, in its order."""
        await asyncio.sleep(duration_ms(duration, what="sleep(duration)") / 1000)

    @overload
    async def start(self, workflow: WorkflowRef[None, Out], /, **options: Unpack[StartKeywords]) -> Handle[Out]: ...
    @overload
    async def start(
        self, workflow: WorkflowRef[In, Out], input: In, /, **options: Unpack[StartKeywords]
    ) -> Handle[Out]: ...
    async def start(
        self, workflow: WorkflowRef[Any, Any], /, *input: Any, **options: Unpack[StartKeywords]
    ) -> Handle[Any]:
        """Start a run and go on, for tests that steer it themselves."""
        self._count += 1
        given: Any = dict(options)
        fakes = given.pop("fakes", {})
        given.setdefault("id", f"{workflow.id}-{self._count}")
        self._app.prepare(workflow, RunId(given["id"]), fakes)
        return await self._app.start(workflow, *input, **given)

    @overload
    async def run(self, workflow: WorkflowRef[None, Out], /, **options: Unpack[RunKeywords]) -> TestRun[Out]: ...
    @overload
    async def run(
        self, workflow: WorkflowRef[In, Out], input: In, /, **options: Unpack[RunKeywords]
    ) -> TestRun[Out]: ...
    async def run(
        self, workflow: WorkflowRef[Any, Any], /, *input: Any, **options: Unpack[RunKeywords]
    ) -> TestRun[Any]:
        """Run a workflow to its end.

        Code that cannot be driven (`NotDurableError`, `NonDeterminismError`, calls of clocks and chance in a body) is
        raised here; so is a `DeadlockError`, if the run waits for what the test will not send.
        """
        start: Any = dict(options)
        script = start.pop("messages", ())
        timeout = start.pop("timeout", None)
        with self.world.guard() as broken:
            handle = await self.start(workflow, *input, **start)
            end = await ended(self._app, handle, script, timeout=timeout, broken=broken)
        return await outcome_of(self._app.client, self._app.registry, handle, end, self.effects.of(handle.id))

    @overload
    def run_sync(self, workflow: WorkflowRef[None, Out], /, **options: Unpack[RunKeywords]) -> TestRun[Out]: ...
    @overload
    def run_sync(
        self, workflow: WorkflowRef[In, Out], input: In, /, **options: Unpack[RunKeywords]
    ) -> TestRun[Out]: ...
    def run_sync(self, workflow: WorkflowRef[Any, Any], /, *input: Any, **options: Unpack[RunKeywords]) -> TestRun[Any]:
        """`run`, for tests that are plain functions."""
        return self.drive(self.run(workflow, *input, **options))

    async def request(self, hook: str, request: HookRequest) -> HookResponse | None:
        """Complete a hook by its URL or token with an HTTP request, as the server does, and get the run's answer.

        None: the hook has no `respond=True`, or no answer came within 30 s of virtual time. `HookError` where the
        server refuses. Signatures are not looked at.
        """
        return await requested(self._app, hook, request)

    @overload
    async def crash_everywhere(
        self, workflow: WorkflowRef[None, Out], /, **options: Unpack[CrashKeywords]
    ) -> CrashReport: ...
    @overload
    async def crash_everywhere(
        self, workflow: WorkflowRef[In, Out], input: In, /, **options: Unpack[CrashKeywords]
    ) -> CrashReport: ...
    async def crash_everywhere(
        self, workflow: WorkflowRef[Any, Any], /, *input: Any, **options: Unpack[CrashKeywords]
    ) -> CrashReport:
        """Run a workflow once, then again and again in a new world, killing the worker before and after each of its
        writes; another worker goes on. `AssertionError` if one of these runs ends otherwise than the undisturbed one.
        The report says which steps ran again: print it.
        """
        start: Any = dict(options)
        experiment = Experiment(
            workflow=workflow,
            input=input,
            fakes=start.pop("fakes", {}),
            script=start.pop("messages", ()),
            timeout=start.pop("timeout", None),
            max_crashes=start.pop("max_crashes", MAX_CRASHES),
            start={"id": f"{workflow.id}-crash", **start},
        )
        report = await try_crashes(experiment, self._options, self.world)
        report.assert_same()
        return report


@overload
def crash_everywhere(workflow: WorkflowRef[None, Out], /, **options: Unpack[CrashKeywords]) -> CrashReport: ...
@overload
def crash_everywhere(workflow: WorkflowRef[In, Out], input: In, /, **options: Unpack[CrashKeywords]) -> CrashReport: ...
def crash_everywhere(workflow: WorkflowRef[Any, Any], /, *input: Any, **options: Unpack[CrashKeywords]) -> CrashReport:
    """`StepwellTest.crash_everywhere` for scripts: blocking, with an event loop, a clock and a world of its own.

    `DefinitionError` inside of a running event loop. What needs a `lifespan` or secrets makes a `StepwellTest` itself.
    """
    if _get_running_loop() is not None:
        raise DefinitionError(
            "crash_everywhere() makes an event loop of its own, and one is running here: call it outside of async "
            "functions, or in a test: await stepwell.crash_everywhere(...)"
        )
    with StepwellTest() as test:
        return test.drive(test.crash_everywhere(workflow, *input, **options))
