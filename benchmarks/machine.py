"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path


def describe(directory: Path) -> str:
    """Cores, load, Python, SQLite, and how long the disk takes to flush."""
    load = os.getloadavg()[0]
    flush = flush_ms(directory)
    return (
        f"{os.cpu_count()} cores (load {load:.1f}), {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, flush {flush:.2f} ms in {directory}"
    )


def version() -> str:
    """The commit that is measured, and whether files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True)
        changed = subprocess.run([*git, "status", "--porcelain", "--", "../src"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return "no commit"
    return f"commit {commit.stdout.strip()}{' with changes' if changed.stdout else ''}"


def flush_ms(directory: Path) -> float:
    """Median of a write of 4 KiB with fdatasync."""
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        taken = []
        for _ in range(50):
            started = time.perf_counter()
            os.pwrite(file.fileno(), b"x" * 4096, 0)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - started)
    return sorted(taken)[25] * 1000
