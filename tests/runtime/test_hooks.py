"""Which hook a token completes."""

from __future__ import annotations

from stepwell import Context, Retry, step, workflow
from stepwell.testing import StepwellTest


@step(retry=None)
async def fragile() -> None:
    """Faked."""


@workflow(retry=Retry(attempts=2, first_delay="5s"))
async def hooked_and_retried(ctx: Context) -> str:
    hook = await ctx.create_hook(str, token="my own token")
    await fragile()
    return await hook


async def test_a_custom_token_that_was_opened_before_a_retry_of_the_run_completes_it(stepwell: StepwellTest) -> None:
    tries: list[int] = []

    def fail_first() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("not yet")

    handle = await stepwell.start(hooked_and_retried, fakes={fragile: fail_first})
    await stepwell.sleep("10s")

    await stepwell.app.complete("my own token", "yes")

    assert await handle.result() == "yes"
