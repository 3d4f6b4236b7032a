"""`ctx.map`: bounded, ordered, durable fan-out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from typing import Any, Generic, TypeVar

from msgspec import Struct

from stepwell.authoring.steps import Step
from stepwell.errors import DefinitionError

T = TypeVar("T")
R = TypeVar("R")


class Outcome(Struct, Generic[R], frozen=True):
    """What became of one item with `settle=True`: a value, or the error in its place."""

    value: R | None = None
    error: Exception | None = None

    @property
    def is_ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None


class MapCall(Generic[R]):
    """A fan-out that has not started. Await it for a list in the order of the items; iterate over it with `async for`
    to get results as they finish. When that is left early, the rest goes on until the workflow ends, or is stopped by
    `async with contextlib.aclosing(ctx.map(...)) as results:`."""

    def __init__(
        self,
        call: Callable[[Any], Coroutine[Any, Any, Any]],
        items: Iterable[Any],
        *,
        concurrency: int | None,
        is_settled: bool,
        key: Callable[[Any], object] | None,
    ) -> None:
        if concurrency is not None and concurrency < 1:
            raise DefinitionError(f"ctx.map(concurrency={concurrency}): give 1 or more")
        self._call = call
        self._items = list(items)
        self._concurrency = concurrency or max(len(self._items), 1)
        self._is_settled = is_settled
        self._key = key
        self._iteration: _Iteration | None = None

    def __await__(self) -> Generator[Any, Any, list[R]]:
        return self._gather().__await__()

    def __aiter__(self) -> AsyncIterator[R]:
        self._iteration = iteration = _Iteration(self)
        return iteration

    async def aclose(self) -> None:
        """Stop what the iteration has not given yet, and wait for that."""
        if self._iteration is not None:
            await self._iteration.stop()

    async def _gather(self) -> list[R]:
        results: list[Any] = [None] * len(self._items)
        await self._run(results.__setitem__)
        return results

    async def _run(self, report: Callable[[int, Any], None]) -> None:
        waiting = iter(enumerate(self._items))

        async def lane() -> None:
            for index, item in waiting:
                report(index, await self._one(index, item))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._concurrency, len(self._items))):
                    group.create_task(lane())
        except BaseExceptionGroup as errors:
            # One failure is the common case, and reads better alone.
            first = errors.exceptions[0]
            if len(errors.exceptions) == 1 or all(type(error) is type(first) for error in errors.exceptions):
                raise first from None
            raise

    async def _one(self, index: int, item: Any) -> Any:
        call = self._call
        if isinstance(call, Step) and call.spec.key is None:
            call = call.options(key=str(index if self._key is None else self._key(item)))
        if not self._is_settled:
            return await call(item)
        try:
            return Outcome(value=await call(item))
        except Exception as error:
            return Outcome(error=error)


class _Iteration:
    """Results as they finish. Not a generator: a task group in one would cancel the body between two results."""

    def __init__(self, call: MapCall[Any]) -> None:
        self._call = call
        self._results: asyncio.Queue[Any] = asyncio.Queue()
        self._runner: asyncio.Task[None] | None = None

    def __aiter__(self) -> _Iteration:
        return self

    async def __anext__(self) -> Any:
        if self._runner is None:
            results = self._results
            run = self._call._run(lambda _, result: results.put_nowait(result))
            self._runner = asyncio.get_running_loop().create_task(run)
            self._runner.add_done_callback(self._end)
        result = await self._results.get()
        if result is not _END:
            return result
        self._results.put_nowait(_END)
        await self._runner
        raise StopAsyncIteration

    async def stop(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait([self._runner])

    def _end(self, runner: asyncio.Task[None]) -> None:
        if not runner.cancelled():
            runner.exception()  # whoever iterates sees it, and if nobody does, it is nobody's
        self._results.put_nowait(_END)


_END: Any = object()
