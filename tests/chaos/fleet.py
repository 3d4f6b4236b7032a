"""Processes of one test, and how hard it tries."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[2]
IS_LONG = os.environ.get("STEPWELL_CHAOS") == "long"
WITHIN = 600 if IS_LONG else 100
"""How long (s) to wait for what must come. Nothing depends on when it comes. In CI pytest ends after 120 s."""


def times(quick: int, long: int) -> int:
    """How often to do something: in CI, and in `make chaos`."""
    return long if IS_LONG else quick


def chance() -> random.Random:
    """A generator whose seed is printed, so that a failure can be looked into."""
    seed = int(os.environ.get("STEPWELL_CHAOS_SEED") or random.randrange(2**32))
    print(f"seed {seed} (STEPWELL_CHAOS_SEED)")
    return random.Random(seed)


def spawn(module: str, *args: str, errors: Path, log: Path | None = None) -> subprocess.Popen[str]:
    """Run a module of this package in a process of its own; what it prints can be read, stderr goes into a file."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "CHAOS_LOG": str(log or "")}
    with errors.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", f"tests.chaos.{module}", *args],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )


def stepwell(*args: str) -> subprocess.CompletedProcess[str]:
    """The command line, as a user calls it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "stepwell", *args]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WITHIN, check=False)


class Fleet:
    """Worker processes over one database file. `errors` holds the stderr of each, one file per process."""

    def __init__(self, url: str, log: Path, *, workers: int = 3, module: str = "program") -> None:
        self._module = module
        self._url = url
        self._log = log
        self.errors: list[Path] = []
        self.processes = [self._spawn() for _ in range(workers)]

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_all()
        if kind is not None:
            for path in self.errors:
                print(f"--- {path.name}", path.read_text()[-4000:], sep="\n")

    def kill(self, index: int) -> None:
        """SIGKILL, and another process in its place."""
        self._end(self.processes[index])
        self.processes[index] = self._spawn()

    def kill_all(self) -> None:
        """SIGKILL at the same moment."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            self._end(process)

    def restart(self) -> None:
        """As many new processes."""
        self.processes = [self._spawn() for _ in self.processes]

    def stop(self, index: int) -> int:
        """SIGSTOP: the process stands still, wherever it is."""
        self.processes[index].send_signal(signal.SIGSTOP)
        return self.processes[index].pid

    def go_on(self, index: int) -> None:
        """SIGCONT."""
        self.processes[index].send_signal(signal.SIGCONT)

    @contextmanager
    def standstill(self) -> Iterator[None]:
        """Nobody writes meanwhile, though perhaps in the middle of a transaction."""
        for index, process in enumerate(self.processes):
            pid = self.stop(index)
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
            assert process.poll() is None
        try:
            yield
        finally:
            for index in range(len(self.processes)):
                self.go_on(index)

    def alive(self) -> bool:
        """Whether no process has ended."""
        return all(process.poll() is None for process in self.processes)

    def drain(self) -> None:
        """SIGTERM; each worker ends well, and has reported no failure of its own."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.communicate(timeout=WITHIN)
            # A process that was only just starting did not hear it yet.
            assert process.returncode in (0, -signal.SIGTERM)
        for path in self.errors:
            assert "Traceback" not in path.read_text(), path.read_text()[-4000:]

    def _spawn(self) -> subprocess.Popen[str]:
        self.errors.append(self._log.with_name(f"worker-{len(self.errors)}.err"))
        return spawn(self._module, self._url, errors=self.errors[-1], log=self._log)

    def _end(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()
