"""A server in a process of its own: `python program.py URL PORT`."""

from __future__ import annotations

import sys

import uvicorn

from stepwell import Context, Signal, Stepwell, Stream, workflow
from stepwell.runtime.options import WorkerOptions
from stepwell.server import Server, ServerOptions

word = Signal("word", str)
words = Stream("words", str)


@workflow
async def dictation(ctx: Context, count: int) -> str:
    text = ""
    for _ in range(count):
        text += await ctx.receive(word)
        ctx.send(words, text)
    return text


def app(url: str) -> Stepwell:
    return Stepwell(
        url, include=[sys.modules[__name__]], worker_options=WorkerOptions(lease_ms=1500, margin_ms=500, poll_ms=100)
    )


def main() -> None:
    url, port = sys.argv[1:]
    server = Server(app(url), ServerOptions(), worker=True)
    uvicorn.run(server, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
