"""What nodes of the tests do: pure functions of their input, params, state and attempt, by their `uses`."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stepwell.errors import FatalError

Json = Any


class Broken(Exception):
    """What a node of the tests fails with."""


@dataclass
class Call:
    """One attempt. `input` is None if there is none."""

    input: Json
    params: dict[str, Json]
    state: dict[str, Json]
    attempt: int = 1


@dataclass
class Reply:
    """What an implementation gives."""

    output: Json = None
    action: str | None = None
    writes: dict[str, Json] = field(default_factory=dict)
    deletes: tuple[str, ...] = ()
    nodes: tuple[Json, ...] = ()


def digest(value: Json, salt: Json = "") -> int:
    """A small number made of a JSON value: two inputs that differ give two that differ, nearly always."""
    return zlib.crc32(json.dumps([value, salt], sort_keys=True).encode()) % 1000


def _mix(call: Call) -> Reply:
    number = digest(call.input, call.params.get("salt"))
    shapes: dict[str, Json] = {
        "number": number,
        "object": {"n": number, "flag": number % 2 == 0, "list": [number, number + 1], "in": {"text": f"t{number}"}},
        "text": f"t{number}",
        "flag": number % 2 == 0,
        "list": [number % 7, number % 5],
        "null": None,
    }
    return Reply(shapes[call.params.get("shape", "number")])


def _route(call: Call) -> Reply:
    actions = call.params["actions"]
    number = digest(call.input, call.params.get("salt"))
    return Reply(number, action=actions[number % len(actions)])


def _flaky(call: Call) -> Reply:
    if call.attempt <= call.params["times"]:
        raise Broken(f"attempt {call.attempt}")
    return Reply(digest(call.input, call.attempt))


def _fail(call: Call) -> Reply:
    raise Broken(call.params.get("message", "on purpose"))


def _fatal(call: Call) -> Reply:
    raise FatalError(call.params.get("message", "for good"))


def _write(call: Call) -> Reply:
    gone = tuple(key for key in call.params.get("toggle", ()) if key in call.state)
    keys = {*call.params.get("keys", ()), *call.params.get("toggle", ())}.difference(gone)
    return Reply(digest(call.input), writes={key: digest(call.input, key) for key in keys}, deletes=gone)


def _count(call: Call) -> Reply:
    key = call.params["key"]
    number = (call.state.get(key) or 0) + 1
    return Reply(number, writes={key: number})


def _read(call: Call) -> Reply:
    return Reply({key: call.state.get(key) for key in call.params["keys"]})


def _items(call: Call) -> Reply:
    number = digest(call.input)
    return Reply([{"n": number + i, **special} for i, special in enumerate(call.params["items"])])


def _item(call: Call) -> Reply:
    """The worker of batches: each item says what becomes of it."""
    item = call.input
    if item.get("fail") or call.attempt <= item.get("flaky", 0):
        raise Broken(f"item {item['n']}")
    if item.get("null"):
        return Reply(None)
    writes = {item["write"]: item["n"]} if "write" in item else {}
    return Reply(digest(item), writes=writes, action=item.get("action"))


def _spawn(call: Call) -> Reply:
    output = {"gatherNodeId": call.params["gather"]} if "gather" in call.params else digest(call.input)
    return Reply(output, nodes=tuple(call.params["nodes"]))


VOCABULARY: dict[str, Callable[[Call], Reply]] = {
    "mix": _mix,
    "const": lambda call: Reply(call.params.get("value")),
    "echo": lambda call: Reply(call.input),
    "act": lambda call: Reply(call.params.get("value"), action=call.params["action"]),
    "route": _route,
    "flaky": _flaky,
    "fail": _fail,
    "fatal": _fatal,
    "write": _write,
    "count": _count,
    "read": _read,
    "items": _items,
    "item": _item,
    "spawn": _spawn,
}
