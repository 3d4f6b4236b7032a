"""What all contenders share: the way they are called, and the way they answer.

A contender is a module that is run as `python -m benchmarks.<module> <workload> <options as JSON>` in an empty
directory, and whose last line of output is a JSON object of numbers.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Answer = Mapping[str, float]
Work = Callable[..., Answer]


def contend(workloads: Mapping[str, Work]) -> None:
    """Run the workload that the command line names, and print its answer."""
    name, options = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps(workloads[name](**options)), flush=True)


class Stopwatch:
    """Wall time and CPU time since it was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return time.perf_counter() - self._wall

    def rate(self, steps: int) -> dict[str, float]:
        """Steps per second, and CPU per step; threads included."""
        return {"steps/s": steps / self.seconds, "cpu us/step": (time.process_time() - self._cpu) * 1e6 / steps}


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many percent lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def rss_mb() -> float:
    """Resident memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def file_bytes(path: str) -> int:
    """The size of a database with its log."""
    return sum(os.path.getsize(path + end) for end in ("", "-wal") if os.path.exists(path + end))


def timed(work: Callable[[], Any], times: int) -> float:
    """Median seconds of one call."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return percentile(taken, 50)
