"""Waits as that system names them: ids with a counter, which stay the same from the first look to the resolution.

A timer is counted by the number that the journal knows it by. Messages are counted by address: what comes to an address
is handed out first in, first out, so the k-th that is resolved is the k-th that began to wait.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from msgspec import UNSET, Raw, UnsetType

from stepwell.formats.voyant.faults import child_error
from stepwell.formats.voyant.plain import plain
from stepwell.formats.voyant.record import Resolution, Waitpoint
from stepwell.model.entries import Confirmed, Intended, OpenHook, Received, StartChild, Subscribe, TimerFired
from stepwell.model.failures import NULL
from stepwell.model.ids import CommandId, MessageId, RunId
from stepwell.model.messages import ChildEnded, Event, HookCompleted, Signal
from stepwell.model.runs import Wait

RUN_TIMEOUT = "run timeout"
"""The name of the timer that bounds a whole run."""
_SLEEPS = frozenset({"sleep", "timeout", "timer"})
_HOOK = re.compile(r"hook(:\d+)?")
_MARK = "voyant"

Kind = Literal["EVENT", "SIGNAL", "MANUAL"]
_KINDS: Mapping[str, Kind] = {"event": "EVENT", "signal": "SIGNAL", "token": "MANUAL"}


def injection_id(fresh: str, *, is_early: bool, is_void: bool) -> MessageId:
    """The id of a message that was injected: `is_early`, before anything waited for it; `is_void`, without a payload.
    The journal keeps it, so the record can tell."""
    return MessageId(f"{_MARK}:{'inbox' if is_early else 'live'}:{'void' if is_void else 'value'}:{fresh}")


def marks_of(id: MessageId | None) -> tuple[bool, bool]:
    """Of the message with this id: whether it came early, and whether it is void."""
    parts = (id or "").split(":", 3)
    return (parts[1] == "inbox", parts[2] == "void") if len(parts) == 4 and parts[0] == _MARK else (False, False)


def trigger_delay(run: RunId) -> str:
    """The wait of a run that was triggered for later."""
    return f"trigger-delay:{run}"


class Waits:
    """The waits of one generation of a run, as its entries tell of them."""

    def __init__(self, run: RunId, opened: Callable[[Raw], Raw], *, shows_tokens: bool) -> None:
        self.resolved: dict[str, Resolution] = {}
        self.is_timed_out = False
        self._run = run
        self._opened = opened
        self._shows_tokens = shows_tokens
        self._counts: dict[tuple[str, str], int] = {}
        self._subscribed: set[str] = set()
        self._tokens: dict[CommandId, str] = {}
        self._children: dict[CommandId, StartChild] = {}

    # --- what the entries say

    def intended(self, entry: Intended) -> None:
        """The run is about to do something outside."""
        match entry.act:
            case Subscribe(event=event):
                self._subscribed.add(event)
            case OpenHook(token=token):
                if self._shows_tokens:
                    self._tokens[entry.id] = token
            case StartChild() as act:
                self._children[entry.id] = act
            case _:
                pass

    def confirmed(self, entry: Confirmed, at: int) -> None:
        """It was done. Nobody waits for a child that goes its own way."""
        child = self._children.get(entry.id)
        if child is not None and child.on_parent_end == "abandon" and entry.failure is None:
            self.resolved[waitpoint_of(entry.id, child.workflow)] = Resolution(
                kind="RUN", resolved_at=at, source="replay"
            )

    def fired(self, entry: TimerFired, at: int) -> None:
        """A timer was due: a sleep is over, or a wait has got nothing in time."""
        name = entry.name
        if name == RUN_TIMEOUT:
            self.is_timed_out = True
        elif name in self._subscribed:
            self._over("event", name, at)
        elif _HOOK.fullmatch(name):
            self._over("token", name, at)
        elif name in _SLEEPS or self._is_no_address(name):
            self.resolved[f"sleep:{entry.n}"] = Resolution(kind="DATETIME", resolved_at=at, source="replay")
        else:
            self._over("signal", name, at)

    def received(self, entry: Received, at: int) -> bool:
        """A message came. False: it was not for the body."""
        match entry.message:
            case Signal(name=name, value=value):
                self._over("signal", name, at, entry.id, value)
            case Event(name=name, value=value):
                self._over("event", name, at, entry.id, value)
            case HookCompleted(command=command, value=value):
                self._over("token", command, at, entry.id, value)
            case ChildEnded() as message:
                self._child_ended(message, at)
            case _:
                return False
        return True

    def begun(self, not_before: int) -> None:
        """A delayed run has begun."""
        start = Resolution(kind="DATETIME", resolved_at=not_before, source="replay")
        self.resolved = {self._start_id: start, **self.resolved}

    def _is_no_address(self, name: str) -> bool:
        return name in self._children or "/" in name or "@" in name

    def _over(self, kind: str, name: str, at: int, id: MessageId | None = None, value: Raw | UnsetType = UNSET) -> None:
        is_early, is_void = marks_of(id)
        if value is not UNSET:
            value = UNSET if is_void else plain(self._opened(value))
        self.resolved[self._next_id(kind, name, self._counted(kind, name))] = Resolution(
            kind=_KINDS[kind],
            resolved_at=at,
            matched_event_id=f"evt_live_{name}" if kind == "event" and id is not None else UNSET,
            payload=value,
            source="replay" if id is None else "inbox" if is_early else "live",
        )

    def _child_ended(self, message: ChildEnded, at: int) -> None:
        child = self._children.get(message.command)
        if child is None:
            return
        is_ok = message.status == "completed"
        self.resolved[waitpoint_of(message.command, child.workflow)] = Resolution(
            kind="RUN",
            resolved_at=at,
            payload=UNSET if not is_ok or message.value == NULL else plain(self._opened(message.value)),
            error=UNSET if is_ok else child_error(message.status, message.failure),
            source="replay",
        )

    # --- what is still waited for

    def pending(self, waits: Iterable[Wait], created_at: int) -> list[Waitpoint]:
        """The waits of a run that is parked. A step that waits for its next attempt is none."""
        counts = dict(self._counts)
        return [found for wait in waits if (found := self._pending(wait, created_at, counts)) is not None]

    def _pending(self, wait: Wait, created_at: int, counts: dict[tuple[str, str], int]) -> Waitpoint | None:
        match wait.kind:
            case "timer":
                return None if wait.name == RUN_TIMEOUT else _sleep(f"sleep:{wait.n}", wait, created_at)
            case "start":
                meta = {"wakeAt": wait.until, "durationMs": (wait.until or 0) - created_at, "source": "trigger.delay"}
                return Waitpoint(client_waitpoint_id=self._start_id, kind="DATETIME", meta=meta)
            case "child":
                return self._pending_child(CommandId(wait.name))
            case "event" | "signal" | "token":
                key = (wait.kind, wait.name)
                counts[key] = counts.get(key, 0) + 1
                return Waitpoint(
                    client_waitpoint_id=self._next_id(wait.kind, wait.name, counts[key]),
                    kind=_KINDS[wait.kind],
                    meta=self._meta(wait),
                    timeout_ms=wait.until - wait.since if wait.until is not None and wait.since else UNSET,
                )
            case _:
                return None

    def _meta(self, wait: Wait) -> dict[str, Any]:
        if wait.kind == "event":
            return {"eventType": wait.name}
        if wait.kind == "signal":
            return {"signalName": wait.name}
        return {"tokenId": self.token_of(wait.name)}

    def _pending_child(self, id: CommandId) -> Waitpoint | None:
        child = self._children.get(id)
        if child is None:
            return None
        given = {} if child.input == NULL else {"childInput": plain(self._opened(child.input))}
        meta = {"childWorkflowId": child.workflow, **given, "detach": False, "tags": []}
        return Waitpoint(client_waitpoint_id=waitpoint_of(id, child.workflow), kind="RUN", meta=meta)

    # --- names

    def token_of(self, hook: str) -> str:
        """What a client calls a hook: its custom token, or its id. A generated token is a secret of who got it."""
        return self._tokens.get(CommandId(hook), hook)

    @property
    def _start_id(self) -> str:
        return trigger_delay(self._run)

    def _counted(self, kind: str, name: str) -> int:
        count = self._counts[(kind, name)] = self._counts.get((kind, name), 0) + 1
        return count

    def _next_id(self, kind: str, name: str, count: int) -> str:
        if kind == "token":
            token = self.token_of(name)
            return f"token:{token}" if count == 1 else f"token:{token}:{count}"
        return f"{kind}:{name}:{count}"


def waitpoint_of(command: CommandId, workflow: str) -> str:
    """The wait of a parent for a child that this command started. A worker elsewhere names it so itself."""
    if command.startswith(f"invoke:{workflow}:"):
        return command
    count = command.removeprefix(workflow).removeprefix(":")
    return f"invoke:{workflow}:{count or 1}" if command.startswith(workflow) else f"invoke:{command}:1"


def _sleep(id: str, wait: Wait, created_at: int) -> Waitpoint:
    duration = (wait.until or 0) - (wait.since or created_at)
    meta = {"durationMs": duration, "wakeAt": wait.until}
    return Waitpoint(client_waitpoint_id=id, kind="DATETIME", meta=meta, timeout_ms=duration)
