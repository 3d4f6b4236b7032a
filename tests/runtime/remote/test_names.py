"""Names of waits that a worker may not give: those that the run has for what it does itself."""

from __future__ import annotations

from typing import Any

import pytest
from tests.runtime.remote.elsewhere import Turn, Worker

from stepwell import Retry, RunError
from stepwell.authoring.remotes import RemoteWorkflow
from stepwell.testing.fixture import StepwellTest

IMPATIENT = Retry(attempts=2, first_delay="1s")


@pytest.mark.parametrize(
    ("id", "kind"),
    [
        ("run timeout", "DATETIME"),
        ("@metadata.parent[1]", "RUN"),
        ("@invocation[1]", "RUN"),
        ("subscribe.paid", "RUN"),
    ],
)
def test_a_wait_may_not_have_a_name_of_the_runs_own(id: str, kind: str) -> None:
    def body(turn: Turn) -> Any:
        meta = {"durationMs": 5} if kind == "DATETIME" else {"childWorkflowId": "x", "detach": False, "tags": []}
        turn.waited(
            {"clientWaitpointId": "event:paid:1", "kind": "EVENT", "meta": {"eventType": "paid"}},
            {"clientWaitpointId": id, "kind": kind, "meta": meta},
        )

    workflow = RemoteWorkflow("pay", worker_retry=IMPATIENT)
    with StepwellTest(include=[workflow], targets=[Worker(pay=body).target()]) as test:  # type: ignore[call-arg]

        async def main() -> None:
            handle = await test.start(workflow, 1)  # type: ignore[arg-type,var-annotated]
            with pytest.raises(RunError, match="this name is the run's own") as raised:
                await handle.result()
            assert raised.value.error.code == "invalid_response"  # type: ignore[attr-defined]

        test.drive(main())
