"""`stepwell runs ...` over runs whose bodies live elsewhere, without an app that knows of any target."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stepwell import RunError, Signal, Stepwell
from stepwell.cli import main
from tests.runtime.remote.theirs import Their, Theirs, Turn

go = Signal("go", Any)


async def body(turn: Turn) -> Any:
    turn.step("load", {"total": 120})
    turn.change("increment", "begun")
    (by,) = turn.waited(turn.signal("go"))
    turn.step("charge", by, error=Their("refused", "E_CARD"))


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a database: `bad` failed, `open` waits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STEPWELL_BACKEND", raising=False)
    (tmp_path / ".stepwell").mkdir()
    asyncio.run(_make_runs())


async def _make_runs() -> None:
    worker = Theirs(pay=body)
    async with Stepwell(include=worker.workflows) as app:
        worker.serve(app)
        bad = await app.start(worker.workflows[0], {"b": 1}, id="bad")
        await app.start(worker.workflows[0], {"b": 1}, id="open")
        await bad.send(go, "ada")
        with pytest.raises(RunError):
            await bad.result(timeout="10s")
        while (await app.runs.get("open")).status != "waiting":
            await asyncio.sleep(0.005)


def out(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def test_the_list_says_what_they_wait_for_and_why_they_failed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = out(capsys, "runs", "list").splitlines()
    assert lines[1].endswith("signal go")
    assert lines[2].endswith("CardError: refused")


def test_the_timeline_tells_steps_from_invocations(capsys: pytest.CaptureFixture[str]) -> None:
    labels = [line.split("  ")[1].strip() for line in out(capsys, "runs", "show", "bad").splitlines()[3:-2]]
    assert labels[:2] == ["load", "⇄ invocation 1"]
    assert {"✉ go", "charge", "⇄ invocation 2"} < {*labels}


def test_events_have_what_the_worker_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    lines = out(capsys, "runs", "events", "bad", "--json").splitlines()
    entries = [msgspec.json.decode(line)["entry"] for line in lines]
    charge = next(entry for entry in entries if entry.get("id") == "charge")
    assert (charge["via"], charge["record"]["error"]["cause"]["message"]) == ("@invocation[2]", "socket hang up")


def test_explain_says_that_the_body_lives_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, "runs", "explain", "open")
    assert "waits: for signal go" in text
    assert "its body lives elsewhere; this app has no targets" in text
    assert "do: stepwell send open go JSON" in text


def test_a_fork_and_an_export_need_no_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "runs", "fork", "bad", "--from-step", "charge").strip() == "bad-fork"
    assert "@invocation[1]" in out(capsys, "runs", "export", "open")


def test_explain_names_the_target_of_the_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stepwell.toml").write_text('[[targets]]\nurl = "https://pay.example/step"\nworkflows = ["pay"]\n')
    assert "its body lives elsewhere: target https://pay.example/step" in out(capsys, "runs", "explain", "open")
