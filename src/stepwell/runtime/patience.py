"""Repeating a call while the backend cannot answer it, and saying so without flooding the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar
from weakref import WeakKeyDictionary

from stepwell.errors import BackendError

T = TypeVar("T")

_log = logging.getLogger("stepwell")
_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0
_SAY_AGAIN_S = 30.0
_TEXTS_MAX = 100


def delays() -> Iterator[float]:
    """How long (s) to wait after each failure; without end."""
    delay = _FIRST_DELAY
    while True:
        yield delay
        delay = min(delay * 2, _LONGEST_DELAY)


class Trouble:
    """What the backend cannot do now, as the log of one event loop tells it.

    Each error is told at once, and then every half minute, whoever meets it: hundreds of runs may repeat their calls at
    the same time. When a repeated call succeeds, that is told, too. `failures` counts them all.
    """

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}
        self._since = 0.0
        self._hidden = 0
        self._is_told = False
        self.failures = 0

    @classmethod
    def here(cls) -> Trouble:
        """The one of the running loop."""
        loop = asyncio.get_running_loop()
        found = _troubles.get(loop)
        if found is None:
            found = _troubles[loop] = cls()
        return found

    def met(self, what: str, error: BackendError) -> None:
        """A call failed, and will be repeated."""
        self.failures += 1
        now = asyncio.get_running_loop().time()
        text = str(error)
        if not self._is_told and not self._hidden:
            self._since = now
        told_at = self._told_at.get(text)
        if told_at is not None and now - told_at < _SAY_AGAIN_S:
            self._hidden += 1
            return
        if len(self._told_at) >= _TEXTS_MAX:
            self._told_at.clear()
        self._told_at[text] = now
        self._is_told = True
        more = f" ({self._hidden} more failures since the last line like this)" if self._hidden else ""
        self._hidden = 0
        _log.warning("%s: %s; repeated until it can be done%s", what, error, more)

    def over(self) -> None:
        """A call that had failed was answered."""
        if self._is_told:
            _log.warning("the backend answers again, after %.1f s", asyncio.get_running_loop().time() - self._since)
        self._is_told = False
        self._hidden = 0


_troubles: WeakKeyDictionary[asyncio.AbstractEventLoop, Trouble] = WeakKeyDictionary()


async def until_answered(
    what: str, call: Callable[[], Awaitable[T]], *, is_wanted: Callable[[], bool] | None = None
) -> T | None:
    """Call until there is an answer, ever more slowly; None when it is no longer wanted.

    For idempotent calls only: one that failed with `BackendError` may have been applied.
    """
    has_failed = False
    for delay in delays():
        if is_wanted is not None and not is_wanted():
            break
        try:
            answer = await call()
        except BackendError as error:
            has_failed = True
            Trouble.here().met(what, error)
            await asyncio.sleep(delay)
            continue
        if has_failed:
            Trouble.here().over()
        return answer
    return None
