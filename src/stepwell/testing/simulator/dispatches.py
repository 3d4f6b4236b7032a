"""How a worker here asks the worker elsewhere: at the level of calls, or in bytes, by the dispatcher of the product."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from stepwell.authoring.remotes import InvocationHost
from stepwell.authoring.running import current_step
from stepwell.engine.remote.calls import Answer, RemoteCall
from stepwell.runtime.remote.dispatching import Dispatcher
from stepwell.runtime.remote.targets import Target, Targets
from stepwell.testing.simulator.bodies import Request
from stepwell.testing.simulator.elsewhere import Beat, Connection, Elsewhere, Over, Sent, Stepped
from stepwell.testing.simulator.plans import AWAY
from stepwell.testing.simulator.wires import (
    JSON_TYPE,
    LINES_TYPE,
    Json,
    as_lines,
    chunk,
    encode,
    outcome,
    request_in,
    step_entry,
    twisted,
)

if TYPE_CHECKING:
    from stepwell.runtime.app import Stepwell

Reply = tuple[int, Mapping[str, str], bytes | AsyncIterator[bytes]]


async def dispatch(call: RemoteCall, host: InvocationHost) -> Answer:
    """The dispatcher of a simulation."""
    this = current_step()
    wire = this.get(Wire)
    return await this.get(Elsewhere).invoke(this, call, host, wire.dispatch if wire.is_on else None)


class BrokenOffError(Exception):
    """The connection to a worker elsewhere breaks."""


class Wire:
    """What an app has of targets: one, the worker elsewhere."""

    def __init__(self, app: Stepwell, elsewhere: Elsewhere, *, is_on: bool) -> None:
        self.is_on = is_on
        self._app = app
        self._elsewhere = elsewhere
        self._dispatcher: Dispatcher | None = None

    async def dispatch(self, call: RemoteCall, host: InvocationHost) -> Answer:
        """Ask in bytes."""
        if self._dispatcher is None:
            app = self._app
            target = Target(self.handle, workflows=[AWAY], idle_timeout="15s", timeout="4m", secret="sealed")
            targets = Targets([target])
            targets.serve(app.registry, app.client.clock)
            self._dispatcher = Dispatcher(targets, app.client, app.registry, "")
        return await self._dispatcher(call, host)

    async def handle(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """What the worker answers to a request."""
        elsewhere, request = self._elsewhere, request_in(body, headers)
        elsewhere.compare(request)
        how = elsewhere.how(request)
        await asyncio.sleep(elsewhere.choice.choice((0, 0, 0.002, 0.03)))
        process = elsewhere.process
        if process is None:
            raise BrokenOffError("nobody is there, on purpose")
        if how == "refuses":
            later = {"retry-after": "4"} if elsewhere.choice.random() < 0.5 else {}
            return elsewhere.choice.choice((429, 500, 503)), {**JSON_TYPE, **later}, b'{"error":"busy","message":"no"}'
        connection = elsewhere.connected(process, how)
        process.spawn(elsewhere.serve(request, connection, how), "a body")
        if how == "twice":
            again = Connection(connection.loop, speaks=True)
            process.spawn(elsewhere.serve(request, again, ""), "the same body")
        if connection.speaks:
            return 200, LINES_TYPE, as_lines(self._lines(request, connection, how))
        async for line in self._lines(request, connection, how):
            if "outcome" in line:
                return 200, JSON_TYPE, encode(line["outcome"])
            if "rubbish" in line:
                return 200, JSON_TYPE, line["rubbish"]
        raise BrokenOffError("no answer, on purpose")

    async def _lines(self, request: Request, connection: Connection, how: str) -> AsyncIterator[Json]:
        steps: dict[str, Json] = {}
        chunks: list[Json] = []
        yield {"speaks": ["cancel", "lines"]}
        while True:
            match await connection.read():
                case Stepped(id=id, attempt=attempt, done=done, record=record):
                    steps[id] = step_entry(done.is_ok, done.value, attempt, record)
                    yield {"step": {"id": id, "entry": steps[id]}}
                case Sent(source=source, attempt=attempt, k=k, text=text):
                    chunks.append(chunk(source, attempt, k, text, self._now()))
                    yield {"chunk": chunks[-1]}
                case Beat():
                    yield {"beat": self._now()}
                case Over(answer=answer):
                    found = outcome(request, answer, steps, chunks)
                    if how == "rubbish":
                        yield {"rubbish": twisted(found, request, self._elsewhere.choice)}
                    yield {"outcome": found}
                    return
                case _:
                    raise BrokenOffError("the connection broke, on purpose")

    def _now(self) -> int:
        return self._app.client.clock.now()
