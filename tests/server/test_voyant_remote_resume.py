"""Going on where a run failed whose body lives elsewhere; and its tokens by URL."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import Retry
from stepwell.authoring.remotes import RemoteWorkflow
from stepwell.errors import WorkerError, WorkerRefusedError
from stepwell.model.ids import CommandId, RunId
from stepwell.model.tokens import hook_key, make_worker_token
from tests.runtime.remote.theirs import TIMES, Their, Turn
from tests.server.voyant_client import Client
from tests.server.voyant_remote import World, only

broken: set[str] = set()


@pytest.fixture(autouse=True)
def _whole() -> None:
    broken.clear()


async def pipeline(turn: Turn) -> Any:
    turn.step("load", {"total": 120}, machine="big")
    turn.waited(turn.sleep(10_000))
    (by,) = turn.waited(turn.signal("approve"))
    turn.step("10", "ten")
    turn.step("2", "two")
    charged = turn.step("charge", 5, error=Their("refused", "E_CARD") if "charge" in broken else None)
    if "body" in broken:
        raise Their("no luck")
    return [by, charged]


async def piped(client: Client, world: World) -> dict[str, Any]:
    """A pipeline after its waits."""
    await world.start(client, input={"b": 1}, tags=["invoice"])
    await asyncio.sleep(11)
    await client.post("/api/runs/r/signals", {"name": "approve", "payload": "ada"})
    return await client.record("r")


def test_a_resume_keeps_the_steps_and_waits_before_the_failure() -> None:
    """W-31."""
    world = World(pipeline)

    async def test(client: Client) -> None:
        broken.add("charge")
        failed = await piped(client, world)
        assert (failed["status"], failed["error"]["code"]) == ("failed", "E_CARD")
        broken.clear()
        answer = (await client.post("/api/runs/r/resume", {"runId": "s", "tags": ["operator"]})).json()
        assert (answer["parentRunId"], answer["resumeFromStep"]) == ("r", "charge")
        saved = answer["saved"]
        assert (saved["status"], saved["output"]) == ("completed", ["ada", 5])
        assert saved["tags"] == ["invoice", "resume:true", "parentRunId:r", "operator"]
        kept = {**failed["journal"]["stepResults"]}
        del kept["charge"]
        assert saved["journal"]["stepResults"].items() >= kept.items()
        assert [*saved["journal"]["stepResults"]] == ["load", "10", "2", "charge"]  # in the order in which they ran
        assert saved["journal"]["waitpointsResolved"] == failed["journal"]["waitpointsResolved"]
        assert world.worker.effects == ["load", "10", "2", "charge", "charge"]

    world.run(test)


def test_a_resume_from_an_earlier_step_runs_it_again() -> None:
    world = World(pipeline)

    async def test(client: Client) -> None:
        broken.add("charge")
        await piped(client, world)
        broken.clear()
        answer = (await client.post("/api/runs/r/resume", {"resumeFromStep": "2"})).json()
        assert answer["saved"]["output"] == ["ada", 5]
        assert world.worker.effects == ["load", "10", "2", "charge", "2", "charge"]

    world.run(test)


def test_a_resume_with_results_gives_them_to_the_worker() -> None:
    world = World(pipeline)

    async def test(client: Client) -> None:
        broken.add("charge")
        await piped(client, world)
        seeds = {"load": {"total": 120}, "10": "ten", "2": "another", "charge": 7}
        answer = (await client.post("/api/runs/r/resume", {"resumeFromStep": "charge", "seedResults": seeds})).json()
        saved = answer["saved"]
        assert saved["output"] == ["ada", 7]
        results = saved["journal"]["stepResults"]
        assert {id: item["output"] for id, item in results.items()} == seeds
        assert "error" not in results["charge"]
        assert saved["journal"]["waitpointsResolved"].keys() == {"sleep:1", "signal:approve:2"}
        assert world.worker.effects == ["load", "10", "2", "charge"]

    world.run(test)


def test_a_run_that_is_not_here_is_resumed_with_the_results_of_its_steps() -> None:
    world = World(pipeline)

    async def test(client: Client) -> None:
        body = {
            "workflowId": "w",
            "resumeFromStep": "2",
            "seedResults": {"load": {"total": 1}, "10": None},
            "runId": "s",
        }
        answer = await client.post("/api/runs/elsewhere/resume", body)
        assert answer.status_code == 200
        (sleep,) = answer.json()["saved"]["pendingWaitpoints"]
        assert sleep["clientWaitpointId"] == "sleep:1"
        await asyncio.sleep(11)
        await client.post("/api/runs/s/signals", {"name": "approve", "payload": "ada"})
        record = await client.record("s")
        assert record["output"] == ["ada", 5]
        at = answer.json()["saved"]["startedAt"]
        assert record["journal"]["stepResults"] == {
            "load": {
                "attempt": 1, "status": "ok", "output": {"total": 1}, "startedAt": at, "finishedAt": at,
                "runtime": "node",
            },
            "10": {"attempt": 1, "status": "ok", "startedAt": at + 1, "finishedAt": at + 1, "runtime": "node"},
            "2": {"attempt": 1, "status": "ok", "output": "two", **TIMES},
            "charge": {"attempt": 1, "status": "ok", "output": 5, **TIMES},
        }  # fmt: skip
        assert world.worker.effects == ["2", "charge"]

    world.run(test)


def test_a_run_without_a_failed_step_says_from_where() -> None:
    world = World(pipeline)

    async def test(client: Client) -> None:
        broken.add("body")
        await piped(client, world)
        answer = await client.post("/api/runs/r/resume")
        assert answer.status_code == 400
        assert answer.json()["message"] == ('run "r" has no failed step; pass resumeFromStep explicitly to resume it')
        broken.clear()
        answer = await client.post("/api/runs/r/resume", {"resumeFromStep": "the end"})
        assert answer.json()["saved"]["output"] == ["ada", 5]
        assert world.worker.effects == ["load", "10", "2", "charge"]

    world.run(test)


@pytest.mark.parametrize("fault", [WorkerRefusedError("gone"), WorkerError("gone", code="invalid_response")])
def test_a_run_that_its_worker_failed_is_resumed_there(fault: Exception) -> None:
    world = World(pipeline)

    async def test(client: Client) -> None:
        await world.start(client)
        await asyncio.sleep(11)
        world.worker.faults = [fault] * 2
        record = (await client.post("/api/runs/r/signals", {"name": "approve", "payload": "ada"})).json()
        assert (record["status"], record["error"]["category"]) == ("failed", "RUNTIME_ERROR")
        assert record["error"]["message"] == "gone"
        world.worker.faults = []
        answer = (await client.post("/api/runs/r/resume")).json()
        assert answer["resumeFromStep"] == "@invocation[3]"
        assert answer["saved"]["output"] == ["ada", 5]

    world.run(test, RemoteWorkflow("w", worker_retry=Retry(attempts=2, first_delay="1s")))


def test_a_run_that_waits_is_resumed_only_by_force() -> None:
    world = World(pipeline)

    async def test(client: Client) -> None:
        await world.start(client)
        assert (await client.post("/api/runs/r/resume", {"resumeFromStep": "x"})).status_code == 409
        saved = (await client.post("/api/runs/r/resume?force=1", {"resumeFromStep": "x"})).json()["saved"]
        assert [wait["clientWaitpointId"] for wait in saved["pendingWaitpoints"]] == ["sleep:1"]
        assert [*saved["journal"]["stepResults"]] == ["load"]

    world.run(test)


# --- tokens by URL


def test_a_token_that_a_worker_made_is_completed_by_its_url() -> None:
    async def body(turn: Turn) -> Any:
        return turn.waited(turn.token("tok_1"), turn.token("tok_2"))

    world = World(body)

    async def test(client: Client) -> None:
        await world.start(client)
        created = await client.app.client.created(RunId("r"))
        assert created is not None
        key = hook_key(RunId("r"), 1, created.seed)
        first, second = (make_worker_token(RunId("r"), 1, CommandId(id), key) for id in ("tok_1", "tok_2"))
        assert (await client.post(f"/hooks/{first}", {"by": "ada"})).status_code == 202
        assert (await client.post(f"/hooks/{first[:-2]}xx", 1)).status_code == 404
        await asyncio.sleep(1)
        assert only((await client.record("r"))["pendingWaitpoints"])["clientWaitpointId"] == "token:tok_2"
        record = (await client.post(f"/api/runs/r/tokens/{second}", {"payload": 2})).json()
        assert record["output"] == [{"by": "ada"}, 2]

    world.run(test)
