"""What ails that system's orchestrator, held against runs whose bodies are that system's workers, over the wire.

The table in docs/voyant.md names these tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from stepwell import Signal
from stepwell.authoring.remotes import RemoteWorkflow
from stepwell.runtime.remote.targets import Target
from stepwell.testing.fixture import StepwellTest
from tests.runtime.remote.elsewhere import EMPTY, JSON, Turn, Worker
from tests.server.voyant_client import Client, served
from tests.server.voyant_remote import child, only

ASYNC = {"prefer": "respond-async"}


def over_the_wire(
    worker: Worker, body: Callable[[Client], Coroutine[Any, Any, None]], *include: Any, **target: Any
) -> None:
    """A server, whose only target is this worker."""
    served(body, include=[child, *include], targets=[worker.target(**target)])


class Slow(Worker):
    """A worker that takes its time."""

    takes_s = 0.0

    async def __call__(self, body: bytes, headers: Any) -> Any:
        answer = await super().__call__(body, headers)
        await asyncio.sleep(self.takes_s)
        return answer


def pipeline(turn: Turn) -> Any:
    loaded = turn.step("load", {"total": 120})
    turn.change("increment", "n")
    turn.sleep(60_000)
    by = turn.waited(turn.signal("approve"))
    turn.step("book", "booked")
    found = turn.waited(turn.child("child", childInput={"x": 1}))
    return [loaded, by, found]


DONE = [{"total": 120}, "ada", {"got": {"x": 1}}]


# --- crashes


def test_a_run_survives_a_crash_at_every_write() -> None:
    """W-01, W-02: an invocation whose answer was lost is made again, one whose answer was written down never is."""
    worker = Worker(pay=pipeline)
    with StepwellTest(targets=[worker.target()], include=[child]) as test:  # type: ignore[call-arg]
        report = test.drive(
            test.crash_everywhere(RemoteWorkflow("pay"), {"b": 1}, messages=[(Signal("approve", Any), "2m", "ada")])  # type: ignore[arg-type]
        )
        assert len(report.crashes) > 10
        assert {crash.ended.status for crash in report.crashes} == {"completed"}


def test_what_was_answered_is_not_run_again_by_the_next_worker() -> None:
    """W-02."""
    worker = Worker(pay=pipeline)

    async def body(client: Client) -> None:
        await client.start("pay", runId="r")
        await asyncio.sleep(61)
        await client.post("/api/runs/r/signals", {"name": "approve", "payload": "ada"})
        assert (await client.record("r"))["output"] == DONE
        assert worker.effects == ["load", "book"]
        assert [len(request["journal"]["stepResults"]) for request in worker.requests] == [0, 1, 1, 2]

    over_the_wire(worker, body)


def test_a_cancel_wins_over_an_answer_that_is_under_way() -> None:
    """W-10."""
    worker = Slow(pay=lambda turn: turn.step("load", 1))
    worker.takes_s = 60

    async def body(client: Client) -> None:
        await client.post("/api/runs", {"workflowId": "pay", "runId": "r"}, headers=ASYNC)
        await asyncio.sleep(1)
        record = (await client.post("/api/runs/r/cancel", {"reason": "withdrawn"})).json()
        assert (record["status"], record["error"]["code"]) == ("cancelled", "CANCELLED")
        await asyncio.sleep(120)
        assert await client.record("r") == record
        assert (len(worker.requests), record["journal"]["stepResults"]) == (1, {})

    over_the_wire(worker, body)


def test_an_invocation_that_takes_longer_than_a_lease_is_made_once() -> None:
    """W-11."""
    worker = Slow(pay=lambda turn: turn.step("load", 1))
    worker.takes_s = 600

    async def body(client: Client) -> None:
        await client.post("/api/runs", {"workflowId": "pay", "runId": "r"}, headers=ASYNC)
        await asyncio.sleep(601)
        record = await client.record("r")
        assert (record["status"], record["output"], record["computeTimeMs"]) == ("completed", 1, 600_000)
        assert len(worker.requests) == 1

    over_the_wire(worker, body)


# --- children


def parent(turn: Turn) -> Any:
    turn.sleep(1_000)
    how = turn.input or {}
    wait = turn.child("helper", childInput=how, **how.get("more", {}))
    return turn.waited(wait)


def helper(turn: Turn) -> Any:
    turn.step("help", 1)
    if turn.input.get("fails"):
        raise RuntimeError("the helper failed")
    return {"got": turn.waited(turn.signal("go"))}


def test_children_are_runs_that_may_wait_and_be_looked_at() -> None:
    """W-14: also after a sleep."""
    worker = Worker(parent=parent, helper=helper)

    async def body(client: Client) -> None:
        await client.start("parent", {}, runId="p", environment="production", tags=["invoice"])
        await asyncio.sleep(2)
        id = only((await client.get("/api/runs?workflow=helper")).json()["runs"])["id"]
        record = await client.record(id)
        assert record["parent"] == {"runId": "p", "waitpointId": "invoke:helper:2"}
        assert (record["status"], record["environment"]) == ("waiting", "production")
        await client.post(f"/api/runs/{id}/signals", {"name": "go", "payload": 7})
        await asyncio.sleep(1)
        ended = await client.record("p")
        assert ended["output"] == {"got": 7}
        assert ended["journal"]["waitpointsResolved"]["invoke:helper:2"]["source"] == "replay"

    over_the_wire(worker, body)


def test_a_detached_child_goes_its_own_way() -> None:
    """W-14."""
    worker = Worker(parent=parent, helper=helper)

    async def body(client: Client) -> None:
        await client.start("parent", {"more": {"detach": True}}, runId="p")
        await asyncio.sleep(2)
        assert (await client.record("p"))["status"] == "completed"
        run = only((await client.get("/api/runs?workflow=helper")).json()["runs"])
        assert (run["status"], "parent" in await client.record(run["id"])) == ("waiting", False)

    over_the_wire(worker, body)


def test_a_parent_is_told_that_its_child_failed_or_was_cancelled() -> None:
    """W-15."""
    worker = Worker(parent=parent, helper=helper)

    async def body(client: Client) -> None:
        await client.start("parent", {"fails": True}, runId="p")
        await client.start("parent", {}, runId="q")
        await asyncio.sleep(2)
        resolved = (await client.record("p"))["journal"]["waitpointsResolved"]["invoke:helper:2"]
        assert resolved["error"] == {"category": "USER_ERROR", "code": "E_BODY", "message": "the helper failed"}
        runs = (await client.get("/api/runs?workflow=helper&status=waiting")).json()["runs"]
        await client.post(f"/api/runs/{only(runs)['id']}/cancel")
        await asyncio.sleep(1)
        record = await client.record("q")
        assert record["journal"]["waitpointsResolved"]["invoke:helper:2"]["error"]["code"] == "CHILD_RUN_ENDED"
        assert record["error"]["message"] == "child run ended with status cancelled"

    over_the_wire(worker, body)


# --- time, events, values


def test_a_sleep_of_two_months_ends_in_two_months() -> None:
    """W-25."""
    worker = Worker(pay=lambda turn: turn.sleep(60 * 86_400_000))
    with StepwellTest(targets=[worker.target()]) as test:  # type: ignore[call-arg]

        async def main() -> None:
            handle = await test.app.start("pay")
            began = test.now
            await handle.result()
            assert (test.now - began).days == 60
            assert len(worker.requests) == 2

        test.drive(main())


def test_an_event_for_everybody_reaches_the_runs_that_wait_for_it() -> None:
    """W-35."""
    worker = Worker(pay=lambda turn: turn.waited(turn.event("payment.settled")))

    async def body(client: Client) -> None:
        for id in ("a", "b"):
            await client.start("pay", runId=id)
        assert (await client.post("/api/publish/payment.settled", {"value": {"amount": 1}})).is_success
        await asyncio.sleep(10)
        for id in ("a", "b"):
            assert (await client.record(id))["status"] == "completed"

    over_the_wire(worker, body)


@pytest.mark.parametrize("status", ["compensated", "compensation_failed"])
def test_reports_of_compensations_are_in_the_history(status: str) -> None:
    """W-30."""
    error = {"category": "USER_ERROR", "code": "E", "message": "no luck"}
    lost = {"category": "USER_ERROR", "code": "LOST", "message": "it is lost"}
    reports: list[dict[str, Any]] = [{"stepId": "book", "status": "ok", "durationMs": 5}]
    if status != "compensated":
        reports.append({"stepId": "rent", "status": "err", "error": lost, "durationMs": 1})
    calls: list[bytes] = []

    async def undoes(body: bytes, headers: Any) -> Any:
        calls.append(body)
        outcome = Turn(Worker(), {"journal": EMPTY}).outcome(status, error=error, compensations=reports)
        return 200, JSON, msgspec.json.encode(outcome)

    async def body(client: Client) -> None:
        record = await client.start("pay", runId="r")
        assert (record["status"], record["error"]) == (status, error)
        steps = (await client.app.runs.timeline("r")).steps
        assert msgspec.json.decode(only(steps).value)["reports"] == reports
        await asyncio.sleep(60)
        assert len(calls) == 1  # nothing is undone again

    served(body, targets=[Target(undoes, workflows=["pay"])])


def test_an_input_is_checked_before_there_is_a_run() -> None:
    """W-38."""
    worker = Worker(pay=lambda turn: 1)

    async def body(client: Client) -> None:
        answer = await client.post("/api/runs", {"workflowId": "pay", "runId": "r", "input": {"amount": "much"}})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_input")
        assert (await client.get("/api/runs/r")).status_code == 404
        assert (await client.start("pay", {"amount": 3}, runId="s"))["status"] == "completed"
        assert len(worker.requests) == 1

    over_the_wire(worker, body, RemoteWorkflow("pay", input=dict[str, int]))
