"""Completing hooks: which run a token belongs to, and handing it the value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from stepwell.errors import HookError
from stepwell.model.entries import ContinuedAsNew, Entry, Frame, Intended, OpenHook
from stepwell.model.ids import MessageId, RunId
from stepwell.model.messages import HookCompleted
from stepwell.model.tokens import is_genuine, parse_token

if TYPE_CHECKING:
    from stepwell.runtime.client import Client


async def complete(client: Client, token: str, value: Raw, *, id: str) -> RunId:
    """Complete a hook. `HookError` if there is no such hook, or its run has ended."""
    run, base, command = await _resolve(client, token)
    message = HookCompleted(base=base, command=command, value=value)
    answer = await client.repeated(lambda: client.acts.deliver(run, MessageId(f"hook:{base}.{command}:{id}"), message))
    if answer.answer in ("missing", "closed"):
        raise HookError(f"the run of this hook, {run}, has ended")
    return run


async def _resolve(client: Client, token: str) -> tuple[RunId, int, Any]:
    parsed = parse_token(token)
    if parsed is not None:
        created = await client.created(parsed.run)
        if created is None or not is_genuine(parsed, created.seed):
            raise HookError("this hook token is not valid")
        return parsed.run, parsed.base, parsed.command
    holder = await client.backend.store.resolve(token)
    if holder is None:
        raise HookError("no run holds this hook token")
    return await _custom_hook(client, RunId(holder), token)


async def _custom_hook(client: Client, run: RunId, token: str) -> tuple[RunId, int, Any]:
    loaded, frames = await client.journal(run, after=0)
    for entry in _newest_first([frame for _, frame in frames]):
        if isinstance(entry, Intended) and isinstance(entry.act, OpenHook) and entry.act.token == token:
            return run, loaded.head.base, entry.id
    raise HookError("no run holds this hook token")


def _newest_first(frames: Sequence[Frame]) -> Iterator[Entry]:
    """The entries of one generation. One that retries begins with a history, which may have opened hooks."""
    for frame in reversed(frames):
        for entry in reversed(frame.entries):
            if isinstance(entry, ContinuedAsNew):
                yield from _newest_first(entry.history)
            else:
                yield entry
