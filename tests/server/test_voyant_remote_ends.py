"""How runs end whose bodies live elsewhere, in records: statuses, errors, counts, streams."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import FatalError, step
from stepwell.authoring.remotes import RemoteWorkflow
from stepwell.engine.remote.calls import Answer
from tests.runtime.remote.theirs import Cancel, Their, Turn, json
from tests.server.voyant_client import Client
from tests.server.voyant_remote import World, only

# --- ends


def test_an_error_of_the_workflow_is_in_three_words() -> None:
    async def body(turn: Turn) -> Any:
        turn.step("charge", error=Their("refused", "E_CARD"))

    world = World(body)

    async def test(client: Client) -> None:
        record = await world.start(client)
        assert record["status"] == "failed"
        assert record["error"] == {"category": "USER_ERROR", "code": "E_CARD", "message": "refused"}
        assert record["journal"]["stepResults"]["charge"]["error"]["cause"]["message"] == "socket hang up"

    world.run(test)


@pytest.mark.parametrize(("steps", "status"), [(["book"], "compensated"), (["book", "lost"], "compensation_failed")])
def test_a_run_that_undid_its_steps_says_so(steps: list[str], status: str) -> None:
    async def body(turn: Turn) -> Any:
        for id in steps:
            turn.step(id, "done")
            turn.undo(id)
        raise Their("no luck", "E_LUCK")

    world = World(body)

    async def test(client: Client) -> None:
        record = await world.start(client)
        assert record["status"] == status
        assert record["error"] == {"category": "USER_ERROR", "code": "E_LUCK", "message": "no luck"}
        assert record["pendingWaitpoints"] == []
        assert world.worker.effects == [*steps, *(f"undo {id}" for id in reversed(steps))]
        assert (await client.record("r"))["status"] == status

    world.run(test)


def test_a_body_that_asked_to_undo_its_steps_has_no_error() -> None:
    async def body(turn: Turn) -> Any: ...

    world = World(body)

    async def test(client: Client) -> None:
        async def dispatch(call: Any, host: Any) -> Answer:
            return Answer(status="compensated", reports=json([{"stepId": "a", "status": "ok", "durationMs": 1}]))

        client.app.registry.dispatch = dispatch
        record = await world.start(client)
        assert (record["status"], "error" in record) == ("compensated", False)

    world.run(test)


@step(retry=None)
async def book() -> str:
    return "booked"


@book.compensate
async def unbook(result: str) -> None: ...


def test_a_step_that_undoes_another_here_is_any_step_there() -> None:
    async def body(turn: Turn) -> Any:
        turn.step("unbook", 1)
        turn.step("charge", error=Their("no"))

    world = World(body)

    async def test(client: Client) -> None:
        assert (await world.start(client))["status"] == "failed"

    world.run(test, book)


class Refused(FatalError):
    """As the dispatcher raises it."""

    __module__ = "stepwell.errors"
    code = "handler_error"


def test_a_worker_that_refuses_is_no_error_of_the_workflow() -> None:
    async def body(turn: Turn) -> Any: ...

    world = World(body)
    world.worker.faults = [Refused('workflow "w" is not registered in this bundle')]

    async def test(client: Client) -> None:
        record = await world.start(client)
        assert record["status"] == "failed"
        assert record["error"] == {
            "category": "RUNTIME_ERROR",
            "code": "handler_error",
            "message": 'workflow "w" is not registered in this bundle',
        }
        assert record["invocationCount"] == 1

    world.run(test)


def test_a_worker_that_waits_for_nothing_fails_the_run() -> None:
    async def body(turn: Turn) -> Any: ...

    world = World(body)

    async def test(client: Client) -> None:
        async def dispatch(call: Any, host: Any) -> Answer:
            return Answer(status="waiting")

        client.app.registry.dispatch = dispatch
        record = await world.start(client)
        assert (record["status"], record["error"]["category"]) == ("failed", "RUNTIME_ERROR")
        assert record["error"]["code"] == "empty_waitpoint_list"

    world.run(test)


def test_a_result_that_does_not_fit_is_an_error_of_the_workflow() -> None:
    """W-38."""

    async def body(turn: Turn) -> Any:
        return "seven"

    world = World(body)

    async def test(client: Client) -> None:
        record = await world.start(client)
        assert (record["status"], record["error"]["code"]) == ("failed", "VALIDATION")

    world.run(test, RemoteWorkflow("w", output=int))


def test_a_cancel_ends_a_run_that_waits() -> None:
    async def body(turn: Turn) -> Any:
        turn.waited(turn.invoke("child", "waits"), turn.signal("go"))

    world = World(body)

    async def test(client: Client) -> None:
        await world.start(client)
        record = (await client.post("/api/runs/r/cancel", {"reason": "withdrawn"})).json()
        assert record["status"] == "cancelled"
        assert record["error"] == {"category": "USER_ERROR", "code": "CANCELLED", "message": "withdrawn"}
        assert record["pendingWaitpoints"] == []
        await asyncio.sleep(10)
        runs = (await client.get("/api/runs?workflow=child")).json()["runs"]
        assert only(runs)["status"] == "cancelled"
        assert (await client.post("/api/runs/r/cancel")).json()["error"] == "already_terminal"

    world.run(test)


def test_a_worker_that_cancels_ends_the_run_as_cancelled() -> None:
    async def body(turn: Turn) -> Any:
        raise Cancel

    world = World(body)

    async def test(client: Client) -> None:
        record = await world.start(client)
        assert (record["status"], "error" in record) == ("cancelled", False)

    world.run(test)


# --- counts and streams


def test_the_time_of_a_record_is_that_of_its_invocations() -> None:
    async def body(turn: Turn) -> Any:
        turn.step("load", 1)
        turn.waited(turn.signal("go"))

    world = World(body)
    world.worker.takes_ms = 250

    async def test(client: Client) -> None:
        await world.start(client)
        record = (await client.post("/api/runs/r/signals", {"name": "go"})).json()
        assert (record["computeTimeMs"], record["invocationCount"]) == (500, 2)

    world.run(test)


def test_streams_are_as_the_worker_wrote_them() -> None:
    async def body(turn: Turn) -> Any:
        turn.chunks("log", "Hello", "World", encoding="text", times=5)
        turn.chunks("rows", {"n": 1}, times=6)
        turn.chunks("raw", "AQID", encoding="base64", times=7)
        turn.chunks("none")
        turn.waited(turn.signal("go"))

    world = World(body)

    async def test(client: Client) -> None:
        def chunk(stream: str, seq: int, encoding: str, chunk: Any, at: int) -> dict[str, Any]:
            final = chunk is None
            return {
                "streamId": stream, "seq": seq, "encoding": encoding, "chunk": chunk, "final": final, "at": at,
            }  # fmt: skip

        record = await world.start(client)
        at = record["streams"].pop("none")[0]["at"]
        assert at >= record["startedAt"]
        assert record["streams"] == {
            "log": [
                chunk("log", 1, "text", "Hello", 5),
                chunk("log", 2, "text", "World", 5),
                chunk("log", 3, "text", None, 5),
            ],
            "rows": [chunk("rows", 1, "json", {"n": 1}, 6), chunk("rows", 2, "json", None, 6)],
            "raw": [chunk("raw", 1, "base64", "AQID", 7), chunk("raw", 2, "base64", None, 7)],
        }
        assert (await client.get("/api/runs/r/streams/log")).json()["chunks"][0]["value"] == "Hello"
        ended = (await client.post("/api/runs/r/signals", {"name": "go"})).json()
        assert {**ended["streams"]} == {
            **record["streams"],
            "none": [chunk("none", 1, "json", None, ended["completedAt"])],
        }

    world.run(test)
