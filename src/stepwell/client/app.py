"""The client: the verbs of an app, over HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self, TypeVar, Unpack, overload

import httpx

from stepwell.authoring.messages import Event
from stepwell.authoring.registry import Registry
from stepwell.authoring.workflows import WorkflowRef
from stepwell.client.handles import ClientHandle
from stepwell.client.options import ClientKeywords, client_codec, client_options
from stepwell.client.pausing import fresh_id
from stepwell.client.requests import path, request
from stepwell.client.runs import ClientRuns
from stepwell.client.shapes import read_published, read_run_name, read_started, results_of
from stepwell.client.starting import batches, plain_value, ref_of, start_of
from stepwell.client.sync.app import SyncClient
from stepwell.client.tokens import ClientTokens
from stepwell.client.wire import Wire
from stepwell.errors import DefinitionError
from stepwell.model.ids import RunId
from stepwell.runtime.app import StartOptions

In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")


class Client:
    """Durable workflows on a server: `async with Client("https://flows.example.com", key="sw_...") as app:`.

    Without a URL it is that of the environment variable STEPWELL_URL. `transport` is one of the HTTP library's, for
    certificates and proxies of your own.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        **options: Unpack[ClientKeywords],
    ) -> None:
        self._given = options
        self._transport = transport
        self._wire = Wire(client_options(url, options), transport)
        self._registry = Registry(options.get("include", ()), client_codec(options))
        self._entered = 0

    # --- life

    async def __aenter__(self) -> Self:
        """Nothing is sent yet. Entering again within is allowed."""
        self._entered += 1
        if self._entered == 1:
            await self._wire.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._entered -= 1
        if not self._entered:
            await self._wire.close()

    def sync(self) -> SyncClient:
        """The blocking twin, for programs without an event loop: `with Client(...).sync() as s:`. Threads may share
        it."""
        if self._transport is not None:
            raise DefinitionError("a transport is either async or not; make a SyncClient with one of its own")
        return SyncClient(self.url, **self._given)

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._wire.options.url

    @property
    def runs(self) -> ClientRuns:
        """Everything about runs that are there: list, cancel, retry, fork, explain, export."""
        return ClientRuns(self._wire, self._registry)

    @property
    def tokens(self) -> ClientTokens:
        """Short-lived tokens for one run, to hand to a browser."""
        return ClientTokens(self._wire)

    # --- starting

    @overload
    async def start(
        self, workflow: WorkflowRef[None, Out], /, **options: Unpack[StartOptions]
    ) -> ClientHandle[Out]: ...
    @overload
    async def start(
        self, workflow: WorkflowRef[In, Out], input: In, /, **options: Unpack[StartOptions]
    ) -> ClientHandle[Out]: ...
    @overload
    async def start(
        self, workflow: str, input: Any = None, /, **options: Unpack[StartOptions]
    ) -> ClientHandle[Any]: ...
    async def start(
        self, workflow: WorkflowRef[Any, Any] | str, /, *input: Any, **options: Unpack[StartOptions]
    ) -> ClientHandle[Any]:
        """Start a run, durably: when this returns, it will be carried out, whatever happens to server and client."""
        ref = ref_of(self._registry, workflow, options)
        start = start_of(self._registry, ref, input, options)
        asked = request("POST", path("api", "runs"), start, is_repeatable=start.is_repeatable)
        id = read_started((await self._wire.ask(asked)).body, asked.asked).id
        return ClientHandle(self._wire, self._registry, id, self._registry.output_of(ref))

    async def start_many(
        self, workflow: WorkflowRef[In, Out], inputs: Iterable[In], /, **options: Unpack[StartOptions]
    ) -> list[ClientHandle[Out]]:
        """Start many runs of one workflow, in few requests."""
        if "id" in options or "key" in options:
            raise DefinitionError("start_many() takes no id and no key: each run needs its own; use start()")
        ref = ref_of(self._registry, workflow, options)
        starts = [start_of(self._registry, ref, (value,), options) for value in inputs]
        output = self._registry.output_of(ref)
        is_repeatable = all(start.is_repeatable for start in starts)
        for batch in batches(starts):
            asked = request("POST", path("api", "bulk", "start"), {"starts": batch}, is_repeatable=is_repeatable)
            for result in results_of((await self._wire.ask(asked)).body, asked.asked).results:
                if result.error is not None:
                    raise result.error
        return [ClientHandle(self._wire, self._registry, RunId(str(start.run_id)), output) for start in starts]

    @overload
    def handle(self, id: str, workflow: WorkflowRef[Any, Out]) -> ClientHandle[Out]: ...
    @overload
    def handle(self, id: str) -> ClientHandle[Any]: ...
    def handle(self, id: str, workflow: WorkflowRef[Any, Any] | None = None) -> ClientHandle[Any]:
        """The handle of a run. Whether there is such a run shows at its first use."""
        ref: WorkflowRef[Any, Any] = WorkflowRef("?") if workflow is None else workflow
        return ClientHandle(self._wire, self._registry, RunId(id), self._registry.output_of(ref))

    # --- messages

    async def publish(self, event: Event[T], value: T, *, id: str | None = None) -> int:
        """Publish an event: to every run that waits for it, and to those that come to wait for it later in their
        lives. Answers how many were waiting. With an `id`, publishing again is a new event with the same id.

        So it is sent once: `BackendError` if it is not known whether it was published.
        """
        body = plain_value(self._registry, value, f"event {event.name}", event.type)
        query = () if id is None else (("id", id),)
        asked = request("POST", path("api", "publish", event.name), body, query=query, is_repeatable=False)
        return read_published((await self._wire.ask(asked)).body, asked.asked).waiting

    async def complete(self, token: str, value: Any, *, id: str | None = None) -> RunId:
        """Complete a hook by its token. `HookError`. With an `id`, completing twice counts once."""
        raw = plain_value(self._registry, value, "the value of a hook", type(value))
        asked = request("POST", path("api", "complete"), {"token": token, "value": raw, "id": id or fresh_id()})
        return read_run_name((await self._wire.ask(asked)).body, asked.asked).run

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"
