"""Finds calls that replay cannot repeat (clocks, chance, files) while a body runs, with their lines.

It works by `sys.setprofile`, which makes a pump several times slower: for development and tests. Only calls made
directly by user code count, so that a library's own use of a clock is left alone. What is looked for is known by name,
so that the engine itself imports neither clocks nor chance.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from stepwell.engine.places import describe, is_user_file

_CLOCKS = ("time", "monotonic", "perf_counter", "process_time")
_BUILTINS = {("time", name + unit): f"time.{name}{unit}" for name in _CLOCKS for unit in ("", "_ns")} | {
    ("time", "localtime"): "time.localtime",
    ("time", "gmtime"): "time.gmtime",
    ("time", "sleep"): "time.sleep",
    ("posix", "urandom"): "os.urandom",
    ("nt", "urandom"): "os.urandom",
    ("_io", "open"): "open",
    ("io", "open"): "open",
}
_DATES = frozenset({"now", "utcnow", "today"})
_UUIDS = frozenset({"uuid1", "uuid4"})
_CHANCE = frozenset({"random", "secrets", "uuid"})


class PurityWatch:
    """A context manager; while it is entered, what it sees goes to `found`, each place once.

    A profiler that was there before sees every event too, and is put back. One that only C code can call (cProfile
    of Python 3.11) cannot be shared with, so then nothing is watched.
    """

    __slots__ = ("_outer", "found")

    def __init__(self, found: list[str]) -> None:
        self.found = found
        self._outer: Any = None

    def __enter__(self) -> None:
        self._outer = outer = sys.getprofile()
        if outer is None:
            sys.setprofile(self._see)
        elif callable(outer):
            sys.setprofile(_both(outer, self._see))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        outer, self._outer = self._outer, None
        if outer is None or callable(outer):
            sys.setprofile(outer)

    def _see(self, frame: FrameType, event: str, arg: Any) -> None:
        caller: FrameType | None
        if event == "c_call":
            name, caller = _impure_builtin(arg), frame
        elif event == "call":
            name, caller = _impure_function(frame), frame.f_back
        else:
            return
        if name and caller is not None and is_user_file(caller.f_code.co_filename):
            text = f"{name}() at {describe(caller)}"
            if text not in self.found:
                self.found.append(text)


def _both(first: Callable[..., object], second: Callable[..., object]) -> Callable[[FrameType, str, Any], None]:
    def see(frame: FrameType, event: str, arg: Any) -> None:
        first(frame, event, arg)
        second(frame, event, arg)

    return see


def _impure_builtin(function: Any) -> str:
    name = function.__name__
    owner = getattr(function, "__self__", None)
    if name in _DATES and isinstance(owner, type) and hasattr(owner, "fromordinal"):
        return f"{owner.__name__}.{name}"
    if hasattr(owner, "getrandbits"):
        return "" if hasattr(owner, "stepwell_safe") or name.startswith("_") else f"random.{name}"
    return _BUILTINS.get((getattr(function, "__module__", None) or "", name), "")


def _impure_function(frame: FrameType) -> str:
    module = frame.f_globals.get("__name__")
    if module not in _CHANCE:
        return ""
    name = frame.f_code.co_name
    if name.startswith("_") or (module == "uuid" and name not in _UUIDS):
        return ""
    if hasattr(frame.f_locals.get("self"), "stepwell_safe"):
        return ""
    return f"{module}.{name}"
