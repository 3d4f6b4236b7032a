"""Steps keep the parameters and the result of their functions; calling one always gives a coroutine."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, assert_type

from stepwell import Context, Retry, Step, StepContext, current_step, step, workflow


class Declined(Exception): ...


class Unknown(Exception): ...


@step
async def charge(order: int, *, note: str = "") -> str:
    return note


@step(
    name="render",
    key="one",
    retry=Retry(attempts=2, first_delay="1s", backoff=2.0, max_delay=timedelta(minutes=1), jitter=0.2, on=(Unknown,)),
    timeout=30,
    deadline="1h",
    raises=(Declined, Unknown),
)
def render(order: int) -> bytes:
    return b""


@step(raises=Declined, retry=None)
async def decline() -> None: ...


@charge.compensate
async def refund(receipt: str, order: int, *, note: str = "") -> None: ...


@render.compensate
@step
def unrender(invoice: bytes, order: int) -> None: ...


@workflow
async def uses_steps(ctx: Context) -> None:
    calling: Coroutine[Any, Any, str] = charge(7, note="x")
    assert_type(await calling, str)
    assert_type(await charge(7), str)
    assert_type(await render(7), bytes)
    assert_type(await decline(), None)
    assert_type(await charge.options(key="7", timeout="5s")(7), str)
    assert_type(await charge.options(retry=None)(7, note="y"), str)
    assert_type(await step(json.loads, name="parse", timeout="5s")("{}"), Any)
    assert_type(await step(charge_plainly, timeout="5s")(7), str)


async def charge_plainly(order: int) -> str:
    return ""


plain_async: Callable[[int], Coroutine[Any, Any, str]] = charge.fn
plain_sync: Callable[[int], bytes] = render.fn
as_step: Step[..., str] = charge
assert_type(render.fn(7), bytes)

me = current_step()
assert_type(me, StepContext)
assert_type(me.attempt, int)
assert_type(me.idempotency_key, str)
assert_type(me.get(dict[str, int]), dict[str, int])
