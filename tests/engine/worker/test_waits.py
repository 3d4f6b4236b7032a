"""What a body of ours waits for, by the names that the wire has for it, and what comes of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.engine.worker.driving import START, Wire, error_of, meta

from stepwell import (
    Context,
    DefinitionError,
    Event,
    HookRequest,
    HookResponse,
    RunError,
    Secret,
    Signal,
    WorkflowRef,
    step,
    workflow,
)
from stepwell.authoring.wire.doors import Doors
from stepwell.model.tokens import hook_key, is_genuine, parse_token

approve = Signal("approve", str)
number = Signal("number", int)
tick = Event("tick", int)
child = WorkflowRef("child", output=int)


def wait_of(flow: Any, **setup: Any) -> tuple[str, str, dict[str, Any], float | None]:
    """The one wait that a body begins with: id, kind, meta, limit."""
    (wait,) = Wire(flow, **setup).invoke().waitpoints
    return wait.client_waitpoint_id, wait.kind, meta(wait), wait.timeout_ms


# --- names


@workflow
async def sleeping(ctx: Context) -> str:
    await ctx.sleep("1m")
    return str(ctx.now())


def test_a_sleep_is_a_wait_for_a_time() -> None:
    assert wait_of(sleeping) == ("sleep:1", "DATETIME", {"durationMs": 60_000}, 60_000)


@workflow
async def sleeping_until(ctx: Context) -> None:
    await ctx.sleep_until(ctx.now() - timedelta(days=1))
    await ctx.sleep_until(datetime.fromtimestamp(START / 1000 + 5, UTC))


def test_a_sleep_until_a_moment_names_it_and_one_in_the_past_is_over_at_once() -> None:
    expected = {"durationMs": 5000, "wakeAt": START + 5000}
    assert wait_of(sleeping_until) == ("sleep:1", "DATETIME", expected, 5000)


@workflow
async def dozing(ctx: Context) -> None:
    await asyncio.sleep(2)


def test_a_plain_timer_is_one_too() -> None:
    assert wait_of(dozing) == ("timer:1", "DATETIME", {"durationMs": 2000, "name": "sleep"}, 2000)


@workflow
async def waiting_for_a_signal(ctx: Context) -> str:
    return await ctx.receive(approve, timeout="1d", where={"by": 3})


def test_a_signal_has_its_name_its_limit_and_what_it_must_match() -> None:
    expected = {"signalName": "approve", "match": {"by": 3}}
    assert wait_of(waiting_for_a_signal) == ("signal:approve:1", "SIGNAL", expected, 86_400_000)


@workflow
async def waiting_for_an_event(ctx: Context) -> int:
    return await ctx.receive(tick)


def test_an_event_has_its_type() -> None:
    assert wait_of(waiting_for_an_event) == ("event:tick:1", "EVENT", {"eventType": "tick"}, None)


@workflow
async def iterating(ctx: Context) -> list[int]:
    return [item async for item in ctx.receive_all(tick)]


def test_an_iteration_counts_the_call_and_then_each_item() -> None:
    assert wait_of(iterating) == ("event:tick:iter:2", "EVENT", {"eventType": "tick", "iter": True}, None)


def test_an_iteration_ends_when_the_orchestrator_says_so() -> None:
    wire = Wire(iterating)
    wire.invoke()
    wire.resolve("event:tick:iter:2", 7).invoke()
    wire.resolve("event:tick:iter:3", {"__voyantStreamEnd": True}).invoke()

    assert wire.result == [7]


@workflow
async def hooking(ctx: Context) -> list[Any]:
    hook = await ctx.create_hook(int, timeout="1h")
    return [hook.token, hook.url, await hook, await hook]


def test_a_hook_without_a_token_gets_one_by_the_counter() -> None:
    assert wait_of(hooking) == ("token:tok_1", "MANUAL", {"tokenId": "tok_1"}, 3_600_000)


def test_a_hook_that_is_awaited_again_is_another_wait() -> None:
    wire = Wire(hooking)
    wire.invoke()
    wire.resolve("token:tok_1", 1).invoke()
    wire.resolve("token:tok_1:2", 2).invoke()

    assert wire.result == ["tok_1", "/__voyant/tokens/tok_1", 1, 2]


@workflow
async def hooking_by_token(ctx: Context) -> list[Any]:
    hook = await ctx.create_hook(int, token="order-4711")
    await ctx.sleep(1)
    return [hook.token, hook.url, await hook]


def test_a_hook_with_a_token_takes_no_number() -> None:
    wire = Wire(hooking_by_token)

    assert [wait.client_waitpoint_id for wait in wire.invoke().waitpoints] == ["sleep:1"]
    wire.resolve("sleep:1").invoke()
    assert wire.waits["token:order-4711"].kind == "MANUAL"


def test_an_orchestrator_of_ours_says_where_hooks_are_reached() -> None:
    seed = "ab" * 16
    doors = Doors.of("https://x.test/hooks/", f"1.{hook_key('r_test', 1, seed)}")
    wire = Wire(hooking, doors=doors)
    wire.invoke()
    wire.resolve("token:tok_1", 1).invoke()
    wire.resolve("token:tok_1:2", 2).invoke()

    token, url = wire.result[:2]
    parsed = parse_token(token)
    assert url == f"https://x.test/hooks/{token}"
    assert parsed is not None
    assert (parsed.command, is_genuine(parsed, seed)) == ("tok_1", True)


@pytest.mark.parametrize("key", ["x.ab", "1", "1.", "1.zz", "²." + "ab"])
def test_a_hook_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="hex"):
        Doors.of("https://x.test/hooks/", key)


@workflow
async def calling(ctx: Context) -> int:
    return await child({"n": 1})


def test_a_child_is_a_wait_for_a_run() -> None:
    expected = {"childWorkflowId": "child", "childInput": {"n": 1}, "detach": False, "tags": []}
    assert wait_of(calling) == ("invoke:child:1", "RUN", expected, None)


@workflow
async def two_waits(ctx: Context) -> list[int]:
    x, y = Event("x", int), Event("y", int)
    return list(await asyncio.gather(ctx.receive(x), ctx.receive(y)))


def test_one_counter_serves_all_waits() -> None:
    wire = Wire(two_waits)
    assert [wait.client_waitpoint_id for wait in wire.invoke().waitpoints] == ["event:x:1", "event:y:2"]

    wire.resolve("event:y:2", 2).invoke()
    assert list(wire.waits) == ["event:x:1"]
    wire.resolve("event:x:1", 1).invoke()
    assert wire.result == [1, 2]


# --- what comes of them


@workflow
async def patient(ctx: Context) -> str:
    try:
        first = await ctx.receive(number, timeout=5)
    except TimeoutError as error:
        first = str(error)
    second = await ctx.receive(number, timeout=5, default="nothing")
    return f"{first}, {second}"


def test_a_resolution_without_a_payload_is_a_time_limit_that_has_passed() -> None:
    wire = Wire(patient)
    wire.invoke()
    wire.resolve("signal:number:1", after_ms=5000).invoke()
    wire.resolve("signal:number:2", after_ms=5000).invoke()

    assert wire.result == "no signal number came in time, nothing"


def test_a_message_that_does_not_fit_is_dropped_and_the_wait_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(patient)
    wire.invoke()
    wire.resolve("signal:number:1", "no number", after_ms=1000).invoke()

    assert wire.waits["signal:number:2"].timeout_ms == 4000
    assert "a message was dropped: signal number: expected int, got str" in caplog.text
    wire.resolve("signal:number:2", 3, after_ms=1).invoke()
    wire.resolve("signal:number:3", 4).invoke()
    assert wire.result == "3, 4"
    assert caplog.text.count("dropped") == 1


@workflow
async def with_children(ctx: Context) -> Any:
    try:
        return await child({})
    except RunError as error:
        return [type(error).__name__, error.code, str(error)]


def test_the_result_of_a_child_is_decoded() -> None:
    wire = Wire(with_children)
    wire.invoke()
    wire.resolve("invoke:child:1", 5).invoke()

    assert wire.result == 5


def test_a_child_that_fails_raises_with_its_message_and_code() -> None:
    wire = Wire(with_children)
    wire.invoke()
    error = {"category": "USER_ERROR", "code": "E_CARD", "message": "card refused"}
    wire.resolve("invoke:child:1", error=error).invoke()

    assert wire.result == ["RunError", "E_CARD", "child run of child failed: Error: card refused"]


@workflow
async def starting(ctx: Context) -> str:
    handle = await ctx.start(child, {}, on_parent_end="abandon")
    with pytest.raises(Exception, match="its end is not reported"):
        await handle.result()
    mine = await ctx.start(child, {})
    for forbidden in (mine.cancel, lambda: mine.send(number, 1)):
        with pytest.raises(Exception, match="the wire has no word for it"):
            await forbidden()
    return "done"


def test_a_child_that_nobody_awaits_is_waited_for_at_the_end() -> None:
    wire = Wire(starting)
    wire.invoke()
    assert meta(wire.waits["invoke:child:1"])["detach"] is True

    wire.resolve("invoke:child:1").invoke()
    assert (wire.outcome.status, list(wire.waits)) == ("waiting", ["invoke:child:2"])

    wire.resolve("invoke:child:2", 1).invoke()
    assert wire.result == "done"


@workflow
async def impatient_parent(ctx: Context) -> Any:
    handle = await ctx.start(child, {})
    try:
        return await handle.result(timeout=1)
    except TimeoutError:
        return await handle.result()


def test_a_time_limit_leaves_a_child_running() -> None:
    wire = Wire(impatient_parent)
    assert list(wire.invoke().waitpoints and wire.waits) == ["invoke:child:1", "timer:1"]
    wire.resolve("timer:1", after_ms=1000).invoke()
    wire.resolve("invoke:child:1", 9).invoke()

    assert wire.result == 9


@step
async def note() -> int:
    return 1


@workflow
async def racing(ctx: Context) -> list[str]:
    tasks = [asyncio.create_task(ctx.receive(Signal(name, str))) for name in ("a", "b")]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    return [*[task.result() for task in done], await ctx.receive(Signal("b", str))]


def test_a_message_for_somebody_who_has_gone_is_kept_for_the_next() -> None:
    wire = Wire(racing)
    wire.invoke()
    wire.resolve("signal:a:1", "A").resolve("signal:b:2", "B").invoke()

    assert wire.result == ["A", "B"]


@workflow
async def again(ctx: Context) -> None:
    ctx.continue_as_new()


def test_what_the_wire_has_no_word_for_is_an_error_of_the_body() -> None:
    outcome = Wire(again).invoke()

    assert outcome.status == "failed"
    assert "the wire of step workers has no word for it" in error_of(outcome)["message"]


@workflow
async def stuck(ctx: Context) -> None:
    await asyncio.get_running_loop().create_future()


def test_a_body_that_nothing_would_move_is_no_outcome() -> None:
    with pytest.raises(BaseException, match="only this process could deliver"):
        Wire(stuck).invoke()


@workflow
async def clocked(ctx: Context) -> list[str]:
    times = [ctx.now()]
    await note()
    times.append(ctx.now())
    await ctx.sleep(1)
    times.append(ctx.now())
    return [str(time - times[0]) for time in times]


def test_time_is_that_of_the_start_until_something_has_happened() -> None:
    wire = Wire(clocked)
    wire.now += 100
    wire.invoke(step_ms=50)
    wire.resolve("sleep:1", after_ms=1000).invoke()

    assert wire.result == ["0:00:00", "0:00:00.150000", "0:00:01.150000"]


@workflow
async def drawing(ctx: Context) -> list[Any]:
    return [ctx.random.random(), str(ctx.uuid4())]


def test_chance_is_that_of_the_wire() -> None:
    wire = Wire(drawing, run="r_chain")
    wire.invoke()

    assert wire.result == [0.15522163663990796, "419977a4-fa0d-40ab-aa73-9dbcf3388574"]


@workflow
async def door(ctx: Context, options: dict[str, Any]) -> Any:
    options = {name: Secret(value) if name == "signed_by" else value for name, value in options.items()}
    hook = await ctx.create_hook(HookRequest, **options)
    request = await hook
    with pytest.raises(DefinitionError, match="cannot answer"):
        hook.respond(request, HookResponse())
    return [request.method, request.text()]


def test_a_hook_may_take_the_request_itself() -> None:
    wire = Wire(door, {})
    wire.invoke()
    wire.resolve("token:tok_1", {"method": "PUT", "text": "hello"}).invoke()

    assert wire.result == ["PUT", "hello"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"respond": True}, "cannot answer the request"),
        ({"signed_by": "wire"}, "nobody would check signatures"),
        ({"token": "short"}, "a token has 8 characters or more"),
        ({"tokn": "x"}, "has no option 'tokn'"),
    ],
)
def test_a_hook_that_cannot_be_is_refused(options: dict[str, Any], text: str) -> None:
    assert text in error_of(Wire(door, options).invoke())["message"]


@workflow
async def wrong(ctx: Context, what: str) -> None:
    if what == "id":
        await ctx.start(child, {}, id="mine")
    elif what == "end":
        await ctx.start(child, {}, on_parent_end="kill")  # type: ignore[arg-type]
    elif what == "name":
        print((await ctx.start(child, {})).id)
    elif what == "source":
        await ctx.receive("approve")  # type: ignore[call-overload]
    else:
        await ctx.sleep_until(datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("id", "the orchestrator names children"),
        ("end", 'give "cancel" or "abandon"'),
        ("name", "has no `id` of its children"),
        ("source", "give a Signal or an Event"),
        ("zone", "give a datetime with a time zone"),
    ],
)
def test_what_cannot_be_meant_is_refused(what: str, text: str) -> None:
    wire = Wire(wrong, what)
    if wire.invoke().status == "waiting":
        wire.resolve("invoke:child:1", 1).invoke()

    assert wire.outcome is not None
    assert text in error_of(wire.outcome)["message"]


@workflow
async def impatient(ctx: Context) -> list[Any]:
    return await asyncio.gather(ctx.receive(number, timeout=1, default=-1), note())


def test_a_time_limit_that_passes_while_a_step_runs_is_as_good_as_over() -> None:
    wire = Wire(impatient)
    wire.invoke(step_ms=5000)

    assert wire.waits["signal:number:1"].timeout_ms == 1
    wire.resolve("signal:number:1", after_ms=1).invoke()
    assert wire.result == [-1, 1]


@workflow
async def racing_slowly(ctx: Context) -> list[Any]:
    tasks = [asyncio.create_task(ctx.receive(Signal(name, str))) for name in ("a", "b")]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    return [await note(), await ctx.receive(Signal("b", str))]


def test_a_message_for_somebody_who_has_gone_is_kept_until_somebody_asks() -> None:
    wire = Wire(racing_slowly)
    wire.invoke()
    wire.resolve("signal:a:1", "A").resolve("signal:b:2", "B").invoke()

    assert wire.result == [1, "B"]
    wire.invoke()
    assert wire.result == [1, "B"]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ({"payload": "five"}, ["RunError", "", "the result of child child: expected int, got str"]),
        (
            {"error": {"category": "USER_ERROR", "code": "CANCELLED", "message": "not needed"}},
            ["RunCancelledError", "CANCELLED", "child run of child failed: Error: not needed"],
        ),
        (
            {
                "error": {
                    "category": "USER_ERROR",
                    "code": "CHILD_RUN_ENDED",
                    "message": "child run ended with status cancelled",
                }
            },
            [
                "RunCancelledError",
                "CHILD_RUN_ENDED",
                "child run of child failed: Error: child run ended with status cancelled",
            ],
        ),
    ],
)
def test_a_child_that_ends_otherwise_is_an_error_of_its_kind(end: dict[str, Any], expected: list[str]) -> None:
    wire = Wire(with_children)
    wire.invoke()
    wire.resolve("invoke:child:1", **end).invoke()

    assert wire.result == expected


def test_without_both_headers_nobody_says_where_hooks_are_reached() -> None:
    assert Doors.of("https://x.test/hooks/", None) is None
    assert Doors.of(None, "1.ab") is None
