"""Cancel, terminate, pause, resume: messages like any other, each with the id of the request that sent it."""

from __future__ import annotations

from stepwell.model.durations import Duration, duration_ms
from stepwell.model.ids import RunId
from stepwell.model.messages import CancelRequested, Message, PauseRequested, ResumeRequested, TerminateRequested
from stepwell.runtime.client import Client


class Steering:
    """The control messages of one client. `request_id` makes a repeated request count once."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def cancel(
        self, run: RunId, reason: str = "", *, grace: Duration | None = None, request_id: str | None = None
    ) -> None:
        """`CancelledError` at the body's awaits; after `grace` the run is terminated."""
        grace_ms = None if grace is None else duration_ms(grace, what="cancel(grace)")
        await self._send(run, "cancel", CancelRequested(reason=reason, grace_ms=grace_ms), request_id)

    async def terminate(self, run: RunId, reason: str = "", *, request_id: str | None = None) -> None:
        """End at once, without cleanup."""
        await self._send(run, "terminate", TerminateRequested(reason=reason), request_id)

    async def pause(self, run: RunId, reason: str = "", *, request_id: str | None = None) -> None:
        """Start nothing new until resumed."""
        await self._send(run, "pause", PauseRequested(reason=reason), request_id)

    async def resume(self, run: RunId, *, request_id: str | None = None) -> None:
        """Go on after a pause."""
        await self._send(run, "resume", ResumeRequested(), request_id)

    async def _send(self, run: RunId, verb: str, message: Message, request_id: str | None) -> None:
        request = request_id or self._client.backend.clock.random_bytes(12).hex()
        await self._client.deliver(run, message, id=f"{verb}:{request}")
