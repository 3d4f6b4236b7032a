"""The command `stepwell`: finds the command, runs it, and turns what went wrong into one paragraph and an exit code.

Exit codes: 0 done, 1 the run failed, 2 wrong use, 3 the backend is not reachable, 130 parked by Ctrl-C.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Sequence

from stepwell.cli.parser import parse
from stepwell.cli.problems import DONE, PARKED, problem_of


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and answer its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter shows "?" and nothing fails
    try:
        arguments = parse(sys.argv[1:] if argv is None else list(argv))
        code = _call(arguments.code, arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = PARKED
    except BrokenPipeError:
        # Whoever read our output has gone. Nothing may be written any more, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except BaseException as error:
        if os.environ.get("STEPWELL_DEBUG"):
            raise
        problem = problem_of(error)
        if problem is None:
            raise
        print(f"stepwell: {problem.text}", file=sys.stderr)
        code = problem.code
    _leave_threads(code)
    return code


def _call(code: str, arguments: object) -> int:
    import asyncio

    place, _, name = code.partition(":")
    module = importlib.import_module(place)
    own_loop = getattr(module, "loop_factory", None)
    with asyncio.Runner(loop_factory=own_loop and own_loop()) as runner:
        result: int = runner.run(getattr(module, name)(arguments))
    return result


def _leave_threads(code: int) -> None:
    """A sync step that goes on after the grace would hold up the exit for as long as it likes; its result is void."""
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
