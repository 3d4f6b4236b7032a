"""The plugin in a pytest of its own, found by its entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import stepwell
from stepwell import testing

SRC = Path(stepwell.__file__).parent.parent

TEST = """
from stepwell import Context, workflow

@workflow
async def nap(ctx: Context) -> str:
    await ctx.sleep("2d")
    return "rested"

async def test_async(stepwell):
    assert (await stepwell.run(nap)).result == "rested"

def test_plain(stepwell):
    assert stepwell.run_sync(nap).result == "rested"

class TestIn:
    async def test_class(self, stepwell):
        await stepwell.sleep("1d")

async def test_endless(stepwell):
    import asyncio
    await asyncio.Event().wait()
"""


def test_the_entry_point_gives_every_project_the_fixture(tmp_path: Path) -> None:
    site = tmp_path / "site" / "installed_stepwell-1.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-stepwell\nVersion: 1\n")
    (site / "entry_points.txt").write_text(_entry_points())
    (tmp_path / "test_mine.py").write_text(TEST)

    done = _pytest(tmp_path, [str(SRC), str(site.parent)], "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio")

    assert "1 failed, 3 passed" in done, done
    assert "DeadlockError: everything waits" in done, done


def test_the_plugin_imports_the_kit_only_when_it_is_used() -> None:
    code = "import sys, stepwell.testing.plugin; print(*[name for name in sys.modules if 'stepwell.testing' in name])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SRC)},
        check=True,
    )

    assert sorted(done.stdout.split()) == ["stepwell.testing", "stepwell.testing.plugin"]


@pytest.mark.parametrize("name", testing.__all__)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    assert getattr(testing, name).__doc__


def test_other_names_do_not_exist() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = testing.nothing


def _entry_points() -> str:
    """As pyproject.toml has them."""
    lines = (SRC.parent / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    start = lines.index("[project.entry-points.pytest11]")
    line = lines[start + 1].replace('"', "")
    return f"[pytest11]\n{line}\n"


def _pytest(folder: Path, path: list[str], *options: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(folder), *options, str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder, check=False, timeout=120
    )
    return done.stdout + done.stderr
