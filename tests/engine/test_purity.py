"""Calls that replay cannot repeat."""

from __future__ import annotations

import asyncio
import datetime
import os
import random
import sys
import time
import uuid
from types import FrameType
from typing import Any

import pytest
from tests.engine.loops import Run


def impure(call: Any) -> list[str]:
    async def body() -> None:
        call()

    run = Run(body, impure_check=True)
    run.finish()
    return [text.partition(" at ")[0] for text in run.loop.impure]


@pytest.mark.parametrize(
    ("call", "name"),
    [
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
    ],
)
def test_calls_that_replay_cannot_repeat_are_found(call: Any, name: str) -> None:
    assert impure(call) == [name]


@pytest.mark.parametrize(
    "call",
    [
        lambda: uuid.UUID(int=5),
        lambda: uuid.uuid5(uuid.NAMESPACE_DNS, "a"),
        lambda: datetime.datetime.fromisoformat("2026-01-01"),
        lambda: random.Random(5),
        lambda: [3, 1].sort(),
        lambda: asyncio.get_running_loop().time(),
        lambda: {}.get([].__len__()),
    ],
)
def test_calls_that_replay_repeats_are_left_alone(call: Any) -> None:
    assert impure(call) == []


def test_the_runs_own_generator_is_left_alone() -> None:
    class Safe(random.Random):
        stepwell_safe = True

    safe = Safe(5)
    assert impure(lambda: (safe.random(), safe.randint(1, 6), safe.choice([1]))) == []


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
