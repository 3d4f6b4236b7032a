"""An answer line by line: what an invocation tells goes out while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

from stepwell.errors import StepwellError
from stepwell.formats.voyant.invocations import Outcome
from stepwell.formats.voyant.lines import Over, write_line
from stepwell.runtime.stepworker.sending import Live


class AnswerBroken(StepwellError):
    """An answer that has begun has no end: the connection must be closed, so that who reads it knows."""


class Lines:
    """The body of an answer. The invocation goes on whether somebody reads or not; to close the body ends it, with all
    its steps. `explain` says why it failed."""

    def __init__(self, live: Live, invocation: asyncio.Task[Outcome], explain: Callable[[BaseException], str]) -> None:
        self._live = live
        self._invocation = invocation
        self._explain = explain
        invocation.add_done_callback(self._over)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """What there is, at least one line. `AnswerBroken`."""
        taken = await self._live.take()
        if taken:
            return taken
        if self._invocation.cancelled():
            raise AnswerBroken("the worker was stopped before the invocation was over")
        error = self._invocation.exception()
        if error is not None:
            raise AnswerBroken(self._explain(error)) from error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the invocation, if it has not ended; its steps have some time to clean up."""
        self._invocation.cancel()
        await asyncio.wait([self._invocation])

    def _over(self, invocation: asyncio.Task[Outcome]) -> None:
        is_answered = not invocation.cancelled() and invocation.exception() is None
        self._live.end(write_line(Over(invocation.result())) if is_answered else b"")
