"""The real command, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

SRC = Path(__file__).parents[2] / "src"

PROGRAM = """
import asyncio
import os
from dataclasses import dataclass
from stepwell import Context, Event, Signal, Stepwell, step, workflow

@dataclass
class Order:
    id: int

approval = Signal("approval", str)
paid = Event("paid", int)

def effect(name: str) -> None:
    with open("effects.log", "a") as log:
        log.write(name + "\\n")

@step
async def charge(order: Order) -> int:
    effect("charge")
    return order.id

@step
async def wait_for_file(name: str) -> str:
    effect("wait")
    while not os.path.exists(name):
        await asyncio.sleep(0.01)
    return name

@workflow
async def checkout(ctx: Context, order: Order) -> dict[str, int]:
    return {"paid": await charge(order)}

@workflow
async def slow(ctx: Context, order: Order) -> str:
    await charge(order)
    return await wait_for_file("go")

@workflow
async def ask(ctx: Context) -> str:
    await charge(Order(1))
    return await ctx.receive(approval)

@workflow
async def listen(ctx: Context) -> int:
    return await ctx.receive(paid)

@workflow
async def hook(ctx: Context) -> int:
    handle = await ctx.create_hook(int, token="my-own-token")
    return await handle

@step
async def mail(link: str) -> None:
    effect(link)

@workflow
async def mails(ctx: Context) -> int:
    handle = await ctx.create_hook(int)
    await mail(handle.url)
    return await handle

@workflow
async def fails(ctx: Context) -> None:
    raise RuntimeError("no luck")
"""


class Shell:
    """Types commands in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("STEPWELL_")},
            "PYTHONPATH": str(SRC),
            "PYTHONUNBUFFERED": "1",
        }
        (folder / "orders.py").write_text(PROGRAM, encoding="utf-8")

    def __call__(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(words),
            cwd=self.folder,
            env=self._env,
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    def set(self, **variables: str) -> None:
        """Have these in the environment from now on."""
        self._env |= variables

    def begin(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command, and do not wait."""
        return subprocess.Popen(
            self._command(words),
            cwd=self.folder,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            **options,
        )

    def json(self, *words: str) -> Any:
        """What a command prints as JSON."""
        return msgspec.json.decode(self(*words).stdout)

    def effects(self) -> list[str]:
        """What the steps of the program did so far."""
        log = self.folder / "effects.log"
        return log.read_text(encoding="utf-8").split() if log.exists() else []

    def go(self) -> None:
        """Let the slow step end."""
        (self.folder / "go").touch()

    def status(self, run: str) -> str | None:
        """The status of a run; None if there is none."""
        done = self("runs", "show", run, "--json")
        return None if done.returncode else msgspec.json.decode(done.stdout)["head"]["status"]

    def _command(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "stepwell", *words]


def eventually(condition: Callable[[], object], *, within: float = 20.0) -> None:
    """Wait until something is so."""
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.02)
