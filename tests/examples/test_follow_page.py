"""The page that follows a run and its stream with a short-lived token: its script, against a real server."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.cli.served import Served, served
from tests.cli.support import Shell

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "examples" / "follow.html").read_text(encoding="utf-8")
ORIGIN = "https://shop.example"

# What of a browser the script needs; its event source is that of the specification.
BROWSER = """
const [page, hash] = process.argv.slice(1);
const elements = {};
globalThis.location = { search: new URL(page).search, hash };
globalThis.document = { getElementById: (id) => (elements[id] ??= {}) };
process.on("exit", () => console.log(JSON.stringify(elements)));
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("page")
    shell = Shell(folder)
    (folder / "orders.py").write_text((ROOT / "examples" / "streams.py").read_text())
    with served(shell, "--cors-origin", ORIGIN) as one:
        assert "make one with" in one.tell()
        key = shell("keys", "create", "--scopes", "read,trigger").stdout.split()[0]
        one.client.headers["authorization"] = f"Bearer {key}"
        one.post("/api/runs", {"workflowId": "answer", "runId": "a-1", "input": "good day"})
        yield one


def token(server: Served, **about: str) -> str:
    """A token for the run, as a page's own server would get it."""
    text: str = server.post("/api/tokens", {"run": "a-1", **about})["token"]
    return text


def opened(server: Served, token: str) -> dict[str, dict[str, str]]:
    """What the page shows in the end."""
    script = re.search(r"<script>(.*)</script>", PAGE, re.DOTALL)
    assert script is not None
    place = f"https://shop.example/follow.html?server={server.url}&run=a-1&stream=tokens"
    command = ["node", "--experimental-eventsource", "--no-warnings", "-e", BROWSER + script[1], place, f"#{token}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    shown: dict[str, dict[str, str]] = msgspec.json.decode(done.stdout)
    return shown


def test_the_page_is_short() -> None:
    assert PAGE.count("\n") <= 30


def test_the_page_shows_the_journal_and_the_words_of_the_attempt_that_counts(server: Served) -> None:
    shown = opened(server, token(server))

    assert shown["status"] == {"textContent": "a-1: completed"}
    assert shown["words"] == {"textContent": "<begin> you said good day <end>"}
    assert re.findall(r" (\w+) \w*$", shown["journal"]["textContent"], re.MULTILINE) == [
        "created",
        "attempt_failed",
        "step",
        "ended",
    ]


def test_the_page_says_that_it_was_refused(server: Served) -> None:
    assert opened(server, "st_of.nobody")["status"] == {"textContent": "refused: is the token too old?"}


def test_a_browser_lets_the_listed_page_read_the_events(server: Served) -> None:
    url = f"{server.url}/api/runs/a-1/events?access_token={token(server)}"
    for origin, allowed in ((ORIGIN, ORIGIN), ("https://evil.example", None)):
        with httpx.stream("GET", url, headers={"accept": "text/event-stream", "origin": origin}) as stream:
            assert stream.status_code == 200
            assert stream.headers.get("access-control-allow-origin") == allowed
