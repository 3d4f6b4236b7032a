"""A shell for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.support import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Commands in an empty folder with `orders.py`."""
    return Shell(tmp_path)
