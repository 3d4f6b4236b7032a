"""`stepwell serve`: it answers, says so, drains, and says what is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import pytest

from stepwell.cli import main
from stepwell.cli.serve import need
from tests.cli.served import Served, served
from tests.cli.support import Shell, eventually

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM")


@pytest.fixture
def server(shell: Shell) -> Iterator[Served]:
    with served(shell, "--dev") as one:
        yield one


def test_it_says_what_it_serves_and_stops_when_it_is_told(server: Served) -> None:
    assert "serves sqlite:///.stepwell/stepwell.db: 7 workflows, a worker; dev: no key is needed" in server.line
    assert server.get("/api/keys") == {"keys": []}

    code, said = server.stop()
    assert (code, said) == (0, "stepwell: stopped; runs that have not ended go on with the next worker\n")


@pytest.mark.parametrize("where", [(), ("--backend", "sqlite:///elsewhere.db")])
def test_without_dev_a_key_is_needed_and_the_first_is_made_on_the_command_line(
    shell: Shell, where: tuple[str, ...]
) -> None:
    with served(shell, "--no-worker", *where) as server:
        hint = server.tell()
        assert "nobody has a key yet" in hint
        assert server.client.get("/api/keys").status_code == 401

        command = hint.partition("make one with: stepwell ")[2].split()
        key = shell.json(*command, "--json")["secret"]
        eventually(
            lambda: server.client.get("/api/keys", headers={"authorization": f"Bearer {key}"}).status_code == 200
        )


def test_a_supervisor_is_told_when_it_answers(shell: Shell) -> None:
    read, write = os.pipe()
    process = shell.begin("serve", "orders.py", "--port", "0", "--dev", "--ready-fd", str(write), pass_fds=(write,))
    os.close(write)
    try:
        with open(read, "rb") as told:
            facts = msgspec.json.decode(told.readline())
        assert facts["pid"] == process.pid
        assert facts["url"].startswith("http://127.0.0.1:")
    finally:
        process.kill()
        process.communicate()


def test_logs_are_json_if_programs_read_them(shell: Shell) -> None:
    with served(shell, "--dev", "--log-format", "json", "--access-log") as server:
        line = msgspec.json.decode(server.line)
        assert (line["logger"], line["workflows"], line["worker"]) == ("stepwell.server", 7, True)

        server.client.get("/nowhere")
        assert "GET /nowhere 404" in msgspec.json.decode(server.tell())["message"]


# --- ends and new beginnings


def test_a_run_that_was_killed_in_the_middle_goes_on_with_the_next_server(shell: Shell) -> None:
    with served(shell, "--dev") as first:
        first.post("/api/runs", {"workflowId": "slow", "input": {"id": 7}, "runId": "o-7"}, prefer="respond-async")
        eventually(lambda: shell.effects() == ["charge", "wait"])
        first.process.kill()
        first.process.wait()
    shell.go()
    with served(shell, "--dev") as second:
        assert second.get("/api/runs/o-7/result?wait=20")["value"] == "go"

    assert shell.effects() == ["charge", "wait", "wait"]


def test_sigterm_ends_event_streams_and_answers_who_waits(server: Served, shell: Shell) -> None:
    slow = {"workflowId": "slow", "input": {"id": 7}, "runId": "o-7"}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.client.post, "/api/runs", json=slow)
        eventually(lambda: shell.effects() == ["charge", "wait"])
        with server.client.stream("GET", "/api/runs/o-7/events", headers={"accept": "text/event-stream"}) as stream:
            lines = stream.iter_lines()
            assert next(lines)
            server.process.terminate()
            for _ in lines:  # to its end, which is no error
                pass
        assert waiting.result().status_code == 202
        shell.go()

    assert server.process.wait(timeout=20) == 0


def test_a_second_signal_waits_for_no_step(shell: Shell) -> None:
    with served(shell, "--dev") as server:
        server.post("/api/runs", {"workflowId": "slow", "input": {"id": 7}, "runId": "o-7"}, prefer="respond-async")
        eventually(lambda: shell.effects() == ["charge", "wait"])
        server.process.terminate()
        eventually(lambda: not is_listening(server.url))
        code, _ = server.stop()

    assert code == 0
    assert shell.json("runs", "show", "o-7", "--json")["head"]["owner"] is None


def is_listening(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code > 0
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("words", [[], ["--public-url", "https://api.example/"]])
def test_hook_urls_lead_to_the_server(shell: Shell, words: list[str]) -> None:
    with served(shell, "--dev", *words) as server:
        server.post("/api/runs", {"workflowId": "mails", "runId": "m-1"})
        (url,) = shell.effects()

        assert url.startswith("https://api.example/hooks/hk_" if words else f"{server.url}/hooks/hk_")


# --- wrong commands


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["gone.py"], 2, "there is no file gone.py"),
        (["nowhere:app"], 2, "there is no module nowhere"),
        (["--worker"], 2, "--worker needs code: name the app, as MODULE:app or FILE.py"),
        (["--backend", "memory://", "--dev", "--host", "0.0.0.0"], 2, "give --host 127.0.0.1, or leave out --dev"),
        (["--backend", "memory://", "--port", "70000"], 2, "--port 70000: give a number up to 65535"),
        (["--backend", "memory://", "--fd", "987"], 2, "--fd 987: this is no open socket"),
        (["--backend", "memory://", "--config", "gone.toml"], 2, "there is no configuration file gone.toml"),
        (["--backend", "sqlite:///no/where.db"], 3, "there is no database no/where.db"),
        (["--backend", "cosmos://x"], 2, "no backend for the URL scheme 'cosmos'"),
    ],
)
def test_what_is_wrong_is_one_paragraph(
    words: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    port = [] if "--port" in words else ["--port", "0"]  # somebody may serve here
    assert main(["serve", *words, *port]) == code
    error = capsys.readouterr().err
    assert said in error
    assert "\n\n" not in error


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "stepwell.cli.transport", raising=False)
    monkeypatch.delitem(sys.modules, "stepwell.cli.serving", raising=False)

    with pytest.raises(Exception, match=r"uvicorn is not installed, .* pip install 'stepwell\[server\]'"):
        need("stepwell.cli.serving")
