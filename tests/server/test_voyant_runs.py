"""Runs behind the routes of Voyant: other stores, other processes, keys, blueprints, generations."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepwell import Blueprint, Codec, Context, Stepwell, step, workflow
from stepwell.codec.ciphers import AesGcm
from stepwell.server import Server, ServerOptions
from tests.formats.voyant_runs import FLOWS, effects
from tests.server.voyant_client import Client, served

ASYNC = {"prefer": "respond-async"}


@workflow(id="labelled", version="2")
async def labelled(ctx: Context, n: int = 3) -> int:
    return n


@workflow(id="generations")
async def generations(ctx: Context, n: int) -> int:
    await add(n)
    if n < 3:
        ctx.continue_as_new(n + 1)
    return n


@step(retry=None)
async def add(n: int) -> int:
    effects.append(f"add {n}")
    return n + 1


@workflow(id="charging.anew")
async def charging_anew(ctx: Context, amount: Any) -> Any:
    from tests.formats.voyant_runs import load

    return {"loaded": await load(), "amount": amount}


def ids(record: dict[str, Any]) -> list[str]:
    return [wait["clientWaitpointId"] for wait in record["pendingWaitpoints"]]


def test_on_sqlite_the_answer_from_the_commits_is_the_one_from_the_store(tmp_path: Path) -> None:
    async def body(client: Client) -> None:
        for name, input in (("double", 1.0), ("approval", None), ("charging", "fatal"), ("parent", 1)):
            started = await client.start(name, input, runId=name)
            assert await client.record(name) == started
        answer = await client.post("/api/runs/approval/signals", {"name": "approve", "payload": 1})
        assert answer.json() == await client.record("approval")

    served(body, url=f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true")


def test_a_run_that_another_process_drives_is_answered_when_it_has_paused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true"

    async def main() -> None:
        async with Stepwell(url, include=FLOWS, worker=False) as front, Stepwell(url, include=FLOWS) as back:
            back.ensure_worker()
            server = Server(front, ServerOptions(dev=True))
            transport = httpx.ASGITransport(server)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", trust_env=False) as http:
                done = (await http.post("/api/runs", json={"workflowId": "double", "input": 1})).json()
                assert (done["status"], done["output"]["what"]) == ("completed", 1)
                parked = (await http.post("/api/runs", json={"workflowId": "patient", "runId": "p"})).json()
                assert ids(parked) == ["signal:approve:1"]
                signal = {"name": "approve", "payload": 1}
                sent = (await http.post("/api/runs/p/signals", json=signal)).json()
                assert ids(sent) == ["signal:approve:2"]
                assert (await http.post("/api/runs/p/cancel")).json()["status"] == "cancelled"

    asyncio.run(main())


def test_a_run_that_another_process_holds_through_a_short_wait_takes_what_it_waits_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true"

    async def main() -> None:
        async with Stepwell(url, include=FLOWS, worker=False) as front, Stepwell(url, include=FLOWS) as back:
            handle = await back.start("hurried", id="h")
            server = Server(front, ServerOptions(dev=True))
            transport = httpx.ASGITransport(server)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", trust_env=False) as http:
                wrong = await http.post("/api/runs/h/signals", json={"name": "other"})
                assert (wrong.status_code, wrong.json()["error"]) == (400, "no_match")
                signal = {"name": "approve", "payload": 7}
                assert (await http.post("/api/runs/h/signals", json=signal)).json()["status"] == "completed"
            assert await handle.result() == 7

    asyncio.run(main())


def test_what_becomes_of_a_taken_id_can_be_said() -> None:
    async def body(client: Client) -> None:
        trigger = {"workflowId": "charging", "input": "fatal", "runId": "r"}
        assert (await client.post("/api/runs", trigger)).json()["status"] == "failed"
        answer = await client.post("/api/runs", {**trigger, "onConflict": "fail"})
        assert (answer.status_code, answer.json()["error"]) == (409, "run_exists")
        again = await client.post("/api/runs", {**trigger, "onConflict": "restart_if_failed"})
        assert (again.status_code, again.json()["status"]) == (200, "failed")
        assert effects.count("charge") == 2

    served(body)


def test_what_the_trigger_says_is_in_the_record() -> None:
    async def body(client: Client) -> None:
        record = await client.start(
            "labelled",
            4,
            workflowVersion="2026-05-01",
            environment="preview",
            priority=7,
            timeout="1h",
            metadata={"phase": "new", "n": [1.0]},
            tags={"invoice": "", "customer": "7"},
        )
        assert record["workflowVersion"] == "2026-05-01"
        assert record["environment"] == "preview"
        assert record["priority"] == 7
        assert record["timeoutMs"] == 3_600_000
        assert record["journal"]["metadataState"] == {"phase": "new", "n": [1]}
        assert record["tags"] == ["invoice", "customer:7"]
        assert record["ext"]["version"] == "2"
        assert "voyant" not in record["ext"]["metadata"]
        assert (await client.record(record["id"])) == record
        found = (await client.get('/api/runs?metadata=phase:"new"')).json()["runs"]
        assert [run["id"] for run in found] == [record["id"]]

    served(body, include=[labelled])


def test_an_absent_input_is_the_default_and_stays_absent_where_there_is_none() -> None:
    async def body(client: Client) -> None:
        default = (await client.post("/api/runs", {"workflowId": "labelled"})).json()
        assert (default["input"], default["output"]) == (3, 3)
        absent = (await client.post("/api/runs", {"workflowId": "charging.anew"})).json()
        assert "input" not in absent
        null = (await client.post("/api/runs", {"workflowId": "charging.anew", "input": None})).json()
        assert null["input"] is None
        refused = await client.post("/api/runs", {"workflowId": "approval", "input": 5})
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_input")

    served(body, include=[labelled, charging_anew, *FLOWS])


def test_payloads_are_opened_for_who_asks_and_marked_where_the_key_is_gone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}?relaxed=true"
    key = b"k" * 32

    async def with_key(client: Client) -> None:
        tenant = {"tenantId": "t", "secret": "hush"}
        record = await client.start("charging", "fatal", runId="r", tenantMeta=tenant, metadata={"m": "hush"})
        assert (record["input"], record["tenantMeta"]) == ("fatal", tenant)
        assert record["error"]["message"] == "card refused"
        assert await client.record("r") == record

    async def without(client: Client) -> None:
        record = await client.record("r")
        assert record["input"] == {"$sealed": True}
        assert record["journal"]["stepResults"]["load"]["output"] == {"$sealed": True}
        assert record["error"] == {"category": "USER_ERROR", "code": "FATAL", "message": "(encrypted)"}

    served(with_key, url=url, codec=Codec(AesGcm({"1": key}, current="1")))
    served(without, url=url)


def test_a_key_means_another_run_in_another_namespace() -> None:
    async def body(client: Client) -> None:
        await client.server.open()
        found = []
        for namespace in ("acme", "other"):
            key = await client.server.access.keys.create(scopes=("trigger", "read"), namespace=namespace)
            headers = {"authorization": f"Bearer {key.text}", "idempotency-key": "k"}
            answer = await client.post("/api/runs", {"workflowId": "double", "input": namespace}, headers=headers)
            assert answer.status_code == 200, answer.text
            found.append(answer.json())
        assert [record["output"]["what"] for record in found] == ["acme", "other"]
        assert [record["tenantMeta"]["tenantId"] for record in found] == ["acme", "other"]

    served(body, options={"dev": False, "namespaces": ("acme", "other")})


def test_the_nodes_of_a_blueprint_are_steps_with_their_outputs() -> None:
    async def body(client: Client) -> None:
        record = await client.start("flow", {"n": 1}, runId="b")
        assert record["status"] == "completed"
        assert {id: item["output"] for id, item in record["journal"]["stepResults"].items()} == {"first": 2, "last": 3}
        seeds = {"workflowId": "flow", "resumeFromStep": "last", "seedResults": {"first": 40}, "input": {"n": 1}}
        saved = (await client.post("/api/runs/elsewhere/resume", seeds)).json()["saved"]
        assert {id: item["output"] for id, item in saved["journal"]["stepResults"].items()} == {"first": 40, "last": 41}
        again = await client.post("/api/runs/b/resume?force=1", {"resumeFromStep": "last", "runId": "again"})
        assert again.json()["saved"]["output"] == record["output"]

    served(body, include=[_flow()])


def _flow() -> Any:
    flow = Blueprint("flow")
    flow.node("first", _first)
    flow.node("last", _last)
    flow.edge("first", "last")
    return flow


@step(retry=None)
async def _first(input: dict[str, int]) -> int:
    return input["n"] + 1


@step(retry=None)
async def _last(n: int) -> int:
    return n + 1


def test_a_run_in_its_third_generation_shows_the_journal_of_that() -> None:
    async def body(client: Client) -> None:
        record = await client.start("generations", 1, runId="g")
        assert (record["status"], record["output"], record["input"]) == ("completed", 3, 1)
        assert record["journal"]["stepResults"]["add"]["output"] == 4
        assert await client.record("g") == record

    served(body, include=[generations, add])


def test_a_resume_as_another_workflow_takes_the_results_of_steps() -> None:
    async def body(client: Client) -> None:
        await client.start("charging", "fatal", runId="r", tags=["t"])
        effects.clear()
        answer = (await client.post("/api/runs/r/resume", {"workflowId": "charging.anew", "runId": "n"})).json()
        saved = answer["saved"]
        assert saved["workflowId"] == "charging.anew"
        assert saved["output"] == {"loaded": {"total": 120, "what": None}, "amount": "fatal"}
        assert saved["tags"] == ["t", "resume:true", "parentRunId:r"]
        assert effects == []

    served(body, include=[*FLOWS, charging_anew])


def test_a_resume_has_the_tenant_and_the_environment_of_the_run_that_failed() -> None:
    async def body(client: Client) -> None:
        tenant = {"tenantId": "t", "projectId": "p", "organizationId": "o"}
        await client.start(
            "charging", "fatal", runId="r", tenantMeta=tenant, environment="production", idempotencyKey="k"
        )
        saved = (await client.post("/api/runs/r/resume", {"input": 5})).json()["saved"]
        assert (saved["tenantMeta"], saved["environment"]) == (tenant, "production")
        assert "idempotencyKey" not in saved
        assert saved["input"] == 5

    served(body)


@pytest.mark.parametrize("parent", ["here", "elsewhere"])
def test_a_resume_that_nobody_waits_for_is_202_at_once(parent: str) -> None:
    async def body(client: Client) -> None:
        await client.start("charging", "fatal", runId="here")
        asked = {"workflowId": "charging", "input": "slow", "resumeFromStep": "charge", "seedResults": {"load": 1}}
        answer = await client.post(f"/api/runs/{parent}/resume", asked, headers=ASYNC)
        assert (answer.status_code, answer.json()["saved"]["status"]) == (202, "running")
        waited = await client.post(f"/api/runs/{parent}/resume", asked)
        assert (waited.status_code, waited.json()["saved"]["status"]) == (202, "running")

    served(body)


def test_a_paused_run_is_waiting_and_takes_what_it_waits_for() -> None:
    async def body(client: Client) -> None:
        await client.start("approval", runId="r")
        await client.post("/api/runs/r/pause", {})
        await asyncio.sleep(1)
        record = await client.record("r")
        assert (record["status"], record["ext"]["status"]) == ("waiting", "paused")
        answer = await client.post("/api/runs/r/signals", {"name": "approve", "payload": 1})
        assert (answer.status_code, answer.json()["status"]) == (200, "waiting")
        await client.post("/api/runs/r/unpause", {})
        await asyncio.sleep(1)
        assert (await client.record("r"))["output"] == 1

    served(body)


def test_a_generated_token_completes_its_hook() -> None:
    async def body(client: Client) -> None:
        await client.start("tokens", runId="t")
        await client.post("/api/runs/t/tokens/order-7-approval", {"payload": 1})
        entries = [event.entry async for event in client.app.runs.events("t")]
        created = entries[0]
        from stepwell.model.ids import CommandId, RunId
        from stepwell.model.tokens import make_token

        genuine = make_token(RunId("t"), 1, CommandId("hook:2"), created.seed)  # type: ignore[union-attr]
        forged = make_token(RunId("t"), 1, CommandId("hook:2"), "00" * 16)
        assert (await client.post(f"/api/runs/t/tokens/{forged}", {"payload": 2})).status_code == 400
        record = (await client.post(f"/api/runs/t/tokens/{genuine}", {"payload": 2})).json()
        assert record["output"] == [1, 2]

    served(body)
