"""Worlds to run things in: each backend, with and without parked runs kept in memory; and the fixture `stepwell`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stepwell import Stepwell
from stepwell.runtime.options import WorkerOptions
from stepwell.testing.plugin import pytest_pyfunc_call, stepwell, stepwell_options

__all__ = ["app_of", "pytest_pyfunc_call", "stepwell", "stepwell_options"]

OpenApp = Callable[..., Stepwell]


@pytest.fixture(params=["memory", "memory-replaying", "sqlite", "sqlite-replaying"])
def app_of(request: pytest.FixtureRequest, tmp_path: Path) -> OpenApp:
    """Makes an app over the module's workflows. "replaying" keeps no parked run, so each wake-up replays."""
    backend, _, replaying = request.param.partition("-")
    url = "memory://" if backend == "memory" else f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true"
    options = WorkerOptions(cached_runs=0 if replaying else 100)

    def make(*include: object, **more: object) -> Stepwell:
        return Stepwell(url, include=include, worker_options=options, **more)  # type: ignore[arg-type]

    return make
