"""What holds for every test: how hard Hypothesis tries, and that nothing is skipped where that is not allowed."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
NO_SKIPS = os.environ.get("STEPWELL_NO_SKIPS") == "1"

# A slow example on a shared machine says nothing about the code, so there are no deadlines.
_COMMON = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", _COMMON, max_examples=50, derandomize=False)
settings.register_profile("ci", _COMMON, max_examples=100, derandomize=False)
settings.register_profile("thorough", _COMMON, max_examples=5000, derandomize=False)
settings.load_profile(os.environ.get("STEPWELL_HYPOTHESIS", "ci" if NO_SKIPS else "dev"))


# A job in the background of a script ignores Ctrl-C, and so would the tests of what it does, and their programs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With STEPWELL_NO_SKIPS=1 a test that is skipped, or expected to fail, has failed."""
    return _without_skips((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for whole files."""
    return _without_skips((yield))


def _without_skips(report: Report) -> Report:
    if NO_SKIPS and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "xfail")
        report.outcome = "failed"
        report.longrepr = f"not run, where nothing may be skipped (STEPWELL_NO_SKIPS=1): {reason}"
        if hasattr(report, "wasxfail"):
            del report.wasxfail
    return report
