"""`stepwell serve`: the HTTP API over an app, with a worker if there is code to run."""

from __future__ import annotations

import asyncio
import importlib
from argparse import Namespace
from collections.abc import Callable

from stepwell.cli.problems import DONE, CommandError


async def serve(arguments: Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C, then drain."""
    need("stepwell.cli.serving")
    from stepwell.cli.serving import serve_until_told

    await serve_until_told(arguments)
    return DONE


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The faster event loop, where it is installed."""
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def need(module: str) -> None:
    """Import what needs libraries of the server, or is one. `CommandError` if one of them is not installed."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if (missing.name or "stepwell").partition(".")[0] == "stepwell":
            raise
        text = f"{missing.name} is not installed, which this needs: pip install 'stepwell[server]'"
        raise CommandError(text) from None
