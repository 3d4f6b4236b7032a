"""Calls that replay cannot repeat."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import datetime
import importlib
import os
import random
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from tests.engine.loops import Run

from stepwell.engine.purity import PurityWatch, _both, cure_of


def impure(call: Any) -> list[str]:
    async def body() -> None:
        call()

    run = Run(body, impure_check=True)
    run.finish()
    return [text.partition(" at ")[0] for text in run.loop.impure]


FOUND: list[tuple[Any, str]] = [
    (lambda: time.time(), "time.time()"),
    (lambda: time.monotonic(), "time.monotonic()"),
    (lambda: time.time_ns(), "time.time_ns()"),
    (lambda: time.perf_counter(), "time.perf_counter()"),
    (lambda: datetime.datetime.now(), "datetime.now()"),
    (lambda: datetime.datetime.now(datetime.UTC), "datetime.now()"),
    (lambda: datetime.date.today(), "date.today()"),
    (lambda: random.random(), "random.random()"),
    (lambda: random.randint(1, 6), "random.randint()"),
    (lambda: random.choice([1, 2]), "random.choice()"),
    (lambda: random.getrandbits(8), "random.getrandbits()"),
    (lambda: uuid.uuid4(), "uuid.uuid4()"),
    (lambda: os.urandom(4), "os.urandom()"),
    (lambda: open(os.devnull).close(), "open()"),
    (lambda: time.sleep(0), "time.sleep()"),
    (lambda: random.SystemRandom().random(), "random.random()"),
    (lambda: random.Random(), "random.Random()"),
    (lambda: secrets.token_hex(), "secrets.token_hex()"),
    (lambda: os.listdir("."), "os.listdir()"),
    (lambda: os.getenv("HOME"), "os.getenv()"),
    (lambda: os.environ.get("HOME"), "os.environ"),
    (lambda: os.environ["PATH"], "os.environ"),
    (lambda: Path(os.devnull).read_text(), "Path.read_text()"),
    (lambda: Path(os.devnull).exists(), "Path.exists()"),
    (lambda: subprocess.run([sys.executable, "-c", ""], check=True), "subprocess.run()"),
    (lambda: threading.Thread(target=int).start(), "threading.Thread.start()"),
    (lambda: sqlite3.connect(":memory:").close(), "sqlite3.connect()"),
    (lambda: tempfile.gettempdir(), "tempfile.gettempdir()"),
    (lambda: shutil.which("nothing of this name"), "shutil.which()"),
]


@pytest.mark.parametrize(("call", "name"), FOUND)
def test_calls_that_replay_cannot_repeat_are_found(call: Any, name: str) -> None:
    assert impure(call) == [name]


LEFT_ALONE: list[Any] = [
    lambda: uuid.UUID(int=5),
    lambda: uuid.uuid5(uuid.NAMESPACE_DNS, "a"),
    lambda: datetime.datetime.fromisoformat("2026-01-01"),
    lambda: random.Random(5),
    lambda: [3, 1].sort(),
    lambda: asyncio.get_running_loop().time(),
    lambda: {}.get([].__len__()),
    lambda: Path("a") / "b",
    lambda: Path("a").with_suffix(".b").name,
    lambda: os.path.join("a", "b"),
    lambda: sorted(collections.UserDict({"a": 1}).items()),
]


@pytest.mark.parametrize("call", LEFT_ALONE)
def test_calls_that_replay_repeats_are_left_alone(call: Any) -> None:
    assert impure(call) == []


def test_a_generator_with_a_seed_is_left_alone() -> None:
    seeded = random.Random(5)
    assert (
        impure(lambda: (seeded.random(), seeded.randint(1, 6), seeded.choice([1]), random.Random("x").random())) == []
    )


def test_what_a_module_does_while_it_is_imported_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imported_in_a_body.py").write_text("import time\nSTART = time.time()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert impure(lambda: importlib.import_module("imported_in_a_body")) == []


@pytest.mark.parametrize(
    ("call", "cure"),
    [
        ("time.time() at a.py:1, in f", "ctx.now()"),
        ("date.today() at a.py:1, in f", "ctx.now()"),
        ("time.sleep() at a.py:1, in f", "await ctx.sleep(...)"),
        ("random.random() at a.py:1, in f", "ctx.random"),
        ("uuid.uuid4() at a.py:1, in f", "ctx.uuid4()"),
        ("open() at a.py:1, in f", "a step"),
    ],
)
def test_each_call_has_a_cure(call: str, cure: str) -> None:
    assert cure_of(call) == cure


def test_an_impure_call_is_listed_once_with_its_line() -> None:
    async def checkout() -> None:
        for _ in range(3):
            time.time()

    run = Run(checkout, impure_check=True)
    run.finish()
    line = checkout.__code__.co_firstlineno + 2
    assert run.loop.impure == [f"time.time() at test_purity.py:{line}, in checkout"]


def test_a_profiler_that_was_there_goes_on_and_stays() -> None:
    events: list[str] = []

    def profiler(frame: FrameType, event: str, arg: Any) -> None:
        events.append(frame.f_code.co_name)

    async def checkout() -> None:
        time.time()

    run = Run(checkout, impure_check=True)
    sys.setprofile(profiler)
    try:
        run.finish()
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)
    assert "checkout" in events
    assert len(run.loop.impure) == 1


def test_a_profiler_in_c_is_left_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async def checkout() -> None:
        time.time()

    run = Run(checkout, impure_check=True)
    monkeypatch.setattr(sys, "getprofile", object)
    run.finish()
    assert run.loop.impure == []


def judged(call: Any) -> list[str]:
    """What is found in the events of a call, when they are looked at afterwards: a profiler itself is not traced."""
    events: list[tuple[FrameType, str, Any]] = []
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, arg: events.append((frame, event, arg)))
    try:
        with contextlib.suppress(RuntimeError):  # no loop is running here
            call()
    finally:
        sys.setprofile(before)
    found: list[str] = []
    watch = PurityWatch(found)
    for frame, event, arg in events:
        watch._see(frame, event, arg)
    return [text.partition(" at ")[0] for text in found]


def test_events_are_judged_alike_at_any_time() -> None:
    assert [judged(call) for call, _ in FOUND] == [[name] for _, name in FOUND]
    assert [found for call in LEFT_ALONE for found in judged(call)] == []
    assert judged(lambda: [time.time() for _ in range(2)]) == ["time.time()"]


def test_two_profilers_see_each_event() -> None:
    seen: list[str] = []
    both = _both(lambda *_: seen.append("first"), lambda *_: seen.append("second"))
    both(sys._getframe(), "call", None)
    assert seen == ["first", "second"]
