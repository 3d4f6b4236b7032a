"""A handle: one run on a server, as its starter sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from stepwell.authoring.messages import Signal, Stream
from stepwell.authoring.registry import Registry
from stepwell.client.pausing import async_elapsed, async_pause, fresh_id
from stepwell.client.requests import path, request
from stepwell.client.runs import ClientRuns
from stepwell.client.shapes import Chunks, outcome_of
from stepwell.client.starting import plain_value
from stepwell.client.wire import Wire
from stepwell.codec import Typed
from stepwell.errors import BackendError
from stepwell.model.durations import Duration, duration_ms
from stepwell.model.entries import Ended
from stepwell.model.ids import RunId
from stepwell.model.runs import Head
from stepwell.runtime.client import outcome_error
from stepwell.runtime.reading import StreamChunk

R = TypeVar("R")
T = TypeVar("T")

_POLL = 20.0
"""How long (s) the server is asked to wait for the end. Longer, and a proxy on the way may give up."""
_SOON = 0.25


class ClientHandle(Generic[R]):
    """One run. Holding it costs nothing; make another with `app.handle(id)`."""

    def __init__(self, wire: Wire, registry: Registry, id: RunId, output: Typed[Any]) -> None:
        self._wire = wire
        self._registry = registry
        self._runs = ClientRuns(wire, registry)
        self._output = output
        self.id = id

    async def result(self, *, timeout: Duration | None = None) -> R:
        """Wait for the run's result.

        `RunError` if it failed, `RunCancelledError` if it was cancelled or terminated; after `timeout`, `TimeoutError`:
        it goes on.
        """
        seconds = None if timeout is None else duration_ms(timeout, what="result(timeout)") / 1000
        ended = await self._ended(seconds)
        if ended.status != "completed":
            raise outcome_error(self.id, ended)
        return self._output.decode(ended.value, where=f"the result of run {self.id}")  # type: ignore[no-any-return]

    async def head(self) -> Head:
        """The run's head: status, metadata, when it wakes. `RunNotFoundError`."""
        return await self._runs.get(self.id)

    async def metadata(self) -> dict[str, Any]:
        """The run's metadata, as of when it last parked, ended or began anew."""
        head = await self.head()
        return {key: self._registry.decode(raw) for key, raw in head.metadata.items()}

    async def status(self) -> str:
        """The run's status."""
        return (await self.head()).status

    async def send(self, signal: Signal[T], value: T, *, id: str | None = None) -> None:
        """Send a signal. With an `id`, sending twice counts once. `RunNotFoundError`, `RunClosedError`."""
        raw = plain_value(self._registry, value, f"signal {signal.name}", signal.type)
        body = {"name": signal.name, "payload": raw, "request_id": id or fresh_id()}
        await self._wire.ask(request("POST", path("api", "runs", self.id, "send"), body))

    async def resume(self, node: str, *, action: str | None = None, output: Any = None) -> bool:
        """Let a node of a blueprint that waits go on, with an `output`, along the edges of `action`. True: it had no
        answer before; False: it had this very one.

        `node` is its id (`approve`, `sub/approve`), or a visit's (`approve:2`). `RunConflictError` if it does not wait
        now, or had another answer; `DefinitionError` if there is no such node, or no edge for the action.
        """
        return await self._runs.answer(self.id, node, action=action, output=output)

    async def cancel(self, reason: str = "", *, grace: Duration | None = None) -> None:
        """Ask the run to stop; `CancelledError` at its awaits. After `grace` it is terminated."""
        await self._runs.cancel(self.id, reason, grace=grace)

    async def stream(self, stream: Stream[T], *, start: int = 0) -> AsyncIterator[T]:
        """The stream's values from its beginning until the run has ended, as they come.

        Chunks of an attempt that failed are left out, once that is known.
        """
        async for chunk in self.stream_chunks(stream, start=start):
            yield self._registry.decode(chunk.raw, stream.type, what=f"a chunk of stream {stream.name}")

    async def stream_chunks(self, stream: Stream[Any], *, start: int = 0) -> AsyncIterator[StreamChunk]:
        """The same with each chunk's index and sender, to go on later from an index, and to see what is replaced."""
        asked = request("GET", path("api", "runs", self.id, "streams", stream.name), query=(("start", str(start)),))
        chunks = Chunks(self._registry.codec, start)
        async with aclosing(self._wire.follow(asked)) as events:
            async for event in events:
                chunk = chunks.take(event.data, asked.asked)
                if chunk is not None:
                    yield chunk

    async def _ended(self, seconds: float | None) -> Ended:
        """How the run ended; the server is asked again and again, for a while each time."""
        until = None if seconds is None else async_elapsed() + seconds
        patience = self._wire.options.patience
        while True:
            begun = async_elapsed()
            left = _POLL if until is None else max(0.0, until - begun)
            wait = min(left, _POLL)
            asked = request("GET", path("api", "runs", self.id, "result"), query=(("wait", f"{wait:.3f}"),), wait=wait)
            try:
                answer = await self._wire.ask(asked, within=patience if until is None else min(patience, left))
            except BackendError as error:
                if until is None or error.is_final or left > patience:
                    raise
                raise TimeoutError(
                    f"run {self.id} has not ended within {seconds:g} s as far as is known; the server does not answer"
                ) from error
            if answer.status == 200:
                return outcome_of(self._registry.codec, answer.body, asked.asked)
            if until is not None and async_elapsed() >= until:
                raise TimeoutError(f"run {self.id} has not ended within {seconds:g} s; it goes on")
            patience = self._wire.options.reconnect
            if async_elapsed() < begun + wait / 2:  # a server that stops answers early
                await async_pause(_SOON)

    def __repr__(self) -> str:
        return f"<run {self.id}>"
