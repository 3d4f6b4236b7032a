"""When a request is sent again: after a while that grows, by chance longer or shorter, and not for ever."""

from __future__ import annotations

import os
from random import Random

from stepwell.client.answers import Trouble

_FIRST = 0.1
_LONGEST = 5.0
_DOUBLINGS_MAX = 10


class Repeats:
    """The failures of one request in a row. `within` (s) bounds how long they may go on.

    `is_repeatable`: doing it twice is doing it once. Otherwise it is sent again only when nothing was done.
    """

    def __init__(self, within: float, *, is_repeatable: bool = True, chance: Random | None = None) -> None:
        self.within = within
        self._is_repeatable = is_repeatable
        self._chance = chance or Random(os.urandom(8))
        self._count = 0
        self._since: float | None = None

    def reached(self) -> None:
        """The server answers. What comes next is measured anew, but tried no faster."""
        self._since = None

    def progressed(self) -> None:
        """Something new came: all is well."""
        self._since = None
        self._count = 0

    def delay(self, trouble: Trouble, now: float) -> float:
        """Wait so long (s), then send it again. Raises the error if that would be wrong, of no use, or too late."""
        if not trouble.is_passing or not (self._is_repeatable or trouble.is_undone):
            raise trouble.error
        if self._since is None:
            self._since = now
        longest = min(_LONGEST, _FIRST * 2.0 ** min(self._count, _DOUBLINGS_MAX))
        self._count += 1
        # Half of it is certain, so that a server that is down is not asked in a rush; half is chance, so that not all
        # clients ask at once when it is back.
        delay = max(trouble.after, longest / 2 + self._chance.random() * longest / 2)
        if now + delay > self._since + self.within:
            raise trouble.error
        return delay
