"""What tests of workflows need: virtual time, fakes, crashes; and what tests of a backend need: `contracts`.
`simulate` is for tests of Stepwell itself.

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
    from stepwell.testing.simulator.scenarios import Scenario, random_scenario
    from stepwell.testing.simulator.simulation import simulate
    from stepwell.testing.stepper import Stepper
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
    "Scenario",
    "Stepper",
    "StepwellTest",
    "TestRun",
    "VirtualClock",
    "VirtualLoop",
    "contracts",
    "crash_everywhere",
    "random_scenario",
    "replay",
    "simulate",
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
    "Scenario": "stepwell.testing.simulator.scenarios",
    "Stepper": "stepwell.testing.stepper",
    "StepwellTest": "stepwell.testing.fixture",
    "TestRun": "stepwell.testing.outcomes",
    "VirtualClock": "stepwell.testing.virtual",
    "VirtualLoop": "stepwell.testing.virtual",
    "crash_everywhere": "stepwell.testing.fixture",
    "random_scenario": "stepwell.testing.simulator.scenarios",
    "replay": "stepwell.runtime.replaying",
    "simulate": "stepwell.testing.simulator.simulation",
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
