"""The group committer: calls that are ready together go to the store together.

While one call is under way, the next batch gathers; so the batch grows with the load, and a single caller waits for
nothing but its own commit. A call that failed with `BackendError` may have been applied: it is repeated with the
identical items until it is answered, and nothing overtakes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from stepwell.errors import BackendError
from stepwell.runtime.patience import Trouble, delays
from stepwell.runtime.telemetry import Telemetry

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_log = logging.getLogger("stepwell")


_Submitted = tuple[Item, Callable[[Answer], None], Callable[[], bool] | None]
"""The item, what to call with the answer, and whether the item is still wanted."""


class Batcher(Generic[Item, Answer]):
    """One port method behind a queue. `submit` from the event loop only; callbacks come on it, in order."""

    def __init__(
        self,
        name: str,
        call: Callable[[Sequence[Item]], Coroutine[Any, Any, list[Answer]]],
        group: int,
        *,
        is_immediate: bool = False,
    ) -> None:
        self._name = name
        self._call = call
        self._group = group
        self._is_immediate = is_immediate
        self.telemetry = Telemetry()
        self._waiting: list[_Submitted[Item, Answer]] = []
        self._task: asyncio.Task[None] | None = None

    def submit(
        self, item: Item, done: Callable[[Answer], None], *, is_wanted: Callable[[], bool] | None = None
    ) -> None:
        """Call `done` with the answer. An item that is no longer wanted when a repeat is due is dropped silently."""
        if self._is_immediate and self._task is None and self._answer_now(item, done):
            return
        self._waiting.append((item, done, is_wanted))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(), name=f"stepwell {self._name}")

    def _answer_now(self, item: Item, done: Callable[[Answer], None]) -> bool:
        """Have a call that does not wait answered on the spot. False: it failed, and is to be repeated."""
        call = self._call([item])
        try:
            call.send(None)
        except StopIteration as end:
            answers: list[Answer] = end.value
        except BackendError:
            return False
        else:
            call.close()
            raise AssertionError(f"{self._name} waited, of a store that says that it never does")
        if self.telemetry.is_on:
            self.telemetry.batch(self._name, 1, 0.0)
        self._is_immediate = False  # what follows is gathered: else a run that goes on and on would go ever deeper
        try:
            self._follow(done, answers[0])
        finally:
            self._is_immediate = True
        return True

    def _follow(self, done: Callable[[Answer], None], answer: Answer) -> None:
        try:
            done(answer)
        except Exception:  # one run's failure is not another's
            _log.exception("%s: following up an answer failed", self._name)

    async def ask(self, item: Item) -> Answer:
        """The same, awaited."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(answer: Answer) -> None:
            if not future.done():
                future.set_result(answer)

        self.submit(item, done, is_wanted=lambda: not future.done())
        return await future

    async def drain(self, within: float) -> bool:
        """Wait until everything submitted has been answered. False: it was not (s); then it is given up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while (task := self._task) is not None:
                    await asyncio.wait([task])
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        return task is None

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._group], self._waiting[self._group :]
                await self._answer(batch)
        finally:
            self._task = None

    async def _answer(self, batch: list[_Submitted[Item, Answer]]) -> None:
        has_failed = False
        clock = asyncio.get_running_loop().time
        for delay in delays():
            if not batch:
                return
            asked_at = clock()
            try:
                answers = await self._call([item for item, _, _ in batch])
            except BackendError as error:
                has_failed = True
                Trouble.here().met(self._name, error)
                await asyncio.sleep(delay)
                batch = [submitted for submitted in batch if submitted[2] is None or submitted[2]()]
                continue
            if has_failed:
                Trouble.here().over()
            if self.telemetry.is_on:
                self.telemetry.batch(self._name, len(batch), clock() - asked_at)
            for (_, done, _), answer in zip(batch, answers, strict=True):
                self._follow(done, answer)
            return
