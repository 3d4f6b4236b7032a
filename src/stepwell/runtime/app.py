"""The app: a backend, the workflows that it includes, and the ways to start and steer their runs."""

from __future__ import annotations

import contextlib
import copy
import importlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, TypeVar, Unpack, overload

from stepwell import backends
from stepwell.authoring.messages import Event
from stepwell.authoring.nodes import Middleware
from stepwell.authoring.registry import Registry
from stepwell.authoring.workflows import Definition, WorkflowRef
from stepwell.codec import Codec
from stepwell.errors import DefinitionError, RunConflictError, StepwellError
from stepwell.model.durations import Duration, duration_ms
from stepwell.model.ids import RunId, keyed_run_id
from stepwell.model.runs import TERMINAL, checked_run_id
from stepwell.ports import Backend, Clock
from stepwell.runtime.archiving import restart
from stepwell.runtime.asking import Asked, first_entry
from stepwell.runtime.client import Client, NewStart
from stepwell.runtime.eventbus import EventBus, EventSink
from stepwell.runtime.handles import Handle
from stepwell.runtime.hub import Hub
from stepwell.runtime.namespaces import checked_namespace, view_of
from stepwell.runtime.options import WorkerOptions
from stepwell.runtime.portal import Portal
from stepwell.runtime.remote.attaching import attach, targets_of
from stepwell.runtime.remote.targets import Target, Targets
from stepwell.runtime.runs import Runs
from stepwell.runtime.sealing import sealed_backend
from stepwell.runtime.siblings import Siblings
from stepwell.runtime.sync import SyncStepwell
from stepwell.runtime.telemetry import tracing_observer
from stepwell.runtime.worker import Worker
from stepwell.runtime.working import WorkerHandle, WorkerKeywords, by_type, secret_provider, worker_options

if TYPE_CHECKING:
    from stepwell.runtime.stepworker import StepWorker
    from stepwell.runtime.stepworker.options import StepWorkerKeywords

In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")

DEFAULT_URL = "sqlite:///.stepwell/stepwell.db"
OnConflict = Literal["attach", "fail", "restart_if_failed"]
Lifespan = Callable[[], AbstractAsyncContextManager[Any]]
"""An async context manager factory. What it yields is found by type with `current_step().get(...)`: one object, a
tuple of objects, or a mapping from type to object."""


class StartOptions(TypedDict, total=False):
    """The options of a start.

    `id` names the run; if it is taken, `on_conflict` decides: "attach" (the default) gives the handle of the run that
    is there, if workflow and input are the same; "fail" always raises `RunConflictError`; "restart_if_failed" starts
    anew if it ended without completing. `key` is an idempotency key within the workflow. `delay` postpones the start,
    whatever messages come; a cancel ends the run at once. `timeout` bounds the run, counted from when it may start.
    Higher `priority` goes first among runs that are due.
    """

    id: str
    on_conflict: OnConflict
    delay: Duration
    tags: dict[str, str]
    metadata: dict[str, Any]
    priority: int
    key: str
    timeout: Duration
    version: str


class AppKeywords(TypedDict, total=False):
    """The options of an app.

    `include` lists modules, module names, workflows and steps. On an embedded backend (memory, SQLite), starting a run
    or waiting for one also starts a worker in this process, unless `worker=False` or one was started already.
    `lifespan` yields what steps share; `secrets` looks up what `Secret(name).reveal()` gives, by default in the
    environment variable STEPWELL_SECRET_<NAME>; `public_url` is what hook URLs begin with. `middleware` runs around
    every node of every blueprint; the first of several is the outermost. `event_sinks` are functions, async or not,
    that are told, soon after and at least once, what happens in blueprints' runs on this app's worker. `namespace`
    keeps the app's runs, and all that is theirs, apart from those of other namespaces of the same backend; `codec` may
    be a function from namespace to codec, so that each has its own key. `tracing` tells OpenTelemetry of runs: True, or
    a `TracerProvider`; it needs `stepwell[otel]`. `targets` are the step workers elsewhere that run workflows which are
    not here; the workflows that they name need not be included.
    """

    include: Iterable[object]
    worker: bool | None
    codec: Codec | Callable[[str], Codec]
    lifespan: Lifespan
    secrets: Callable[[str], str] | Mapping[str, str]
    public_url: str
    middleware: Sequence[Middleware]
    event_sinks: Sequence[EventSink]
    clock: Clock | None
    worker_options: WorkerOptions
    namespace: str
    tracing: bool | Any
    targets: Iterable[Target] | Targets


