"""Targets in a configuration file."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from stepwell import RemoteWorkflow, Stepwell
from stepwell.cli.config import Settings
from stepwell.cli.places import worked_app
from stepwell.cli.problems import CommandError
from stepwell.formats.voyant.signing import sign_v1
from stepwell.model.values import Secret
from tests.cli.support import Shell

PAY = '[[targets]]\nurl = "https://pay.example/step?key=x"\nworkflows = ["pay"]\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(folder: Path, text: str, *, name: str = "stepwell.toml") -> Settings:
    (folder / name).write_text(text)
    return Settings.load(environment={})


def test_a_file_names_targets(folder: Path) -> None:
    more = (
        'versions = ["2"]\nnamespaces = ["acme"]\nsecret = "wire"\ntimeout = "5m"\nidle_timeout = 20\nconcurrency = 7\n'
    )
    text = f'{PAY}\n[[targets]]\nname = "till"\nurl = "http://till:8080/"\nworkflows = ["pay", "ship"]\n{more}'
    pay, till = loaded(folder, text).targets

    assert (pay.label, pay.workflows, pay.secret) == ("https://pay.example/step", ("pay",), None)
    assert (till.label, till.workflows, till.versions, till.namespaces) == ("till", ("pay", "ship"), ("2",), ("acme",))
    assert (till.secret, till.total_ms, till.idle_ms, till.concurrency) == (Secret("wire"), 300_000, 20_000, 7)


def test_the_project_file_may_name_them_too(folder: Path) -> None:
    text = PAY.replace("[[targets]]", "[[tool.stepwell.targets]]")
    assert [target.workflows for target in loaded(folder, text, name="pyproject.toml").targets] == [("pay",)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("targets = 3", "targets is a list of tables; write [[targets]] above each of them"),
        ("[targets]\nurl = 'x'", "targets is a list of tables"),
        ("targets = ['x']", "targets[1] does not fit: Expected `object`, got `str`"),
        ("[[targets]]\nworkflows = ['x']", "targets[1] does not fit: Object missing required field `url`"),
        (PAY + "tiemout = 3", "targets[1] has no setting 'tiemout'; is 'timeout' meant? There are: url, workflows"),
        (PAY + "timeout = 'soon'", "targets[1] does not fit: Target('https://pay.example/step', timeout=) is 'soon'"),
        (
            PAY + "[[targets]]\nurl = 'ftp://x'\nworkflows = ['y']",
            "targets[2] does not fit: Target('ftp://x'): give a URL",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_its_file_and_place(folder: Path, text: str, told: str) -> None:
    with pytest.raises(CommandError) as caught:
        loaded(folder, text)
    assert f"stepwell.toml: {told}" in str(caught.value)


def test_targets_alone_make_an_app(folder: Path) -> None:
    app = worked_app(loaded(folder, f"backend = 'memory://'\n{PAY}"))
    assert [target.label for target in app.targets] == ["https://pay.example/step"]


def test_the_app_keeps_its_own_targets_and_gets_those_of_the_file(folder: Path) -> None:
    (folder / "shop_targets.py").write_text(
        "from stepwell import Stepwell, Target\n"
        "app = Stepwell('memory://', targets=[Target('https://ship.example', workflows=['ship'])])\n"
    )
    app = worked_app(loaded(folder, f"app = 'shop_targets.py'\n{PAY}"))
    assert [target.workflows for target in app.targets] == [("ship",), ("pay",)]


def test_two_targets_for_the_same_runs_are_refused_with_the_file(folder: Path) -> None:
    settings = loaded(folder, f"backend = 'memory://'\n{PAY}{PAY}")
    with pytest.raises(CommandError, match=r"^stepwell.toml: targets .* are both for workflow pay"):
        worked_app(settings)


def test_config_shows_targets_without_what_may_be_secret(folder: Path, shell: Shell) -> None:
    (folder / "stepwell.toml").write_text(PAY)
    rows = {row["setting"]: row for row in shell.json("config", "--json")}
    assert rows["targets[1]"] == {
        "setting": "targets[1]",
        "value": "https://pay.example/step: pay",
        "from": "stepwell.toml",
    }
    assert rows["server.port"]["value"] == 7788


class Till(BaseHTTPRequestHandler):
    """A worker that pays at once."""

    seen: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        request = json.loads(body)
        self.seen.append((request["runId"], sign_v1(b"hush", body) == self.headers["x-voyant-dispatch-auth"]))
        answer = {"status": "completed", "output": request["input"], "journal": request["journal"]}
        data = json.dumps({**answer, "metadataUpdates": [], "streamChunks": []}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_a_worker_of_the_command_line_drives_bodies_elsewhere_without_any_app(shell: Shell) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Till) as till:
        threading.Thread(target=till.serve_forever, daemon=True).start()
        target = f'[[targets]]\nurl = "http://127.0.0.1:{till.server_port}/"\nworkflows = ["pay"]\nsecret = "wire"\n'
        (shell.folder / "stepwell.toml").write_text(f"backend = 'sqlite:///runs.db'\n{target}")
        shell.set(STEPWELL_SECRET_WIRE="hush")
        worker = shell.begin("worker")
        try:
            asyncio.run(_paid(f"sqlite:///{shell.folder}/runs.db"))
        finally:
            worker.terminate()
            _, stderr = worker.communicate(timeout=20)
            till.shutdown()
    assert Till.seen == [("r1", True)], stderr


async def _paid(url: str) -> None:
    async with Stepwell(url, worker=False, include=[RemoteWorkflow("pay")]) as app:
        assert await (await app.start("pay", 7, id="r1")).result(timeout="30s") == 7
