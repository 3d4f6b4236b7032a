"""A run from start to end: conflicts, sagas, cancel, pause, retries, generations, versions, code that cannot go on."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter

import pytest
from tests.helpers import run, until
from tests.runtime.conftest import OpenApp

from stepwell import (
    Context,
    NonDeterminismError,
    NotDurableError,
    Retry,
    RunCancelledError,
    RunConflictError,
    RunError,
    Signal,
    StepError,
    Stepwell,
    WorkflowRef,
    current_run,
    step,
    workflow,
)
from stepwell.model.ids import RunId

done: list[str] = []
counts: Counter[str] = Counter()
go_on = Signal("go_on", int)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    done.clear()
    counts.clear()


@step
async def book(name: str) -> str:
    done.append(f"book {name}")
    return name.upper()


@book.compensate
async def unbook(result: str, name: str) -> None:
    done.append(f"unbook {result} {name}")


@step(retry=None)
async def fail(message: str) -> None:
    raise ValueError(message)


@step
async def hang() -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        done.append("hang stopped")
        raise


@step(retry=None)
async def third_run() -> int:
    counts["third_run"] += 1
    if counts["third_run"] < 3:
        raise ValueError("not yet")
    return counts["third_run"]


@workflow
async def trip(ctx: Context, how: str) -> str:
    async with ctx.saga() as saga:
        await book("flight")
        await book("hotel")
        if how == "fail":
            await fail("no car")
        elif how == "hang":
            await hang()
        elif how == "undo":
            await saga.compensate()
    return "booked"


@workflow
async def stubborn(ctx: Context) -> str:
    while True:
        try:
            await ctx.receive(go_on)
        except asyncio.CancelledError:
            await book("nothing")


@workflow
async def polite(ctx: Context) -> str:
    try:
        await ctx.receive(go_on)
    except asyncio.CancelledError:
        await book("cleanup")
        raise
    return "went on"


@workflow(retry=Retry(attempts=3, first_delay="5ms"))
async def restarting(ctx: Context) -> list[object]:
    await book("once")
    number = ctx.random.randrange(10**9)
    await ctx.sleep("5ms")
    return [await third_run(), number == ctx.random.randrange(10**9), str(ctx.uuid4())]


@workflow(timeout="40ms")
async def bounded(ctx: Context) -> None:
    await ctx.receive(go_on)


@workflow
async def countdown(ctx: Context, n: int) -> str:
    ctx.metadata["left"] = n
    if n > 0:
        await book(str(n))
        ctx.continue_as_new(n - 1)
    return f"{await ctx.receive(go_on)}"


@workflow
async def pausable(ctx: Context) -> list[int]:
    received = [await ctx.receive(go_on)]
    await book("after pause")
    return received


@workflow
async def helper_deep(ctx: Context) -> str:
    return deep()


def deep() -> str:
    return current_run().run_id


@workflow
async def noisy(ctx: Context) -> None:
    ctx.log.info("adapter says hello")
    logging.getLogger("user").warning("logger says hello")
    await ctx.receive(go_on)
    ctx.log.info("adapter says bye")


@workflow
async def in_a_thread(ctx: Context) -> None:
    try:
        await asyncio.to_thread(print)
    except Exception:
        await book("swallowed")


@workflow
async def patched(ctx: Context) -> str:
    await ctx.receive(go_on)
    return "new" if ctx.patched("p") else "old"


WORKFLOWS = [item for item in globals().values() if isinstance(item, type(noisy))]


def test_a_failed_saga_undoes_newest_first(app_of: OpenApp) -> None:
    async def go() -> None:
        async with app_of(*WORKFLOWS) as app:
            with pytest.raises(RunError, match="no car"):
                await (await app.start(trip, "fail")).result(timeout=5)

    run(go())
    assert done == ["book flight", "book hotel", "unbook HOTEL hotel", "unbook FLIGHT flight"]


def test_a_cancelled_saga_is_undone_and_its_step_told(app_of: OpenApp) -> None:
    async def go() -> None:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(trip, "hang")
            await until(lambda: _has_done(2))
            await asyncio.sleep(0.02)
            await handle.cancel("changed my mind")
            with pytest.raises(RunCancelledError, match="changed my mind"):
                await handle.result(timeout=5)

    run(go())
    assert sorted(done[2:]) == ["hang stopped", "unbook FLIGHT flight", "unbook HOTEL hotel"]


async def _has_done(n: int) -> bool:
    return len(done) >= n


@pytest.mark.parametrize(("how", "undone"), [("ok", 0), ("undo", 2)])
def test_a_saga_that_succeeds_keeps_its_steps_unless_asked(app_of: OpenApp, how: str, undone: int) -> None:
    async def go() -> str:
        async with app_of(*WORKFLOWS) as app:
            return await (await app.start(trip, how)).result(timeout=5)

    assert run(go()) == "booked"
    assert sum(line.startswith("unbook") for line in done) == undone


def test_cleanup_may_await_steps(app_of: OpenApp) -> None:
    async def go() -> None:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(polite)
            await handle.cancel()
            with pytest.raises(RunCancelledError):
                await handle.result(timeout=5)

    run(go())
    assert done == ["book cleanup"]


def test_a_run_that_ignores_its_cancel_is_terminated_after_the_grace(app_of: OpenApp) -> None:
    async def go() -> str:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(stubborn)
            await handle.cancel(grace="50ms")
            with pytest.raises(RunCancelledError, match="after the grace"):
                await handle.result(timeout=5)
            return await handle.status()

    assert run(go()) == "terminated"


def test_a_paused_run_starts_nothing_until_it_is_resumed(app_of: OpenApp) -> None:
    async def go() -> list[int]:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(pausable)
            await app.runs.pause(handle.id)
            await until(lambda: _has_status(app, handle.id, "paused"))
            await handle.send(go_on, 7)
            await asyncio.sleep(0.05)
            assert done == []
            assert await handle.status() == "paused"
            await app.runs.resume(handle.id)
            return await handle.result(timeout=5)

    assert run(go()) == [7]


async def _has_status(app: Stepwell, id: RunId, status: str) -> bool:
    return (await app.runs.get(id)).status == status


def test_a_workflow_with_a_retry_policy_goes_on_from_its_failed_step(app_of: OpenApp) -> None:
    async def go() -> list[object]:
        async with app_of(*WORKFLOWS) as app:
            return await (await app.start(restarting)).result(timeout=5)

    third, is_same, text = run(go())
    assert (third, is_same) == (3, False)
    assert uuid.UUID(str(text)).version == 4
    assert done == ["book once"]


def test_a_run_past_its_timeout_fails(app_of: OpenApp) -> None:
    async def go() -> None:
        async with app_of(*WORKFLOWS) as app:
            with pytest.raises(RunError, match="longer than its timeout"):
                await (await app.start(bounded)).result(timeout=5)

    run(go())


def test_an_endless_workflow_keeps_its_mail_and_forgets_its_history(app_of: OpenApp) -> None:
    async def go() -> tuple[str, int, object]:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(countdown, 5)
            await handle.send(go_on, 42)
            result = await handle.result(timeout=5)
            return result, (await handle.head()).base, (await handle.metadata())["left"]

    result, base, left = run(go())
    assert (result, left) == ("42", 0)
    assert base > 5
    assert done == [f"book {n}" for n in (5, 4, 3, 2, 1)]


def test_the_same_id_attaches_or_conflicts(app_of: OpenApp) -> None:
    async def go() -> None:
        async with app_of(*WORKFLOWS) as app:
            first = await app.start(trip, "ok", id="trip-1")
            again = await app.start(trip, "ok", id="trip-1")
            assert await first.result(timeout=5) == await again.result(timeout=5)
            with pytest.raises(RunConflictError, match="another input"):
                await app.start(trip, "fail", id="trip-1")
            with pytest.raises(RunConflictError, match="of workflow trip"):
                await app.start(polite, id="trip-1")
            with pytest.raises(RunConflictError):
                await app.start(trip, "ok", id="trip-1", on_conflict="fail")

    run(go())
    assert done == ["book flight", "book hotel"]


def test_an_idempotency_key_names_the_run(app_of: OpenApp) -> None:
    async def go() -> bool:
        async with app_of(*WORKFLOWS) as app:
            return (await app.start(trip, "ok", key="k")).id == (await app.start(trip, "ok", key="k")).id

    assert run(go())


def test_a_workflow_is_started_by_name_or_reference(app_of: OpenApp) -> None:
    async def go() -> list[str]:
        async with app_of(*WORKFLOWS) as app:
            by_name = await app.start("trip", "ok")
            by_reference = await app.start(WorkflowRef[str, str]("trip"), "ok")
            return [await by_name.result(timeout=5), await by_reference.result(timeout=5)]

    assert run(go()) == ["booked", "booked"]


def test_the_run_is_found_at_any_depth(app_of: OpenApp) -> None:
    async def go() -> str:
        async with app_of(*WORKFLOWS) as app:
            return await (await app.start(helper_deep, id="deep-1")).result(timeout=5)

    assert run(go()) == "deep-1"


def test_what_a_body_logs_is_logged_once(app_of: OpenApp, caplog: pytest.LogCaptureFixture) -> None:
    async def go() -> None:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(noisy)
            await until(lambda: _has_status(app, handle.id, "waiting"))
            await handle.send(go_on, 1)
            await handle.result(timeout=5)

    with caplog.at_level(logging.INFO):
        run(go())
    for text in ("adapter says hello", "logger says hello", "adapter says bye"):
        assert sum(text in record.getMessage() for record in caplog.records) == 1, text


def test_a_thread_in_a_body_fails_the_activation_not_the_run(app_of: OpenApp) -> None:
    errors: list[BaseException] = []

    async def go() -> str:
        async with app_of(*WORKFLOWS) as app:
            app.hub.on_activation_failed = lambda _, error: errors.append(error)
            handle = await app.start(in_a_thread)
            await until(lambda: _has_errors(errors))
            return await handle.status()

    assert run(go()) in ("running", "waiting")
    assert isinstance(errors[0], NotDurableError)
    assert "do this in a step" in str(errors[0])
    assert done == []


async def _has_errors(errors: list[BaseException]) -> bool:
    return bool(errors)


def test_changed_code_does_not_fit_the_history(tmp_path: object) -> None:
    errors: list[BaseException] = []

    @workflow(id="order")
    async def before(ctx: Context) -> None:
        await book("charge")
        await ctx.receive(go_on)

    @workflow(id="order")
    async def after(ctx: Context) -> None:
        await unbook("validate", "x")
        await book("charge")
        await ctx.receive(go_on)

    async def go() -> None:
        url = f"sqlite:///{tmp_path}/order.db"
        async with Stepwell(url, include=[before]) as app:
            handle = await app.start(before, id="order-7")
            await until(lambda: _has_status(app, handle.id, "waiting"))
        async with Stepwell(url, include=[after]) as app:
            app.hub.on_activation_failed = lambda _, error: errors.append(error)
            handle2 = app.handle("order-7", after)
            await handle2.send(go_on, 1)
            await until(lambda: _has_errors(errors))
            assert not (await handle2.head()).is_terminal
        async with Stepwell(url, include=[before]) as app:
            await app.handle("order-7", before).result(timeout=10)

    run(go())
    text = str(errors[0])
    assert isinstance(errors[0], NonDeterminismError)
    assert "history #2    step    book             completed" in text
    assert "code asks      step    unbook" in text
    assert "test_lifecycle.py:" in text
    assert 'ctx.patched("unbook-first")' in text
    assert "stepwell runs fork order-7 --from-step book" in text


def test_runs_that_passed_a_patch_keep_the_old_code(app_of: OpenApp) -> None:
    async def go() -> str:
        async with app_of(*WORKFLOWS) as app:
            handle = await app.start(patched)
            await handle.send(go_on, 1)
            return await handle.result(timeout=5)

    assert run(go()) == "new"


def test_a_version_stays_with_its_code(tmp_path: object) -> None:
    @workflow(id="v", version="1")
    async def one(ctx: Context) -> str:
        return f"one {await ctx.receive(go_on)}"

    @workflow(id="v", version="2")
    async def two(ctx: Context) -> str:
        return f"two {await ctx.receive(go_on)}"

    @workflow(id="v", version="3", accepts=["1", "2"])
    async def three(ctx: Context) -> str:
        return f"three {await ctx.receive(go_on)}"

    async def go() -> list[str]:
        url = f"sqlite:///{tmp_path}/v.db"
        async with Stepwell(url, include=[one, two]) as app:
            handles = [await app.start(one), await app.start(two)]
            for handle in handles:
                await until(lambda handle=handle: _has_status(app, handle.id, "waiting"))
        async with Stepwell(url, include=[two]) as app:
            for handle in handles:
                await app.handle(handle.id).send(go_on, 1)
            second = await app.handle(handles[1].id).result(timeout=5)
            assert not (await app.runs.get(handles[0].id)).is_terminal
        async with Stepwell(url, include=[three]) as app:
            return [await app.handle(handles[0].id).result(timeout=15), str(second)]

    assert run(go()) == ["three 1", "two 1"]


def test_a_step_error_that_leaves_the_body_keeps_its_type(app_of: OpenApp) -> None:
    async def go() -> RunError:
        async with app_of(*WORKFLOWS) as app:
            with pytest.raises(RunError) as caught:
                await (await app.start(trip, "fail")).result(timeout=5)
            return caught.value

    failure = run(go()).error
    assert failure.is_(ValueError)  # type: ignore[attr-defined]
    assert failure.is_(StepError)  # type: ignore[attr-defined]
