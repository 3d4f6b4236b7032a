"""The realms of the acceptance tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.blueprints.realms import Realm


@pytest.fixture(params=["memory", "sqlite"])
def realm(request: pytest.FixtureRequest, tmp_path: Path) -> Realm:
    """A store and a clock."""
    name = request.param
    return Realm(f"memory://{tmp_path}" if name == "memory" else f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true", name)
