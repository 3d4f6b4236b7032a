"""What the worker does to logging and to debugging, so that neither shows more than what happened."""

from __future__ import annotations

import gc
import logging
import os
import sys
from asyncio.events import _get_running_loop
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from stepwell.engine.loop import WorkflowLoop

_BELOW_ALL = -1
_GC_DEFAULT_MAX = 2000
"""The default thresholds of the Pythons that there are: 700, and 2000 from 3.14 on."""


class QuietRecords:
    """Makes log records, such that no handler takes what a workflow body logs while it runs through what it has done
    before, or leaves memory. Handlers take records by level, so those get one that is below all levels: that holds for
    every handler of every logger, also for one that comes while the worker works."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self.make = make
        self.users = 0

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        """As `logging.setLogRecordFactory` wants it."""
        record = self.make(*args, **kwargs)
        if self.users:
            loop = _get_running_loop()
            if loop.__class__ is WorkflowLoop and loop.program.is_replaying:
                record.levelno = _BELOW_ALL
        return record


@contextmanager
def quiet_replay() -> Iterator[None]:
    """Log nothing on replay while a worker works. Workers may end in any order, and others may make records, too."""
    quiet = logging.getLogRecordFactory()
    if not isinstance(quiet, QuietRecords):
        quiet = QuietRecords(quiet)
        logging.setLogRecordFactory(quiet)
    quiet.users += 1
    try:
        yield
    finally:
        quiet.users -= 1
        if not quiet.users and logging.getLogRecordFactory() is quiet:
            logging.setLogRecordFactory(quiet.make)


@contextmanager
def patient_gc(threshold: int) -> Iterator[None]:
    """Collect garbage less often, unless `threshold` is 0 or somebody has tuned the collector already."""
    before = gc.get_threshold()
    is_ours = bool(threshold) and before[0] <= _GC_DEFAULT_MAX
    if is_ours:
        gc.set_threshold(threshold, *before[1:])
    try:
        yield
    finally:
        if is_ours:
            gc.set_threshold(*before)


def settle_gc(threshold: int) -> None:
    """For a process that serves from now on: what is loaded stays, so the collector need not look at it again and again
    between requests, and it looks less often. Thresholds that somebody has tuned stay."""
    gc.collect()
    gc.freeze()
    before = gc.get_threshold()
    if threshold and before[0] <= _GC_DEFAULT_MAX:
        gc.set_threshold(threshold, *before[1:])


@contextmanager
def no_gc() -> Iterator[None]:
    """Keep the collector out of a short stretch that makes many objects and no garbage."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


def is_debugging() -> bool:
    """Whether somebody steps through the program: then a lease must not end at a breakpoint."""
    return bool(os.environ.get("STEPWELL_DEBUG")) or ("pydevd" in sys.modules and sys.gettrace() is not None)
