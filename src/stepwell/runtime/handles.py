"""A handle: one run, as its starter sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar

from stepwell.authoring.messages import Signal, Stream
from stepwell.authoring.registry import Registry
from stepwell.codec import Typed
from stepwell.model.durations import Duration, duration_ms
from stepwell.model.ids import RunId
from stepwell.model.runs import Head
from stepwell.runtime.client import Client, outcome_error
from stepwell.runtime.graphs import answer_node
from stepwell.runtime.reading import StreamChunk, read_stream
from stepwell.runtime.steering import Steering

R = TypeVar("R")
T = TypeVar("T")


class Handle(Generic[R]):
    """One run. Holding it costs nothing; make another with `app.handle(id)`."""

    def __init__(self, client: Client, registry: Registry, id: RunId, output: Typed[Any]) -> None:
        self._client = client
        self._registry = registry
        self._output = output
        self.id = id

    async def result(self, *, timeout: Duration | None = None) -> R:
        """Wait for the run's result.

        `RunError` if it failed, `RunCancelledError` if it was cancelled or terminated; after `timeout`, `TimeoutError`:
        it goes on.
        """
        seconds = None if timeout is None else duration_ms(timeout, what="result(timeout)") / 1000
        ended = await self._client.ended(self.id, seconds)
        if ended.status != "completed":
            raise outcome_error(self.id, ended)
        return self._output.decode(ended.value, where=f"the result of run {self.id}")  # type: ignore[no-any-return]

    async def head(self) -> Head:
        """The run's head: status, metadata, when it wakes. `RunNotFoundError`."""
        return await self._client.head(self.id)

    async def metadata(self) -> dict[str, Any]:
        """The run's metadata, as of when it last parked, ended or began anew."""
        head = await self.head()
        return {key: self._registry.decode(raw) for key, raw in head.metadata.items()}

    async def status(self) -> str:
        """The run's status."""
        return (await self.head()).status

    async def send(self, signal: Signal[T], value: T, *, id: str | None = None) -> None:
        """Send a signal. With an `id`, sending twice counts once. `RunNotFoundError`, `RunClosedError`."""
        raw = self._registry.encode(value, signal.type, what=f"signal {signal.name}")
        await self._client.send(self.id, signal.name, raw, id=id)

    async def resume(self, node: str, *, action: str | None = None, output: Any = None) -> bool:
        """Let a node of a blueprint that waits go on, with an `output`, along the edges of `action`. True: it had no
        answer before; False: it had this very one.

        `node` is its id (`approve`, `sub/approve`), or a visit's (`approve:2`). `RunConflictError` if it does not wait
        now, or had another answer; `DefinitionError` if there is no such node, or no edge for the action.
        """
        return await answer_node(self._client, self._registry, self.id, node, action=action, output=output)

    async def cancel(self, reason: str = "", *, grace: Duration | None = None) -> None:
        """Ask the run to stop; `CancelledError` at its awaits. After `grace` it is terminated."""
        await Steering(self._client).cancel(self.id, reason, grace=grace)

    async def stream(self, stream: Stream[T], *, start: int = 0) -> AsyncIterator[T]:
        """The stream's values from its beginning until the run has ended, as they come.

        Chunks of an attempt that failed are left out, once that is known.
        """
        async for chunk in read_stream(self._client, self.id, stream.name, start=start):
            yield self._registry.decode(chunk.raw, stream.type, what=f"a chunk of stream {stream.name}")

    async def stream_chunks(self, stream: Stream[Any], *, start: int = 0) -> AsyncIterator[StreamChunk]:
        """The same with each chunk's index and sender, to go on later from an index, and to see what is replaced."""
        async for chunk in read_stream(self._client, self.id, stream.name, start=start):
            yield chunk

    def __repr__(self) -> str:
        return f"<run {self.id}>"
