"""Records of runs whose bodies live elsewhere, and messages to such runs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from stepwell.engine.remote.calls import Answer
from stepwell.errors import WorkerError
from tests.runtime.remote.theirs import TIMES, Their, Turn, json
from tests.server.voyant_client import Client
from tests.server.voyant_remote import World, only

TRIGGER = {"workflowId": "w", "runId": "r"}
ASYNC = {"prefer": "respond-async"}


# --- the journal


def test_the_journal_of_a_record_is_the_slice_that_the_worker_gets() -> None:
    async def body(turn: Turn) -> Any:
        turn.step("load", {"a": 1.5, "b": None}, attempt=2, machine={"cpu": 2}, after=0)
        turn.step("2", None)
        turn.change("set", "phase", "begun")
        turn.change("increment", "n")
        turn.chunks("log", "Hello", encoding="text")
        turn.waited(turn.sleep(60_000))
        (paid,) = turn.waited(turn.event("paid"))
        with contextlib.suppress(Their):
            turn.step("charge", error=Their("refused", "E_CARD"))
        turn.change("append", "seen", paid)
        return turn.waited(turn.signal("go"), turn.token("tok9", 1_000), turn.invoke("child", {"x": 1}))

    world = World(body)

    async def test(client: Client) -> None:
        await world.start(client)
        await asyncio.sleep(61)
        assert (await client.post("/api/runs/r/events", {"eventType": "paid", "payload": {"n": 7}})).status_code == 200
        await asyncio.sleep(2)
        parked = await client.record("r")
        await client.post("/api/runs/r/signals", {"name": "go", "payload": 1})
        ended = await client.record("r")
        requests = world.worker.requests
        new = requests[-1]["journal"]["waitpointsResolved"].pop("signal:go:3")
        assert requests[-1]["journal"] == parked["journal"]
        assert [*parked["journal"]["stepResults"]] == ["load", "2", "charge"]
        assert ended["journal"] == {
            "stepResults": {
                "load": {
                    "attempt": 2,
                    "status": "ok",
                    "output": {"a": 1.5, "b": None},
                    **TIMES,
                    "machine": {"cpu": 2},
                    "after": 0,
                },
                "2": {"attempt": 1, "status": "ok", **TIMES},
                "charge": {"attempt": 1, "status": "err", "error": Their("refused", "E_CARD").wire, **TIMES},
            },
            "waitpointsResolved": {
                "sleep:1": {"kind": "DATETIME", "resolvedAt": parked["startedAt"] + 60_000, "source": "replay"},
                "event:paid:2": {
                    "kind": "EVENT",
                    "resolvedAt": parked["startedAt"] + 61_000,
                    "matchedEventId": "evt_live_paid",
                    "payload": {"n": 7},
                    "source": "live",
                },
                "invoke:child:4": {
                    "kind": "RUN",
                    "resolvedAt": parked["startedAt"] + 61_000,
                    "payload": {"got": {"x": 1}},
                    "source": "replay",
                },
                "token:tok9": {"kind": "MANUAL", "resolvedAt": parked["startedAt"] + 62_000, "source": "replay"},
                "signal:go:3": new,
            },
            "compensationsRun": {},
            "metadataState": {"phase": "begun", "n": 1, "seen": [{"n": 7}]},
            "streamsCompleted": {"log": {"chunkCount": 2}},
        }
        assert ended["output"] == [1, None, {"got": {"x": 1}}]
        assert ended["metadataAppliedCount"] == 3
        assert ended["invocationCount"] == len(requests)

    world.run(test)


def test_what_else_a_worker_keeps_in_its_journal_is_shown() -> None:
    async def body(turn: Turn) -> Any:
        turn.waited(turn.signal("go"))

    world = World(body)

    async def test(client: Client) -> None:
        ask = world.worker.dispatch

        async def dispatch(call: Any, host: Any) -> Answer:
            answer = await ask(call, host)
            undone = {"book": json({"status": "ok", "finishedAt": 5, "theirs": 1})}
            return Answer(status="waiting", waits=answer.waits, undone=undone, more={"extra": json([1])})

        client.app.registry.dispatch = dispatch
        record = await world.start(client)
        assert record["journal"]["compensationsRun"] == {"book": {"status": "ok", "finishedAt": 5, "theirs": 1}}
        assert record["journal"]["extra"] == [1]

    world.run(test)


# --- waits


def test_pending_waits_are_in_the_workers_words() -> None:
    async def body(turn: Turn) -> Any:
        waits = [
            turn.sleep(60_000),
            turn.event("paid", 5_000),
            turn.signal("go"),
            turn.token("tok9"),
            turn.invoke("w2"),
        ]
        turn.waited(*waits)

    async def w2(turn: Turn) -> Any:
        turn.waited(turn.signal("never"))

    world = World(body, w2=w2)

    async def test(client: Client) -> None:
        record = await world.start(client, input={"b": 1})
        assert record["status"] == "waiting"
        assert record["pendingWaitpoints"] == [
            {
                "clientWaitpointId": "sleep:1",
                "kind": "DATETIME",
                "meta": {"durationMs": 60_000, "wakeAt": record["startedAt"] + 60_000},
                "timeoutMs": 60_000,
            },
            {"clientWaitpointId": "event:paid:2", "kind": "EVENT", "meta": {"eventType": "paid"}, "timeoutMs": 5_000},
            {"clientWaitpointId": "signal:go:3", "kind": "SIGNAL", "meta": {"signalName": "go"}},
            {"clientWaitpointId": "token:tok9", "kind": "MANUAL", "meta": {"tokenId": "tok9"}},
            {
                "clientWaitpointId": "invoke:w2:4",
                "kind": "RUN",
                "meta": {"childWorkflowId": "w2", "detach": False, "tags": ["by:parent"]},
            },
        ]
        runs = (await client.get("/api/runs?workflow=w2")).json()["runs"]
        found = await client.record(only(runs)["id"])
        assert found["parent"] == {"runId": "r", "waitpointId": "invoke:w2:4"}
        assert found["triggeredBy"] == {"kind": "parent", "parentRunId": "r", "parentStepId": "invoke:w2:4"}
        assert found["tags"] == ["by:parent"]

    world.run(test)


def test_a_run_that_was_triggered_for_later_waits_for_its_start() -> None:
    async def body(turn: Turn) -> Any:
        return [*turn.journal["waitpointsResolved"]]

    world = World(body)

    async def test(client: Client) -> None:
        record = await world.start(client, delay=60_000)
        wait = only(record["pendingWaitpoints"])
        assert (wait["clientWaitpointId"], record["status"], record["invocationCount"]) == (
            "trigger-delay:r",
            "waiting",
            0,
        )
        assert world.worker.requests == []
        await asyncio.sleep(61)
        ended = await client.record("r")
        assert ended["output"] == ["trigger-delay:r"]
        assert ended["journal"]["waitpointsResolved"]["trigger-delay:r"]["resolvedAt"] == record["startedAt"]

    world.run(test)


def test_a_run_whose_worker_is_not_there_is_running() -> None:
    async def body(turn: Turn) -> Any:
        return turn.waited(turn.signal("go"))

    world = World(body)
    world.worker.faults = [WorkerError("down", retry_after="1h")]

    async def test(client: Client) -> None:
        await client.post("/api/runs", TRIGGER, headers=ASYNC)
        await asyncio.sleep(60)
        record = await client.record("r")
        assert (record["status"], record["pendingWaitpoints"]) == ("running", [])
        await asyncio.sleep(3600)
        assert (await client.record("r"))["status"] == "waiting"

    world.run(test)


# --- messages


def test_messages_reach_the_waits_that_they_are_for() -> None:
    async def body(turn: Turn) -> Any:
        return turn.waited(turn.signal("go"), turn.event("paid"), turn.token("tok_1"))

    world = World(body)

    async def test(client: Client) -> None:
        await world.start(client)
        for path, sent in (
            ("events", {"eventType": "paid", "payload": 1}),
            ("tokens/tok_1", {"payload": "yes"}),
            ("signals", {"name": "go"}),
        ):
            answer = await client.post(f"/api/runs/r/{path}", sent)
            assert answer.status_code == 200, answer.text
        record = answer.json()
        assert record["output"] == [None, 1, "yes"]
        resolved = record["journal"]["waitpointsResolved"]
        assert {item["source"] for item in resolved.values()} == {"live"}
        assert "payload" not in resolved["signal:go:1"]

    world.run(test)


def test_early_messages_are_refused_or_kept() -> None:
    """W-12."""

    async def body(turn: Turn) -> Any:
        turn.waited(turn.sleep(60_000))
        return turn.waited(turn.signal("go", 1_000), turn.event("paid"), turn.token("tok9"))

    world = World(body)

    async def test(client: Client) -> None:
        await world.start(client)
        messages = (
            ("signals", {"name": "go", "payload": 1}),
            ("events", {"eventType": "paid"}),
            ("tokens/tok9", {"payload": 3}),
        )
        for path, sent in messages:
            assert (await client.post(f"/api/runs/r/{path}", sent)).json()["error"] == "no_match"
            assert (await client.post(f"/api/runs/r/{path}?buffer=1", sent)).status_code == 202
        await asyncio.sleep(61)
        record = await client.record("r")
        assert record["output"] == [1, None, 3]
        resolved = record["journal"]["waitpointsResolved"]
        assert [resolved[id]["source"] for id in ("signal:go:2", "event:paid:3", "token:tok9")] == ["inbox"] * 3

    world.run(test)


def test_messages_while_the_worker_runs_are_refused_or_kept() -> None:
    """W-12."""

    async def body(turn: Turn) -> Any:
        return turn.waited(turn.signal("go"))

    world = World(body)
    world.worker.takes_ms = 60_000

    async def test(client: Client) -> None:
        await client.post("/api/runs", TRIGGER, headers=ASYNC)
        await asyncio.sleep(1)
        sent = {"name": "go", "payload": 1}
        assert (await client.post("/api/runs/r/signals", sent)).json()["error"] == "not_parked"
        assert (await client.post("/api/runs/r/signals?buffer=1", sent)).status_code == 202
        await asyncio.sleep(180)
        assert (await client.record("r"))["output"] == [1]

    world.run(test)


def test_no_payload_is_null_where_there_is_a_time_limit() -> None:
    """W-22."""

    async def body(turn: Turn) -> Any:
        turn.waited(turn.signal("go", 60_000))
        return "payload" in turn.journal["waitpointsResolved"]["signal:go:1"]

    world = World(body)

    async def test(client: Client) -> None:
        await world.start(client)
        record = (await client.post("/api/runs/r/signals", {"name": "go"})).json()
        assert record["output"] is True
        assert record["journal"]["waitpointsResolved"]["signal:go:1"]["payload"] is None

    world.run(test)


def test_a_key_means_one_run() -> None:
    async def body(turn: Turn) -> Any:
        turn.step("load", 1)

    world = World(body)

    async def test(client: Client) -> None:
        trigger = {"workflowId": "w", "input": {"a": 1}, "idempotencyKey": "k"}
        first = await client.post("/api/runs", trigger)
        assert (await client.post("/api/runs", trigger)).json() == first.json()
        answer = await client.post("/api/runs", {**trigger, "input": 2})
        assert answer.json()["error"] == "idempotency_conflict"
        assert world.worker.effects == ["load"]

    world.run(test)


def test_a_child_is_linked_to_the_wait_of_its_parent_also_where_nobody_knows_the_parent() -> None:
    async def body(turn: Turn) -> Any:
        turn.waited(turn.invoke("child", "waits"))

    world = World(body)

    async def test(client: Client) -> None:
        await world.start(client)
        (run,) = (await client.get("/api/runs?workflow=child")).json()["runs"]
        link = (await client.record(run["id"]))["parent"]
        assert link == {"runId": "r", "waitpointId": "invoke:child:1"}
        del client.app.registry._workflows["w"]
        assert (await client.record(run["id"]))["parent"] == link

    world.run(test)
