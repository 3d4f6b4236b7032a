"""Wrong uses of steps."""

from __future__ import annotations

from stepwell import Blob, Context, Stream, current_step, step, workflow

words = Stream("words", str)


@step
async def charge(order: int) -> str:
    return ""


@step
def render(order: int) -> bytes:
    return b""


@workflow
async def uses_steps(ctx: Context) -> None:
    await charge("seven")  # E: arg-type  # P: reportArgumentType
    await charge()  # E: call-arg  # P: reportCallIssue
    await charge(7, 8)  # E: call-arg  # P: reportCallIssue
    await charge(order_id=7)  # E: call-arg  # P: reportCallIssue
    await charge.options(key="7")("seven")  # E: arg-type  # P: reportArgumentType
    number: int = await charge(7)  # E: assignment  # P: reportAssignmentType
    text: str = charge(7)  # E: assignment  # P: reportAssignmentType
    charge(7)  # E: unused-coroutine  # P: reportUnusedCoroutine
    render(7)  # E: unused-coroutine  # P: reportUnusedCoroutine
    charge(7).upper()  # E: attr-defined  # P: reportAttributeAccessIssue
    charge.options(keys="7")  # E: call-arg  # P: reportCallIssue
    charge.options(timeout=[5])  # E: arg-type  # P: reportArgumentType
    await step(render.fn, name="r")("seven")  # E: arg-type  # P: reportArgumentType
    print(number, text)


@step(attempts=3)  # E: call-overload  # P: reportCallIssue
async def unknown_option() -> None: ...


@step(raises=Blob)  # E: arg-type  # P: reportArgumentType
async def raises_no_exception() -> None: ...


@step(raises=ValueError("x"))  # E: call-overload  # P: reportArgumentType
async def raises_an_instance() -> None: ...


@step(retry=3)  # E: call-overload  # P: reportArgumentType
async def retry_is_no_number() -> None: ...


@charge.compensate  # E: arg-type  # P: reportArgumentType
async def takes_no_result(order: int) -> None: ...


class Shop:
    @step
    async def sell(self, order: int) -> str:
        return ""


Shop().sell(7)  # E: call-arg  # E: unused-coroutine  # P: reportCallIssue

current_step().send(words, 7)  # E: misc  # P: reportArgumentType


@step(raises=KeyboardInterrupt)  # E: arg-type  # P: reportArgumentType
async def raises_what_is_no_exception() -> None: ...
