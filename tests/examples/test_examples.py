"""The examples run, and show every public name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import stepwell

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.py") if not path.name.startswith("test_"))
TESTS = sorted(path.name for path in EXAMPLES.glob("test_*.py"))
LIMIT_S = 60.0


def execute(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python among the examples, with the package of this checkout."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(
        command, cwd=EXAMPLES, env=env, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_example_ends_well(program: str) -> None:
    done = execute(program)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "never awaited" not in done.stderr


def test_the_tests_among_the_examples_pass() -> None:
    is_installed = bool(entry_points(group="pytest11", name="stepwell"))
    plugin = () if is_installed else ("-p", "stepwell.testing.plugin")
    done = execute("-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_public_name_occurs_in_an_example() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.py"))
    words = set(re.findall(r"\w+", text))
    assert set(stepwell.__all__) - words == set()


def test_no_example_hides_a_module_of_the_standard_library() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} & sys.stdlib_module_names == set()
