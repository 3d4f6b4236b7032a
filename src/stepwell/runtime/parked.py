"""Drivers of parked runs, kept in memory so that they go on without replay."""

from __future__ import annotations

from collections import OrderedDict

from stepwell.engine.driver import Driver
from stepwell.model.ids import RunId
from stepwell.model.runs import Head


class ParkedDrivers:
    """At most `limit` of them; the one that was parked longest ago leaves first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._drivers: OrderedDict[tuple[RunId, int], Driver] = OrderedDict()

    def keep(self, head: Head, driver: Driver) -> None:
        """The run has been let go."""
        self._drivers[_life(head)] = driver
        while len(self._drivers) > self._limit:
            _, driver = self._drivers.popitem(last=False)
            driver.evict()

    def get(self, head: Head) -> Driver | None:
        """The driver of this run, if it is here."""
        return self._drivers.get(_life(head))

    def pop(self, head: Head) -> Driver | None:
        """The same, taken out."""
        return self._drivers.pop(_life(head), None)

    def clear(self) -> None:
        """Let all of them leave memory."""
        for driver in self._drivers.values():
            driver.evict()
        self._drivers.clear()


def _life(head: Head) -> tuple[RunId, int]:
    """An id may be used again, for another run."""
    return head.id, head.created_at
