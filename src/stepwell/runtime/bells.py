"""Doorbells: notices to whoever may be waiting, here or in another process."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from stepwell.errors import BackendError
from stepwell.ports import Queue

_log = logging.getLogger("stepwell")


async def ring(queue: Queue, topics: Sequence[str]) -> None:
    """Tell listeners, once. What was stored before is stored: a bell that fails is nobody's failure, and who waits for
    it looks by itself before long."""
    try:
        await queue.notify(topics)
    except BackendError as error:
        _log.warning("nobody was told that %s may have changed: %s", ", ".join(topics), error)
