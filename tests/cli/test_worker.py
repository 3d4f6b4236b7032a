"""`stepwell worker`, and what reaches runs while one works."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.cli.support import Shell, eventually


@pytest.fixture
def worker(shell: Shell) -> Iterator[subprocess.Popen[str]]:
    process = shell.begin("worker", "orders.py")
    assert process.stderr is not None
    assert "checkout" in process.stderr.readline()
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def start(shell: Shell, workflow: str, id: str) -> None:
    """Start a run and leave it to others."""
    shell.folder.joinpath("start.py").write_text(
        "import asyncio, sys\nfrom stepwell import Stepwell\nimport orders\n"
        "async def main():\n    async with Stepwell(include=[orders], worker=False) as app:\n"
        "        await app.start(sys.argv[1], id=sys.argv[2])\nasyncio.run(main())\n"
    )
    command = [shell._command(())[0], "start.py", workflow, id]
    subprocess.run(command, cwd=shell.folder, env=shell._env, check=True)


def test_signals_events_and_hooks_reach_the_runs(shell: Shell, worker: subprocess.Popen[str]) -> None:
    for workflow in ("ask", "listen", "hook"):
        start(shell, workflow, workflow)
    for workflow in ("ask", "listen", "hook"):
        eventually(lambda workflow=workflow: shell.status(workflow) == "waiting")  # type: ignore[misc]

    assert shell.json("send", "ask", "approval", '"yes"', "--json") == {"run": "ask", "signal": "approval", "new": True}
    assert shell.json("publish", "paid", "3", "--json") == {"event": "paid", "runs": 1}
    assert shell.json("complete", "my-own-token", "4", "--json") == {"run": "hook"}
    for workflow in ("ask", "listen", "hook"):
        eventually(lambda workflow=workflow: shell.status(workflow) == "completed")  # type: ignore[misc]
    assert shell("send", "ask", "approval", '"again"').returncode == 2


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM")
def test_sigterm_drains(shell: Shell, worker: subprocess.Popen[str]) -> None:
    start(shell, "ask", "a")
    eventually(lambda: shell.status("a") == "waiting")
    worker.send_signal(signal.SIGTERM)
    _, stderr = worker.communicate(timeout=20)

    assert worker.returncode == 0
    assert "drained" in stderr
    assert shell.json("runs", "show", "a", "--json")["head"]["owner"] is None


def test_a_module_without_workflows_is_refused(shell: Shell) -> None:
    (shell.folder / "empty.py").write_text("")
    done = shell("worker", "empty.py")

    assert done.returncode == 2
    assert "neither an app nor a workflow" in done.stderr
    assert "no app called 'app'" in shell("worker", "orders:app").stderr
