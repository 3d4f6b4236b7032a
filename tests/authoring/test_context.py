"""The context: what a body can do besides plain asyncio, live and on replay."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from stepwell import (
    Context,
    DefinitionError,
    Event,
    HookError,
    NotInWorkflowError,
    RunCancelledError,
    RunClosedError,
    RunConflictError,
    RunError,
    Signal,
    WorkflowRef,
    current_run,
    step,
    workflow,
)
from stepwell.testing import StepwellTest

number = Signal("number", int)
paid = Event("paid", dict[str, int])


@step
async def pause() -> None: ...


def refusal(run: Any) -> str:
    """What the run failed with: a mistake in the program."""
    assert run.status == "failed"
    return str(run.error)


# --- who and when


@workflow
async def moments(ctx: Context) -> list[str]:
    seen = [ctx.now()]
    await ctx.sleep("1h")
    seen.append(ctx.now())
    await ctx.sleep_until(ctx.now() + timedelta(days=1))
    seen.append(ctx.now())
    await ctx.sleep_until(ctx.now() - timedelta(days=1))
    seen.append(ctx.now())
    return [str(now - seen[0]) for now in seen]


def test_time_is_that_of_the_run(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(moments).result == ["0:00:00", "1:00:00", "1 day, 1:00:00", "1 day, 1:00:00"]


def test_a_moment_has_a_time_zone(stepwell: StepwellTest) -> None:
    @workflow
    async def naive(ctx: Context) -> None:
        await ctx.sleep_until(datetime(2030, 1, 1))

    assert "give a datetime with a time zone" in refusal(stepwell.run_sync(naive))


@workflow
async def chances(ctx: Context) -> list[str]:
    drawn = [str(ctx.random.random()), str(ctx.uuid4())]
    await pause()
    return [*drawn, str(ctx.random.randint(0, 10**9)), str(ctx.uuid4())]


def test_chance_is_the_same_on_replay(stepwell: StepwellTest) -> None:
    stepwell.drive(stepwell.crash_everywhere(chances))


def test_chance_differs_between_runs(stepwell: StepwellTest) -> None:
    first, second = stepwell.run_sync(chances).result, stepwell.run_sync(chances).result

    assert not set(first) & set(second)


@workflow
async def knows_itself(ctx: Context) -> list[object]:
    return [ctx.run_id, ctx.is_replaying, current_run() is ctx, current_run().run_id]


def test_a_run_knows_itself(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(knows_itself, id="me").result == ["me", False, True, "me"]


def test_elsewhere_there_is_no_run() -> None:
    with pytest.raises(NotInWorkflowError, match="outside of a workflow body"):
        current_run()


# --- logs


@workflow
async def talkative(ctx: Context) -> None:
    ctx.log.debug("too quiet")
    ctx.log.info("before %d", 1, extra={"order": 7})
    await pause()
    ctx.log.info("after")


def test_a_log_line_names_its_run(stepwell: StepwellTest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stepwell.run.talkative")
    stepwell.run_sync(talkative, id="me")

    lines = [record for record in caplog.records if record.name == "stepwell.run.talkative"]
    assert [line.getMessage() for line in lines] == ["[me] before 1", "[me] after"]
    assert [(vars(lines[0])["run_id"], vars(lines[0])["order"])] == [("me", 7)]


# --- messages


def test_only_signals_and_events_are_received(stepwell: StepwellTest) -> None:
    @workflow
    async def wrong(ctx: Context) -> None:
        await ctx.receive("number")  # type: ignore[call-overload]

    assert "ctx.receive('number'): give a Signal or an Event" in refusal(stepwell.run_sync(wrong))


@workflow
async def receive_in_time(ctx: Context) -> str:
    try:
        return str(await ctx.receive(number, timeout="1h"))
    except TimeoutError as error:
        return str(error)


@pytest.mark.parametrize(("after", "result"), [("59m", "7"), ("61m", "no signal number came in time")])
def test_a_signal_may_come_too_late(stepwell: StepwellTest, after: str, result: str) -> None:
    assert stepwell.run_sync(receive_in_time, messages=[(number, after, 7)]).result == result


@workflow
async def receive_paid(ctx: Context) -> list[int]:
    mine = await ctx.receive(paid, where={"order": 7})
    default = await ctx.receive(paid, timeout="1s", default={"amount": 0}, where={"order": 8})
    return [mine["amount"], default["amount"]]


def test_where_picks_the_event(stepwell: StepwellTest) -> None:
    messages: Sequence[Any] = [(paid, "1s", {"order": 6, "amount": 1}), (paid, "2s", {"order": 7, "amount": 2})]

    assert stepwell.run_sync(receive_paid, messages=messages).result == [2, 0]


@workflow
async def receive_until_zero(ctx: Context) -> list[int]:
    seen = []
    async for n in ctx.receive_all(number):
        if n == 0:
            break
        seen.append(n)
    return seen


def test_all_signals_come_one_after_another(stepwell: StepwellTest) -> None:
    messages = [(number, "1h", 1), (number, "2h", 2), (number, "3h", 0)]

    assert stepwell.run_sync(receive_until_zero, messages=messages).result == [1, 2]
    stepwell.drive(stepwell.crash_everywhere(receive_until_zero, messages=messages))


# --- hooks


@workflow
async def hooked(ctx: Context, token: str | None) -> list[str]:
    hook = await ctx.create_hook(str, token=token, timeout="1d")
    values = [value async for value in hook]
    return [hook.url.removesuffix(quote(hook.token)), *values]


@pytest.mark.parametrize(("token", "to"), [(None, "hook"), ("my own token", "my own token")])
def test_a_hook_gives_its_values_until_its_timeout(stepwell: StepwellTest, token: str | None, to: str) -> None:
    messages = [(to, "1h", "a"), (to, "2h", "b"), (to, "25h", "c")]

    assert stepwell.run_sync(hooked, token, messages=messages).result == ["http://127.0.0.1:7788/hooks/", "a", "b"]


def test_a_token_is_not_too_short(stepwell: StepwellTest) -> None:
    assert "a token has 8 characters or more" in refusal(stepwell.run_sync(hooked, "short"))


async def test_a_token_of_another_run_is_refused(stepwell: StepwellTest) -> None:
    await stepwell.start(hooked, "my own token")
    second = await stepwell.start(refused_hook)

    assert await second.result() == "HookError"


@workflow
async def refused_hook(ctx: Context) -> str:
    await ctx.sleep("1m")
    try:
        await ctx.create_hook(str, token="my own token")
    except HookError as error:
        return type(error).__name__
    return ""


# --- children


@workflow
async def echo(ctx: Context, what: str) -> str:
    if what == "fail":
        raise LookupError("nothing to echo")
    if what == "wait":
        return str(await ctx.receive(number))
    return what


@workflow
async def starts_and_sends(ctx: Context) -> list[str]:
    child = await ctx.start(echo, "wait", id="child")
    await child.send(number, 7)
    return [child.id, await child.result(), await child.result(timeout="1s")]


def test_a_started_child_takes_signals_and_gives_its_result(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(starts_and_sends).result == ["child", "7", "7"]


@workflow
async def child_fails(ctx: Context) -> list[object]:
    try:
        await echo("fail")
    except RunError as error:
        return [type(error).__name__, "LookupError: nothing to echo" in str(error), error.run_id != ctx.run_id]
    return []


def test_a_childs_failure_is_the_parents_error(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(child_fails).result == ["RunError", True, True]


@workflow
async def cancels_child(ctx: Context) -> str:
    child = await ctx.start(echo, "wait")
    try:
        await child.result(timeout="1h")
    except TimeoutError:
        await child.cancel()
        await child.cancel()
    try:
        return await child.result()
    except RunCancelledError as error:
        return "cancelled" if "cancelled" in str(error) else ""


def test_a_child_is_cancelled(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(cancels_child).result == "cancelled"


@workflow
async def sends_too_late(ctx: Context) -> str:
    child = await ctx.start(echo, "done")
    await child.result()
    try:
        await child.send(number, 1)
    except RunClosedError as error:
        return type(error).__name__
    return ""


def test_a_child_that_has_ended_takes_no_signals(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(sends_too_late).result == "RunClosedError"


@workflow
async def id_is_taken(ctx: Context) -> list[str]:
    seen = []
    await ctx.start(echo, "one", id="child")
    for on_parent_end in ("cancel", "never"):
        try:
            await ctx.start(echo, "two", id="child", on_parent_end=on_parent_end)  # type: ignore[call-overload]
        except (RunConflictError, DefinitionError) as error:
            seen.append(type(error).__name__)
    return seen


def test_a_child_that_cannot_be_started_is_an_error(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(id_is_taken).result == ["RunConflictError", "DefinitionError"]


@workflow
async def abandons(ctx: Context) -> str:
    child = await ctx.start(echo, "done", on_parent_end="abandon")
    return await child.result()


def test_the_end_of_an_abandoned_child_is_not_reported(stepwell: StepwellTest) -> None:
    assert "its end is not reported" in refusal(stepwell.run_sync(abandons))


@workflow
async def counts_words(ctx: Context) -> str:
    return "seven"


@workflow
async def expects_a_number(ctx: Context) -> str:
    try:
        return str(await WorkflowRef[None, int]("counts_words", input=None, output=int)())
    except RunError as error:
        return str(error)


def test_a_childs_result_that_does_not_fit_is_an_error(stepwell: StepwellTest) -> None:
    stepwell.app.registry.add(counts_words)

    assert "the result of child" in stepwell.run_sync(expects_a_number).result


@workflow
async def gives_up(ctx: Context) -> str:
    try:
        async with asyncio.timeout(60):
            return await echo("wait")
    except TimeoutError:
        return "gave up"


async def test_giving_up_on_a_child_cancels_it(stepwell: StepwellTest) -> None:
    run = await stepwell.run(gives_up)
    await stepwell.sleep("1s")

    (child,) = (await stepwell.app.runs.list(workflow="echo")).runs
    assert (run.result, child.status) == ("gave up", "cancelled")


# --- metadata


@workflow
async def notes(ctx: Context) -> list[object]:
    data = ctx.metadata
    data["a"] = [1]
    data["b"] = "gone"
    del data["b"]
    await pause()
    data.append("a", 2)
    data.append("new", "x")
    data.increment("count")
    data.increment("count", 1.5)
    seen = [dict(data), len(data), "b" in data]
    try:
        del data["b"]
    except KeyError:
        seen.append("KeyError")
    return seen


def test_metadata_is_a_mapping_that_is_kept(stepwell: StepwellTest) -> None:
    run = stepwell.run_sync(notes, metadata={"given": True})

    expected = {"given": True, "a": [1, 2], "new": ["x"], "count": 2.5}
    assert run.result == [expected, 4, False, "KeyError"]
    assert run.metadata == expected
    stepwell.drive(stepwell.crash_everywhere(notes))


def test_metadata_is_removed_by_del_not_by_none(stepwell: StepwellTest) -> None:
    @workflow
    async def sets_none(ctx: Context) -> None:
        ctx.metadata["a"] = None

    assert "delete the key instead" in refusal(stepwell.run_sync(sets_none))


# --- generations and changes


@workflow
async def countdown(ctx: Context, n: int) -> int:
    await pause()
    if n > 0:
        ctx.continue_as_new(n - 1)
    return n


def test_a_workflow_starts_again_with_a_new_input(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(countdown, 3).result == 0
    stepwell.drive(stepwell.crash_everywhere(countdown, 2))


@workflow
async def three_times(ctx: Context) -> int:
    ctx.metadata.increment("rounds")
    await pause()
    if ctx.metadata["rounds"] < 3:
        ctx.continue_as_new()
    return int(ctx.metadata["rounds"])


def test_a_workflow_without_input_starts_again(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(three_times).result == 3


@workflow
async def continues_wrongly(ctx: Context, n: int) -> int:
    ctx.continue_as_new("seven")


def test_a_new_input_has_to_fit(stepwell: StepwellTest) -> None:
    assert "input of workflow continues_wrongly" in refusal(stepwell.run_sync(continues_wrongly, 1))


@workflow
async def patched(ctx: Context) -> list[bool]:
    first = ctx.patched("new")
    await pause()
    return [first, ctx.patched("new"), ctx.patched("newer")]


def test_a_run_that_is_new_has_all_patches(stepwell: StepwellTest) -> None:
    assert stepwell.run_sync(patched).result == [True, True, True]
    stepwell.drive(stepwell.crash_everywhere(patched))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"respond": True}, "an answer is to a request"),
        ({"signed_by": "shop"}, "give a Secret"),
        ({"methods": ["FETCH"]}, "there is no 'FETCH'; there are GET, POST"),
        ({"token": "x" * 201}, "8 characters or more, up to 200"),
        ({"tokn": "x"}, "no option 'tokn'; there are: methods, respond, signed_by, timeout, token"),
    ],
)
def test_options_of_a_hook_that_cannot_be_are_refused(stepwell: StepwellTest, options: Any, why: str) -> None:
    @workflow(id="optional")
    async def optional(ctx: Context) -> None:
        await ctx.create_hook(int, **options)

    assert why in refusal(stepwell.run_sync(optional))
