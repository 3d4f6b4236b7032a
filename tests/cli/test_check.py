"""`stepwell check`: files and folders, and the runs of a backend against changed code."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stepwell import Stepwell
from stepwell.cli import main
from stepwell.cli.places import load_module
from stepwell.cli.replays import Sample, replay_sample

FLOWS = """
from stepwell import Context, Signal, step, workflow

go = Signal("go", int)
other = Signal("other", int)

@step
async def charge(n: int) -> int:
    return n

@step
async def validate(n: int) -> int:
    return n

@workflow
async def order(ctx: Context, n: int) -> int:
    paid = await charge(n)
    print("charged")
    return paid + await ctx.receive(other if n > 3 else go)

@workflow(version="1")
async def refund(ctx: Context) -> int:
    return await ctx.receive(go)

@workflow
async def quick(ctx: Context, n: int) -> int:
    return await charge(n)
"""
URL = "sqlite:///runs.db"
CHANGE = ("    paid = await charge(n)\n", "    await validate(n)\n    paid = await charge(n)\n")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Live runs `order-1` to `order-5` and `refund-1`, finished runs `quick-1` to `quick-3`."""
    folder = tmp_path_factory.mktemp("check")
    (folder / "flows_of_check.py").write_text(FLOWS)
    flows = load_module(str(folder / "flows_of_check.py"))
    asyncio.run(_make_runs(flows, f"sqlite:///{folder}/runs.db"))
    return folder / "runs.db"


async def _make_runs(flows: Any, url: str) -> None:
    async with Stepwell(url, include=[flows]) as app:
        handles = [await app.start(flows.order, n, id=f"order-{n}") for n in range(1, 6)]
        handles.append(await app.start(flows.refund, id="refund-1"))
        for n in range(1, 4):
            await (await app.start(flows.quick, n, id=f"quick-{n}")).result()
        for handle in handles:
            while await handle.status() != "waiting":
                await asyncio.sleep(0.005)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Path) -> Iterator[Path]:
    """A folder with `flows.py`, which made the runs in `runs.db`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)
    (tmp_path / "runs.db").write_bytes(database.read_bytes())
    (tmp_path / "flows.py").write_text(FLOWS)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def change(folder: Path, *changes: tuple[str, str]) -> None:
    """The new code."""
    text = FLOWS
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "flows.py").write_text(text)


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a check."""
    code = main(("check", *words))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


# --- runs


def test_code_that_fits_all_runs_may_be_deployed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = checked(capsys, "flows.py", "--live", URL)

    assert (code, out.splitlines()) == (0, ["flows.py:18:5: SW301 print() prints again on each replay: use ctx.log"])
    assert "order: 5 of 5 live runs replayed, none would break; no finished runs replayed" in err
    assert "quick: no live runs; the newest 3 finished runs replayed, none changed" in err


def test_runs_that_break_for_one_reason_are_told_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(folder, CHANGE)
    code, out, err = checked(capsys, "flows.py", "--live", URL)

    lines = out.splitlines()[1:]
    place = "flows.py:17, in order"
    assert code == 1
    why = "history has step charge, the code asks for step validate"
    assert lines[0] == f"5 runs of order would break at {place}: {why}"
    assert 'guard it:  if ctx.patched("validate-first")' in lines[1]
    assert lines[2].count("order-") == 3
    assert lines[2].endswith(" and 2 more (-v lists all)")
    assert "order: 5 of 5 live runs replayed, 5 would break" in err
    assert "docs/versions.md" in err


