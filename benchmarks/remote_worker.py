"""A step worker as one of another language would be: `python -m benchmarks.remote_worker <port>`. Plain JSON, no lines.

It has two workflows: `steps` runs as many steps as its input says in one invocation, `waits` sleeps as often as its
input says, each time in an invocation of its own. `GET` tells how many calls there were, and the bytes both ways.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvicorn

_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]
_TYPE = (b"content-type", b"application/json")


class Worker:
    """ASGI."""

    def __init__(self) -> None:
        self.calls = self.received = self.sent = 0

    async def __call__(self, scope: dict[str, Any], receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if scope["method"] == "GET":
            answer = msgspec.json.encode({"calls": self.calls, "received": self.received, "sent": self.sent})
        else:
            body = await _body(receive)
            answer = msgspec.json.encode(answered(msgspec.json.decode(body)))
            self.calls += 1
            self.received += len(body)
            self.sent += len(answer)
        length = (b"content-length", str(len(answer)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [_TYPE, length]})
        await send({"type": "http.response.body", "body": answer})


async def _body(receive: _Receive) -> bytes:
    pieces = b""
    while True:
        message = await receive()
        pieces += message.get("body", b"")
        if not message.get("more_body"):
            return pieces


def answered(request: dict[str, Any]) -> dict[str, Any]:
    """The outcome: the body from the top, with the whole journal."""
    journal = request["journal"]
    if request["workflowId"] == "waits":
        return _waits(journal, request["input"])
    results = journal["stepResults"]
    for n in range(request["input"]):
        now = int(time.time() * 1000)
        step = {
            "attempt": 1,
            "status": "ok",
            "output": {"n": n},
            "startedAt": now,
            "finishedAt": now,
            "runtime": "node",
        }
        results.setdefault(f"step-{n}", step)
    return _outcome(journal, status="completed", output=request["input"])


def _waits(journal: dict[str, Any], count: int) -> dict[str, Any]:
    done = len(journal["waitpointsResolved"])
    if done >= count:
        return _outcome(journal, status="completed", output=done)
    id, lasts = f"sleep:{done + 1}", 1
    wait = {"clientWaitpointId": id, "kind": "DATETIME", "meta": {"durationMs": lasts}, "timeoutMs": lasts}
    return _outcome(journal, status="waiting", waitpoints=[wait])


def _outcome(journal: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {**members, "metadataUpdates": [], "journal": journal, "streamChunks": []}


def main() -> None:
    """Serve until somebody stops it."""
    port = int(sys.argv[1])
    options: dict[str, Any] = {"access_log": False, "proxy_headers": False, "backlog": 4096, "timeout_keep_alive": 600}
    uvicorn.run(Worker(), port=port, log_level="warning", **options)


if __name__ == "__main__":
    main()
