"""`stepwell dev`: a save starts the server anew, and runs go on in the new code."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.cli.served import Served
from tests.cli.support import PROGRAM, Shell, eventually

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM")


@contextmanager
def developing(shell: Shell, *words: str, file: str = "orders.py") -> Iterator[Served]:
    process = shell.begin("dev", *([file] if file else []), "--port", "0", *words)
    try:
        one = Served(process)
        with one.client:
            yield one
    finally:
        process.kill()
        process.communicate()


def save(shell: Shell, text: str) -> None:
    (shell.folder / "orders.py").write_text(text, encoding="utf-8")


def test_a_run_goes_on_in_the_code_that_was_saved_and_mistakes_are_shown_meanwhile(shell: Shell) -> None:
    with developing(shell) as server:
        server.post("/api/runs", {"workflowId": "ask", "runId": "a-1"})

        save(shell, PROGRAM + "\nthis is no Python\n")
        assert server.tell() == "stepwell: orders.py changed\n"
        assert "orders.py cannot be imported: SyntaxError: invalid syntax (orders.py, line" in server.tell()
        assert server.tell() == "stepwell: waiting for the next save\n"

        save(
            shell, PROGRAM.replace("return await ctx.receive(approval)", "return 'new: ' + await ctx.receive(approval)")
        )
        assert server.tell() == "stepwell: orders.py changed\n"
        assert server.url in server.tell()
        server.post("/api/runs/a-1/signals", {"name": "approval", "payload": "yes"})
        ended = server.get("/api/runs/a-1/result?wait=20")

        assert ended["value"] == "new: yes"
        assert shell.effects() == ["charge"]


@pytest.mark.parametrize("words", [[], ["--no-reload"]])
def test_ctrl_c_ends_it_and_what_runs_is_parked(shell: Shell, words: list[str]) -> None:
    with developing(shell, *words) as server:
        server.post("/api/runs", {"workflowId": "ask", "runId": "a-1"})
        server.process.send_signal(signal.SIGINT)
        _, said = server.process.communicate(timeout=20)

        assert server.process.returncode == 0
        assert "stepwell: stopped" in said
    assert shell.json("runs", "show", "a-1", "--json")["head"]["owner"] is None


def test_the_server_does_not_outlive_the_one_who_started_it(shell: Shell) -> None:
    with developing(shell) as server:
        server.process.kill()
        server.process.wait()

        eventually(lambda: not answers(server.url))


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code > 0
    except httpx.TransportError:
        return False


def test_without_a_file_it_says_what_it_needs(shell: Shell) -> None:
    done = shell("dev")

    assert done.returncode == 2
    assert "name the file with the workflows: stepwell dev orders.py" in done.stderr


def test_bodies_are_watched_for_what_replay_cannot_repeat(shell: Shell) -> None:
    save(shell, "import time\n" + PROGRAM.replace("return {", "time.time()\n    return {"))
    with developing(shell, "--no-reload") as server:
        server.post("/api/runs", {"workflowId": "checkout", "input": {"id": 7}, "runId": "o-7"})

        assert "time.time()" in server.tell()


def test_targets_alone_are_enough_to_serve(shell: Shell) -> None:
    targets = '[[targets]]\nurl = "https://pay.example/step"\nworkflows = [{}]\n'
    (shell.folder / "stepwell.toml").write_text(targets.format('"pay"'), encoding="utf-8")
    with developing(shell, file="") as server:
        assert [item["label"] for item in server.get("/api/targets")["targets"]] == ["https://pay.example/step"]

        (shell.folder / "stepwell.toml").write_text(targets.format('"pay", "ship"'), encoding="utf-8")
        assert "stepwell.toml changed" in server.tell()
        assert "2 workflows" in server.tell()