class Stepwell:
    """Durable workflows over one backend, which `url` names."""

    def __init__(self, url: str = DEFAULT_URL, **options: Unpack[AppKeywords]) -> None:
        unknown = sorted(set(options) - set(AppKeywords.__annotations__))
        if unknown:
            known = ", ".join(sorted(AppKeywords.__annotations__))
            raise DefinitionError(f"Stepwell() has no option {unknown[0]!r}; there are: {known}")
        self.url = url
        self.targets = targets_of(options.get("targets", ()))
        self._options: AppKeywords = {**options, "targets": self.targets}
        self.namespace = checked_namespace(options.get("namespace", ""))
        self.codec_of = _codecs(options.get("codec"))
        self._include = list(options.get("include", ()))
        middleware = _checked_middleware(options.get("middleware", ()))
        codec, public_url = self.codec_of(self.namespace), self._public_url(self.namespace)
        self.registry = Registry(self._include, codec, public_url=public_url, middleware=middleware)
        self._wants_worker = options.get("worker")
        self._lifespan = options.get("lifespan")
        self._secrets = secret_provider(options.get("secrets"))
        sinks = options.get("event_sinks", ())
        self._events = EventBus(sinks) if sinks else None
        self._clock = options.get("clock")
        self._worker_options = options.get("worker_options") or WorkerOptions(impure_check=_is_debugging())
        self._stack: AsyncExitStack | None = None
        self._opened: Backend | None = None
        self._siblings: Siblings | None = None
        self._client: Client | None = None
        self._worker: Worker | None = None
        self._resources: dict[type, Any] = {}
        self._entered = 0
        self.hub = Hub()
        if tracing := options.get("tracing"):
            self.hub.telemetry.add(tracing_observer(tracing, hides_texts=codec.cipher is not None))

    # --- life

    async def __aenter__(self) -> Self:
        """Open the backend. Entering again within is allowed."""
        self._entered += 1
        if self._entered > 1:
            return self
        for item in self._include:
            self.registry.include(item)
        stack = AsyncExitStack()
        try:
            opened = await self._open_backend()
            stack.push_async_callback(opened.close)
            stack.push_async_callback(self.targets.close)
            if self._lifespan is not None:
                self._resources = by_type(await stack.enter_async_context(self._lifespan()))
        except BaseException:
            self._entered -= 1
            await stack.aclose()
            raise
        self._use(opened, stack)
        return self

    def _use(self, opened: Backend, stack: AsyncExitStack) -> None:
        """Work on an opened backend until the stack is closed."""
        codec = self.registry.codec
        self._opened, self._stack = opened, stack
        backend = sealed_backend(view_of(opened, self.namespace), codec)
        self._client = Client(backend, self.hub, codec, namespace=self.namespace)
        stack.push_async_callback(self._client.close)
        attach(self)

    async def __aexit__(self, *exc: object) -> None:
        self._entered -= 1
        if self._entered:
            return
        if self._worker is not None:
            await self._stop_worker(self._worker)
        stack, self._stack = self._stack, None
        self._client = self._opened = self._siblings = None
        if stack is not None:
            await stack.aclose()

    def lifespan(self, *, worker: bool = False) -> Callable[[Any], AbstractAsyncContextManager[None]]:
        """For FastAPI and Starlette: `FastAPI(lifespan=app.lifespan(worker=True))`."""

        @contextlib.asynccontextmanager
        async def lifespan(_: Any) -> AsyncIterator[None]:
            async with self:
                if worker:
                    self._start_worker(self._worker_options)
                yield

        return lifespan

    def asgi(self, **options: Any) -> Any:
        """The HTTP API as an ASGI application, to mount in another: `api.mount("/stepwell", app.asgi())`. The options
        are those of `stepwell.server.ServerOptions`. It needs `stepwell[server]`."""
        server = importlib.import_module("stepwell.server")
        return server.Server(self, server.ServerOptions(**options))

    def step_worker(self, **options: Unpack[StepWorkerKeywords]) -> StepWorker:
        """The app's workflows, for an orchestrator elsewhere: an ASGI application, and a plain function. It keeps
        nothing and opens no backend. See `StepWorkerKeywords` for the options."""
        making = importlib.import_module("stepwell.runtime.stepworker.making")
        server = importlib.import_module("stepwell.server.step_worker")
        return server.AsgiStepWorker(making.door_of(self, options))  # type: ignore[no-any-return]

    def worker(self, **options: Unpack[WorkerKeywords]) -> WorkerHandle:
        """A worker of this app: `async with app, app.worker(concurrency=100):`, or `await app.worker().run()`."""
        return WorkerHandle(self, worker_options(self._worker_options, options))

    def sync(self) -> SyncStepwell:
        """The blocking twin, for programs without an event loop: `with app.sync() as s:`. Threads may share it."""
        return SyncStepwell(Portal(self, close_within=self._worker_options.grace_ms / 1000 + 20), self)

    def in_namespace(self, namespace: str) -> Stepwell:
        """The app of another namespace of the opened backend. It is open, and closes with this one.

        "" is the default namespace. Out of a namespace no way leads to another: `DefinitionError`.
        """
        if checked_namespace(namespace) == self.namespace:
            return self
        if self.namespace:
            raise DefinitionError(f"this app is in namespace {self.namespace!r}, and cannot leave it for {namespace!r}")
        assert self.client, "the app is open"
        if self._siblings is None:
            self._siblings = Siblings(self._sibling)
            self.on_close(self._siblings.close)
        return self._siblings.app_of(namespace)

    @property
    def is_open(self) -> bool:
        """Whether somebody has entered it, and not left."""
        return self._client is not None

    @property
    def is_traced(self) -> bool:
        """Whether OpenTelemetry is told of its runs."""
        return bool(self._options.get("tracing"))

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Call this when the app closes, while its backend is still there. The app must be open."""
        assert self._stack is not None, "open apps have one"
        self._stack.push_async_callback(close)

    @property
    def client(self) -> Client:
        """The operations on the opened backend."""
        if self._client is None:
            raise StepwellError("this app is not open; use it inside `async with app:`")
        return self._client

    @property
    def backend(self) -> Backend:
        """The opened backend."""
        return self.client.backend

    @property
    def runs(self) -> Runs:
        """Everything about runs that are there: list, cancel, retry, fork, explain, export."""
        return Runs(self.client, self.registry)

    # --- starting

    @overload
    async def start(self, workflow: WorkflowRef[None, Out], /, **options: Unpack[StartOptions]) -> Handle[Out]: ...
    @overload
    async def start(
        self, workflow: WorkflowRef[In, Out], input: In, /, **options: Unpack[StartOptions]
    ) -> Handle[Out]: ...
    @overload
    async def start(self, workflow: str, input: Any = None, /, **options: Unpack[StartOptions]) -> Handle[Any]: ...
    async def start(
        self, workflow: WorkflowRef[Any, Any] | str, /, *input: Any, **options: Unpack[StartOptions]
    ) -> Handle[Any]:
        """Start a run, durably: when this returns, it will be carried out, whatever happens to this process."""
        (handle,) = await self._start_all(workflow, [input], options)
        return handle

    async def start_many(
        self, workflow: WorkflowRef[In, Out], inputs: Iterable[In], /, **options: Unpack[StartOptions]
    ) -> list[Handle[Out]]:
        """Start many runs of one workflow, in few transactions."""
        if "id" in options or "key" in options:
            raise DefinitionError("start_many() takes no id and no key: each run needs its own; use start()")
        return await self._start_all(workflow, [(value,) for value in inputs], options)

    @overload
    def handle(self, id: str, workflow: WorkflowRef[Any, Out]) -> Handle[Out]: ...
    @overload
    def handle(self, id: str) -> Handle[Any]: ...
    def handle(self, id: str, workflow: WorkflowRef[Any, Any] | None = None) -> Handle[Any]:
        """The handle of a run. Whether there is such a run shows at its first use."""
        ref: WorkflowRef[Any, Any] = WorkflowRef("?") if workflow is None else workflow
        self.ensure_worker()
        return Handle(self.client, self.registry, RunId(id), self.registry.output_of(ref))

    # --- messages

    async def publish(self, event: Event[T], value: T, *, id: str | None = None) -> int:
        """Publish an event: to every run that waits for it, and to those that come to wait for it later in their
        lives. Answers how many were waiting. With an `id`, publishing again is a new event with the same id."""
        raw = self.registry.encode(value, event.type, what=f"event {event.name}")
        return await self.client.publish(event.name, raw, id=id)

    async def complete(self, token: str, value: Any, *, id: str | None = None) -> RunId:
        """Complete a hook by its token. `HookError`. With an `id`, completing twice counts once."""
        raw = self.registry.encode(value, type(value), what="the value of a hook")
        return await self.client.complete(token, raw, id=id)

    # --- inside

    def _public_url(self, namespace: str) -> str:
        base = self._options.get("public_url", "http://127.0.0.1:7788")
        return f"{base}/n/{namespace}" if namespace else base

    def _sibling(self, namespace: str) -> Stepwell:
        """Shares the backend and what the lifespan yielded. It has a registry of its own if it has another codec."""
        assert self._opened is not None, "only open apps have siblings"
        codec = self.codec_of(namespace)
        options: AppKeywords = {**self._options, "namespace": namespace, "codec": codec, "include": ()}
        sibling = Stepwell(self.url, **options)
        sibling._include, sibling._resources, sibling._entered = self._include, self._resources, 1
        if codec is self.registry.codec:
            sibling.registry = copy.copy(self.registry)
            sibling.registry.public_url = self._public_url(namespace)
        else:
            for item in self._include:
                sibling.registry.include(item)
        sibling._use(self._opened, AsyncExitStack())
        return sibling

    async def _open_backend(self) -> Backend:
        """A testing kit opens another one here."""
        return await backends.open(self.url, clock=self._clock)

    async def _start_all(
        self, workflow: WorkflowRef[Any, Any] | str, inputs: Sequence[tuple[Any, ...]], options: StartOptions
    ) -> list[Handle[Any]]:
        ref = self._find(workflow, options.get("version", ""))
        output = self.registry.output_of(ref)
        client = self.client
        self.ensure_worker()
        starts = [self._new_start(ref, input, options) for input in inputs]
        present = await client.create(starts)
        for start, head in zip(starts, present, strict=True):
            if head is not None:
                await self._resolve_conflict(start, head.status, options.get("on_conflict", "attach"))
        return [Handle(client, self.registry, start.id, output) for start in starts]

    async def _resolve_conflict(self, start: NewStart, status: str, on_conflict: OnConflict) -> None:
        if on_conflict == "fail":
            raise RunConflictError(f"run {start.id} exists ({status})")
        if on_conflict == "restart_if_failed" and status in TERMINAL and status != "completed":
            await restart(self.client, start)
            return
        await self.client.check_same(start)

    def _new_start(self, ref: WorkflowRef[Any, Any], given: tuple[Any, ...], options: StartOptions) -> NewStart:
        unknown = sorted(set(options) - set(StartOptions.__annotations__))
        if unknown:
            known = ", ".join(sorted(StartOptions.__annotations__))
            raise DefinitionError(f"start() has no option {unknown[0]!r}; there are: {known}")
        clock = self.client.clock
        asked = Asked(
            at=clock.now(),
            delay_ms=duration_ms(options.get("delay", 0), what="start(delay)"),
            timeout_ms=duration_ms(options["timeout"], what="start(timeout)") if "timeout" in options else None,
            input=self.registry.input_of(ref, given),
            tags=options.get("tags", {}),
            metadata={
                key: self.registry.encode(value, what=f"metadata {key!r}")
                for key, value in options.get("metadata", {}).items()
            },
        )
        created = first_entry(self.registry, clock, ref, asked)
        return NewStart(
            id=self._run_id(ref, options),
            created=created,
            queue=ref.spec.queue,
            priority=options.get("priority", 0),
        )

    def _run_id(self, ref: WorkflowRef[Any, Any], options: StartOptions) -> RunId:
        id, key = options.get("id"), options.get("key")
        if id is not None and key is not None:
            raise DefinitionError("start(id=, key=): give one of them")
        if key is not None:
            return keyed_run_id(ref.id, key)
        if id is None:
            clock = self.backend.clock
            # Time first, so that runs that were started together are found together.
            return RunId(f"{clock.now():011x}{clock.random_bytes(7).hex()}")
        return checked_run_id(id)

    def _find(self, workflow: WorkflowRef[Any, Any] | str, version: str) -> WorkflowRef[Any, Any]:
        if isinstance(workflow, Definition):
            if self.registry.find(workflow.id, workflow.spec.version) is not workflow:
                self.registry.add(workflow)
            return workflow
        if isinstance(workflow, WorkflowRef):
            return workflow
        if not isinstance(workflow, str):
            raise DefinitionError(f"start({workflow!r}): give a workflow, a WorkflowRef or a workflow's name")
        found = self.registry.find(workflow, version)
        if found is None:
            known = ", ".join(sorted({item.id for item in self.registry.workflows()})) or "none"
            raise DefinitionError(f"there is no workflow {workflow!r} in this app; it has: {known}")
        return found

    def ensure_worker(self, wants: bool | None = None) -> None:
        """Start a worker here, once, if `wants`; by default if the app says so, or nobody else may be there to do the
        work: on an embedded backend."""
        if wants is None:
            wants = self._wants_worker
        if wants is None:
            wants = self.backend.is_embedded and any(True for _ in self.registry.workflows())
        if wants and self._worker is None:
            self._start_worker(self._worker_options)

    def _start_worker(self, options: WorkerOptions) -> Worker:
        if self._worker is not None and not self._worker.has_stopped.is_set():
            raise StepwellError("this app has a worker already; one process needs no second one")
        client = self.client
        worker = Worker(
            client.backend, self.registry, self.hub, options, resources=self._resources, secrets=self._secrets
        )
        worker.events = self._events
        self._worker = client.worker = worker
        worker.start()
        return worker

    async def _stop_worker(self, worker: Worker) -> None:
        await worker.stop()
        if self._events is not None:
            await self._events.close()
        if self._worker is worker:
            self._worker = None
            if self._client is not None:
                self._client.worker = None


def _codecs(codec: Codec | Callable[[str], Codec] | None) -> Callable[[str], Codec]:
    if codec is None or isinstance(codec, Codec):
        only = codec or Codec()
        return lambda _: only
    return codec


def _is_debugging() -> bool:
    return bool(os.environ.get("STEPWELL_DEBUG"))


def _checked_middleware(middleware: Sequence[Middleware]) -> Sequence[Middleware]:
    for layer in middleware:
        if not isinstance(layer, Middleware):
            raise DefinitionError(f"middleware holds {layer!r}; give instances of subclasses of Middleware")
    return middleware
