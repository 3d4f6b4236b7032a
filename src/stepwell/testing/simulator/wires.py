"""The worker elsewhere over the wire: the product's own dispatcher asks it in bytes, and it answers in bytes.

What it reads and writes here is made without the product's code for that, from what the protocol says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from random import Random
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Raw

from stepwell.engine.remote.calls import Answer, WaitRequest
from stepwell.model.ids import RunId
from stepwell.testing.simulator.bodies import COUNTED, Request
from stepwell.testing.simulator.plans import Plan

Json = dict[str, Any]
JSON_TYPE = {"content-type": "application/json"}
LINES_TYPE = {"content-type": "application/x-ndjson"}
_FACTS = {"EVENT": "eventType", "SIGNAL": "signalName", "MANUAL": "tokenId"}
_PARTS = ("stepResults", "waitpointsResolved", "compensationsRun", "metadataState", "streamsCompleted")

encode = msgspec.json.encode


def request_in(body: bytes, headers: Mapping[str, str]) -> Request:
    """What a worker reads in a request."""
    found: Json = msgspec.json.decode(body)
    journal: Json = found["journal"]
    given = {name.lower(): value for name, value in headers.items()}
    key = given["x-stepwell-hook-key"]
    cancel = given.get("x-stepwell-cancel")
    return Request(
        run=RunId(found["runId"]),
        life=key,
        base=int(key.partition(".")[0]),
        number=found["invocationCount"],
        attempt=int(given["x-stepwell-attempt"]),
        plan=msgspec.convert(found["input"], Plan),
        steps={id: encode(_step(entry)) for id, entry in journal["stepResults"].items()},
        resolved={id: encode(_resolution(entry)) for id, entry in journal["waitpointsResolved"].items()},
        counted=[(place, name, to) for place, name, to in journal.get(COUNTED, ())],
        changed=-1,
        undone=frozenset(journal["compensationsRun"]),
        cancel=None if cancel is None else unquote(cancel),
        key=key.partition(".")[2],
        journal=Raw(encode(journal)),
    )


def _step(entry: Json) -> Json:
    is_ok = entry["status"] == "ok"
    value = entry["output"] if is_ok else entry["error"]["message"]
    rest = {name: value for name, value in entry.items() if name not in ("status", "output", "error")}
    return {"ok": is_ok, "value": value, **rest}


def _resolution(entry: Json) -> Json:
    told = {"kind": entry["kind"], "at": entry["resolvedAt"], "status": "failed" if "error" in entry else "completed"}
    if "payload" in entry:
        told["value"] = entry["payload"]
    if "error" in entry:
        told["failure"] = entry["error"]["message"]
    return told


def step_entry(is_ok: bool, value: str, attempt: int, record: Raw) -> Json:
    """A step in the journal that the worker answers with."""
    result = {"status": "ok", "output": value} if is_ok else {"status": "err", "error": _error(value)}
    return {"attempt": attempt, **result, **msgspec.json.decode(record)}


def _error(message: str) -> Json:
    return {"category": "USER_ERROR", "code": "UNKNOWN", "message": message, "name": "Error"}


def chunk(source: str, attempt: int, k: int, text: str, at: int) -> Json:
    """A chunk of a step's stream."""
    form = {"streamId": "work", "seq": k + 1, "encoding": "json", "chunk": text, "final": False, "at": at}
    return {**form, "step": source, "stepAttempt": attempt}


def outcome(request: Request, answer: Answer, steps: Mapping[str, Json], chunks: list[Json]) -> Json:
    """What an invocation came to."""
    journal: Json = msgspec.json.decode(request.journal)
    journal["stepResults"] |= steps
    journal["compensationsRun"] |= {id: {"status": "ok", "finishedAt": 1} for id in answer.undone}
    journal |= {name: msgspec.json.decode(raw) for name, raw in answer.more.items()}
    found: Json = {"status": answer.status, "journal": journal, "streamChunks": chunks}
    targets = [{} if change.target == "self" else {"target": change.target} for change in answer.changes]
    found["metadataUpdates"] = [
        {"op": change.op, "key": change.key, **to} for change, to in zip(answer.changes, targets, strict=True)
    ]
    if answer.status == "completed":
        found["output"] = msgspec.json.decode(answer.output)  # type: ignore[arg-type]
    elif answer.status == "failed":
        found["error"] = _error("" if answer.failure is None else answer.failure.message)
    elif answer.status == "cancelled":
        found["compensations"] = [{"stepId": id, "status": "ok", "durationMs": 1} for id in answer.undone]
    else:
        found["waitpoints"] = [_wait(wait) for wait in answer.waits]
    return found


def _wait(wait: WaitRequest) -> Json:
    meta: Json = {_FACTS[wait.kind]: wait.name} if wait.kind in _FACTS else {}
    if wait.kind == "DATETIME":
        meta = {"durationMs": wait.delay_ms}
    if wait.child is not None:
        child = wait.child
        meta = {"childWorkflowId": child.workflow, "childInput": msgspec.json.decode(child.input)}  # type: ignore[arg-type]
        meta |= {"detach": child.is_detached, "tags": []}
        meta |= {"idempotencyKey": child.key} if child.key else {}
    timeout = {} if wait.delay_ms is None else {"timeoutMs": wait.delay_ms}
    return {"clientWaitpointId": wait.id, "kind": wait.kind, "meta": meta, **timeout}


def twisted(found: Json, request: Request, choice: Random) -> bytes:
    """An outcome that makes no sense."""
    journal = found["journal"]
    known = [*request.steps]
    match choice.choice(("text", "status", "part", "step", "wait", "update")):
        case "status":
            found["status"] = "fine"
        case "part":
            del journal[choice.choice(_PARTS)]
        case "step" if known:
            del journal["stepResults"][choice.choice(known)]
        case "wait" if request.resolved:
            id = choice.choice([*request.resolved])
            again = {"clientWaitpointId": id, "kind": "SIGNAL", "meta": {"signalName": "ping"}}
            found |= {"status": "waiting", "waitpoints": [again]}
        case "update" if request.counted:
            found["metadataUpdates"] = []
        case _:
            return b"<html>no</html>"
    return encode(found)


async def as_lines(lines: AsyncIterator[Json]) -> AsyncIterator[bytes]:
    """One JSON object a line; or something else, and that is all."""
    async for line in lines:
        if "rubbish" in line:
            yield encode({"outcome": Raw(line["rubbish"])})[:-9] + b"\n"
            return
        yield encode(line) + b"\n"
