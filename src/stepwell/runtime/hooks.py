"""Completing hooks: which one a token belongs to, and handing it a value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Raw, Struct

from stepwell.errors import HookError
from stepwell.model.entries import ContinuedAsNew, Created, Entry, Frame, FrameCodec, Intended, OpenHook
from stepwell.model.ids import CommandId, MessageId, RunId
from stepwell.model.messages import HookCompleted
from stepwell.model.runs import Head
from stepwell.model.tokens import NO_OPTIONS, HookOptions, is_genuine, parse_token
from stepwell.ports import MAX_SEQ, Wanted

if TYPE_CHECKING:
    from stepwell.runtime.client import Client

_TOKEN_MAX = 200
_NO_SEED = "00" * 16
_UNKNOWN = "no run holds this hook token"


class FoundHook(Struct, frozen=True, kw_only=True):
    """What a genuine token stands for. `state`: `open`; `soon`, if the run holds the token and has begun anew, but not
    come to open the hook again; `over`, if the hook was that of a generation that is."""

    run: RunId
    base: int
    command: CommandId
    options: HookOptions = NO_OPTIONS
    state: Literal["open", "soon", "over"] = "open"

    def message_id(self, id: str) -> MessageId:
        """Of what somebody sends under that id."""
        return MessageId(f"hook:{self.base}.{self.command}:{id}")


async def find_hook(client: Client, token: str) -> FoundHook:
    """The hook of a token. `HookError` if there is none."""
    parsed = parse_token(token)
    if parsed is None:
        return await _custom_hook(client, token)
    loaded = await client.repeated(lambda: client.backend.store.load([Wanted(parsed.run, -1, MAX_SEQ, until=1)]))
    created = None if loaded[0] is None else FrameCodec.decode(loaded[0].frames[0][1]).entries[0]
    seed = created.seed if isinstance(created, Created) else _NO_SEED
    # Compared even if there is no run, so that the time it takes does not tell.
    if not is_genuine(parsed, seed) or loaded[0] is None or created is None:
        raise HookError("this hook token is not valid")
    state: Literal["open", "over"] = "open" if parsed.base == loaded[0].head.base else "over"
    return FoundHook(run=parsed.run, base=parsed.base, command=parsed.command, options=parsed.options, state=state)


async def _custom_hook(client: Client, token: str) -> FoundHook:
    store = client.backend.store
    holder = None if len(token) > _TOKEN_MAX else await client.repeated(lambda: store.resolve(token))
    if holder is None:
        raise HookError(_UNKNOWN)
    run = RunId(holder)
    (loaded,) = await client.repeated(lambda: store.load([Wanted(run, 0, MAX_SEQ)]))
    if loaded is None:
        raise HookError(_UNKNOWN)
    text = msgspec.json.encode(token)
    frames = [FrameCodec.decode(body) for _, body in loaded.frames if text in body]
    head = loaded.head
    for entry in _newest_first(frames):
        if isinstance(entry, Intended) and isinstance(entry.act, OpenHook) and entry.act.token == token:
            return FoundHook(run=run, base=head.base, command=entry.id, options=entry.act.options)
    if any(token in entry.names for frame in frames for entry in frame.entries if isinstance(entry, ContinuedAsNew)):
        return FoundHook(run=run, base=head.base, command=CommandId(""), state=_unopened(head))
    raise HookError(_UNKNOWN)


def _unopened(head: Head) -> Literal["soon", "over"]:
    return "over" if head.is_terminal else "soon"


def _newest_first(frames: Sequence[Frame]) -> Iterator[Entry]:
    """The entries of one generation. One that retries begins with a history, which may have opened hooks."""
    for frame in reversed(frames):
        for entry in reversed(frame.entries):
            if isinstance(entry, ContinuedAsNew):
                yield from _newest_first(entry.history)
            yield entry


async def complete(client: Client, token: str, value: Raw, *, id: str) -> RunId:
    """Complete a hook. `HookError` if there is no such hook, or its run has ended."""
    hook = await find_hook(client, token)
    if hook.state == "soon":
        raise HookError(f"run {hook.run} has begun anew and not opened this hook again yet; try again")
    if hook.state == "over":
        raise HookError(f"run {hook.run} has begun anew, and this hook was of what it did before")
    if not await hand_over(client, hook, value, id=id):
        raise HookError(f"the run of this hook, {hook.run}, has ended")
    return hook.run


async def hand_over(client: Client, hook: FoundHook, value: Raw, *, id: str) -> bool:
    """Deliver until answered; an id counts once. False: the run has ended, or begun anew without this hook."""
    if hook.state != "open":
        return False
    message = HookCompleted(base=hook.base, command=hook.command, value=value)
    answer = await client.repeated(lambda: client.acts.deliver(hook.run, hook.message_id(id), message))
    return answer.answer in ("ok", "duplicate")
