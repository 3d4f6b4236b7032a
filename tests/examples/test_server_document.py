"""The five commands of the documents, from serving to the result, do what is said of them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import httpx
import pytest
from tests.cli.served import Served, served
from tests.cli.support import Shell

ROOT = Path(__file__).parents[2]


def commands(document: str, heading: str) -> list[list[str]]:
    text = (ROOT / document).read_text(encoding="utf-8")
    block = re.search(rf"## {heading}.*?```console\n(.*?)```", text, re.DOTALL)
    assert block is not None
    lines = [line.removeprefix("$ ") for line in block[1].splitlines()]
    return [[word for word in shlex.split(line, comments=True) if word != "&"] for line in lines]


def curl(server: Served, words: list[str]) -> httpx.Response:
    """What curl would do: data makes it a POST, of the type of a form."""
    assert words[0] == "curl"
    url, headers, data = "", {}, None
    rest = iter(words[1:])
    for word in rest:
        if word == "-d":
            data = re.sub(r'"cooling_off": \d+', '"cooling_off": 0.1', next(rest))  # no test waits for that
            headers["content-type"] = "application/x-www-form-urlencoded"
        elif word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word != "-N":
            url = word.replace("localhost:7788", server.url)
    return server.client.request("GET" if data is None else "POST", url, content=data, headers=headers)


@pytest.mark.parametrize(("document", "heading"), [("docs/server.md", "In five commands"), ("README.md", "Over HTTP")])
def test_serve_trigger_watch_approve_and_the_result(document: str, heading: str, tmp_path: Path) -> None:
    serve, trigger, watch, approve, result = commands(document, heading)
    shell = Shell(tmp_path)
    (tmp_path / "orders.py").write_text((ROOT / "examples" / "orders.py").read_text(encoding="utf-8"))
    assert serve == ["stepwell", "serve", "orders.py", "--dev"]

    with served(shell, *serve[3:]) as server:
        assert curl(server, trigger).json()["status"] == "waiting"
        assert curl(server, approve).status_code == 200
        assert re.fullmatch(r"r\d", curl(server, result).json()["value"]["id"])
        events = re.findall(r"^event: (.*)$", curl(server, watch).text, re.MULTILINE)

    assert events[0] == "created"
    assert {"step", "received", "timer"} < set(events)
    assert events[-2:] == ["ended", "end"]
