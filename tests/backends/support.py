"""What the tests of the SQLite backend share."""

from __future__ import annotations

import asyncio
import functools
import os
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ParamSpec

import stepwell
from stepwell import backends
from stepwell.backends.sqlite import SqliteBackend

P = ParamSpec("P")
SRC = Path(stepwell.__file__).parent.parent
PRELUDE = """
import asyncio, os, signal, sys
from stepwell import backends
from stepwell.testing.contracts.running import *
async def main():
"""


def run_async(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Let plain pytest run an async test."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))  # type: ignore[arg-type]

    return run


async def open_sqlite(path: Path, **options: object) -> SqliteBackend:
    backend = await backends.open(f"sqlite:///{path}", **options)
    assert isinstance(backend, SqliteBackend)
    return backend


def connections(backend: SqliteBackend) -> list[sqlite3.Connection]:
    """Those that are open now, except that of the thread that moves the log."""
    store = backend.store
    sessions = [session for session in (store._writer._session, store._aside) if session is not None]
    readers = [reader._connection for reader in (store._reader, store._searcher)]
    return [session.connection for session in sessions] + [item for item in readers if item is not None]


def start_process(body: str, *args: object) -> subprocess.Popen[str]:
    """Run the body of an async function in a process of its own; `sys.argv[1:]` are `args`."""
    lines = "\n".join("    " + line for line in body.strip("\n").splitlines())
    return subprocess.Popen(
        [sys.executable, "-c", f"{PRELUDE}{lines}\nasyncio.run(main())", *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SRC)},
    )


def output(process: subprocess.Popen[str]) -> list[str]:
    """The lines that the process prints until it ends well."""
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return text.splitlines()
