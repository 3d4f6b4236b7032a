"""Runs of blueprints on the command line: their nodes, their past, and answers to those that wait."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from stepwell import Blueprint, Context, NodeContext, Stepwell, workflow
from stepwell.cli import main

MANY: Blueprint[Any, Any] = Blueprint[Any, Any]("many").wait("ask")
for _number in range(70):
    MANY.node(f"n{_number}", "join").edge("ask", f"n{_number}", action="go")


async def fetch(ctx: NodeContext[Any]) -> Any:
    ctx.state.set("price", 7)
    return {"item": ctx.input}


async def fails(ctx: NodeContext[Any]) -> None:
    raise ValueError("sold out")


async def instead(ctx: NodeContext[Any]) -> str:
    return "second hand"


FLOW: Blueprint[Any, Any] = (
    Blueprint[Any, Any]("watch")
    .node("fetch", fetch)
    .wait("approve")
    .node("buy", fails, fallback="other")
    .node("other", instead)
    .node("skip", instead)
    .edge("fetch", "approve")
    .edge("approve", "buy", action="yes")
    .edge("approve", "skip", action="no")
)


@workflow
async def plain(ctx: Context) -> int:
    return 1


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database in which `w` waits at `approve`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STEPWELL_BACKEND", raising=False)
    Path(".stepwell").mkdir()
    asyncio.run(_make_runs())


async def _make_runs() -> None:
    async with Stepwell(include=[FLOW, MANY, plain]) as app:
        await (await app.start(plain, id="function")).result()
        for handle in (await app.start(FLOW, "desk", id="w"), await app.start(MANY, id="many")):
            while await handle.status() != "waiting":
                await asyncio.sleep(0.005)


def finish() -> None:
    async def body() -> None:
        async with Stepwell(include=[FLOW]) as app:
            await app.handle("w").result()

    asyncio.run(body())


def out(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints, if all is well."""
    assert main(words) == 0
    return capsys.readouterr().out


def rows(text: str) -> dict[str, str]:
    """The status and the rest of each node's line."""
    lines = text.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.lstrip().startswith("NODE"))
    found = [line.split(maxsplit=1) for line in lines[begin + 1 :] if line.strip()]
    return {id: " ".join(rest.split()) for id, rest in found}


@pytest.mark.usefixtures("runs")
class TestNodes:
    def test_show_draws_them_under_the_timeline(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = out(capsys, "runs", "show", "w")

        assert "node approve waits: stepwell runs resume w --node approve" in text
        assert rows(text) == {
            "fetch": 'completed {"item":"desk"}',
            "approve": "waiting stepwell runs resume w --node approve",
            "buy": "pending",
            "other": "pending",
            "skip": "pending",
            "state": "price=7",
        }

    def test_lists_name_the_node_that_waits(self, capsys: pytest.CaptureFixture[str]) -> None:
        lines = out(capsys, "runs", "list", "--workflow", "watch").splitlines()
        assert lines[1].endswith("node approve")

    def test_of_many_nodes_those_are_shown_that_need_a_look(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = out(capsys, "runs", "show", "many")

        assert text.splitlines()[-2:] == [
            "  ask   waiting  stepwell runs resume many --node ask",
            "  and 70 pending: --all lists them",
        ]
        assert len(rows(out(capsys, "runs", "show", "many", "--all"))) == 71

    def test_a_node_is_resumed_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        words = ("runs", "resume", "w", "--node", "approve", "--action", "yes", "--output", '{"by": "ada"}')

        assert out(capsys, *words) == "w approve resumed\n"
        assert json.loads(out(capsys, *words, "--json")) == {"run": "w", "node": "approve", "new": False}
        finish()
        assert rows(out(capsys, "runs", "show", "w")) == {
            "fetch": 'completed {"item":"desk"}',
            "approve": 'completed {"by":"ada"} [yes]',
            "buy": "recovered ValueError: sold out",
            "other": 'completed "second hand"',
            "skip": "skipped",
            "state": "price=7",
        }

    def test_the_past_can_be_looked_at(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = out(capsys, "runs", "show", "w", "--at", "1")

        assert text.startswith("w  watch  running at #1, ")
        assert rows(text)["fetch"] == "running"
        assert main(["runs", "show", "w", "--at", "99"]) == 2
        assert "has no frame 99" in capsys.readouterr().err

    def test_mermaid_has_the_colours_of_the_states(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = out(capsys, "runs", "show", "w", "--mermaid")

        assert text.startswith('flowchart TD\n    n0["fetch"]\n')
        assert "style n0 fill:#d4edda" in text
        assert "linkStyle 0 " in text

    def test_json_has_the_state(self, capsys: pytest.CaptureFixture[str]) -> None:
        state = json.loads(out(capsys, "runs", "show", "w", "--json"))["blueprint"]

        assert state["nodes"]["approve"]["status"] == "waiting"
        assert (state["state"], state["waiting"], state["taken"]) == ({"price": 7}, ["approve"], [0])

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["resume", "w", "--node", "buy"], "node 'buy' is no wait node"),
            (["resume", "w", "--node", "approve", "--action", "maybe"], "listens to: yes, no"),
            (["resume", "w", "--action", "yes"], "name it with --node"),
            (["resume", "w", "x", "--node", "approve"], "--node is a node of one run"),
            (["resume", "--node", "approve", "--status", "waiting"], "--node is a node of one run"),
            (["resume", "w", "--node", "approve", "--output", "{"], "--output is not JSON"),
            (["show", "function", "--mermaid"], "run function has no nodes: plain is a function"),
            (["show", "function", "--at", "1"], "run function has no nodes: plain is a function"),
        ],
    )
    def test_wrong_use_is_exit_2(self, capsys: pytest.CaptureFixture[str], words: list[str], expected: str) -> None:
        assert main(["runs", *words]) == 2
        assert expected in capsys.readouterr().err
