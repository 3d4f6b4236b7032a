"""Our orchestrator drives our step worker: what workers die of, runs get over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from stepwell import Context, Retry, RunCancelledError, RunError, Signal, Stepwell, Stream, current_step, step, workflow
from stepwell.runtime.remote.targets import Target
from stepwell.runtime.stepworker import StepWorker
from stepwell.runtime.stepworker.lines import Lines
from stepwell.testing.fixture import StepwellTest

approval = Signal("approval", str)
log = Stream("log", str)
effects: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    effects.clear()


@step
async def load(id: int) -> int:
    effects.append("load")
    current_step().send(log, "loading")
    return 100 + id


@step
async def charge(total: int, by: str) -> str:
    effects.append("charge")
    return f"{total} approved by {by}"


@step(retry=Retry(attempts=3, first_delay="1m", max_delay="1h", jitter=0))
async def mail(text: str) -> str:
    effects.append(f"mail {current_step().attempt}")
    if current_step().attempt < 3:
        raise ConnectionError("no mail server")
    return text


@workflow
async def fee(ctx: Context, total: int) -> int:
    return total // 10


@workflow
async def invoice(ctx: Context, id: int) -> str:
    ctx.metadata["phase"] = "loading"
    total = await load(id)
    await ctx.sleep("1h")
    total += await fee(total)
    ctx.metadata["phase"] = "approval"
    by = await ctx.receive(approval, timeout="1d")
    receipt = await charge(total, by)
    ctx.send(log, "charged")
    return await mail(receipt)


WORKFLOWS = ["invoice", "fee", "slow", "tidy", "refused"]


@step
async def quick(n: int) -> int:
    await asyncio.sleep(1)
    effects.append(n)
    return n


@step
async def lasting(n: int) -> int:
    effects.append(n)
    await asyncio.sleep(60)
    return n


@workflow
async def slow(ctx: Context) -> list[int]:
    return [await quick(1), *await asyncio.gather(quick(2), lasting(3))]


@workflow
async def tidy(ctx: Context) -> None:
    try:
        await ctx.receive(approval)
    finally:
        await quick(7)


@step(retry=Retry(attempts=4, first_delay="500ms", backoff=100, max_delay="1h", jitter=0))
async def resuming() -> list[Any]:
    here = current_step()
    effects.append(here.last_progress)
    here.heartbeat({"done": here.attempt})
    if here.attempt < 3:
        raise ConnectionError("try again")
    return [here.last_progress, here.idempotency_key]


@workflow
async def resume(ctx: Context) -> list[Any]:
    return await resuming()


@step(retry=None)
async def refusing() -> None:
    raise ValueError("not this one")


@workflow
async def refused(ctx: Context) -> None:
    await refusing()


def worker_of(test: StepwellTest | None = None, **options: Any) -> StepWorker:
    """A worker in an app of its own, in the time of the test."""
    clock = None if test is None else test.clock
    return Stepwell("nowhere://", include=[__name__], clock=clock).step_worker(**options)


class Connection:
    """The way to a worker, on which things go wrong: it breaks after the lines that `breaks` says, call by call."""

    def __init__(self, *breaks: bytes) -> None:
        self.worker: StepWorker | None = None
        self.breaks = list(breaks)
        self.calls = 0

    async def __call__(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], Any]:
        assert self.worker is not None
        self.calls += 1
        status, fields, answer = await self.worker.handle(body, headers)
        if not isinstance(answer, Lines):
            return status, fields, answer
        return status, fields, self.broken(answer, self.breaks.pop(0) if self.breaks else b"\0")

    async def broken(self, lines: Lines, after: bytes) -> AsyncIterator[bytes]:
        try:
            async for piece in lines:
                yield piece
                if after in piece:
                    raise ConnectionResetError("the worker died")
        finally:
            await lines.aclose()


def test_a_run_goes_through_all_that_a_workflow_can_do() -> None:
    connection = Connection()
    with StepwellTest(targets=[Target(connection, workflows=WORKFLOWS)]) as test:
        connection.worker = worker_of(test)

        async def main() -> None:
            handle = await test.app.start("invoice", 7, id="r1")
            await test.sleep("2h")
            await handle.send(approval, "ada")
            assert await handle.result() == "117 approved by ada"
            assert [chunk async for chunk in handle.stream(log)] == ["loading", "charged"]
            assert bytes((await test.app.runs.get("r1")).metadata["phase"]) == b'"approval"'

        test.drive(main())
    assert effects == ["load", "charge", "mail 1", "mail 2", "mail 3"]


@pytest.mark.parametrize("secret", [None, "s3cret"])
def test_a_step_that_ended_before_its_worker_died_is_not_run_again(secret: str | None) -> None:
    connection = Connection(b'"quick"', b'"quick:2"')
    with StepwellTest(targets=[Target(connection, workflows=WORKFLOWS, secret=secret)]) as test:
        connection.worker = worker_of(test, secret=secret, require_v2=secret is not None)

        async def main() -> None:
            assert await (await test.app.start("slow")).result() == [1, 2, 3]

        test.drive(main())
    assert connection.calls == 3
    assert [effects.count(n) for n in (1, 2)] == [1, 1]
    assert effects.count(3) >= 1


class Cut(Connection):
    """One that breaks once: after so many pieces of all answers together."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.left = pieces
        self.told: list[str] = []

    async def broken(self, lines: Lines, after: bytes) -> AsyncIterator[bytes]:
        try:
            async for piece in lines:
                if self.left == 0:
                    self.left = -1
                    raise ConnectionResetError("the worker died")
                self.left -= 1
                yield piece
        finally:
            await lines.aclose()


