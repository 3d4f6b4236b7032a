"""Finds calls that replay cannot repeat (clocks, chance, files, other programs) while a body runs, with their lines.

It works by `sys.setprofile`, which makes a pump several times slower: for development and tests. Only calls made
directly by user code count, so that a library's own use of a clock is left alone; and none that a module makes while it
is imported, since that happens once. What is looked for is known by name, so that the engine itself imports none of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from stepwell.engine.places import describe, is_user_file

_CLOCKS = ("time", "monotonic", "perf_counter", "process_time")
_SYSTEM = ("listdir", "scandir", "stat", "mkdir", "rmdir", "remove", "unlink", "rename", "replace", "getcwd", "system")
_BUILTINS = (
    {("time", name + unit): f"time.{name}{unit}" for name in _CLOCKS for unit in ("", "_ns")}
    | {(module, name): f"os.{name}" for module in ("posix", "nt") for name in (*_SYSTEM, "urandom")}
    | {("time", name): f"time.{name}" for name in ("localtime", "gmtime", "sleep")}
    | {(module, "open"): "open" for module in ("_io", "io")}
    | {("builtins", "input"): "input", ("_sqlite3", "connect"): "sqlite3.connect"}
)
_DATES = frozenset({"now", "utcnow", "today"})
_FUNCTIONS: dict[str, frozenset[str]] = {
    "os": frozenset({"getenv", "walk", "makedirs", "popen"}),
    "pathlib": frozenset(
        {"open", "read_text", "read_bytes", "write_text", "write_bytes", "exists", "is_file", "is_dir", "iterdir"}
        | {"glob", "rglob", "stat", "mkdir", "rmdir", "unlink", "touch", "rename", "replace"}
    ),
    "random": frozenset(),
    "requests.api": frozenset(),
    "httpx._api": frozenset(),
    "secrets": frozenset(),
    "shutil": frozenset(),
    "socket": frozenset({"create_connection", "getaddrinfo"}),
    "subprocess": frozenset({"run", "call", "check_call", "check_output"}),
    "tempfile": frozenset(),
    "threading": frozenset({"start"}),
    "urllib.request": frozenset({"urlopen", "urlretrieve"}),
    "uuid": frozenset({"uuid1", "uuid4", "uuid6", "uuid7"}),
}
"""Functions written in Python, by the module that defines them; none named: all that are public."""

_ALSO = {"pathlib._local": "pathlib", "pathlib._abc": "pathlib"}
_ENVIRONMENT = "os.environ"
_CURES = (
    (("time.sleep",), "await ctx.sleep(...)"),
    (("time.", "datetime.", "date."), "ctx.now()"),
    (("random.",), "ctx.random"),
    (("uuid.",), "ctx.uuid4()"),
)


def cure_of(call: str) -> str:
    """What to write instead of a call that was found."""
    return next((cure for names, cure in _CURES if call.startswith(names)), "a step")


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
        if name and caller is not None and _counts(caller):
            text = f"{name}{'' if name == _ENVIRONMENT else '()'} at {describe(caller)}"
            if text not in self.found:
                self.found.append(text)


def _counts(caller: FrameType) -> bool:
    return is_user_file(caller.f_code.co_filename) and caller.f_code.co_name != "<module>"


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
        return f"random.{name}" if _is_chance(owner) and not name.startswith("_") else ""
    return _BUILTINS.get((getattr(function, "__module__", None) or "", name), "")


def _impure_function(frame: FrameType) -> str:
    module = frame.f_globals.get("__name__")
    module = _ALSO.get(module, module)  # type: ignore[arg-type]
    names = _FUNCTIONS.get(module)  # type: ignore[arg-type]
    if names is None:
        return _ENVIRONMENT if module == "collections.abc" and _reads_environment(frame) else ""
    name = frame.f_code.co_name
    if module == "random":
        return _chance(frame, name)
    if module == "os" and name == "__getitem__":
        return _ENVIRONMENT
    if name.startswith("_") or (names and name not in names):
        return ""
    shown = "threading.Thread" if module == "threading" else "Path" if module == "pathlib" else str(module)
    return f"{shown.removesuffix('.api').removesuffix('._api')}.{name}"


def _reads_environment(frame: FrameType) -> bool:
    return type(frame.f_locals.get("self")).__name__ == "_Environ"


def _chance(frame: FrameType, name: str) -> str:
    """A generator that the body gave a seed repeats itself; the one that all share does not, nor one without a seed."""
    owner = frame.f_locals.get("self")
    if name == "__init__":
        is_repeatable = frame.f_locals.get("x") is not None
        return "" if is_repeatable or _is_chance(owner) else "random.Random"  # SystemRandom is found when it is asked
    return f"random.{name}" if _is_chance(owner) and not name.startswith("_") else ""


def _is_chance(owner: Any) -> bool:
    module = sys.modules.get("random")
    return owner is getattr(module, "_inst", None) or type(owner).__name__ == "SystemRandom"
