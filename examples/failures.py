"""Retries, time limits, and what errors look like: to the workflow, and to whoever waits for the run."""

import asyncio

from stepwell import (
    Context,
    Failure,
    FatalError,
    Retry,
    RetryableError,
    RunError,
    StepError,
    Stepwell,
    current_step,
    step,
    workflow,
)

quickly = Retry(attempts=3, first_delay="10ms", backoff=2.0, max_delay="1s", jitter=0.0)


class CardDeclined(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Unreachable(Exception):
    code = "unreachable"  # for programs: it arrives with the error, whatever that is by then


@step(retry=quickly)
async def flaky() -> int:
    attempt = current_step().attempt
    if attempt < 3:
        raise Unreachable(f"attempt {attempt}")
    return attempt


@step(retry=quickly)
async def busy() -> int:
    if current_step().attempt == 1:
        raise RetryableError("come back later", retry_after="20ms")  # when the other side says how long to wait
    return current_step().attempt


@step(retry=quickly)
async def hopeless() -> None:
    raise FatalError("no attempt can help")


@step(retry=Retry(attempts=10, first_delay="10ms", on=(Unreachable,)))
async def wrong() -> None:
    raise LookupError("only Unreachable is retried")


@step(raises=CardDeclined)
async def charge() -> None:
    raise CardDeclined(51)


@step(retry=None, timeout="20ms")  # one attempt, of at most 20 ms
async def too_slow() -> None:
    await asyncio.sleep(5)


@step(retry=Retry(attempts=1000, first_delay="10ms"), deadline="60ms")  # all attempts and waits together
async def never_works() -> None:
    raise Unreachable("still")


@workflow
async def tour(ctx: Context) -> list[str]:
    seen = [f"flaky worked in attempt {await flaky()}", f"busy worked in attempt {await busy()}"]
    try:
        await charge()
    except CardDeclined as error:  # named in `raises`: it crosses as itself
        assert error.code == 51
    for attempt in (hopeless, wrong, too_slow, never_works):
        try:
            await attempt()
        except StepError as error:  # all others cross as this, the same live and on replay
            seen.append(f"{error.step}: {error.type} after {error.attempts} attempts")
            assert error.is_(FatalError) == (error.step == "hopeless")
            assert error.code == ("unreachable" if error.is_(Unreachable) else "")
    raise CardDeclined(1)


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        handle = await app.start(tour)
        try:
            await handle.result()
        except RunError as error:
            assert isinstance(error.error, Failure)
            assert error.error.is_(CardDeclined)
            print(error)
        else:
            raise AssertionError("the run failed")
        assert await handle.status() == "failed"


if __name__ == "__main__":
    asyncio.run(main())
