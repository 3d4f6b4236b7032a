"""`explain`: each reason for which a run stands still has its own answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.helpers import run, until

from stepwell import (
    Context,
    Event,
    Retry,
    RunCancelledError,
    RunError,
    RunNotFoundError,
    Signal,
    Stepwell,
    WorkflowRef,
    step,
    workflow,
)
from stepwell.model.ids import Claim, RunId
from stepwell.ports import Serves
from stepwell.runtime.explaining import Explanation
from stepwell.runtime.options import WorkerOptions

go = Signal("go", int)
paid = Event("paid", int)


@step(retry=Retry(attempts=2, first_delay="1h"))
async def flaky() -> None:
    raise ValueError("no luck")


@step(retry=None)
async def fails() -> None:
    raise ValueError("never")


@step
async def slow() -> None:
    await asyncio.sleep(10)


@workflow
async def waits_for(ctx: Context, what: str) -> None:
    match what:
        case "signal":
            await ctx.receive(go)
        case "event":
            await ctx.receive(paid, where={"order": 7})
        case "hook":
            await (await ctx.create_hook(int))
        case "timer":
            await ctx.sleep("2d")
        case "child":
            await waits_for("signal")
        case "retry":
            await flaky()
        case "step":
            await slow()
        case "failure":
            await fails()


async def explained(app: Stepwell, what: str, status: str) -> Explanation:
    await app.start(waits_for, what, id=what)

    async def reached() -> bool:
        return (await app.runs.get(what)).status == status

    await until(reached)
    return await app.runs.explain(what)


CASES = [
    ("signal", "waits: for signal go", "stepwell send signal go JSON"),
    ("event", "waits: for event paid with {'order': 7}", "stepwell publish paid JSON"),
    ("hook", "waits: for the completion of hook", "stepwell complete TOKEN JSON"),
    ("timer", "waits: sleeping (sleep), until", ""),
    ("child", "waits: for child c", "stepwell runs explain c"),
    ("retry", "waits", ""),
]


@pytest.mark.parametrize(("what", "headline", "cure"), CASES)
def test_a_parked_run_says_what_it_waits_for_and_how_to_answer(what: str, headline: str, cure: str) -> None:
    async def scenario() -> Explanation:
        async with Stepwell("memory://", include=[waits_for]) as app:
            return await explained(app, what, "waiting")

    found = run(scenario())
    assert found.headline.startswith(headline)
    assert found.cure.startswith(cure)


def test_a_retry_is_told_with_the_error_before_it() -> None:
    async def scenario() -> Explanation:
        async with Stepwell("memory://", include=[waits_for]) as app:
            return await explained(app, "retry", "waiting")

    facts = "\n".join(run(scenario()).facts)
    assert "step flaky: attempt 1 failed (ValueError: no luck); the next in" in facts


def test_a_child_is_explained_one_level_down() -> None:
    async def scenario() -> Explanation:
        async with Stepwell("memory://", include=[waits_for]) as app:
            await explained(app, "child", "waiting")
            child = (await app.runs.list(parent="child")).runs[0].id

            async def is_waiting() -> bool:
                return (await app.runs.get(child)).status == "waiting"

            await until(is_waiting)
            return await app.runs.explain("child")

    assert any("is waiting: for signal go" in fact for fact in run(scenario()).facts)


def test_a_running_step_is_named_with_the_worker_that_has_it() -> None:
    async def scenario() -> Explanation:
        options = WorkerOptions(grace_ms=1)
        async with Stepwell("memory://", include=[waits_for], worker_options=options) as app:
            return await explained(app, "step", "running")

    found = run(scenario())
    assert found.headline.startswith("is held by worker ")
    assert "step slow has no result yet" in found.facts


def test_a_paused_run_says_who_paused_it_and_how_to_go_on() -> None:
    async def scenario() -> Explanation:
        async with Stepwell("memory://", include=[waits_for]) as app:
            await explained(app, "signal", "waiting")
            await app.runs.pause("signal", "an audit")

            async def is_paused() -> bool:
                return (await app.runs.get("signal")).status == "paused"

            await until(is_paused)
            return await app.runs.explain("signal")

    found = run(scenario())
    assert found.headline == "is paused"
    assert any("an audit" in fact for fact in found.facts)
    assert found.cure == "stepwell runs resume signal"


def test_a_run_that_nobody_works_on_asks_for_a_worker() -> None:
    async def scenario() -> Explanation:
        async with Stepwell("memory://", include=[waits_for], worker=False) as app:
            await app.start(waits_for, "signal", id="r")
            return await app.runs.explain("r")

    found = run(scenario())
    assert found.headline == "is due, and waits for a worker that serves queue 'default' and has workflow waits_for"
    assert found.cure.startswith("start a worker")


def test_a_run_without_code_here_says_so() -> None:
    async def scenario() -> Explanation:
        async with Stepwell("memory://", include=[waits_for]) as app:
            await app.start(WorkflowRef[Any, Any]("elsewhere", version="3"), 1, id="r")
            return await app.runs.explain("r")

    assert "this app has no code for elsewhere@3" in run(scenario()).facts


def test_a_delayed_run_says_when_it_starts() -> None:
    async def scenario() -> Explanation:
        async with Stepwell("memory://", include=[waits_for]) as app:
            await app.start(waits_for, "signal", id="r", delay="1h")
            return await app.runs.explain("r")

    assert run(scenario()).headline.startswith("starts in ")


def _two_codes() -> tuple[Any, Any]:
    @step
    async def charge() -> None: ...

    @step
    async def validate() -> None: ...

    @workflow(id="order")
    async def old(ctx: Context) -> None:
        await charge()
        await ctx.receive(go)

    @workflow(id="order")
    async def new(ctx: Context) -> None:
        await validate()
        await charge()
        await ctx.receive(go)

    return old, new


def test_code_that_does_not_fit_is_told_wherever_one_asks() -> None:
    old, new = _two_codes()

    async def scenario() -> tuple[Explanation, Explanation]:
        url = "memory://explain-mismatch"
        async with Stepwell(url, worker=False) as keeper:
            async with Stepwell(url, include=[old]) as app:
                handle = await app.start(old, id="r")

                async def is_waiting() -> bool:
                    return await handle.status() == "waiting"

                await until(is_waiting)
            async with Stepwell(url, include=[new]) as app:
                await app.handle("r").send(go, 1)

                async def has_failed() -> bool:
                    return bool((await app.runs.get("r")).error)

                await until(has_failed)
                return await app.runs.explain("r"), await keeper.runs.explain("r")

    here, elsewhere = run(scenario())
    assert here.headline == "cannot go on with the code that is here"
    assert any("validate" in fact for fact in here.facts)
    assert elsewhere.headline.startswith("could not be driven; next try in ")
    assert any("validate" in fact for fact in elsewhere.facts)


def test_the_error_of_a_run_goes_when_it_moves_again() -> None:
    old, new = _two_codes()

    async def scenario() -> str:
        url = "memory://explain-cured"
        async with Stepwell(url, worker=False) as keeper:
            async with Stepwell(url, include=[old]) as app:
                await app.start(old, id="r")
                await until(lambda: _is_in(app, "waiting"))
            async with Stepwell(url, include=[new]) as app:
                await app.handle("r").send(go, 1)
                await until(lambda: _has_error(app))
            async with Stepwell(url, include=[old]) as app:
                await app.runs.resume("r")
                await app.handle("r").result(timeout=5)
            return (await keeper.runs.get("r")).error

    assert run(scenario()) == ""


async def _is_in(app: Stepwell, status: str) -> bool:
    return (await app.runs.get("r")).status == status


async def _has_error(app: Stepwell) -> bool:
    return bool((await app.runs.get("r")).error)


def test_a_failed_run_tells_its_error_and_how_to_retry() -> None:
    async def scenario() -> Explanation:
        async with Stepwell("memory://", include=[waits_for]) as app:
            with pytest.raises(RunError):
                await (await app.start(waits_for, "failure", id="f")).result(timeout=5)
            return await app.runs.explain("f")

    found = run(scenario())
    assert (found.status, found.headline, found.cure) == ("failed", "failed", "stepwell runs retry f")
    assert any("never" in fact for fact in found.facts)


def test_a_cancelled_run_tells_who_wanted_it() -> None:
    async def scenario() -> Explanation:
        async with Stepwell("memory://", include=[waits_for]) as app:
            await explained(app, "signal", "waiting")
            await app.runs.cancel("signal", "a mistake")
            with pytest.raises(RunCancelledError):
                await app.handle("signal").result(timeout=5)
            return await app.runs.explain("signal")

    found = run(scenario())
    assert found.headline == "was cancelled"
    assert "cancel was asked for: a mistake" in found.facts


def test_an_explanation_reads_as_text() -> None:
    text = str(Explanation(run=RunId("r"), status="paused", headline="is paused", facts=("a", "b"), cure="resume it"))
    assert text == "run r is paused\n  a\n  b\n  do: resume it"


def test_a_run_that_is_not_there_is_not_explained() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://") as app:
            with pytest.raises(RunNotFoundError):
                await app.runs.explain("nobody")

    run(scenario())


def test_a_dead_run_says_where_to_look() -> None:
    async def scenario() -> Explanation:
        options = WorkerOptions(max_takes=1, suspect_takes=1, lease_ms=10, margin_ms=1, poll_ms=5, grace_ms=1)
        async with Stepwell("memory://", include=[waits_for], worker=False, worker_options=options) as app:
            await app.start(waits_for, "signal", id="r")
            store = app.backend.store
            for n in (1, 2):
                await store.take(Claim(f"{store.identity}:{n}"), lease_ms=1, limit=1, serves=Serves())
                await asyncio.sleep(0.005)
            async with app.worker():
                with pytest.raises(RunError):
                    await app.handle("r").result(timeout=5)
                return await app.runs.explain("r")

    found = run(scenario())
    assert found.headline.startswith("is dead")
    assert found.cure == "look at the logs of its workers, then: stepwell runs retry r"
