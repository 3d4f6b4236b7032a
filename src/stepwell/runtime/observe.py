"""What the worker does to logging and to debugging, so that neither shows more than what happened."""

from __future__ import annotations

import gc
import logging
import os
import sys
from asyncio.events import _get_running_loop
from collections.abc import Iterator
from contextlib import contextmanager

from stepwell.engine.loop import WorkflowLoop

_GC_DEFAULT_MAX = 2000
"""The default thresholds of the Pythons that there are: 700, and 2000 from 3.14 on."""


class ReplayFilter(logging.Filter):
    """Drops what a workflow body logs while it runs through what it has done before, or leaves memory."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        """Whether the record is news."""
        loop = _get_running_loop()
        return loop.__class__ is not WorkflowLoop or not loop.program.is_replaying


@contextmanager
def quiet_replay() -> Iterator[None]:
    """Filter the handlers of the root logger and of "stepwell" while a worker works."""
    quiet = ReplayFilter()
    handlers = [*logging.getLogger().handlers, *logging.getLogger("stepwell").handlers]
    for handler in handlers:
        handler.addFilter(quiet)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(quiet)


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
