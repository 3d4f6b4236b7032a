"""Options, validated once into frozen values and handed down."""

from __future__ import annotations

import os
from typing import Literal

from msgspec import Struct

from stepwell.errors import DefinitionError


class WorkerOptions(Struct, frozen=True, kw_only=True):
    """How a worker works. Times in ms.

    `concurrency`: runs held at a time; parked runs do not count. `threads`: for sync steps. `cached_runs`: parked runs
    kept in memory, so that they go on without replay. `max_takes`: claims without progress before a run is dead.
    `grace_ms`: how long steps may go on after SIGTERM. `renewal`: renew leases in a thread (which keeps them while the
    event loop is blocked) or on the loop (for virtual time). `gc_threshold`: while working, the interpreter collects
    garbage after so many new objects instead of its default of 700 (unless somebody has changed that), because each
    run in memory is many live objects that a collection would only visit; 0 leaves it alone. `is_announced`: tell
    others, by a key of the coordination port, that this worker is there; no run depends on that.
    """

    queues: tuple[str, ...] = ("default",)
    concurrency: int = 200
    threads: int = min(64, 4 * (os.cpu_count() or 4) + 8)
    lease_ms: int = 30_000
    margin_ms: int = 5_000
    poll_ms: int = 1_000
    grace_ms: int = 10_000
    cached_runs: int = 1_000
    max_takes: int = 10
    suspect_takes: int = 3
    renewal: Literal["thread", "loop"] = "thread"
    gc_threshold: int = 20_000
    impure_check: bool = False
    is_announced: bool = True

    def __post_init__(self) -> None:
        for name in ("concurrency", "threads", "lease_ms", "poll_ms", "max_takes"):
            if getattr(self, name) < 1:
                raise DefinitionError(f"worker({name}={getattr(self, name)}): give 1 or more")
        if self.margin_ms * 2 > self.lease_ms:
            raise DefinitionError("worker(margin_ms=): the margin is at most half of the lease")

    @property
    def renew_every_ms(self) -> int:
        """A third of the lease."""
        return self.lease_ms // 3

    @property
    def hold_ms(self) -> int:
        """A wait shorter than this stays in memory, with the claim."""
        return self.lease_ms // 2