def test_each_run_is_named_on_request(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(folder, CHANGE)
    _, out, _ = checked(capsys, "flows.py", "--live", URL, "-v")

    named = sorted(line.split()[0] for line in out.splitlines() if line.startswith("  order-"))
    assert named == [f"order-{n}" for n in range(1, 6)]
    assert "order-1 #2: history has step charge" in out


def test_a_patch_lets_live_runs_go_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(folder, (CHANGE[0], '    if ctx.patched("v"):\n        await validate(n)\n' + CHANGE[0]))

    assert checked(capsys, "flows.py", "--live", URL)[0] == 0


def test_a_sample_is_spread_over_what_runs_wait_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = checked(capsys, "flows.py", "--live", URL, "--sample", "2", "--finished", "1", "--json")

    report = msgspec.json.decode(out)
    orders = [run["run"] for run in report["replays"] if run["workflow"] == "order"]
    assert len(orders) == 2
    assert len({run in ("order-4", "order-5") for run in orders}) == 2  # those wait for another signal
    numbers = {item["workflow"]: item for item in report["workflows"]}
    assert (numbers["order"]["live"], numbers["order"]["replayed"], numbers["quick"]["finished"]) == (5, 2, 1)


def test_all_runs_are_replayed_on_request(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = checked(capsys, "flows.py", "--live", URL, "--sample", "all", "--finished", "all", "--json")

    assert len(msgspec.json.decode(out)["replays"]) == 9


def test_finished_runs_that_differ_do_not_fail_the_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(folder, ("    return await charge(n)\n", "    return await validate(n)\n"))
    code, out, err = checked(capsys, "flows.py", "--live", URL)

    assert code == 0
    assert "3 runs of quick finished, and would now go another way at flows.py:27, in quick: history has" in out
    assert "cure" not in out
    assert "quick: no live runs; the newest 3 finished runs replayed, 3 changed" in err


def test_strict_fails_on_what_is_otherwise_a_warning(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(folder, ('    print("charged")\n', ""), ("    return await charge(n)\n", "    return await validate(n)\n"))

    assert checked(capsys, "flows.py", "--live", URL, "--finished", "0", "--strict")[0] == 0
    assert checked(capsys, "flows.py", "--live", URL, "--strict")[0] == 1


def test_live_runs_without_code_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(folder, ('version="1"', 'version="2"'), ('    print("charged")\n', ""))
    code, out, _ = checked(capsys, "flows.py", "--live", URL)

    assert code == 0
    assert "1 live run of refund v1: there is no code for them here" in out
    assert 'accepts=["1"]' in out
    assert "  refund-1\n" in out
    assert checked(capsys, "flows.py", "--live", URL, "--strict")[0] == 1


def test_other_arguments_are_warned_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(folder, ("    paid = await charge(n)\n", "    paid = await charge(n + 1)\n"))
    code, out, _ = checked(capsys, "flows.py", "--live", URL)

    assert code == 0
    assert "5 runs of order can go on, but: step charge was called with other arguments than history #2 was" in out


def test_impure_calls_are_told_once_for_all_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(
        folder, ("    paid = await charge(n)\n", "    import time; f = time.time; f()\n    paid = await charge(n)\n")
    )
    _, out, _ = checked(capsys, "flows.py", "--live", URL)

    assert "5 runs of order can go on, but: the body calls time.time() at flows.py:17, in order" in out


def test_the_json_has_a_stable_shape(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(folder, CHANGE, ('version="1"', 'version="2"'))
    code, out, _ = checked(capsys, "flows.py", "--live", URL, "--json")

    report = msgspec.json.decode(out)
    assert code == 1
    assert sorted(report) == ["findings", "ok", "orphans", "replays", "workflows"]
    assert report["ok"] is False
    assert report["orphans"] == [{"workflow": "refund", "version": "1", "runs": 1, "examples": ["refund-1"]}]
    assert report["workflows"][0] == {
        "workflow": "order",
        "version": "",
        "live": 5,
        "replayed": 5,
        "broken": 5,
        "finished": 0,
        "changed": 0,
    }
    first = report["replays"][0]
    assert (first["live"], first["status"], first["workflow"]) == (True, "waiting", "order")
    assert first["difference"]["seq"] == 2
    assert first["difference"]["history"] == "step charge"
    assert first["difference"]["place"] == "flows.py:17, in order"


def test_progress_is_told_while_runs_are_replayed(folder: Path) -> None:
    told: list[str] = []

    async def scenario() -> None:
        flows = load_module("flows.py")
        async with Stepwell(f"{URL}?read_only=true", include=[flows], worker=False) as app:
            await replay_sample(app, Sample(None, None), told.append)

    asyncio.run(scenario())
    assert told == ["found 0 live runs", "replayed 0 of 9 runs", ""]


# --- what a check leaves alone


def test_a_check_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashlib.sha256((folder / "runs.db").read_bytes()).digest()

    assert checked(capsys, "flows.py", "--live", URL)[0] == 0

    assert hashlib.sha256((folder / "runs.db").read_bytes()).digest() == before
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {"flows.py", "runs.db"}


def test_a_wrong_path_creates_no_database(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = checked(capsys, "flows.py", "--live", "sqlite:///wrong/runs.db")

    assert code == 3
    assert "there is no database wrong/runs.db" in err
    assert not (folder / "wrong").exists()


def test_a_file_that_is_no_database_is_not_reachable(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "text.db").write_text("this is no database at all, but a text of some length\n" * 40)

    assert checked(capsys, "flows.py", "--live", "sqlite:///text.db")[0] == 3


def test_the_resources_of_the_app_are_not_opened(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = """
import contextlib
from stepwell import Stepwell

@contextlib.asynccontextmanager
async def resources():
    raise RuntimeError("opened")
    yield

app = Stepwell(include=[__name__], lifespan=resources)
"""
    (folder / "flows.py").write_text(FLOWS + app)

    assert checked(capsys, "flows.py", "--live", URL)[0] == 0


def test_payloads_are_read_as_the_app_writes_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = """
from stepwell import Codec, Stepwell

class Rot:
    def encrypt(self, data: bytes) -> bytes:
        return bytes(byte ^ 1 for byte in data)

    decrypt = encrypt

app = Stepwell("sqlite:///sealed.db", include=[__name__], codec=Codec(cipher=Rot()))
"""
    (folder / "sealed.py").write_text(FLOWS + app)

    async def make() -> None:
        sealed = load_module("sealed.py")
        async with sealed.app:
            await (await sealed.app.start(sealed.quick, 1)).result()

    asyncio.run(make())
    _, out, _ = checked(capsys, "sealed.py", "--live", "sqlite:///sealed.db", "--json")

    (run,) = msgspec.json.decode(out)["replays"]
    assert (run["workflow"], run["error"]) == ("quick", None)


# --- files


def test_a_file_that_cannot_be_parsed_is_a_finding(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "flows.py").write_text("async def f(:\n")
    code, out, err = checked(capsys, "flows.py", "--live", URL)

    assert code == 1
    assert out.startswith("flows.py:1:13: SW100 this is not Python")
    assert "no run was replayed: mend the files first" in err


def test_a_file_that_cannot_be_imported_is_a_finding(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "flows.py").write_text(FLOWS + "\nimport nothing_of_this_name\n")
    code, out, _ = checked(capsys, "flows.py", "--live", URL)

    assert code == 1
    assert "SW100 flows.py cannot be imported: No module named 'nothing_of_this_name'" in out


def test_a_folder_means_the_files_in_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = folder / "shop"
    for name in ("deep", ".hidden", "venv"):
        (package / name).mkdir(parents=True)
    (package / "venv" / "pyvenv.cfg").touch()
    (package / "__init__.py").touch()
    (package / "flows.py").write_text(FLOWS)
    (package / "script.py").write_text("raise RuntimeError('this has no workflow, so nobody imports it')\n")
    for name in ("test_flows.py", "conftest.py", ".hidden/a.py", "venv/b.py"):
        (package / name).write_text("not Python\n")
    (package / "deep" / "more.py").write_text("import time\n")
    code, _, err = checked(capsys, "shop", "--live", URL)

    assert code == 0
    assert "4 files: 1 finding" in err
    assert "order: 5 of 5 live runs replayed, none would break" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nowhere.py",), "there is no file nowhere.py"),
        (("empty",), "there are no Python files in empty"),
        (("flows.py", "--live", URL, "--sample", "few"), "--sample few: give a number of runs, or all"),
        (("flows.py", "--live", URL, "--finished", "-1"), "--finished"),
        (("flows.py", "--live", "mysql://x"), "no backend for the URL scheme"),
    ],
)
def test_wrong_use_is_told(folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str) -> None:
    (folder / "empty").mkdir()
    code, out, err = checked(capsys, *words)

    assert (code, out) == (2, "")
    assert says in err
