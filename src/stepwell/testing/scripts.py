"""What a test sends to a run while it goes on, and waiting for its end meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from stepwell.authoring.messages import Event, Signal
from stepwell.errors import DefinitionError, HookError, RunClosedError
from stepwell.formats.hooks import HookRequest, HookResponse
from stepwell.model.durations import Duration, duration_ms
from stepwell.model.entries import Ended
from stepwell.model.ids import CommandId
from stepwell.model.tokens import make_token
from stepwell.runtime.app import Stepwell
from stepwell.runtime.handles import Handle
from stepwell.runtime.hook_requests import answer_of, payload_of
from stepwell.runtime.hooks import find_hook, hand_over

_ANSWER_WITHIN = 30.0

Script = Sequence[tuple[Signal[Any] | Event[Any] | str, Duration, Any]]
"""(to whom, how long after the start, what)."""


async def ended(
    app: Stepwell, handle: Handle[Any], script: Script, *, timeout: Duration | None, broken: asyncio.Future[Any]
) -> Ended:
    """Play the script and wait for the run's end. Raises what `broken` or a message fails with."""
    seconds = None if timeout is None else duration_ms(timeout, what="timeout") / 1000
    end = asyncio.ensure_future(app.client.ended(handle.id, seconds))
    messages = [asyncio.ensure_future(_send(app, handle, *message)) for message in script]
    try:
        open_: set[asyncio.Future[Any]] = {end, broken, *messages}
        while not end.done():
            over, open_ = await asyncio.wait(open_, return_when=asyncio.FIRST_COMPLETED)
            for item in over:
                item.result()
        return end.result()
    finally:
        for item in (end, *messages):
            item.cancel()
        await asyncio.wait([end, *messages])


async def _send(
    app: Stepwell, handle: Handle[Any], to: Signal[Any] | Event[Any] | str, after: Duration, value: Any
) -> None:
    await asyncio.sleep(duration_ms(after, what="the time of a message") / 1000)
    with contextlib.suppress(RunClosedError):
        if isinstance(to, Signal):
            await handle.send(to, value)
        elif isinstance(to, Event):
            await app.publish(to, value)
        elif isinstance(to, str):
            await app.complete(await _token(app, handle, to), value)
        else:
            raise DefinitionError(f"messages holds {to!r}; give a signal, an event, or a hook's id or token")


async def requested(app: Stepwell, hook: str, request: HookRequest) -> HookResponse | None:
    """Send a request to the hook of a URL or token, as the server does; signatures are taken for good ones."""
    client = app.client
    found = await find_hook(client, unquote(hook.rpartition("/hooks/")[2]))
    if request.method not in found.options.verbs:
        raise HookError(f"this hook is completed by {', '.join(found.options.verbs)}, and not by {request.method}")
    payload = payload_of(client, found, request)
    if payload is None:
        raise HookError(f"this hook takes JSON, forms and text, not {request.content_type!r}")
    id = request.header("webhook-id") or request.header("idempotency-key") or client.clock.random_bytes(12).hex()
    if not await hand_over(client, found, payload, id=id):
        raise HookError(f"the run of this hook, {found.run}, has ended")
    return await answer_of(client, found, id=id, within=_ANSWER_WITHIN) if found.options.respond else None


async def _token(app: Stepwell, handle: Handle[Any], hook: str) -> str:
    """The token of the run's hook of that id; a token is its own."""
    if hook != "hook" and not hook.startswith("hook:"):
        return hook
    created = await app.client.created(handle.id)
    head = await handle.head()
    assert created is not None, "the run has been started"
    return make_token(handle.id, head.base, CommandId(hook), created.seed)
