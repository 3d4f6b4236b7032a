"""Events, signals and values of tokens for one run.

Strict as that system is: a run takes what it waits for, and nothing else. With `?buffer=1` it takes what it may come to
wait for later, too: the inbox of a run keeps everything, so nothing is lost in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal
from weakref import WeakKeyDictionary, WeakValueDictionary

from msgspec import UNSET, Raw, Struct, structs

from stepwell.errors import RunClosedError, RunNotFoundError
from stepwell.formats.voyant import Injection, injection_of
from stepwell.formats.voyant.waits import injection_id
from stepwell.model.entries import Frame, Intended, OpenHook
from stepwell.model.failures import NULL
from stepwell.model.ids import CommandId, MessageId, RunId
from stepwell.model.messages import Event, HookCompleted, Message, Signal
from stepwell.model.runs import Head, Wait
from stepwell.model.tokens import is_genuine, parse_token
from stepwell.runtime.app import Stepwell
from stepwell.runtime.hub import Hub
from stepwell.runtime.replaying import replay_frames
from stepwell.server.bodies import checked_json
from stepwell.server.compat.pausing import paused, seen
from stepwell.server.compat.records import ASYNC, run_of, stored_record
from stepwell.server.endpoints import Answer, Call
from stepwell.server.problems import Problem

_SHOWN_WAITS_MAX = 20
"""A head tells of no more waits than these."""
_ALONE = -1
"""The index of an event that went to one run, and is in no log."""


class InjectionQuery(Struct, frozen=True):
    """`buffer`: keep what nothing waits for yet."""

    buffer: bool = False


async def inject_event(call: Call) -> Answer:
    """An event for one run."""
    return await _inject(call, "event")


async def inject_signal(call: Call) -> Answer:
    """A signal."""
    return await _inject(call, "signal")


async def inject_token(call: Call) -> Answer:
    """A value for a hook: by its custom token, its generated token, or its id within the run."""
    return await _inject(call, "token")


async def _inject(call: Call, kind: Literal["event", "signal", "token"]) -> Answer:
    body = checked_json(call.raw_body) if call.raw_body or kind != "token" else None
    injection = injection_of(kind, body, token=call.path.get("token", ""))
    if isinstance(injection, str):
        raise Problem(400, "invalid_body", injection)
    try:
        run = run_of(call)
    except RunNotFoundError:
        raise not_stored() from None
    # One after another, so that two for one wait are not both taken for the one that it gets.
    turn = _turn(call.app, run)
    try:
        async with asyncio.timeout(call.server.options.wait / 2):
            await turn.acquire()
    except TimeoutError:
        raise _not_parked(run, "it is busy with another message") from None
    try:
        return await _injected(call, run, injection)
    finally:
        turn.release()


async def _injected(call: Call, run: RunId, injection: Injection) -> Answer:
    app = call.app
    app.ensure_worker()
    try:
        loaded, frames = await app.client.journal(run, after=0)
    except RunNotFoundError:
        raise not_stored() from None
    head = _seen_elsewhere(app, seen(app, loaded.head), frames)
    target = await _target(app, head, frames, injection)
    is_early = not await _is_awaited(call, head, target)
    with app.hub.watch(run) as watch:
        id, message = _message(app, head, injection, target, is_early=is_early)
        try:
            await app.client.deliver(run, message, id=id)
        except RunClosedError:
            raise _not_parked(run, "it has ended") from None
        if call.prefers_async:
            return Answer(body=await stored_record(call, run, watch), status=202, headers=ASYNC)
        is_done = await paused(call, watch, after=(id, head.seq))
        return Answer(body=await stored_record(call, run, watch), status=200 if is_done and not is_early else 202)


def _seen_elsewhere(app: Stepwell, head: Head, frames: Sequence[tuple[int, Frame]]) -> Head:
    """The head with what a run waits for that another process holds through a short wait: its code says so."""
    workflow = app.registry.find(head.workflow, head.version)
    is_held = head.status == "running" and head.owner is not None
    if not is_held or workflow is None or (app.client.worker is not None and head.id in app.client.worker.active):
        return head
    report = replay_frames(head.id, frames, workflow, app.registry, status=head.status)
    if report.error is not None or report.pending or not report.waits:
        return head
    return structs.replace(head, status="waiting", waiting=report.waits)


class _Target(Struct, frozen=True):
    """Where it goes: the name of the address, and the wait there, if there is one."""

    name: str
    wait: Wait | None = None


async def _target(app: Stepwell, head: Head, frames: Sequence[tuple[int, Frame]], injection: Injection) -> _Target:
    name = injection.name
    if injection.kind == "token":
        name = await _hook_of(app, head, frames, name)
    wait = next((item for item in head.waiting if item.kind == injection.kind and item.name == name), None)
    return _Target(name, wait)


async def _is_awaited(call: Call, head: Head, target: _Target) -> bool:
    """Whether the run waits for it. If not, and it is not to be kept: `Problem`."""
    if head.is_terminal:
        raise _not_parked(head.id, f"it is {head.status}")
    is_parked = head.status in ("waiting", "paused") or (head.status == "queued" and bool(head.waiting))
    is_awaited = is_parked and (target.wait is not None or len(head.waiting) >= _SHOWN_WAITS_MAX)
    if not is_awaited and not call.query.buffer:
        if not is_parked:
            raise _not_parked(head.id, f"it is {head.status}")
        text = f"run {head.id} does not wait for {target.name[:200]!r}; with ?buffer=1 it is kept until it does"
        raise Problem(400, "no_match", text)
    return is_awaited


async def _hook_of(app: Stepwell, head: Head, frames: Sequence[tuple[int, Frame]], token: str) -> str:
    """The id of the hook that a token is for, within its run. A token of no hook is taken for such an id."""
    parsed = parse_token(token)
    if parsed is not None:
        created = await app.client.created(head.id)
        if parsed.run == head.id and created is not None and is_genuine(parsed, created.seed):
            return parsed.command
        return token
    hooks = [
        entry.id
        for _, frame in frames
        for entry in frame.entries
        if isinstance(entry, Intended) and isinstance(entry.act, OpenHook) and entry.act.token == token
    ]
    awaited = {wait.name for wait in head.waiting if wait.kind == "token"}
    return next((hook for hook in hooks if hook in awaited), hooks[-1] if hooks else token)


def _message(
    app: Stepwell, head: Head, injection: Injection, target: _Target, *, is_early: bool
) -> tuple[MessageId, Message]:
    is_given = injection.payload is not UNSET
    # A wait that has got nothing in time has no payload; so one that may end so gets null.
    is_void = not is_given and target.wait is not None and target.wait.until is None
    value: Raw = NULL
    if is_given:
        value = app.registry.encode(injection.payload, what="`payload`")
    id = injection_id(app.client.clock.random_bytes(12).hex(), is_early=is_early, is_void=is_void)
    match injection.kind:
        case "event":
            return id, Event(name=target.name, index=_ALONE, value=value)
        case "signal":
            return id, Signal(name=target.name, value=value)
        case _:
            return id, HookCompleted(base=head.base, command=CommandId(target.name), value=value)


def not_stored() -> Problem:
    """There is no such run."""
    return Problem(404, "not_found", "no run stored in this DO")


def _not_parked(run: RunId, why: str) -> Problem:
    return Problem(409, "not_parked", f"run {run} takes no messages now: {why}")


_turns: WeakKeyDictionary[Hub, WeakValueDictionary[RunId, asyncio.Lock]] = WeakKeyDictionary()


def _turn(app: Stepwell, run: RunId) -> asyncio.Lock:
    locks = _turns.setdefault(app.hub, WeakValueDictionary())
    lock = locks.get(run)
    if lock is None:
        lock = locks[run] = asyncio.Lock()
    return lock
