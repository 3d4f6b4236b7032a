"""The recipes for web frameworks, under servers that fork, by ASGI, and in a process of uvicorn."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ENV = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}

# As a server does that loads the application and then forks: parent and two workers, each with a request of its own.
FORKING = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
{client}

def work(number):
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(order, range(10 * number, 10 * number + 4)):
            pass

def order(id):
    assert client.post(f"/orders/{{id}}", data={{"cents": "500"}}).status_code == 202
    approved = client.post(f"/orders/{{id}}/approval", data={{"by": "ada"}})
    assert b"charged 500, approved by ada" in (getattr(approved, "content", b"") or approved.data)
    os.write(1, b"order %d\\n" % id)  # in one piece

children = []
for number in (1, 2):
    child = os.fork()
    if child == 0:
        work(number)
        sys.exit(0)
    children.append(child)
assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
"""
DJANGO = "from django.test import Client\nimport django_app\nclient = Client()"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.parametrize("client", ["from flask_app import web\nclient = web.test_client()", DJANGO])
def test_workers_that_were_forked_open_the_app_for_themselves(client: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKING.format(client=client)],
        cwd=EXAMPLES,
        env=ENV,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == sorted(f"order {10 * number + n}" for number in (1, 2) for n in range(4))


ASGI = """
import asyncio, httpx
from django_app import asgi

async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://localhost") as client:
        assert (await client.post("/orders/7", data={"cents": "500"})).status_code == 202
        approved = await client.post("/orders/7/approval", data={"by": "ada"})
        assert approved.json() == {"receipt": "charged 500, approved by ada"}

asyncio.run(main())
"""


def test_django_serves_by_asgi_too() -> None:
    command = [sys.executable, "-W", "error", "-c", ASGI]
    done = subprocess.run(command, cwd=EXAMPLES, env=ENV, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM")
def test_uvicorn_serves_fastapi_with_a_worker_and_the_api_below_a_path() -> None:
    command = [sys.executable, "-m", "uvicorn", "fastapi_app:api", "--port", "0"]
    with subprocess.Popen(command, cwd=EXAMPLES, env=ENV, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            url = next(found[0] for line in process.stderr if (found := re.search(r"http://127[0-9.]+:\d+", line)))
            with httpx.Client(base_url=url, timeout=20) as client:
                assert client.post("/orders", json={"id": 7, "cents": 500}).status_code == 202
                approved = client.post("/orders/7/approval", params={"by": "ada"})
                assert approved.json() == {"receipt": "receipt 7, approved by ada"}
                assert client.get("/stepwell/readyz").status_code == 200
            process.terminate()
            assert "Application shutdown complete" in process.stderr.read()
        finally:
            process.kill()
