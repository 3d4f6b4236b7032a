"""Steps: results, attempts, limits, errors, progress, streams, resources."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.helpers import run
from tests.runtime.conftest import OpenApp

from stepwell import (
    Blob,
    CodecError,
    Context,
    DefinitionError,
    FatalError,
    Retry,
    RetryableError,
    RunError,
    Secret,
    StepError,
    Stream,
    current_step,
    step,
    workflow,
)

calls: Counter[str] = Counter()
tokens = Stream("tokens", str)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()


class Declined(Exception):
    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason, code)
        self.code = code


@dataclass
class Order:
    id: int
    amount: float = 1.0


@step
async def double(x: int) -> int:
    calls["double"] += 1
    return 2 * x


@step
def where_am_i() -> str:
    return threading.current_thread().name


@step(retry=Retry(attempts=3, first_delay="5ms"))
async def third_time(x: int) -> int:
    calls["third_time"] += 1
    if current_step().attempt < 3:
        raise ValueError(f"attempt {current_step().attempt}")
    return x


@step(retry=Retry(attempts=5, first_delay="1ms"))
async def fatal() -> None:
    calls["fatal"] += 1
    raise FatalError("never again")


@step(retry=Retry(attempts=2, first_delay="1h"))
async def asks_to_be_retried() -> int:
    calls["asks"] += 1
    if calls["asks"] == 1:
        raise RetryableError("soon", retry_after="5ms")
    return calls["asks"]


@step(raises=Declined, retry=Retry(attempts=5, first_delay="1ms"))
async def decline() -> None:
    calls["decline"] += 1
    raise Declined("no money", 51)


@step(timeout="30ms", retry=None)
async def too_slow() -> None:
    await asyncio.sleep(10)


@step(timeout="30ms", retry=None)
def too_slow_in_a_thread() -> None:
    time.sleep(0.15)


@step(deadline="40ms", retry=Retry(attempts=100, first_delay="15ms", backoff=1.0, jitter=0.0))
async def hopeless() -> None:
    calls["hopeless"] += 1
    raise ValueError("again")


@step(retry=Retry(attempts=2, first_delay="1ms"))
async def goes_on_from_progress() -> int:
    before = current_step().last_progress or 0
    current_step().heartbeat(before + 10)
    if current_step().attempt == 1:
        raise ValueError("half way")
    return int(current_step().last_progress)


@step(retry=Retry(attempts=2, first_delay="1ms"))
async def speak() -> None:
    for word in ("a", "b"):
        current_step().send(tokens, f"{word}{current_step().attempt}")
    if current_step().attempt == 1:
        raise ValueError("hoarse")


@step
def speak_in_a_thread() -> None:
    for n in range(3):
        current_step().send(tokens, str(n))


@step
async def keys() -> tuple[str, str]:
    return current_step().id, current_step().idempotency_key


@step
async def use_resource() -> int:
    return current_step().get(Order).id


@step
async def use_secret(secret: Secret) -> int:
    return len(secret.reveal())


@step
async def store_file(path: str) -> Blob:
    return await current_step().blob(path)


@step
async def read_file(blob: Blob) -> int:
    return len(await current_step().read_blob(blob))


@step
async def large(n: int) -> str:
    return "x" * n


@step
async def lies() -> int:
    return "not a number"  # type: ignore[return-value]


@step
async def change_order(order: Order) -> float:
    order.amount = 99.0
    return order.amount


@workflow
async def call(ctx: Context, name: str) -> object:
    """Call the step of that name without arguments."""
    return await STEPS[name]()


STEPS = {
    item.__name__: item
    for item in (
        where_am_i,
        fatal,
        asks_to_be_retried,
        too_slow,
        too_slow_in_a_thread,
        hopeless,
        goes_on_from_progress,
        speak,
        speak_in_a_thread,
        use_resource,
        lies,
    )
}


async def failing(app_of: OpenApp, name: str, **options: object) -> RunError:
    """The error of a run that calls this step."""
    async with app_of(call, **options) as app:
        handle = await app.start(call, name)
        with pytest.raises(RunError) as caught:
            await handle.result(timeout=5)
        return caught.value


async def giving(app_of: OpenApp, name: str, **options: object) -> object:
    """The result of a run that calls this step."""
    async with app_of(call, **options) as app:
        return await (await app.start(call, name)).result(timeout=5)


def test_a_sync_step_runs_in_a_thread(app_of: OpenApp) -> None:
    assert str(run(giving(app_of, "where_am_i"))).startswith("stepwell-step")


def test_a_failed_attempt_is_tried_again(app_of: OpenApp) -> None:
    @workflow
    async def body(ctx: Context) -> int:
        return await third_time(7)

    async def go() -> int:
        async with app_of(body) as app:
            return await (await app.start(body)).result(timeout=5)

    assert run(go()) == 7
    assert calls["third_time"] == 3


def test_a_fatal_error_is_not_tried_again(app_of: OpenApp) -> None:
    error = run(failing(app_of, "fatal"))
    assert error.error.is_(FatalError)  # type: ignore[attr-defined]
    assert calls["fatal"] == 1


def test_a_step_says_when_to_try_again(app_of: OpenApp) -> None:
    assert run(giving(app_of, "asks_to_be_retried")) == 2


def test_listed_exceptions_cross_as_themselves_and_are_not_retried(app_of: OpenApp) -> None:
    @workflow
    async def body(ctx: Context) -> int:
        try:
            await decline()
        except Declined as error:
            return error.code
        return 0

    async def go() -> int:
        async with app_of(body) as app:
            return await (await app.start(body)).result(timeout=5)

    assert run(go()) == 51
    assert calls["decline"] == 1


@pytest.mark.parametrize("name", ["too_slow", "too_slow_in_a_thread"])
def test_an_attempt_past_its_timeout_fails(app_of: OpenApp, name: str) -> None:
    error = run(failing(app_of, name))
    assert error.error.is_(TimeoutError)  # type: ignore[attr-defined]


def test_a_deadline_ends_all_attempts(app_of: OpenApp) -> None:
    run(failing(app_of, "hopeless"))
    assert 1 <= calls["hopeless"] <= 4


def test_an_attempt_goes_on_from_the_progress_of_the_last(app_of: OpenApp) -> None:
    assert run(giving(app_of, "goes_on_from_progress")) == 20


@pytest.mark.parametrize(("name", "expected"), [("speak", ["a2", "b2"]), ("speak_in_a_thread", ["0", "1", "2"])])
def test_a_late_reader_sees_the_chunks_that_count(app_of: OpenApp, name: str, expected: list[str]) -> None:
    async def go() -> list[str]:
        async with app_of(call) as app:
            handle = await app.start(call, name)
            await handle.result(timeout=5)
            return [token async for token in handle.stream(tokens)]

    assert run(go()) == expected


def test_ids_count_calls_and_keys_name_them(app_of: OpenApp) -> None:
    @workflow
    async def body(ctx: Context) -> list[str]:
        first, _ = await keys()
        second, _ = await keys()
        keyed, idempotency = await keys.options(key="7")()
        return [first, second, keyed, idempotency]

    async def go() -> list[str]:
        async with app_of(body) as app:
            return await (await app.start(body, id="r")).result(timeout=5)

    assert run(go()) == ["keys", "keys:2", "keys[7]", "r.1.keys[7]"]


def test_a_step_finds_what_the_lifespan_yielded(app_of: OpenApp) -> None:
    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[Order]:
        yield Order(id=42)

    assert run(giving(app_of, "use_resource", lifespan=lifespan)) == 42


def test_a_secret_is_revealed_only_in_a_step(app_of: OpenApp) -> None:
    @workflow
    async def body(ctx: Context) -> int:
        return await use_secret(Secret("stripe"))

    async def go() -> tuple[int, bytes]:
        async with app_of(body, secrets={"stripe": "sk_live_123"}) as app:
            handle = await app.start(body)
            result = await handle.result(timeout=5)
            loaded, _ = await app.client.journal(handle.id)
            return result, b"".join(frame for _, frame in loaded.frames)

    length, journal = run(go())
    assert length == len("sk_live_123")
    assert b"sk_live" not in journal


def test_files_and_large_results_live_in_the_blob_store(app_of: OpenApp, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")

    @workflow
    async def body(ctx: Context, path: str) -> int:
        text = await large(50_000)
        await ctx.sleep(0.01)
        return await read_file(await store_file(path)) + len(text)

    async def go() -> tuple[int, int]:
        async with app_of(body) as app:
            handle = await app.start(body, str(tmp_path / "file"))
            result = await handle.result(timeout=5)
            loaded, _ = await app.client.journal(handle.id)
            return result, max(len(frame) for _, frame in loaded.frames)

    result, largest_frame = run(go())
    assert result == 50_005
    assert largest_frame < 10_000


def test_a_result_that_does_not_fit_names_the_step(app_of: OpenApp) -> None:
    error = run(failing(app_of, "lies"))
    assert error.error.is_(CodecError)  # type: ignore[attr-defined]
    assert "step lies" in str(error)


def test_a_step_cannot_change_the_objects_of_the_body(app_of: OpenApp) -> None:
    @workflow
    async def body(ctx: Context, order: Order) -> float:
        await change_order(order)
        return order.amount

    async def go() -> float:
        async with app_of(body) as app:
            return await (await app.start(body, Order(id=1))).result(timeout=5)

    assert run(go()) == 1.0


def test_an_error_is_the_same_live_and_on_replay(app_of: OpenApp) -> None:
    @workflow
    async def body(ctx: Context) -> list[str]:
        seen = []
        try:
            await fatal()
        except StepError as error:
            seen = [str(error), error.type, error.step, str(error.attempts), str(error.is_(FatalError))]
        await ctx.sleep(0.01)
        return seen

    async def go() -> list[str]:
        async with app_of(body) as app:
            return await (await app.start(body)).result(timeout=5)

    assert run(go()) == [
        "step fatal failed after 1 attempt: FatalError: never again",
        "FatalError",
        "fatal",
        "1",
        "True",
    ]


def test_outside_of_a_workflow_a_step_just_runs() -> None:
    assert run(double(21)) == 42
    assert double.fn is double.__wrapped__


def test_methods_cannot_be_steps() -> None:
    with pytest.raises(DefinitionError, match="module-level"):

        class _Shop:
            @step
            async def charge(self) -> None: ...
