"""A server that is killed and started again, while clients wait for results and follow streams."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stepwell.client import Client, SyncClient
from stepwell.server.access import Access
from tests.client import program
from tests.client.program import dictation, word, words

ROOT = Path(__file__).parents[2]


class Process:
    """A server that may be killed, and started again on the same port."""

    def __init__(self, database: Path) -> None:
        self.database = f"sqlite:///{database}"
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self._port = found.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.key = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def new_key(self) -> str:
        async with program.app(self.database) as app, Access.open(app) as access:
            return (await access.keys.create(scopes=("admin",))).text

    def start(self) -> None:
        paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.client.program", self.database, str(self._port)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths},
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path / "runs.db")
    process.key = asyncio.run(process.new_key())
    process.start()
    yield process
    process.kill()


class Reader:
    """Reads in a task, and tells when something has come."""

    def __init__(self, source: AsyncIterator[Any]) -> None:
        self.found: list[Any] = []
        self._grown = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._read(source))

    async def _read(self, source: AsyncIterator[Any]) -> list[Any]:
        async for item in source:
            self.found.append(item)
            self._grown.set()
        return self.found

    async def until(self, count: int) -> None:
        while len(self.found) < count:
            self._grown.clear()
            await self._grown.wait()

    async def all(self) -> list[Any]:
        return await self._task


def test_waits_outlast_a_server_that_is_killed(process: Process) -> None:
    async def test() -> None:
        async with Client(process.url, key=process.key) as app:
            handle = await app.start(dictation, 3, id="one")
            result = asyncio.create_task(handle.result(timeout="2m"))
            stream = Reader(handle.stream(words))
            journal = Reader(app.runs.events("one", follow=True))
            await handle.send(word, "a")
            await stream.until(1)

            process.kill()
            sending = asyncio.create_task(handle.send(word, "b"))
            await asyncio.sleep(0)
            process.start()
            await sending
            await stream.until(2)
            await handle.send(word, "c")

            assert await result == "abc"
            assert await stream.all() == ["a", "ab", "abc"]
            assert await journal.all() == [event async for event in app.runs.events("one")]

    asyncio.run(test())


def test_the_waits_of_the_twin_outlast_it_as_well(process: Process) -> None:
    with SyncClient(process.url, key=process.key) as s, ThreadPoolExecutor(1) as pool:
        handle = s.start(dictation, 2, id="one")
        result = pool.submit(handle.result, timeout="2m")
        handle.send(word, "a")
        stream = handle.stream(words)
        assert next(stream) == "a"

        process.kill()
        process.start()
        handle.send(word, "b")

        assert list(stream) == ["ab"]
        assert result.result() == "ab"
