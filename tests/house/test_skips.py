"""Where everything must run, a test that does not run is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.house.conftest import ROOT

SKIPPING = """
import pytest

def test_skips():
    pytest.skip("no server")

@pytest.mark.skip(reason="not today")
def test_is_marked():
    pass

@pytest.mark.xfail
def test_is_expected_to_fail():
    assert False
"""


def test_a_skip_fails_where_none_is_allowed(tmp_path: Path) -> None:
    answer = _pytest(tmp_path, SKIPPING, no_skips="1")

    assert "2 failed, 1 error" in answer
    assert "not run, where nothing may be skipped (STEPWELL_NO_SKIPS=1): Skipped: no server" in answer


def test_a_skipped_file_fails_where_none_is_allowed(tmp_path: Path) -> None:
    answer = _pytest(tmp_path, "import pytest; pytest.importorskip('nothing_of_this_name')", no_skips="1")

    assert "1 error" in answer


def test_skips_are_only_reported_elsewhere(tmp_path: Path) -> None:
    assert "2 skipped, 1 xfailed" in _pytest(tmp_path, SKIPPING, no_skips="")


def _pytest(folder: Path, text: str, *, no_skips: str) -> str:
    (folder / "conftest.py").write_bytes((ROOT / "tests" / "conftest.py").read_bytes())
    (folder / "test_it.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), "-c", os.devnull]
    env = {**os.environ, "STEPWELL_NO_SKIPS": no_skips}
    return subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False, env=env).stdout
