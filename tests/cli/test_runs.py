"""`stepwell runs ...`, `check`, `purge` and `doctor` over a few runs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from stepwell import Stepwell
from stepwell.cli import main
from stepwell.cli.places import load_module
from tests.cli.support import PROGRAM


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database: `done` completed, `bad` failed, `open` waits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("STEPWELL_BACKEND", raising=False)
    (tmp_path / ".stepwell").mkdir()
    (tmp_path / "orders.py").write_text(PROGRAM)
    sys.modules.pop("orders", None)
    asyncio.run(_make_runs())
    return tmp_path


async def _make_runs() -> None:
    orders = load_module("orders.py")
    async with Stepwell(include=[orders]) as app:
        await (await app.start("checkout", orders.Order(id=7), id="done", tags={"team": "a"})).result()
        await app.client.ended((await app.start("fails", id="bad")).id)
        handle = await app.start("ask", id="open")
        while await handle.status() != "waiting":
            await asyncio.sleep(0.005)


def out(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints, if all is well."""
    assert main(words) == 0
    return capsys.readouterr().out


def ids(text: str) -> list[str]:
    return [run["id"] for run in msgspec.json.decode(text)["runs"]]


def test_list_shows_status_and_what_is_waited_for(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = out(capsys, "runs", "list").splitlines()

    assert lines[0].split()[:3] == ["STATUS", "RUN", "WORKFLOW"]
    assert lines[1].split()[:3] == ["waiting", "open", "ask"]
    assert lines[1].endswith("signal approval")
    assert lines[2].endswith("RuntimeError: no luck")


def test_list_filters(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ids(out(capsys, "runs", "list", "--json", "--status", "failed,waiting")) == ["open", "bad"]
    assert ids(out(capsys, "runs", "list", "--json", "--workflow", "checkout")) == ["done"]
    assert ids(out(capsys, "runs", "list", "--json", "--tag", "team=a", "--since", "1h")) == ["done"]


def test_list_pages(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = msgspec.json.decode(out(capsys, "runs", "list", "--json", "--limit", "2"))

    assert ids(out(capsys, "runs", "list", "--json", "--cursor", page["cursor"])) == ["done"]


@pytest.mark.parametrize(
    "words",
    [
        ("--status", "lost"),
        ("--tag", "team"),
        ("--since", "soon"),
        ("--limit", "0"),
        ("--cursor", "?"),
    ],
)
def test_list_refuses_what_it_does_not_know(
    runs: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, str]
) -> None:
    assert main(("runs", "list", *words)) == 2
    assert capsys.readouterr().err.startswith("stepwell: ")


def test_show_draws_each_step_and_the_end(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, "runs", "show", "done")

    assert "charge" in text
    assert "█" in text
    assert 'completed: {"paid":7}' in text
    assert "\033" not in text


def test_show_as_json_has_head_and_timeline(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = msgspec.json.decode(out(capsys, "runs", "show", "open", "--json"))

    assert shown["head"]["waiting"] == [{"kind": "signal", "name": "approval"}]
    assert [item["id"] for item in shown["timeline"]["items"]] == ["charge"]


def test_events_keep_the_seed_secret(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = out(capsys, "runs", "events", "done", "--json").splitlines()

    assert [msgspec.json.decode(line)["entry"]["t"] for line in lines] == ["created", "step", "ended"]
    assert msgspec.json.decode(lines[0])["entry"]["seed"] == ""
    assert "charge" in out(capsys, "runs", "events", "done", "--follow")


def test_explain_says_how_to_go_on(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "stepwell send open approval" in out(capsys, "runs", "explain", "open")
    assert msgspec.json.decode(out(capsys, "runs", "explain", "open", "--json"))["status"] == "waiting"


def test_export_is_a_json_document(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert msgspec.json.decode(out(capsys, "runs", "export", "done"))["head"]["id"] == "done"


def test_one_run_is_steered_at_once(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "runs", "pause", "open", "--reason", "lunch") == "open paused\n"
    assert out(capsys, "runs", "resume", "open") == "open resumed\n"
    assert out(capsys, "runs", "cancel", "open", "--grace", "1s") == "open asked to stop\n"
    assert out(capsys, "runs", "terminate", "open") == "open terminated\n"


def test_many_runs_need_a_yes(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("runs", "terminate", "--workflow", "ask")) == 2
    assert "add --yes" in capsys.readouterr().err
    assert out(capsys, "runs", "terminate", "--workflow", "ask", "--yes") == "open terminated\n"


def test_errors_of_some_do_not_hide_the_others(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("runs", "cancel", "open", "done", "nobody")) == 1
    printed = capsys.readouterr()

    assert printed.out == "open asked to stop\n"
    assert "done" in printed.err
    assert "nobody" in printed.err


def test_wrong_choices_are_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("runs", "cancel")) == 2
    assert main(("runs", "cancel", "open", "--workflow", "ask")) == 2
    assert main(("runs", "cancel", "nobody")) == 2
    assert main(("runs", "show", "nobody")) == 2


def test_failed_runs_are_retried_as_new_ones(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "runs", "retry", "--status", "failed", "--yes") == "bad goes on as bad-retry\n"


def test_a_fork_edits_what_a_step_gave(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "runs", "fork", "open", "--from-step", "charge", "--id", "other") == "other\n"
    assert main(("runs", "fork", "open", "--from-step", "nothing")) == 2
    assert "charge" in capsys.readouterr().err


def test_check_finds_and_replays(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("check", "orders.py", "--live", "sqlite:///.stepwell/stepwell.db")) == 0
    program = runs / "orders.py"
    program.write_text(program.read_text().replace("await charge(Order(1))", "await wait_for_file('x')"))
    sys.modules.pop("orders")
    capsys.readouterr()

    assert main(("check", "orders.py", "--live", "sqlite:///.stepwell/stepwell.db", "--json")) == 1
    assert "charge" in msgspec.json.decode(capsys.readouterr().out)["replays"][0]["error"]


def test_check_names_file_and_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = (
        "import time\nfrom stepwell import workflow, Context\n@workflow\nasync def w(ctx: Context):\n    time.time()\n"
    )
    (runs / "bad.py").write_text(bad)

    assert main(("check", "bad.py")) == 1
    assert capsys.readouterr().out.startswith("bad.py:5:")
    assert main(("check", "nowhere.py")) == 2


def test_purge_counts_and_deletes(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "purge", "--older-than", "0s", "--dry-run") == "2 runs would be deleted\n"
    assert main(("purge", "--older-than", "0s")) == 2
    assert out(capsys, "purge", "--older-than", "0s", "--status", "failed", "--yes") == "1 runs deleted\n"
    assert ids(out(capsys, "runs", "list", "--json")) == ["open", "done"]


def test_doctor_finds_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = msgspec.json.decode(out(capsys, "doctor", "--json"))

    assert {check["verdict"] for check in report["checks"]} <= {"ok", "warning"}
    assert {"schema", "journal mode", "journals", "due runs"} <= {check["name"] for check in report["checks"]}
    assert "✓ journals" in out(capsys, "doctor")


def test_looking_creates_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STEPWELL_BACKEND", raising=False)

    assert main(("runs", "list")) == 3
    assert "--backend" in capsys.readouterr().err
    assert main(("doctor", "--json")) == 3
    assert list(tmp_path.iterdir()) == []
