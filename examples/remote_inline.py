"""A workflow whose code is no function of ours: a worker that speaks the wire, here a function in the same process."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepwell import Failure, RemoteWorkflow, Retry, RunError, Signal, Stepwell, Target, WorkerError


@dataclass
class Receipt:
    total: int
    by: str


# What is known of it here: its name, and what goes in and comes out. Without types, `targets` alone would do.
issue = RemoteWorkflow[dict[str, int], Receipt]("invoice.issue", input=dict[str, int], output=Receipt)
refund = RemoteWorkflow[dict[str, int], None]("invoice.refund", worker_retry=Retry(attempts=2, first_delay="10ms"))
approve = Signal("approve", str)
charged: list[int] = []


async def worker(body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    """Stands for one in another language: it runs the body from the top, and takes what is known from the journal."""
    request = json.loads(body)
    if request["workflowId"] == "invoice.refund":
        return 503, {}, b""
    journal: dict[str, Any] = request["journal"]
    outcome: dict[str, Any] = {"metadataUpdates": [], "journal": journal, "streamChunks": []}
    if "charge" not in journal["stepResults"]:
        charged.append(request["input"]["total"])
        times = {"startedAt": 1, "finishedAt": 2, "runtime": "node"}
        journal["stepResults"]["charge"] = {"attempt": 1, "status": "ok", "output": request["input"]["total"], **times}
    wait = {"clientWaitpointId": "signal:approve:1", "kind": "SIGNAL", "meta": {"signalName": "approve"}}
    approval = journal["waitpointsResolved"].get("signal:approve:1")
    if approval is None:
        outcome |= {"status": "waiting", "waitpoints": [wait]}
    else:
        total = journal["stepResults"]["charge"]["output"]
        outcome |= {"status": "completed", "output": {"total": total, "by": approval["payload"]}}
    return 200, {"content-type": "application/json"}, json.dumps(outcome).encode()


async def main() -> None:
    # One elsewhere has a URL: Target("https://invoices.example/step", workflows=[...], secret=Secret("wire")).
    till = Target(worker, workflows=["invoice.issue", "invoice.refund"], name="till")
    async with Stepwell("memory://", include=[issue, refund], targets=[till]) as app:
        run = await app.start(issue, {"total": 120})
        await run.send(approve, "Ada")
        receipt = await run.result()
        assert receipt == Receipt(120, "Ada")
        assert charged == [120]

        try:
            await (await app.start(refund, {"total": 120})).result()
        except RunError as error:
            assert isinstance(error.error, Failure)
            assert error.error.is_(WorkerError)
            assert error.error.message == "handler returned HTTP 503 (target till)"
        (state,) = app.targets.states()
        assert (state.label, state.circuit, state.failures) == ("till", "closed", 2)
    print(f"{receipt.by} approved {receipt.total}, which was charged once")


if __name__ == "__main__":
    asyncio.run(main())
