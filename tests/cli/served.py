"""A server in a process of its own, and calls to it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.cli.support import Shell

_URL = re.compile(r"http://\S+:\d+")


class Served:
    """One process, and a client of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.line = self.tell()
        found = _URL.search(self.line)
        assert found, self.line + (process.stderr.read() if process.stderr else "")
        self.url = found[0]
        self.client = httpx.Client(base_url=self.url, timeout=20)

    def tell(self) -> str:
        """The next line that it says."""
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def post(self, path: str, body: Any, **headers: str) -> Any:
        """The JSON of the answer, which must be a success."""
        answer = self.client.post(path, json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        """The JSON of the answer, which must be a success."""
        answer = self.client.get(path)
        assert answer.is_success, answer.text
        return answer.json()

    def stop(self) -> tuple[int, str]:
        """SIGTERM; the exit code, and what it said."""
        self.process.terminate()
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said


@contextmanager
def served(shell: Shell, *words: str) -> Iterator[Served]:
    """`stepwell serve orders.py --port 0` and these words; killed at the end."""
    process = shell.begin("serve", "orders.py", "--port", "0", *words)
    try:
        one = Served(process)
        with one.client:
            yield one
    finally:
        process.kill()
        process.communicate()
