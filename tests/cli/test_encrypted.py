"""Encrypted runs on the command line: read and written with `--app`; without, said to be encrypted, with the cure."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from stepwell.cli import main
from stepwell.cli.places import load_module

PROGRAM = """
from stepwell import AesGcm, Blueprint, Codec, Context, NodeContext, Signal, Stepwell, step, workflow

said = Signal("said", str)

@step(retry=None)
async def fail(card: str) -> None:
    raise ValueError(f"card {card}")

@workflow
async def ask(ctx: Context, card: str) -> str:
    ctx.metadata["card"] = card
    return await ctx.receive(said)

@workflow
async def fails(ctx: Context, card: str) -> None:
    await fail(card)

async def keep(ctx: NodeContext[str]) -> str:
    return ctx.input

graph = Blueprint("graph", input=str).node("keep", keep).wait("approve").edge("keep", "approve")

codec = Codec(AesGcm({"k": bytes(32)}, current="k"), compress=True)
app = Stepwell("sqlite:///runs.db", include=[__name__, graph], codec=codec)
"""
CARD = "4711"
BACKEND = ("--backend", "sqlite:///runs.db")
APP = ("--app", "sealed_app.py")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A program whose database holds a run that failed, one that waits, and one of a blueprint that waits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STEPWELL_BACKEND", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "sealed_app", raising=False)
    Path("sealed_app.py").write_text(PROGRAM)
    module = load_module("sealed_app.py")

    async def make() -> None:
        app = module.app
        async with app:
            failed = await app.start(module.fails, CARD, id="f")
            await app.start(module.ask, CARD, id="a")
            await app.start(module.graph, CARD, id="g")
            while not all([(await app.runs.get(id)).waiting for id in "ag"]):
                await asyncio.sleep(0.005)
            await app.client.ended(failed.id)

    asyncio.run(make())
    return module


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    return code, *capsys.readouterr()


@pytest.mark.parametrize("run", ["f", "a", "g"])
@pytest.mark.parametrize("command", ["show", "events", "explain"])
def test_without_the_app_nothing_is_shown_but_the_cure(
    command: str, run: str, module: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, err = told(capsys, "runs", command, run, *BACKEND)

    assert CARD not in out + err
    assert "$sealed" not in out + err
    assert "--app FILE.py" in err or (command == "explain" and run != "f")  # why it waits holds nothing encrypted


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("runs", "show", "f"), f"ValueError: card {CARD}"),
        (("runs", "show", "a", "--all"), f'card="{CARD}"'),
        (("runs", "show", "g"), CARD),
        (("runs", "show", "g", "--json"), f'"output":"{CARD}"'),
        (("runs", "events", "f"), f"card {CARD}"),
        (("runs", "events", "a"), f'input="{CARD}"'),
        (("runs", "explain", "f"), f"card {CARD}"),
        (("runs", "list", "--json"), f'"card":"{CARD}"'),
    ],
)
def test_with_the_app_values_are_shown(
    words: tuple[str, ...], shown: str, module: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = told(capsys, *words, *APP)

    assert (code, err) == (0, "")
    assert shown in out


def test_programs_get_what_is_encrypted_as_it_is(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, err = told(capsys, "runs", "show", "a", "--json", *BACKEND)

    assert list(json.loads(out)["timeline"]["input"]) == ["$sealed"]
    assert "--app FILE.py" in err


def test_a_picture_needs_the_app(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(capsys, "runs", "show", "g", "--mermaid", *BACKEND)

    assert code == 2
    assert "To read it, give the app that has the codec" in err
    assert told(capsys, "runs", "show", "g", "--mermaid", *APP)[0] == 0


def test_an_export_says_that_it_is_encrypted(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for place in (BACKEND, APP):
        _, out, err = told(capsys, "runs", "export", "f", *place)
        assert CARD not in out
        assert "who reads it needs the keys" in err


def test_what_is_sent_with_the_app_is_encrypted(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "send", "a", "said", '"from the shell"', *APP)[0] == 0
    assert told(capsys, "runs", "resume", "g", "--node", "approve", "--output", '"from the shell"', *APP)[0] == 0
    assert told(capsys, "runs", "cancel", "g", "--reason", "from the shell", *APP)[0] == 0

    files = b"".join(path.read_bytes() for path in Path().glob("runs.db*"))
    assert b"from the shell" not in files

    async def result() -> str:
        async with module.app as app:
            return str(await app.handle("a", module.ask).result(timeout=10))

    assert asyncio.run(result()) == "from the shell"


def test_a_place_without_an_app_is_an_error(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    Path("no_app_here.py").write_text("")

    code, _, err = told(capsys, "runs", "list", "--app", "no_app_here.py")

    assert code == 2
    assert "--app no_app_here.py: there is no app in it, or several" in err
