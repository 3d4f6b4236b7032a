"""The plugin in a pytest of its own, found by its entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import stepwell

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

    done = _pytest(tmp_path, [str(SRC), str(site.parent)], "-W", "error", "-p", "no:cacheprovider")

    assert "1 failed, 3 passed" in done, done
    assert "DeadlockError: everything waits" in done, done


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
