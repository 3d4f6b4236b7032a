"""When the waits of a body elsewhere are over at the latest: that is fixed by the first answer that names them."""

from __future__ import annotations

import msgspec

from stepwell.engine.remote.calls import Answer
from stepwell.model.entries import AttemptFailed, StepCompleted, StepFailed, TimerFired
from stepwell.model.ids import is_invocation

_KINDS = ("signal", "event", "token")
_decode = msgspec.json.Decoder(Answer).decode


def name_of(timer: str) -> str:
    """What the waits of a body elsewhere wait for, by their ids; other timers have their names."""
    kind, _, rest = timer.partition(":")
    return rest.partition(":")[0] if kind in _KINDS and rest else timer


class Dues:
    """Told from the answers in a journal, as they come. `answered_at` is when the last one did."""

    def __init__(self) -> None:
        self.answered_at = 0
        self._dues: dict[str, int | None] = {}
        self._held: list[Answer] = []

    def add(self, entry: StepCompleted | StepFailed | AttemptFailed, at: int, *, is_held: bool) -> None:
        """A step is over. While a run is paused, its program does not hear of that."""
        if not isinstance(entry, StepCompleted) or not is_invocation(entry.id):
            return
        self._held.append(_decode(bytes(entry.value)))
        if not is_held:
            self.release(at)

    def release(self, at: int) -> None:
        """The program hears of all that it has not heard of."""
        for answer in self._held:
            self.answered_at = at
            for wait in answer.waits:
                due = wait.wake_at if wait.delay_ms is None else at + wait.delay_ms
                self._dues.setdefault(wait.id, due)
        self._held.clear()

    def wrong(self, entry: TimerFired) -> str:
        """Why this timer is not one of them; empty if it is, or nothing is known of it."""
        due = self._dues.get(entry.name, entry.due)
        return "" if due == entry.due else f"the wait {entry.name} was to end at {due}, and its timer is {entry.due}"