@step
async def noted(n: int) -> int:
    await asyncio.sleep(n)
    effects.append(n)
    return n


@workflow
async def racing(ctx: Context) -> list[Any]:
    first = asyncio.ensure_future(noted(1))
    second = asyncio.ensure_future(noted(3))
    done, _ = await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
    winner = done.pop().result()
    await ctx.sleep("10m")
    by = await ctx.receive(approval, timeout="1h", default="nobody")
    return [winner, await second, by, await noted(2), [*await asyncio.gather(noted(4), noted(5))]]


@pytest.mark.parametrize("pieces", range(16))
def test_wherever_the_connection_breaks_the_result_is_the_same(pieces: int) -> None:
    connection = Cut(pieces)
    with StepwellTest(targets=[Target(connection, workflows=["racing"])]) as test:
        connection.worker = worker_of(test)

        async def main() -> None:
            handle = await test.app.start("racing")
            assert await handle.result() == [1, 3, "nobody", 2, [4, 5]]

        test.drive(main())
    assert {*effects} == {1, 2, 3, 4, 5}
    assert len(effects) <= 6, "at most one step runs again, that which had ended when the connection broke"


def test_a_cancelled_run_cleans_up_at_its_worker() -> None:
    connection = Connection()
    with StepwellTest(targets=[Target(connection, workflows=WORKFLOWS)]) as test:
        connection.worker = worker_of(test)

        async def main() -> None:
            handle = await test.app.start("tidy", id="r1")
            await test.sleep("1m")
            await test.app.runs.cancel("r1", reason="wrong address")
            with pytest.raises(RunCancelledError):
                await handle.result()

        test.drive(main())
    assert effects == [7]


def test_the_error_of_a_step_elsewhere_is_the_error_of_the_run() -> None:
    connection = Connection()
    with StepwellTest(targets=[Target(connection, workflows=WORKFLOWS)]) as test:
        connection.worker = worker_of(test)

        async def main() -> str:
            with pytest.raises(RunError) as raised:
                await (await test.app.start("refused")).result()
            return str(raised.value)

        assert "not this one" in test.drive(main())


def test_progress_goes_from_attempt_to_attempt_also_through_the_orchestrator() -> None:
    connection = Connection()
    with StepwellTest(targets=[Target(connection, workflows=["resume"])]) as test:
        connection.worker = worker_of(test)

        async def main() -> Any:
            return await (await test.app.start("resume")).result()

        assert test.drive(main())[0] == {"done": 3}
    assert effects == [None, {"done": 1}, {"done": 2}]
    assert connection.calls == 2


def test_a_worker_that_is_busy_is_asked_again() -> None:
    connection = Connection()
    with StepwellTest(targets=[Target(connection, workflows=WORKFLOWS)]) as test:
        connection.worker = worker_of(test, concurrency=1)

        async def main() -> None:
            handles = [await test.app.start("slow") for _ in range(3)]
            for handle in handles:
                assert await handle.result() == [1, 2, 3]

        test.drive(main())
    assert connection.calls > 3
    assert effects.count(3) == 3


@pytest.mark.parametrize("way", ["worker", "asgi"])
def test_a_target_may_be_the_worker_itself(way: str) -> None:
    served = worker_of()
    target: Any = served if way == "worker" else served.__call__

    async def main() -> Any:
        async with Stepwell("memory://", targets=[Target(target, workflows=["refused", "fee"])]) as app:
            return await (await app.start("fee", 70)).result()

    assert asyncio.run(main()) == 7
