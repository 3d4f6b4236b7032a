"""What a client is given, and what it keeps to itself."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import Any

import httpx
import pytest

from stepwell.authoring.messages import Event
from stepwell.client import Client
from stepwell.errors import (
    BackendError,
    DefinitionError,
    StepwellError,
)
from tests.client.support import KEY, URL, Script, play, reply

HEAD = {"id": "one", "workflow": "w", "status": "waiting", "created_at": 1, "queue": "default", "priority": 0}
PAID = Event("paid", int)
CUT = httpx.ReadError("reset")


async def ask(script: Script, call: Any, **options: Any) -> Any:
    async with Client(URL, key=KEY, transport=script.transport, **options) as app:
        return await call(app)


async def get(app: Client) -> Any:
    return await app.runs.get("one")


# --- what is secret


def test_the_key_goes_nowhere_else() -> None:
    elsewhere = httpx.Response(307, headers={"location": "https://evil.test/api"})
    script = Script(elsewhere)

    with pytest.raises(DefinitionError, match="evil"):
        play(ask(script, get))
    assert len(script.requests) == 1


def test_the_key_is_sent_as_a_bearer_token() -> None:
    script = Script(reply(HEAD))

    play(ask(script, get))

    assert script.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_key_is_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts: list[str] = []

    async def test() -> None:
        async with Client(URL, key=KEY, transport=Script(CUT).transport, patience="1ms") as app:
            try:
                await app.publish(PAID, 7)
            except BackendError as error:
                texts.extend([str(error), repr(error)])
            texts.extend([repr(app), repr(app.runs), repr(app.handle("one")), repr(app._wire.options)])

    play(test())

    assert not [text for text in [*texts, caplog.text] if "secret" in text]


def test_a_hook_token_is_not_in_the_url() -> None:
    script = Script(reply({"run": "one"}))

    assert play(ask(script, lambda app: app.complete("wt_secret", True))) == "one"
    assert "wt_secret" not in str(script.requests[0].url)


@pytest.mark.parametrize("url", ["http://flows.test", "http://10.0.0.7:7788"])
def test_a_key_does_not_go_unencrypted_to_another_machine(url: str) -> None:
    with pytest.raises(DefinitionError, match="allow_http"):
        Client(url, key=KEY)
    Client(url, key=KEY, allow_http=True)
    Client(url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:7788", "http://localhost", "http://[::1]:7788", "https://flows.test"]
)
def test_a_key_may_go_to_this_machine_and_over_tls(url: str) -> None:
    assert Client(url, key=KEY).url == url


# --- options


def test_url_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_URL", f"{URL}/flows/")
    monkeypatch.setenv("STEPWELL_KEY", KEY)
    script = Script(reply(HEAD))

    async def test() -> None:
        async with Client(transport=script.transport) as app:
            await app.runs.get("one")

    play(test())

    assert str(script.requests[0].url) == f"{URL}/flows/api/runs/one/head"
    assert script.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("", {}, "STEPWELL_URL"),
        ("flows.test", {}, "https://"),
        ("https://user:pw123@flows.test", {}, "key="),
        ("https://flows.test?x=1", {}, "ends with its path"),
        (URL, {"keys": "x"}, "no option 'keys'"),
        (URL, {"key": "sw_1\n"}, "line end"),
        (URL, {"timeout": 0}, "timeout=0"),
    ],
)
def test_options_that_cannot_be_are_refused(
    url: str, options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STEPWELL_URL", raising=False)
    with pytest.raises(DefinitionError, match=said) as raised:
        Client(url, **options)
    assert "pw123" not in str(raised.value)


def test_without_its_library_the_client_says_what_to_install() -> None:
    program = "import sys; sys.modules['httpx'] = None; import stepwell.client"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=_environment())

    assert "pip install 'stepwell[client]'" in done.stderr


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(StepwellError, match="async with Client"):
        play(Client(URL).runs.get("one"))


def test_a_client_may_be_entered_within_itself() -> None:
    script = Script(reply(HEAD), reply(HEAD))

    async def test() -> None:
        async with Client(URL, transport=script.transport) as app:
            async with app:
                await app.runs.get("one")
            await app.runs.get("one")

    play(test())


def test_ids_are_quoted_in_urls() -> None:
    script = Script(reply(HEAD), reply(HEAD), reply(HEAD))

    async def test(app: Client) -> None:
        await app.runs.get("a?b#c%")
        await app.runs.get("..")
        await app.runs.get("é")

    play(ask(script, test))

    paths = [request.url.raw_path for request in script.requests]
    assert paths == [b"/api/runs/a%3Fb%23c%25/head", b"/api/runs/%2E%2E/head", b"/api/runs/%C3%A9/head"]
