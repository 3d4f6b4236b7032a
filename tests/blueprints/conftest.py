"""The realms of the acceptance tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.blueprints.realms import Realm


@pytest.fixture(params=["memory", "sqlite"])
def realm(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Realm:
    """A store and a clock. Each look of SQLite at what other processes wrote costs real time, so it looks seldom."""
    monkeypatch.setattr("stepwell.backends.sqlite.jobs._WATCH_S", 10.0)
    monkeypatch.setattr("stepwell.testing.virtual._IO_SECONDS", 0.003)
    name = request.param
    return Realm(f"memory://{tmp_path}" if name == "memory" else f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true", name)
