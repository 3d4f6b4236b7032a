"""`--namespace`: commands about the runs of one namespace, and work for it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from stepwell import Stepwell
from stepwell.cli import main
from stepwell.cli.places import load_module
from tests.cli.support import PROGRAM, Shell

URL = "sqlite:///runs.db"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database, in which two namespaces have nothing yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("STEPWELL_BACKEND", URL)
    monkeypatch.delenv("STEPWELL_NAMESPACE", raising=False)
    (tmp_path / "orders.py").write_text(PROGRAM)
    (tmp_path / "shop.py").write_text("from stepwell import Stepwell\napp = Stepwell(namespace='shop')\n")
    for module in ("orders", "shop"):
        sys.modules.pop(module, None)

    async def make() -> None:
        async with Stepwell(URL):
            pass

    asyncio.run(make())
    return tmp_path


def out(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def ids(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    return [run["id"] for run in msgspec.json.decode(out(capsys, "runs", "list", "--json", *words))["runs"]]


@pytest.mark.usefixtures("folder")
def test_commands_look_into_the_namespace_that_is_named_or_set(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("run", "orders.py:checkout", "--input", '{"id": 7}', "--id", "r")
    assert out(capsys, *run, "--namespace", "acme") == '{"paid":7}\n'
    assert ids(capsys) == []
    assert ids(capsys, "--namespace", "acme") == ["r"]
    assert main(["runs", "show", "r"]) != 0
    assert "r" in out(capsys, "runs", "show", "r", "--namespace", "acme")

    monkeypatch.setenv("STEPWELL_NAMESPACE", "acme")
    assert ids(capsys) == ["r"]
    assert ids(capsys, "--namespace", "") == []
    assert main(["runs", "show", "r", "--namespace", "other"]) != 0
    assert "1 runs deleted" in out(capsys, "purge", "--older-than", "0s", "--yes")
    assert ids(capsys) == []


@pytest.mark.usefixtures("folder")
def test_an_app_in_a_namespace_is_looked_into_there_and_nowhere_else(capsys: pytest.CaptureFixture[str]) -> None:
    out(capsys, "run", "orders.py:checkout", "--input", '{"id": 7}', "--id", "r", "--namespace", "shop")
    assert ids(capsys, "--app", "shop.py") == ["r"]
    capsys.readouterr()
    assert main(["runs", "list", "--app", "shop.py", "--namespace", "acme"]) != 0
    assert "the app is in namespace 'shop', and cannot leave it for 'acme'" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_name_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "list", "--namespace", "A b"]) != 0
    assert "namespace 'A b': give 1 to 63 characters" in capsys.readouterr().err


def test_a_worker_works_for_its_namespace(folder: Path) -> None:
    orders = load_module("orders.py")
    shell = Shell(folder)

    async def scenario() -> None:
        async with Stepwell(URL, include=[orders], worker=False) as app:
            acme = app.in_namespace("acme")
            handles = [await each.start("checkout", orders.Order(id=7), id="r") for each in (app, acme)]
            worker = shell.begin("worker", "orders.py", "--namespace", "acme", "--backend", URL)
            try:
                assert await handles[1].result(timeout=20) == {"paid": 7}
            finally:
                worker.terminate()
                await asyncio.to_thread(worker.communicate, timeout=20)
            assert await handles[0].status() == "queued"

    asyncio.run(scenario())
