"""Wrong uses of the context and of messages."""

from __future__ import annotations

from stepwell import Context, Event, Handle, HookRequest, HookResponse, Signal, Stepwell, Stream, step, workflow

note = Signal("note", str)
paid = Event("paid", int)
tokens = Stream("tokens", str)


@step
async def double(x: int) -> float:
    return x * 2


def blocking(x: int) -> int:
    return x


@workflow
async def body(ctx: Context) -> None:
    number: int = await ctx.receive(note)  # E: arg-type  # P: reportAssignmentType
    text: str = await ctx.receive(note, default=None)  # E: arg-type  # P: reportAssignmentType
    await ctx.receive(tokens)  # E: call-overload  # P: reportArgumentType
    await ctx.receive("note")  # E: call-overload  # P: reportArgumentType
    ctx.receive(note)  # E: unused-coroutine  # P: reportUnusedCoroutine
    ctx.sleep("1h")  # E: unused-coroutine  # P: reportUnusedCoroutine
    await ctx.sleep(None)  # E: arg-type  # P: reportArgumentType
    ctx.send(tokens, 7)  # E: misc  # P: reportArgumentType
    await ctx.map(double, ["a"])  # E: arg-type  # P: reportArgumentType
    await ctx.map(blocking, [1])  # E: arg-type  # P: reportArgumentType
    hook = await ctx.create_hook(int)
    other: str = await hook  # E: assignment  # P: reportAssignmentType
    hook.respond(HookRequest(), HookResponse())  # E: misc  # P: reportAttributeAccessIssue
    await ctx.create_hook(int, tokn="12345678")  # E: call-arg  # P: reportCallIssue
    HookResponse(body="text")  # E: arg-type  # P: reportArgumentType
    async with ctx.saga() as saga:
        saga.compensate()  # E: unused-coroutine  # P: reportUnusedCoroutine
    ctx.run_id = "x"  # E: misc  # P: reportAttributeAccessIssue
    print(number, text, other)


async def outside(app: Stepwell, handle: Handle[int]) -> None:
    await handle.send(note, 7)  # E: misc  # P: reportArgumentType
    await handle.send(paid, 7)  # E: arg-type  # P: reportArgumentType
    await app.publish(paid, "seven")  # E: misc  # P: reportArgumentType
    await app.publish(note, "seven")  # E: arg-type  # P: reportArgumentType
    async for chunk in handle.stream(tokens):
        number: int = chunk  # E: assignment  # P: reportAssignmentType
        assert number
    await app.runs.list(state="failed")  # E: call-arg  # P: reportCallIssue
    await app.runs.list(status="broken")  # E: arg-type  # P: reportArgumentType
