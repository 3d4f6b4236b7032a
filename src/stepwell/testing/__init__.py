"""What tests of workflows need: virtual time, fakes, crashes; and what tests of a backend need: `contracts`.

With pytest there is nothing to import: ask for the fixture `stepwell`. See `StepwellTest`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepwell.runtime.replaying import ReplayReport, replay
    from stepwell.testing import contracts
    from stepwell.testing.crashing import Crash, CrashReport, Repeat
    from stepwell.testing.faults import Call, FaultyBackend, NthCall
    from stepwell.testing.fixture import StepwellTest, crash_everywhere
    from stepwell.testing.outcomes import TestRun
    from stepwell.testing.virtual import DeadlockError, VirtualClock, VirtualLoop

__all__ = [
    "Call",
    "Crash",
    "CrashReport",
    "DeadlockError",
    "FaultyBackend",
    "NthCall",
    "Repeat",
    "ReplayReport",
    "StepwellTest",
    "TestRun",
    "VirtualClock",
    "VirtualLoop",
    "contracts",
    "crash_everywhere",
    "replay",
]

_HOMES = {
    "Call": "stepwell.testing.faults",
    "Crash": "stepwell.testing.crashing",
    "CrashReport": "stepwell.testing.crashing",
    "DeadlockError": "stepwell.testing.virtual",
    "FaultyBackend": "stepwell.testing.faults",
    "NthCall": "stepwell.testing.faults",
    "Repeat": "stepwell.testing.crashing",
    "ReplayReport": "stepwell.runtime.replaying",
    "StepwellTest": "stepwell.testing.fixture",
    "TestRun": "stepwell.testing.outcomes",
    "VirtualClock": "stepwell.testing.virtual",
    "VirtualLoop": "stepwell.testing.virtual",
    "crash_everywhere": "stepwell.testing.fixture",
    "replay": "stepwell.runtime.replaying",
}


def __getattr__(name: str) -> Any:
    """Imported when asked for: pytest loads this package in every project where Stepwell is installed."""
    if name == "contracts":
        return importlib.import_module("stepwell.testing.contracts")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
