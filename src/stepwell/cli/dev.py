"""`stepwell dev`: worker and API on this machine, started anew whenever a file is saved.

The server runs in a process of its own. The socket stays here, so that while one process goes and the next one comes,
clients wait instead of being refused. What was running is parked, and goes on in the next process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from argparse import Namespace
from asyncio.subprocess import Process, create_subprocess_exec
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from stepwell.cli.config import Settings
from stepwell.cli.console import note
from stepwell.cli.interrupts import Interrupts
from stepwell.cli.listening import bound_socket
from stepwell.cli.parser import parse
from stepwell.cli.places import folder_of, split_target
from stepwell.cli.problems import DONE, CommandError
from stepwell.cli.serve import need, serve

_HOST = "127.0.0.1"
_WATCHED = (".py", ".toml")
_DEFAULTS = {"worker.impure_check": "true", "worker.grace": "1s"}
"""For those who develop: every warning, and no long wait for the steps of the code before."""


async def dev(arguments: Namespace) -> int:
    """Serve until Ctrl-C; a second one hurries."""
    settings = Settings.load(arguments.config).over({"app": arguments.target, "server.port": arguments.port})
    app = settings.get("app")
    if not app and not settings.targets:
        raise CommandError(
            "name the file with the workflows: stepwell dev orders.py; or set `app`, or [[targets]], in stepwell.toml"
        )
    for key, value in _DEFAULTS.items():
        if not settings.is_set(key):
            os.environ[f"STEPWELL_{key.replace('.', '_').upper()}"] = value
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # compiled code goes by whole seconds, which are too long here
    words = ["serve", *([app] if app else []), "--dev", *_passed_on(arguments)]
    if arguments.no_reload:
        return await serve(parse([*words, "--host", _HOST, "--port", str(settings.get("server.port"))]))
    need("stepwell.cli.serving")
    need("watchfiles")
    with bound_socket(_HOST, settings.get("server.port")) as listener, Interrupts(leaves_at=3) as interrupts:
        listener.listen()
        await _Reloading(words, listener, _watched_folders(app), interrupts).run()
    note("stepwell: stopped")
    return DONE


def _passed_on(arguments: Namespace) -> list[str]:
    given = {"--config": arguments.config, "--backend": arguments.backend, "--log-format": arguments.log_format}
    return [word for name, value in given.items() if value is not None for word in (name, value)]


def _watched_folders(target: str) -> list[Path]:
    """That of the code, and the one where the settings are looked for."""
    return sorted({folder_of(split_target(target)[0]), Path.cwd()} if target else {Path.cwd()})


class _Reloading:
    """One process after another."""

    def __init__(self, words: list[str], listener: socket.socket, folders: list[Path], interrupts: Interrupts) -> None:
        self._words = words
        self._listener = listener
        self._folders = folders
        self._interrupts = interrupts

    async def run(self) -> None:
        """Until somebody wants to stop."""
        asked = asyncio.create_task(self._interrupts.asked.wait())
        changes = _changes(self._folders)
        changed = asyncio.create_task(_next(changes))
        try:
            while not asked.done():
                process = await self._start()
                ended = asyncio.create_task(process.wait())
                await asyncio.wait([asked, changed, ended], return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    note("stepwell: waiting for the next save")
                    await asyncio.wait([asked, changed], return_when=asyncio.FIRST_COMPLETED)
                if changed.done():
                    note(f"stepwell: {_named(changed.result())} changed")
                    changed = asyncio.create_task(_next(changes))
                await self._stop(process, ended)
        finally:
            asked.cancel()
            changed.cancel()
            await asyncio.wait([changed])

    async def _start(self) -> Process:
        options = [f"-W{option}" for option in sys.warnoptions]
        command = [sys.executable, *options, "-m", "stepwell", *self._words, "--parent", str(os.getpid())]
        if os.name == "nt":
            port = self._listener.getsockname()[1]
            self._listener.close()  # it cannot be handed on here
            return await create_subprocess_exec(*command, "--port", str(port))
        number = self._listener.fileno()
        # Ctrl-C reaches every process of the terminal. This one says when the other has to stop.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return await create_subprocess_exec(*command, "--fd", str(number), pass_fds=(number,))
        finally:
            signal.signal(signal.SIGINT, before)

    async def _stop(self, process: Process, ended: asyncio.Task[int]) -> None:
        """Let it drain; hurry it if somebody hurries us."""
        if ended.done():
            return
        process.terminate()
        hurried = asyncio.create_task(self._interrupts.hurried.wait())
        await asyncio.wait([ended, hurried], return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            process.terminate()
        hurried.cancel()
        await ended


Changes = set[tuple[Any, str]]


def _changes(folders: list[Path]) -> AsyncIterator[Changes]:
    """What was saved, as often as something is."""
    from watchfiles import DefaultFilter, awatch

    usual = DefaultFilter()
    return awatch(*folders, watch_filter=lambda change, path: path.endswith(_WATCHED) and usual(change, path))


async def _next(changes: AsyncIterator[Changes]) -> Changes:
    return await anext(changes)


def _named(changes: Changes) -> str:
    return ", ".join(sorted({os.path.relpath(path) for _, path in changes}))
