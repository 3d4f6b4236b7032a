"""What a step worker does with one invocation: the steps, their attempts and their time, and what it answers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
import pytest

from stepwell import (
    AesGcm,
    Codec,
    Context,
    FatalError,
    Retry,
    RetryableError,
    Secret,
    StepError,
    Stream,
    current_step,
    step,
    workflow,
)
from stepwell.testing.virtual import VirtualClock
from tests.helpers import run
from tests.server.step_workers import app_of, ask, encoded, request, served, virtually

log = Stream("log", str)
told: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    told.clear()


@step
async def load(id: int) -> dict[str, int]:
    told.append(("load", id))
    return {"total": 120 + id}


@workflow
async def invoice(ctx: Context, id: int) -> int:
    return (await load(id))["total"]


def test_a_step_is_run_and_written_down() -> None:
    clock = VirtualClock()
    status, body = served(clock, request("invoice", input=7), invoice)
    assert status == 200
    assert (body["status"], body["output"]) == ("completed", 127)
    (entry,) = body["journal"]["stepResults"].values()
    now = clock.now()
    assert entry == {
        "attempt": 1,
        "status": "ok",
        "output": {"total": 127},
        "startedAt": now,
        "finishedAt": now,
        "runtime": "node",
        "after": 0,
    }
    assert body["metadataUpdates"] == body["streamChunks"] == []


def test_a_step_that_the_journal_knows_is_not_run_again() -> None:
    entry = {"attempt": 1, "status": "ok", "output": {"total": 5}, "startedAt": 1, "finishedAt": 2, "runtime": "node"}
    members = request("invoice", input=7, journal={"stepResults": {"load": entry}})
    _, body = served(VirtualClock(), members, invoice)
    assert (body["output"], told) == (5, [])
    assert body["journal"]["stepResults"] == {"load": entry}


# --- failures and attempts

attempts: list[int] = []


@step(retry=Retry(attempts=3, first_delay="100ms", jitter=0))
async def flaky(fails: int) -> int:
    told.append(current_step().attempt)
    if current_step().attempt <= fails:
        raise ConnectionError("refused")
    return current_step().attempt


@workflow
async def trying(ctx: Context, fails: int) -> int:
    return await flaky(fails)


def test_a_retry_that_is_soon_is_waited_for() -> None:
    clock = VirtualClock()
    began = clock.now()
    _, body = served(clock, request("trying", input=2), trying)
    assert (body["status"], body["output"], told) == ("completed", 3, [1, 2, 3])
    assert body["journal"]["stepResults"]["flaky"]["attempt"] == 3
    assert clock.now() - began == 300


def test_a_step_that_fails_for_good_is_written_down_with_its_error() -> None:
    _, body = served(VirtualClock(), request("trying", input=9), trying)
    entry = body["journal"]["stepResults"]["flaky"]
    assert (body["status"], entry["status"], entry["attempt"]) == ("failed", "err", 3)
    assert (entry["error"]["category"], entry["error"]["message"]) == ("USER_ERROR", "refused")
    assert "ConnectionError" in entry["error"]["stack"]
    assert "refused" in body["error"]["message"]


@step(retry=Retry(attempts=3, first_delay="1h", max_delay="1d", jitter=0))
async def patient() -> int:
    told.append(current_step().attempt)
    if current_step().attempt < 3:
        raise ConnectionError("refused")
    return current_step().attempt


@workflow
async def waiting_long(ctx: Context) -> int:
    return await patient()


def test_a_retry_that_is_far_away_is_a_wait_of_the_orchestrator() -> None:
    clock = VirtualClock()

    async def test() -> list[Any]:
        worker = app_of(waiting_long, clock=clock).step_worker()
        journal: dict[str, Any] = {}
        seen: list[Any] = []
        for n in range(1, 4):
            status, body = await ask(worker, request("waiting_long", journal=journal, invocationCount=n))
            assert status == 200, body
            seen.append(body["status"])
            journal = body["journal"]
            for wait in body.get("waitpoints", []):
                seen.append((wait["clientWaitpointId"], wait["kind"], wait["timeoutMs"]))
                await asyncio.sleep(wait["timeoutMs"] / 1000)
                journal["waitpointsResolved"][wait["clientWaitpointId"]] = {
                    "kind": "DATETIME",
                    "resolvedAt": clock.now(),
                    "source": "replay",
                }
        return [*seen, body["output"], body["journal"]["stepResults"]["patient"]["attempt"]]

    assert virtually(test(), clock) == [
        "waiting",
        ("retry:patient:1", "DATETIME", 3_600_000),
        "waiting",
        ("retry:patient:2", "DATETIME", 7_200_000),
        "completed",
        3,
        3,
    ]
    assert told == [1, 2, 3]


@step
async def fatal() -> None:
    told.append(current_step().attempt)
    raise FatalError("no such order")


@workflow
async def doomed(ctx: Context) -> str:
    try:
        await fatal()
    except StepError as error:
        return error.message
    return ""


def test_a_fatal_error_is_not_tried_again() -> None:
    _, body = served(VirtualClock(), request("doomed"), doomed)
    assert (body["output"], told) == ("no such order", [1])
    assert body["journal"]["stepResults"]["fatal"]["error"]["code"] == "FATAL"


@step(retry=Retry(attempts=2))
async def limited() -> None:
    if current_step().attempt == 1:
        raise RetryableError("slow down", retry_after="200ms")


@workflow
async def limiting(ctx: Context) -> None:
    await limited()


def test_a_step_says_itself_when_it_wants_to_be_tried_again() -> None:
    clock = VirtualClock()
    began = clock.now()
    _, body = served(clock, request("limiting"), limiting)
    assert (body["status"], clock.now() - began) == ("completed", 200)


@step
async def unwritable() -> Any:
    return object()


@workflow
async def writing(ctx: Context) -> Any:
    return await unwritable()


def test_a_result_that_cannot_be_written_down_is_the_failure_of_its_step() -> None:
    _, body = served(VirtualClock(), request("writing"), writing)
    entry = body["journal"]["stepResults"]["unwritable"]
    assert (body["status"], entry["status"]) == ("failed", "err")
    assert "the result of step unwritable" in entry["error"]["message"]


@step(timeout="2s", retry=None)
async def slow() -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        told.append("cancelled")
        raise


@workflow
async def limiting_time(ctx: Context) -> None:
    await slow()


def test_a_step_that_takes_too_long_fails() -> None:
    clock = VirtualClock()
    began = clock.now()
    _, body = served(clock, request("limiting_time"), limiting_time)
    assert (body["status"], told, clock.now() - began) == ("failed", ["cancelled"], 2000)
    assert body["journal"]["stepResults"]["slow"]["error"]["code"] == "TIMEOUT"


# --- what a step has


class Database:
    name = "orders"


def database() -> Any:
    import contextlib

    @contextlib.asynccontextmanager
    async def lifespan() -> Any:
        yield Database()

    return lifespan()


@step
async def looking(password: Secret) -> list[Any]:
    context = current_step()
    context.heartbeat({"done": 1})
    return [
        context.run_id,
        context.workflow,
        context.namespace,
        context.id,
        context.get(Database).name,
        password.reveal(),
        context.idempotency_key,
    ]


@workflow
async def look(ctx: Context) -> list[Any]:
    return await looking(Secret("password"))


def test_a_step_has_what_it_has_elsewhere() -> None:
    async def test() -> Any:
        worker = app_of(look, lifespan=database, secrets={"password": "pa55"}).step_worker()
        reply = await worker.handle(encoded(request("look")), {"x-stepwell-namespace": "acme"})
        await worker.aclose()
        assert isinstance(reply.body, bytes)
        return msgspec.json.decode(reply.body)

    output = run(test())["output"]
    assert output[:6] == ["run-1", "look", "acme", "looking", "orders", "pa55"]
    assert output[6]


@step
def in_thread() -> bool:
    return threading.current_thread() is not threading.main_thread()


@workflow
async def threads(ctx: Context) -> list[bool]:
    return [*await asyncio.gather(*(in_thread() for _ in range(3)))]


def test_sync_steps_run_in_threads() -> None:
    _, body = served(VirtualClock(), request("threads"), threads)
    assert body["output"] == [True, True, True]
    assert list(body["journal"]["stepResults"]) == ["in_thread", "in_thread:2", "in_thread:3"]


@step(retry=None)
async def storing(path: str) -> Any:
    return await current_step().blob(path)


@workflow
async def store(ctx: Context, path: str) -> Any:
    return await storing(path)


def test_there_is_no_place_for_files() -> None:
    _, body = served(VirtualClock(), request("store", input=__file__), store)
    assert "a step worker, which has no blob store" in body["error"]["message"]


def test_values_are_plain_on_the_wire_whatever_the_codec_of_the_app() -> None:
    codec = Codec(AesGcm({"k": bytes(32)}, current="k"))
    _, body = served(VirtualClock(), request("invoice", input=7), invoice, codec=codec)
    assert body["output"] == 127
    assert body["journal"]["stepResults"]["load"]["output"] == {"total": 127}


# --- what the worker itself cannot do


@workflow
async def blocking(ctx: Context) -> None:
    await load(1)
    await asyncio.open_connection("127.0.0.1", 1)


def test_a_body_that_cannot_be_driven_is_an_error_of_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    status, body = served(VirtualClock(), request("blocking"), blocking)
    assert (status, body["error"]) == (500, "executor_error")
    assert "run run-1" in body["message"]
    assert "cannot be carried out" in caplog.text


@pytest.mark.parametrize("entry", [7, {"status": "maybe"}, {"attempt": 1, "status": "err"}])
def test_a_journal_that_is_none_is_refused(entry: Any) -> None:
    members = request("invoice", input=1, journal={"stepResults": {"load": entry}})
    status, body = served(VirtualClock(), members, invoice)
    assert (status, body["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("key", ["x", "x.y", "1.zz"])
def test_hook_headers_that_are_none_are_refused(key: str) -> None:
    async def test() -> Any:
        headers = {"x-stepwell-hooks": "http://localhost/hooks/", "x-stepwell-hook-key": key}
        return await ask(app_of(invoice).step_worker(), request("invoice", input=1), headers)

    status, body = run(test())
    assert (status, body["error"]) == (400, "invalid_request")
    assert "x-stepwell-hook-key" in body["message"]


@step(retry=None, timeout="50ms")
def stuck(release: str) -> None:
    gates[release].wait(10)


gates: dict[str, threading.Event] = {}


@workflow
async def sticking(ctx: Context, release: str) -> None:
    await stuck(release)


def test_a_worker_whose_threads_hang_sends_requests_away() -> None:
    gates["a"] = threading.Event()

    async def test() -> list[int]:
        worker = app_of(sticking).step_worker(threads=1)
        members = request("sticking", input="a")
        statuses = [(await ask(worker, members))[0] for _ in range(2)]
        gates["a"].set()
        return statuses

    assert run(test()) == [200, 503]


def test_a_worker_that_was_closed_may_be_opened_again() -> None:
    async def test() -> list[Any]:
        worker = app_of(threads).step_worker()
        outputs = []
        for _ in range(2):
            outputs.append((await ask(worker, request("threads")))[1]["output"])
            await worker.aclose()
        return outputs

    assert run(test()) == [[True, True, True]] * 2


@step
async def marked(name: str) -> dict[str, str]:
    return {name: "x"}


@workflow
async def marking(ctx: Context) -> list[dict[str, str]]:
    return [await marked(name) for name in ("$raw", "$blob", "$sealed", "$deflate")]


def test_values_that_look_like_payloads_of_ours_come_back_as_they_were() -> None:
    async def test() -> list[Any]:
        worker = app_of(marking).step_worker()
        _, first = await ask(worker, request("marking"))
        _, again = await ask(worker, request("marking", journal=first["journal"], invocationCount=2))
        return [first["output"], again["output"]]

    assert run(test()) == [[{name: "x"} for name in ("$raw", "$blob", "$sealed", "$deflate")]] * 2
