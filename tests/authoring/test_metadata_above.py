"""Metadata of runs above: changed by their children, each change once, whatever happens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import (
    AesGcm,
    BackendError,
    Blueprint,
    Codec,
    Context,
    Retry,
    Signal,
    Stepwell,
    step,
    workflow,
)
from stepwell.model.entries import Intended, SendMetadata
from stepwell.model.messages import MetadataSent
from stepwell.testing import StepwellTest
from tests.helpers import run

CODEC = Codec(AesGcm({"k": bytes(range(32))}, current="k"))
go = Signal("go", str)


@step
async def work(n: int) -> int:
    return n


@workflow
async def leaf(ctx: Context, n: int) -> int:
    ctx.metadata.parent.increment("begun")
    ctx.metadata.root.set("last", {"n": n})
    await work(n)
    ctx.metadata.parent.increment("sum", by=n)
    ctx.metadata.parent.append("done", n)
    await ctx.sleep("1m")
    ctx.metadata.root.increment("leaves")
    ctx.metadata.parent.remove("draft")
    return n


@workflow
async def middle(ctx: Context, count: int) -> int:
    ctx.metadata["draft"] = True
    found = [await leaf(n) for n in range(count)]
    return sum(found) + int(ctx.metadata["sum"])


@workflow
async def top(ctx: Context, count: int) -> list[object]:
    result = await middle(count)
    return [result, ctx.metadata["leaves"], ctx.metadata["last"]]


@workflow
async def alone(ctx: Context) -> str:
    ctx.metadata.parent.set("a", 1)
    ctx.metadata.root.increment("a")
    await work(1)
    ctx.metadata.parent.remove("a")
    return "ok"


def sent(entries: list[Any]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """What a run sent above: id, run and changes of each act."""
    found = [entry for entry in entries if isinstance(entry, Intended) and isinstance(entry.act, SendMetadata)]
    return [(entry.id, entry.act.run, [(op.op, op.key) for op in entry.act.ops]) for entry in found]


def test_a_child_changes_the_metadata_of_its_parent_and_of_the_root(stepwell: StepwellTest) -> None:
    done = stepwell.run_sync(top, 3)

    assert done.result == [6, 3, {"n": 2}]
    assert done.metadata == {"leaves": 3, "last": {"n": 2}}


def test_what_comes_before_a_wait_is_one_act_for_each_target(stepwell: StepwellTest) -> None:
    async def body() -> list[Any]:
        await stepwell.run(middle, 1, id="m")
        app = stepwell.app
        page = await app.runs.list(workflow="leaf")
        return [entry.entry async for entry in app.runs.events(page.runs[0].id)]

    assert sent(stepwell.drive(body())) == [
        ("@metadata.parent", "m", [("increment", "begun")]),
        ("@metadata.root", "m", [("set", "last")]),
        ("@metadata.parent:2", "m", [("increment", "sum"), ("append", "done")]),
        ("@metadata.root:2", "m", [("increment", "leaves")]),
        ("@metadata.parent:3", "m", [("remove", "draft")]),
    ]


@pytest.mark.parametrize("codec", [Codec(), CODEC])
def test_crashes_lose_no_change_and_repeat_none(codec: Codec) -> None:
    with StepwellTest(codec=codec, include=[leaf, middle]) as test:
        report = test.drive(test.crash_everywhere(top, 2))

    report.assert_same()
    assert bytes(codec.opened(report.crashes[0].ended.value, where="it")) == b'[2,2,{"n":1}]'


def test_a_run_with_nobody_above_changes_nothing(stepwell: StepwellTest) -> None:
    done = stepwell.run_sync(alone)

    assert (done.result, done.metadata) == ("ok", {})
    stepwell.drive(stepwell.crash_everywhere(alone))


# --- order


@workflow
async def phases(ctx: Context) -> None:
    for phase in range(5):
        ctx.metadata.parent.set("phase", phase)
        await work(phase)


@workflow
async def watched(ctx: Context) -> object:
    await phases()
    return ctx.metadata["phase"]


def test_changes_arrive_in_order_though_the_first_is_put_off() -> None:
    async def body() -> None:
        async with Stepwell("memory://", include=[watched, phases]) as app:
            app.ensure_worker()
            assert app._worker is not None
            acts, refused = app._worker.acts, [True]
            deliver = acts.deliver

            async def once_refused(run: Any, id: Any, message: Any) -> Any:
                if isinstance(message, MetadataSent) and refused:
                    refused.clear()
                    raise BackendError("not now")
                return await deliver(run, id, message)

            acts.deliver = once_refused  # type: ignore[method-assign]
            assert await (await app.start(watched)).result() == 4

    run(body())


# --- what may have become of the run above


@workflow
async def late(ctx: Context) -> str:
    await ctx.receive(go)
    ctx.metadata.parent.set("late", True)
    await ctx.sleep("1s")
    ctx.metadata.parent.set("later", True)
    return "ok"


@workflow
async def leaves_it(ctx: Context) -> str:
    child = await ctx.start(late, id="late", on_parent_end="abandon")
    return child.id


async def test_a_parent_that_has_ended_is_no_failure(stepwell: StepwellTest) -> None:
    parent = await stepwell.run(leaves_it)
    child = stepwell.app.handle("late", late)
    await child.send(go, "on")

    assert await child.result() == "ok"
    assert parent.metadata == {}


async def test_a_parent_that_is_gone_is_no_failure(stepwell: StepwellTest) -> None:
    parent = await stepwell.run(leaves_it)
    await stepwell.app.runs.delete(parent.id)
    child = stepwell.app.handle("late", late)
    await child.send(go, "on")

    assert await child.result() == "ok"


# --- forks and retries


@workflow(retry=Retry(attempts=2, first_delay="1h", max_delay="1h"))
async def again(ctx: Context, is_first: bool) -> dict[str, object]:
    if is_first:
        await ctx.start(late, id="late", on_parent_end="abandon")
        ctx.continue_as_new(False)
    await fragile(1)
    return dict(ctx.metadata)


async def test_what_comes_while_a_run_waits_for_its_retry_is_not_lost(stepwell: StepwellTest) -> None:
    attempts[:] = [0]
    parent = await stepwell.start(again, True)
    await stepwell.sleep("1m")
    child = stepwell.app.handle("late", late)
    await child.send(go, "on")
    assert await child.result() == "ok"

    assert await parent.result() == {"late": True, "later": True}
    assert await parent.metadata() == {"late": True, "later": True}


class Down(Exception):
    pass


attempts: list[int] = []


@step(retry=None)
async def fragile(n: int) -> int:
    attempts.append(n)
    if len(attempts) < 3:
        raise Down
    return n


@workflow
async def counts(ctx: Context) -> str:
    ctx.metadata.parent.increment("begun")
    await work(1)
    ctx.metadata.parent.increment("worked")
    await ctx.sleep("1s")
    await work(2)
    ctx.metadata.parent.increment("done")
    return "ok"


@workflow
async def counted(ctx: Context) -> dict[str, object]:
    await counts()
    await ctx.receive(go)
    return dict(ctx.metadata)


@pytest.mark.parametrize("from_step", ["work", "work:2", None])
async def test_a_fork_of_a_child_sends_nothing_again(stepwell: StepwellTest, from_step: str | None) -> None:
    parent = await stepwell.start(counted)
    await stepwell.sleep("1m")
    runs = stepwell.app.runs
    (child,) = (await runs.list(workflow="counts")).runs
    fork = stepwell.app.handle(await runs.fork(child.id, from_step=from_step), counts)
    assert await fork.result() == "ok"
    await parent.send(go, "on")

    assert await parent.result() == {"begun": 1, "worked": 1, "done": 1}
    entries = [entry.entry async for entry in runs.events(fork.id)]
    assert [item for item in sent(entries) if item[1] != parent.id] == []


@workflow(retry=Retry(attempts=5, first_delay="1s"))
async def retried(ctx: Context) -> str:
    ctx.metadata.parent.increment("begun")
    async with asyncio.TaskGroup() as group:
        group.create_task(after(ctx))
        group.create_task(fragile(7))
    ctx.metadata.parent.increment("done")
    return "ok"


async def after(ctx: Context) -> None:
    await work(1)
    ctx.metadata.parent.increment("worked")


@workflow
async def above_retried(ctx: Context) -> dict[str, object]:
    await retried()
    return dict(ctx.metadata)


async def test_a_run_that_is_retried_sends_nothing_again(stepwell: StepwellTest) -> None:
    attempts.clear()

    done = await stepwell.run(above_retried)

    assert done.result == {"begun": 1, "worked": 1, "done": 1}
    assert len(attempts) == 3


# --- values


@workflow
async def big(ctx: Context) -> None:
    ctx.metadata.parent.set("big", "x" * 100_000)
    ctx.metadata.parent.append("list", None)
    ctx.metadata.parent.increment("half", by=0.5)


@workflow
async def above_big(ctx: Context) -> list[object]:
    await big()
    return [len(ctx.metadata["big"]), ctx.metadata["list"], ctx.metadata["half"]]


def test_values_may_be_large_and_items_none(stepwell: StepwellTest) -> None:
    stepwell.drive(stepwell.crash_everywhere(above_big))

    assert stepwell.run_sync(above_big).result == [100_000, [None], 0.5]


@workflow
async def wrong(ctx: Context, how: str) -> None:
    above = ctx.metadata.root
    if how == "none":
        above.set("a", None)
    elif how == "text":
        above.increment("a", by="2")  # type: ignore[arg-type]
    elif how == "bool":
        above.increment("a", by=True)
    else:
        above.set("a", object())


@pytest.mark.parametrize(
    ("how", "cure"),
    [
        ("none", "remove the key instead"),
        ("text", "give a number"),
        ("bool", "give a number"),
        ("object", "metadata 'a' of the root"),
    ],
)
def test_what_cannot_be_sent_is_refused_at_once(stepwell: StepwellTest, how: str, cure: str) -> None:
    assert cure in str(stepwell.run_sync(wrong, how).error)


flow: Blueprint[int, Any] = Blueprint("above").node("leaf", leaf)


def test_a_blueprint_is_changed_like_any_other_run(stepwell: StepwellTest) -> None:
    done = stepwell.run_sync(flow, 4)

    assert done.metadata == {"begun": 1, "last": {"n": 4}, "sum": 4, "done": [4], "leaves": 1}
