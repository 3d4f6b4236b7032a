"""What `explain` says of a run whose worker lives elsewhere and does not go on with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from stepwell.authoring.registry import Registry
from stepwell.authoring.remotes import RemoteWorkflow
from stepwell.formats.voyant import RunView, run_record
from stepwell.runtime.explaining import Explanation, explain
from stepwell.runtime.remote.targets import Target
from stepwell.testing.fixture import StepwellTest

Answer = tuple[int, dict[str, str], bytes]

JOURNAL = ("stepResults", "waitpointsResolved", "compensationsRun", "metadataState", "streamsCompleted")


async def down(body: bytes, headers: Any) -> Answer:
    return 503, {}, b'{"error":"overloaded","message":"go away"}'


async def unknown(body: bytes, headers: Any) -> Answer:
    return 404, {}, b'{"error":"workflow_not_found","message":"workflow \\"pay\\" is not registered in this bundle"}'


async def slow(body: bytes, headers: Any) -> Answer:
    await asyncio.sleep(600)
    return 503, {}, b""


async def talks_rubbish(body: bytes, headers: Any) -> Answer:
    return 200, {}, b'{"status":"done"}'


def explained(worker: Callable[..., Any] | None, after: str = "1s", *, stranger: bool = False) -> Explanation:
    """What is said of a run of `pay` after some time."""
    workflows = ["pay"] if worker is not None else ["other"]
    target = Target(worker or down, workflows=workflows, name="tills")
    with StepwellTest(include=[RemoteWorkflow("pay")], targets=[target]) as test:  # type: ignore[call-arg]

        async def main() -> Explanation:
            await test.app.start("pay", 1, id="r")
            await test.sleep(after)
            if stranger:
                return await explain(test.app.client, Registry([], test.app.registry.codec), "r")  # type: ignore[arg-type]
            return await test.app.runs.explain("r")

        return test.drive(main())


def text(found: Explanation) -> str:
    return " ".join(str(found).split())


async def asks_back(body: bytes, headers: Any) -> Answer:
    waits = [{"clientWaitpointId": "token:t:1", "kind": "MANUAL", "meta": {"tokenId": "t:1"}}]
    journal = {name: {} for name in JOURNAL}
    answer = {"status": "waiting", "waitpoints": waits, "metadataUpdates": [], "journal": journal, "streamChunks": []}
    return 200, {}, msgspec.json.encode(answer)


async def moved(body: bytes, headers: Any) -> Answer:
    return 307, {"location": "https://tills.example/step/?key=1"}, b""


def test_it_says_how_to_complete_what_a_worker_waits_for() -> None:
    assert explained(asks_back).cure == 'post {"payload": JSON} to /api/runs/r/tokens/t%3A1 of a server'


def test_it_says_where_a_redirect_leads() -> None:
    error = "HTTP 307 redirects to https://tills.example/step/, which is not followed; if that is the worker"
    assert error in text(explained(moved))


def test_it_names_a_target_once_where_it_says_what_that_said() -> None:
    assert "target tills failed once, the last time: go away" in explained(down).facts


def test_it_says_which_target_failed_and_when_it_is_asked_again() -> None:
    found = explained(down)
    assert found.headline.startswith("waits for its worker elsewhere, which is asked again in ")
    assert "invocation 1 of its worker: attempt 1 failed (WorkerError: go away (target tills)); the next in" in text(
        found
    )
    assert "its body lives elsewhere: target tills" in found.facts
    assert "target tills failed once, the last time: go away" in text(found)
    assert found.cure == "look after target tills; the run then goes on by itself"


def test_it_says_that_a_target_is_left_alone() -> None:
    found = explained(down, "18s")
    assert "target tills is left alone until 2026-01-01 00:00:" in text(found)
    assert "5 failures in a row, the last of them: go away" in text(found)


def test_it_says_what_was_wrong_with_an_answer() -> None:
    found = explained(talks_rubbish)
    assert "tenant returned an invalid response: status: " in text(found)


def test_it_says_that_the_next_attempt_was_due() -> None:
    tries = iter((down,))

    async def soon_slow(body: bytes, headers: Any) -> Answer:
        return await next(tries, slow)(body, headers)

    assert "attempt 1 failed (WorkerError: go away (target tills)); the next was due" in text(
        explained(soon_slow, "1m")
    )


def test_it_says_which_target_is_at_work() -> None:
    found = explained(slow)
    assert "invocation 1 of its worker has no result yet" in found.facts
    assert "its body lives elsewhere: target tills" in found.facts


def test_it_says_that_there_is_no_target() -> None:
    found = explained(None)
    assert "its body lives elsewhere; no target of this app is for it" in found.facts
    assert found.cure == "add a target for workflow pay: [[targets]] in stepwell.toml, or Stepwell(targets=[...])"


def test_it_says_what_a_worker_refused_for_good() -> None:
    found = explained(unknown)
    assert found.headline == "failed"
    assert 'workflow "pay" is not registered in this bundle (target tills)' in text(found)
    assert found.cure == "look after target tills, then: stepwell runs retry r"


def test_an_app_without_targets_knows_what_the_journal_says() -> None:
    found = explained(down, stranger=True)
    assert "attempt 1 failed (WorkerError: go away (target tills))" in text(found)
    assert "its body lives elsewhere; this app has no targets" in found.facts


def test_records_do_not_name_targets() -> None:
    with StepwellTest(targets=[Target(unknown, workflows=["pay"], name="tills")]) as test:  # type: ignore[call-arg]

        async def main() -> None:
            handle = await test.app.start("pay", 1)
            await test.sleep("1s")
            loaded, frames = await test.app.client.journal(handle.id)
            error = run_record(RunView(head=loaded.head, frames=frames)).error
            assert (error.category, error.code) == ("RUNTIME_ERROR", "handler_error")  # type: ignore[union-attr]
            assert error.message == 'workflow "pay" is not registered in this bundle'  # type: ignore[union-attr]

        test.drive(main())
