"""Which runs go where: versions, namespaces, children, and what happens while nobody is there for one."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from tests.runtime.remote.elsewhere import Turn, Worker

from stepwell import AesGcm, Codec, RemoteWorkflow, Retry, RunError, Secret, Signal, Stepwell
from stepwell.formats.voyant import LABELS
from stepwell.model.entries import AttemptFailed
from stepwell.testing.fixture import StepwellTest


def nothing(turn: Turn) -> Any:
    return turn.input


def test_runs_go_to_the_worker_of_their_version() -> None:
    old, new = Worker(pay=nothing), Worker(pay=nothing)
    with StepwellTest(targets=[old.target(versions=["1"]), new.target(versions=["2"])]) as test:

        async def main() -> None:
            await (await test.app.start("pay", 1, version="1")).result()
            await (await test.app.start("pay", 2, version="2")).result()
            await (await test.app.start("pay", 3)).result()

        test.drive(main())
    assert [(request["input"], request["workflowVersion"]) for request in old.requests] == [(1, "1")]
    assert [(request["input"], request["workflowVersion"]) for request in new.requests] == [(2, "2"), (3, "2")]


def test_a_version_that_is_only_a_label_chooses_the_target_too() -> None:
    labelled, others = Worker(pay=nothing), Worker(pay=nothing)
    targets = [labelled.target(versions=["2026-05-01"]), others.target()]
    with StepwellTest(include=[RemoteWorkflow("pay")], targets=targets) as test:

        async def main() -> None:
            labels = {LABELS: {"version": "2026-05-01", "environment": "production"}}
            await (await test.app.start("pay", 1, metadata=labels)).result()
            await (await test.app.start("pay", 2)).result()

        test.drive(main())
    (request,) = labelled.requests
    assert (request["workflowVersion"], request["environment"]) == ("2026-05-01", "production")
    assert LABELS not in request["journal"]["metadataState"]
    assert [request["input"] for request in others.requests] == [2]


def test_namespaces_have_their_own_targets_headers_and_tenants() -> None:
    acme, others = Worker(pay=nothing), Worker(pay=nothing)
    with StepwellTest(targets=[acme.target(namespaces=["acme"]), others.target()]) as test:

        async def main() -> None:
            for namespace in ("", "acme", "other"):
                app = test.app.in_namespace(namespace)
                assert await (await app.start("pay", namespace)).result() == namespace

        test.drive(main())
    (request,), (headers,) = acme.requests, acme.headers
    assert (headers["x-stepwell-namespace"], request["tenantMeta"]["tenantId"]) == ("acme", "acme")
    assert headers["x-stepwell-hooks"].endswith("/n/acme/hooks/")
    assert [request["input"] for request in others.requests] == ["", "other"]
    assert [headers.get("x-stepwell-namespace") for headers in others.headers] == [None, "other"]


def test_namespaces_with_other_keys_send_what_they_can_read() -> None:
    keys = {name: AesGcm({"k": os.urandom(32)}, current="k") for name in ("", "acme")}
    worker = Worker(pay=lambda turn: [turn.input, turn.step("load", "secret"), turn.waited(turn.signal("go"))])

    async def main() -> None:
        codecs = {name: Codec(cipher=key) for name, key in keys.items()}
        async with Stepwell("memory://", codec=codecs.__getitem__, targets=[worker.target()]) as app:
            handle = await app.in_namespace("acme").start("pay", "plain")
            await handle.send(Signal("go"), "gone")
            assert await handle.result(timeout="20s") == ["plain", "secret", "gone"]
            events = [event.entry async for event in app.in_namespace("acme").runs.events(handle.id)]
            assert not any("secret" in str(getattr(entry, "value", "")) for entry in events)

    asyncio.run(main())
    assert worker.requests[-1]["journal"]["stepResults"]["load"]["output"] == "secret"


def test_children_have_from_the_run_at_the_top_what_they_were_not_given() -> None:
    def order(turn: Turn) -> Any:
        return turn.waited(turn.child("ship", childInput={"a": 1}, tags=["express", "to:oslo"]))

    worker = Worker(order=order, ship=nothing)
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            tenant = {"tenantId": "tnt_acme", "projectId": "p", "organizationId": "o"}
            labels = {"version": "v7", "environment": "preview", "tenant": tenant}
            handle = await test.app.start("order", id="r1", metadata={LABELS: labels})
            assert await handle.result() == {"a": 1}

        test.drive(main())
    child = worker.requests[1]
    assert (child["workflowId"], child["workflowVersion"], child["environment"]) == ("ship", "v7", "preview")
    assert child["tenantMeta"]["tenantId"] == "tnt_acme"
    assert child["runMeta"]["tags"] == ["express", "to:oslo"]
    assert child["runMeta"]["triggeredBy"] == {
        "kind": "parent",
        "parentRunId": "r1",
        "parentStepId": "invoke:ship:1",
    }


def test_a_child_is_not_locked_to_a_version_that_nobody_has() -> None:
    worker = Worker(order=lambda turn: turn.waited(turn.child("ship", lockToVersion="9")), ship=lambda turn: "shipped")
    with StepwellTest(targets=[worker.target()]) as test:

        async def main() -> None:
            assert await (await test.app.start("order")).result() == "shipped"

        test.drive(main())


def test_a_child_may_be_locked_to_a_version_that_there_is() -> None:
    old, new = Worker(ship=lambda turn: "old"), Worker(ship=lambda turn: "new")
    top = Worker(order=lambda turn: turn.waited(turn.child("ship", lockToVersion="1")))
    targets = [old.target(versions=["1"]), new.target(versions=["2"]), top.target()]
    with StepwellTest(targets=targets) as test:

        async def main() -> None:
            assert await (await test.app.start("order")).result() == "old"

        test.drive(main())


def test_a_run_for_which_there_is_no_target_waits_for_one() -> None:
    worker = Worker(pay=nothing)
    with StepwellTest(include=[RemoteWorkflow("pay")], targets=[Worker(ship=nothing).target()]) as test:

        async def main() -> None:
            handle = await test.app.start("pay", 7, id="r1", version="")
            await test.sleep("10s")
            failed = [e.entry async for e in test.app.runs.events("r1") if isinstance(e.entry, AttemptFailed)]
            assert failed[0].failure.message == (
                "no target is for workflow pay: add one, as [[targets]] in stepwell.toml or in "
                "Stepwell(targets=[...]); there are: "
                "<target function Worker: ship>"
            )
            test.app.targets.add(worker.target(name="late"))
            assert await handle.result() == 7

        test.drive(main())


def test_a_secret_that_is_missing_is_waited_for() -> None:
    worker, secrets = Worker(pay=nothing), dict[str, str]()
    with StepwellTest(targets=[worker.target(secret=Secret("wire"))], secrets=secrets) as test:

        async def main() -> None:
            handle = await test.app.start("pay", 7, id="r1")
            await test.sleep("5s")
            failed = [e.entry async for e in test.app.runs.events("r1") if isinstance(e.entry, AttemptFailed)]
            assert "there is no secret 'wire'" in failed[0].failure.message
            assert worker.requests == []
            secrets["wire"] = "s3cret"
            assert await handle.result() == 7

        test.drive(main())


def test_types_that_the_app_declares_are_checked() -> None:
    worker = Worker(pay=lambda turn: "no number")
    with StepwellTest(include=[RemoteWorkflow("pay", output=int)], targets=[worker.target()]) as test:

        async def main() -> None:
            with pytest.raises(RunError, match="the result of workflow pay"):
                await (await test.app.start("pay")).result()

        test.drive(main())


def test_an_app_may_be_opened_again() -> None:
    worker = Worker(pay=nothing)
    app = Stepwell("memory://", targets=[worker.target(concurrency=1)])

    async def main() -> None:
        async with app:
            handles = [await app.start("pay", n) for n in range(3)]
            assert [await handle.result(timeout="20s") for handle in handles] == [0, 1, 2]

    asyncio.run(main())
    asyncio.run(main())
    assert len(worker.requests) == 6


def test_a_run_that_is_started_again_by_its_policy_counts_its_attempts() -> None:
    worker = Worker(pay=_second_time)
    again = RemoteWorkflow("pay", retry=Retry(attempts=2, first_delay="1s"))
    with StepwellTest(include=[again], targets=[worker.target()]) as test:

        async def main() -> None:
            assert await (await test.app.start("pay")).result() == 7

        test.drive(main())
    assert [request["runMeta"]["attempt"] for request in worker.requests] == [1, 2]


def _second_time(turn: Turn) -> int:
    if turn.request["runMeta"]["attempt"] == 1:
        raise RuntimeError("not yet")
    return 7
