"""`stepwell step-worker`: it answers, drains, and lets in nobody whom nobody checks."""

from __future__ import annotations

import asyncio
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from stepwell import Stepwell
from stepwell.cli import main
from stepwell.runtime.remote.targets import Target
from tests.cli.support import Shell, eventually
from tests.helpers import until
from tests.server.step_workers import encoded, request, signed

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM")


def test_it_serves_the_workflows_of_an_app_until_it_is_told_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIRE_SECRET", "s3cret")
    shell = Shell(tmp_path)
    read, write = os.pipe()
    words = ("step-worker", "orders.py", "--port", "0", "--secret-env", "WIRE_SECRET", "--ready-fd", str(write))
    process = shell.begin(*words, pass_fds=(write,))
    os.close(write)
    try:
        with open(read, "rb") as told:
            facts = msgspec.json.decode(told.readline())
        assert "checkout" in facts["workflows"]
        body = encoded(request("checkout", input={"id": 7}))
        answer = httpx.post(facts["url"], content=body, headers=signed("s3cret", body), timeout=20)
        assert answer.json()["output"] == {"paid": 7}
        assert httpx.post(facts["url"], content=body, timeout=20).status_code == 401
        process.terminate()
        _, said = process.communicate(timeout=20)
        assert process.returncode == 0
        assert said.splitlines()[-1] == "stepwell: stopped"
        assert facts["url"] in said.splitlines()[0]
        assert "no secret" not in said
    finally:
        process.kill()
        process.communicate()
    assert not Path(shell.folder, ".stepwell").exists()


def test_it_says_that_it_lets_in_who_has_no_secret(shell: Shell) -> None:
    process, _ = begin(shell, "0")
    process.terminate()
    _, said = process.communicate(timeout=20)
    assert "no secret: requests need no signature" in said


def orders(folder: Path) -> str:
    path = folder / f"{folder.name}.py"  # no other test imports one of that name
    path.write_text("from stepwell import workflow\n\n@workflow\nasync def one(ctx):\n    return 1\n")
    return str(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--host", "0.0.0.0"), "without a secret, whoever reaches http://0.0.0.0:"),
        (("--secret-env", "NOT_THERE"), "--secret-env NOT_THERE: this environment variable is not set, or empty"),
        (("--require-v2",), "signatures need a secret"),
    ],
)
def test_it_says_what_is_wrong(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["step-worker", orders(tmp_path), "--port", "0", *words]) == 2
    assert message in capsys.readouterr().err


def begin(shell: Shell, port: str) -> tuple[subprocess.Popen[str], str]:
    """A worker of `orders.py`, and its URL."""
    read, write = os.pipe()
    process = shell.begin("step-worker", "orders.py", "--port", port, "--ready-fd", str(write), pass_fds=(write,))
    os.close(write)
    with open(read, "rb") as told:
        return process, msgspec.json.decode(told.readline())["url"]


def test_a_worker_that_is_killed_loses_no_step_that_was_over(shell: Shell) -> None:
    process, url = begin(shell, "0")

    async def main() -> Any:
        nonlocal process
        async with Stepwell("memory://", targets=[Target(url, workflows=["slow"])]) as app:
            handle = await app.start("slow", {"id": 7}, id="r1")
            await until(lambda: is_past(app, "charge"), within=20)
            process.kill()
            process.communicate()
            process, _ = await asyncio.to_thread(begin, shell, str(urlsplit(url).port))
            shell.go()
            return await handle.result()

    try:
        assert asyncio.run(main()) == "go"
    finally:
        process.kill()
        process.communicate()
    assert shell.effects().count("charge") == 1


async def is_past(app: Stepwell, step: str) -> bool:
    """Whether it is written down here that a step elsewhere is over."""
    return any(step in str(event) for event in [event async for event in app.runs.events("r1")])


def test_a_second_signal_stops_what_still_runs(shell: Shell) -> None:
    process, url = begin(shell, "0")
    body = encoded(request("slow", input={"id": 7}))
    try:
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(httpx.post, url, content=body, timeout=60)
            eventually(lambda: "wait" in shell.effects())
            process.terminate()
            eventually(lambda: is_sent_away(url))
            process.terminate()
            process.communicate(timeout=8)  # the drain would take longer
            assert isinstance(asking.exception(), httpx.TransportError) or asking.result().status_code == 503
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0


def is_sent_away(url: str) -> bool:
    """Whether the worker takes nothing new."""
    try:
        return httpx.post(url, timeout=5).status_code == 503
    except httpx.TransportError:
        return True
