"""What a dispatcher notes while an invocation goes on: when it is journaled, and when not any more."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import Raw

from stepwell import Stepwell, Stream
from stepwell.authoring.remotes import InvocationHost, RemoteWorkflow
from stepwell.engine.remote.calls import Answer, RemoteCall
from stepwell.errors import WorkerError
from stepwell.model.entries import StepCompleted
from stepwell.model.ids import CommandId, RunId
from stepwell.ports import Backend
from stepwell.testing.faults import Call, FaultyBackend
from stepwell.testing.virtual import VirtualClock, VirtualLoop

pay: RemoteWorkflow[Any, Any] = RemoteWorkflow("pay")


class App(Stepwell):
    """An app whose streams take a second for each write."""

    async def _open_backend(self) -> Backend:
        async def slow(call: Call) -> Any:
            if call.name == "streams.append":
                await asyncio.sleep(1)
            return await call.apply()

        return FaultyBackend(await super()._open_backend(), slow)


def step(call: RemoteCall, id: str, value: str) -> StepCompleted:
    return StepCompleted(id=CommandId(id), value=Raw(msgspec.json.encode(value)), via=call.id)


def played(dispatch: Any) -> list[tuple[str, bool]]:
    """The steps that were run elsewhere, and whether their chunk was in the stream when they were journaled."""
    clock = VirtualClock()
    loop = VirtualLoop(clock)

    async def main() -> list[tuple[str, bool]]:
        async with App("memory://notes", include=[pay], clock=clock) as app:
            app.registry.dispatch = dispatch
            handle = await app.start(pay, id="r1")
            values = [chunk async for chunk in handle.stream(Stream("log", str))]
            _, frames = await app.client.journal(RunId("r1"))
            steps = [entry for _, frame in frames for entry in frame.entries if isinstance(entry, StepCompleted)]
            return [(msgspec.json.decode(entry.value), entry.id in values) for entry in steps if entry.via]

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def test_what_is_noted_when_the_attempt_is_over_changes_nothing() -> None:
    late: list[InvocationHost] = []

    async def dispatch(call: RemoteCall, host: InvocationHost) -> Answer:
        late.append(host)
        if len(late) == 1:
            raise WorkerError("no answer in time")
        late[0].note(step(call, "load", "late"))
        late[0].save_notes()
        await asyncio.sleep(1)
        host.note(step(call, "load", "mine"))
        return Answer(status="completed")

    assert [value for value, _ in played(dispatch)] == ["mine"]


def test_a_step_is_journaled_when_its_chunks_are_in_their_stream() -> None:
    written: list[int] = []

    async def dispatch(call: RemoteCall, host: InvocationHost) -> Answer:
        written.append(len(call.journal.steps))
        if len(written) == 1:
            for n, id in enumerate(("load", "ship")):
                host.write("log", source=id, attempt=1, k=0, value=Raw(msgspec.json.encode(id)))
                host.note(step(call, id, id))
                host.save_notes()
                await asyncio.sleep(0.3)
                written.append(len(call.journal.steps) - n)
            await asyncio.sleep(3)
            written.append(len(call.journal.steps))
        return Answer(status="completed")

    assert played(dispatch) == [("load", True), ("ship", True)]
    assert written == [0, 0, -1, 2]


def test_the_steps_of_an_attempt_that_failed_are_journaled_with_their_chunks() -> None:
    attempts: list[int] = []

    async def dispatch(call: RemoteCall, host: InvocationHost) -> Answer:
        attempts.append(len(call.journal.steps))
        if len(attempts) == 1:
            host.write("log", source="load", attempt=1, k=0, value=Raw(b'"load"'))
            host.note(step(call, "load", "load"))
            raise WorkerError("the connection broke")
        return Answer(status="completed")

    assert played(dispatch) == [("load", True)]
    assert attempts == [0, 1]
