"""A worker at the level of bytes: it reads and writes as the real ones do, and lies when it is told to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from stepwell.runtime.remote.targets import Target

Reply = tuple[int, Mapping[str, str], Any]
JSON = {"content-type": "application/json; charset=utf-8"}
LINES = {"content-type": "application/x-ndjson"}
EMPTY: dict[str, Any] = {
    "stepResults": {},
    "waitpointsResolved": {},
    "compensationsRun": {},
    "metadataState": {},
    "streamsCompleted": {},
}


class Blocked(BaseException):
    """The body waits for what is not there yet."""


class Turn:
    """One invocation of a body, which runs from the top and takes from the journal what is in it."""

    def __init__(self, worker: Worker, request: dict[str, Any]) -> None:
        self.request = request
        self.journal: dict[str, Any] = request["journal"]
        self.waits: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        self.chunks: list[dict[str, Any]] = []
        self._worker = worker
        self._n = 0

    @property
    def input(self) -> Any:
        """What the run was given."""
        return self.request.get("input")

    def step(self, id: str, value: Any = None, **more: Any) -> Any:
        """A step: its effect happens where the journal does not know it."""
        known = self.journal["stepResults"].get(id)
        if known is None:
            self._worker.effects.append(id)
            known = {"attempt": 1, "status": "ok", "output": value, "startedAt": 10, "finishedAt": 15, **more}
            self.journal["stepResults"][id] = known
        return known.get("output")

    def sleep(self, ms: int) -> Any:
        """A sleep."""
        return self.waited(self._wait(f"sleep:{self._count()}", "DATETIME", {"durationMs": ms}, ms))

    def signal(self, name: str, timeout: int | None = None) -> dict[str, Any]:
        """A signal to wait for."""
        return self._wait(f"signal:{name}:{self._count()}", "SIGNAL", {"signalName": name}, timeout)

    def event(self, name: str, timeout: int | None = None, **more: Any) -> dict[str, Any]:
        """An event to wait for."""
        return self._wait(f"event:{name}:{self._count()}", "EVENT", {"eventType": name, **more}, timeout)

    def token(self, id: str, timeout: int | None = None) -> dict[str, Any]:
        """A token to wait for."""
        return self._wait(f"token:{id}", "MANUAL", {"tokenId": id}, timeout)

    def child(self, workflow: str, **more: Any) -> dict[str, Any]:
        """A child to wait for."""
        meta = {"childWorkflowId": workflow, "detach": False, "tags": [], **more}
        return self._wait(f"invoke:{workflow}:{self._count()}", "RUN", meta, None)

    def waited(self, *waits: dict[str, Any]) -> Any:
        """What the first of these that is over brought; all that are not are waited for."""
        resolved = self.journal["waitpointsResolved"]
        over = [resolved[wait["clientWaitpointId"]] for wait in waits if wait["clientWaitpointId"] in resolved]
        self.waits += [wait for wait in waits if wait["clientWaitpointId"] not in resolved]
        if not over:
            raise Blocked
        if "error" in over[0]:
            raise RuntimeError(over[0]["error"]["message"])
        return over[0].get("payload", "no payload")

    def change(self, op: str, key: str, **more: Any) -> None:
        """A change of metadata."""
        self.changes.append({"op": op, "key": key, **more})

    def stream(self, name: str, *values: Any, encoding: str = "json", completes: bool = True) -> None:
        """A stream, unless it is complete."""
        if name in self.journal["streamsCompleted"]:
            return
        for seq, value in enumerate([*values, None], 1):
            final = seq > len(values)
            chunk = {
                "streamId": name,
                "seq": seq,
                "encoding": encoding,
                "chunk": value,
                "final": final,
                "at": 100 + seq,
            }
            self.chunks.append(chunk)
        if completes:
            self.journal["streamsCompleted"][name] = {"chunkCount": len(values) + 1}

    def outcome(self, status: str, **more: Any) -> dict[str, Any]:
        """The answer."""
        own = {"metadataUpdates": self.changes, "journal": self.journal, "streamChunks": self.chunks}
        return {"status": status, **more, **own}

    def _wait(self, id: str, kind: str, meta: dict[str, Any], timeout: int | None) -> dict[str, Any]:
        given = {} if timeout is None else {"timeoutMs": timeout}
        return {"clientWaitpointId": id, "kind": kind, "meta": meta, **given}

    def _count(self) -> int:
        self._n += 1
        return self._n


Body = Callable[[Turn], Any]
Lie = Callable[[bytes, dict[str, Any]], Any]
"""Gets the request and the honest answer. Gives a reply, an awaitable of one, or raises."""


class Worker:
    """Bodies by workflow. `lies` are told instead of the next answers, and `always_lies` from then on."""

    def __init__(self, **bodies: Body) -> None:
        self.bodies = bodies
        self.effects: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.lies: list[Lie | None] = []
        self.always_lies: Lie | None = None

    def target(self, **options: Any) -> Target:
        """This worker, as a target."""
        return Target(self, workflows=[*self.bodies], **options)

    async def __call__(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        request = json.loads(body)
        self.requests.append(json.loads(body))
        self.headers.append(headers)
        answer = self._answer(Turn(self, request))
        lie = self.lies.pop(0) if self.lies else self.always_lies
        if lie is None:
            return 200, JSON, json.dumps(answer).encode()
        told = lie(body, answer)
        reply: Reply = await told if isinstance(told, Awaitable) else told
        return reply

    def _answer(self, turn: Turn) -> dict[str, Any]:
        try:
            output = self.bodies[turn.request["workflowId"]](turn)
        except Blocked:
            return turn.outcome("waiting", waitpoints=turn.waits)
        except RuntimeError as error:
            fault = {
                "category": "USER_ERROR",
                "code": "E_BODY",
                "message": str(error),
                "name": "Error",
                "stack": "at x",
            }
            return turn.outcome("failed", error=fault)
        return turn.outcome("completed", output=output)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """An answer that comes in pieces."""
    for part in parts:
        yield part
