"""What an invocation is given: steps and waits that are over, and the order in which they were.

A wait was resolved between two invocations, or while steps ran; the map of the journal has them in order. A step of
ours says after how many waits it was; of others there is only the time. Maps of steps may have been put in another
order on the way (JavaScript moves names that look like numbers to the front), so they are sorted by when they ended.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import accumulate

from msgspec import UNSET, Raw, Struct, UnsetType

from stepwell.model.entries import StepCompleted, StepFailed
from stepwell.model.failures import NULL, Failure

SLEEP = "sleep:"
"""How the waits begin that are `ctx.sleep`."""
TIMER = "timer:"
"""How the waits begin that are timers of the loop: of `asyncio.sleep`, `asyncio.timeout` and the like."""
RETRY = "retry:"
"""How the waits begin that lie between two attempts of a step: `retry:{step}:{attempt}`. No body asks for them."""
_NOT_OF_THE_BODY = (RETRY, "trigger-delay:")


class KnownStep(Struct, frozen=True, kw_only=True):
    """The outcome of a step, at `at` (ms). `after`: how many waits were over by then; None: nobody said. `patches` are
    those that the body had taken before it ended."""

    id: str
    entry: StepCompleted | StepFailed
    at: int
    after: int | None = None
    patches: tuple[str, ...] = ()


class KnownWait(Struct, frozen=True, kw_only=True):
    """How a wait was over, at `at` (ms). `payload` UNSET: without one, as when its time was over. `failure` is that of
    a child."""

    id: str
    at: int
    payload: Raw | UnsetType = UNSET
    failure: Failure | None = None


class Delayed(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A step that waits for its next attempt: `attempt` failed, and the next one is not before `retry_at` (ms)."""

    attempt: int
    retry_at: int
    progress: Raw = NULL


class Slice(Struct, frozen=True, kw_only=True):
    """A journal as an invocation is given it. `chunks` says how many the body has sent to each stream, `patches`
    which parts of the code the run has come to as new ones, `delayed` which steps are between two attempts."""

    steps: Sequence[KnownStep] = ()
    waits: Sequence[KnownWait] = ()
    chunks: dict[str, int] = {}
    patches: frozenset[str] = frozenset()
    delayed: dict[str, Delayed] = {}


Known = KnownStep | KnownWait


class Lineup:
    """A journal in order. What the body asks for is called up, and given out by its place."""

    def __init__(self, slice: Slice) -> None:
        self._line = _in_order(slice)
        self._places = {(type(item), item.id): place for place, item in enumerate(self._line)}
        self._called: list[int] = []
        self._given_up: set[int] = set()
        self._retried: dict[str, int] = {}
        for wait in slice.waits:
            step, _, attempt = wait.id.removeprefix(RETRY).rpartition(":")
            if wait.id.startswith(RETRY) and attempt.isdecimal():
                self._retried[step] = max(self._retried.get(step, 0), int(attempt))
        self.left = sum(1 for item in self._line if not item.id.startswith(_NOT_OF_THE_BODY))

    def call_step(self, id: str) -> bool:
        """The body asks for a step. True: the journal has it."""
        return self._call(self._places.get((KnownStep, id)))

    def call_wait(self, id: str) -> bool:
        """The body waits for this. True: the journal has it."""
        return self._call(self._places.get((KnownWait, id)))

    def give_up(self, id: str) -> None:
        """Nobody asks for that step any more."""
        place = self._places.get((KnownStep, id))
        if place is not None:
            self._given_up.add(place)

    def next(self, resolved: int | None) -> Known | None:
        """The first that has been called up. A step that was after more waits than `resolved` has to wait for those;
        with None, for nothing."""
        while self._called:
            place = self._called[0]
            item = self._line[place]
            if place in self._given_up:
                heappop(self._called)
                continue
            if resolved is not None and isinstance(item, KnownStep) and (item.after or 0) > resolved:
                return None
            heappop(self._called)
            self.left -= 1
            return item
        return None

    def attempts(self, step: str) -> int:
        """How many attempts of a step have failed and been waited for."""
        return self._retried.get(step, 0)

    def _call(self, place: int | None) -> bool:
        if place is None:
            return False
        heappush(self._called, place)
        return True


def _in_order(slice: Slice) -> list[Known]:
    """Waits as they are in the map, and behind each the steps that were after it."""
    # A clock may have been set back meanwhile; what was later in the map was later.
    times = list(accumulate((wait.at for wait in slice.waits), max))
    behind = [step.after if step.after is not None else bisect_right(times, step.at) for step in slice.steps]
    steps = sorted(range(len(slice.steps)), key=lambda n: (behind[n], slice.steps[n].at, n))
    line: list[Known] = []
    waits = iter(slice.waits)
    count = 0
    for n in steps:
        while count < behind[n] and (wait := next(waits, None)) is not None:
            line.append(wait)
            count += 1
        line.append(slice.steps[n])
    return [*line, *waits]
