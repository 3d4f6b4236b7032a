"""An agent: a model is asked, tools are run, until there is an answer. Each call is a step: paid for once."""

import asyncio
from typing import Literal

from msgspec import Struct

from stepwell import Context, Retry, Signal, Stepwell, Stream, current_step, step, workflow


class Message(Struct):
    role: Literal["user", "assistant", "tool"]
    text: str


class Answer(Struct, tag=True):
    text: str


class ToolCall(Struct, tag=True):
    tool: Literal["add", "upper", "delete"]
    arguments: list[str]


allow = Signal("allow", bool)
tokens = Stream("tokens", str)


@step(retry=Retry(attempts=4, first_delay="10ms"), timeout="1m")
async def ask_model(messages: list[Message]) -> Answer | list[ToolCall]:
    """Stands for a model: it adds, then shouts, then deletes, then answers."""
    turns = sum(message.role == "assistant" for message in messages)
    script: list[list[ToolCall]] = [
        [ToolCall("add", ["2", "3"]), ToolCall("upper", ["done"])],
        [ToolCall("delete", ["everything"])],
    ]
    if turns < len(script):
        return script[turns]
    for word in ("all", "is", "well"):
        current_step().send(tokens, word)
    return Answer("all is well: " + ", ".join(message.text for message in messages if message.role == "tool"))


@step
async def run_tool(call: ToolCall) -> str:
    match call.tool:
        case "add":
            return str(sum(map(int, call.arguments)))
        case "upper":
            return " ".join(call.arguments).upper()
        case "delete":
            return "deleted " + " ".join(call.arguments)


async def use_tool(ctx: Context, call: ToolCall) -> str:
    if call.tool == "delete":  # a person decides
        ctx.metadata["asks"] = f"may I delete {call.arguments}?"
        if not await ctx.receive(allow, timeout="1d", default=False):
            return "not allowed"
    return await run_tool(call)


@workflow
async def agent(ctx: Context, question: str) -> str:
    messages = [Message("user", question)]
    for _ in range(10):
        reply = await ask_model(messages)
        if isinstance(reply, Answer):
            return reply.text
        messages.append(Message("assistant", f"{len(reply)} tools"))
        results = await asyncio.gather(*(use_tool(ctx, call) for call in reply))
        messages += [Message("tool", result) for result in results]
    raise RuntimeError("no answer after ten turns")


async def main() -> None:
    async with Stepwell("memory://", include=[__name__]) as app:
        handle = await app.start(agent, "how are things?")
        await handle.send(allow, True)
        assert await handle.result() == "all is well: 5, DONE, deleted everything"
        assert [word async for word in handle.stream(tokens)] == ["all", "is", "well"]


if __name__ == "__main__":
    asyncio.run(main())
