"""Workflows of ours, in a step worker, under the orchestrator of the system that we replace. It needs only the
address."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def orchestrator(node: str) -> Iterator[subprocess.Popen[str]]:
    """It reads scenarios, and writes records."""
    port = free_port()
    command = [sys.executable, "-m", "stepwell", "step-worker", "our_worker:app", "--port", str(port)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(HERE)]),
        "WIRE_SECRET": "s3cret",
    }
    worker = subprocess.Popen(
        [*command, "--secret-env", "WIRE_SECRET"],
        cwd=HERE,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/__voyant/workflow-step"
    process = subprocess.Popen(
        [node, "orchestrator.mjs", url], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        wait_for(port, worker)
        yield process
    finally:
        for running in (process, worker):
            running.kill()
            running.wait()
        process.stdin.close()
        process.stdout.close()


def wait_for(port: int, worker: subprocess.Popen[bytes]) -> None:
    for _ in range(400):
        assert worker.poll() is None, "the worker has ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the worker does not listen")


def played(orchestrator: subprocess.Popen[str], workflow: str, **scenario: Any) -> dict[str, Any]:
    """The record of a run in its end."""
    assert orchestrator.stdin is not None
    assert orchestrator.stdout is not None
    run = scenario.pop("run", f"r_{workflow}")
    orchestrator.stdin.write(json.dumps({"workflow": workflow, "runId": run, **scenario}) + "\n")
    orchestrator.stdin.flush()
    return json.loads(orchestrator.stdout.readline())  # type: ignore[no-any-return]


def event(name: str, payload: Any) -> dict[str, Any]:
    return {"kind": "EVENT", "eventType": name, "payload": payload}


def test_a_run_with_a_step_a_sleep_and_a_signal(orchestrator: subprocess.Popen[str]) -> None:
    approval = {"kind": "SIGNAL", "name": "approve", "payload": {"by": "ada"}}
    record = played(orchestrator, "basic", run="r_chain", input={"n": 3}, inject=[approval])
    assert record["firstPending"][0]["clientWaitpointId"] == "sleep:1"
    assert record["output"] == {
        "loaded": {"total": 6},
        "random": 0.15522163663990796,
        "uuid": "419977a4-fa0d-40ab-aa73-9dbcf3388574",
        "slept": True,
        "approval": {"by": "ada"},
        "tags": {"invoice": ""},
        "environment": "preview",
    }
    assert record["journal"]["metadataState"] == {"phase": "loaded", "n": 3, "log": ["a"]}
    assert list(record["journal"]["waitpointsResolved"]) == ["sleep:1", "signal:approve:2"]
    assert record["metadataAppliedCount"] == 4


def test_waits_of_several_kinds_have_the_ids_of_that_system(orchestrator: subprocess.Popen[str]) -> None:
    record = played(orchestrator, "several", inject=[event("y", 2), event("x", 1)])
    assert [item["clientWaitpointId"] for item in record["firstPending"]] == ["event:x:1", "event:y:2", "sleep:3"]
    assert record["output"] == [1, 2, None]


def test_a_wait_that_is_iterated_until_its_end(orchestrator: subprocess.Popen[str]) -> None:
    end = {"__voyantStreamEnd": True}
    record = played(orchestrator, "ticks", inject=[event("tick", "a"), event("tick", "b"), event("tick", end)])
    assert list(record["journal"]["waitpointsResolved"]) == [f"event:tick:iter:{n}" for n in (2, 3, 4)]
    assert record["output"] == ["a", "b"]


def test_children_awaited_detached_and_failed(orchestrator: subprocess.Popen[str]) -> None:
    record = played(orchestrator, "parent")
    assert list(record["journal"]["waitpointsResolved"]) == [f"invoke:child:{n}" for n in (1, 2, 3)]
    assert record["output"] == [40, True]


def test_compensations(orchestrator: subprocess.Popen[str]) -> None:
    record = played(orchestrator, "saga")
    assert (record["status"], record["error"]["message"]) == ("compensated", "ship failed")


def test_a_retry_that_takes_its_time_is_a_wait(orchestrator: subprocess.Popen[str]) -> None:
    record = played(orchestrator, "flaky")
    assert [item["clientWaitpointId"] for item in record["firstPending"]] == ["retry:shaky:1"]
    assert record["output"] == 2


def test_a_token(orchestrator: subprocess.Popen[str]) -> None:
    record = played(orchestrator, "token", inject=[{"kind": "MANUAL", "tokenId": "tok_1", "payload": "yes"}])
    assert record["output"] == ["tok_1", "yes"]


def test_streams_come_once(orchestrator: subprocess.Popen[str]) -> None:
    record = played(orchestrator, "streams")
    chunks = [(chunk["seq"], chunk["chunk"], chunk["final"]) for chunk in record["streams"]["log"]]
    assert chunks == [(1, "a", False), (2, "b", False), (3, None, True)]


def test_parallel_steps(orchestrator: subprocess.Popen[str]) -> None:
    assert played(orchestrator, "parallel")["output"] == [1, 4, 9]


def test_what_is_not_there(orchestrator: subprocess.Popen[str]) -> None:
    record = played(orchestrator, "absent")
    assert record["error"] == {
        "category": "RUNTIME_ERROR",
        "code": "handler_error",
        "message": 'workflow "absent" is not registered in this bundle',
    }
