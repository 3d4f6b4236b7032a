"""With a cipher, nothing that users gave or got is in the bytes of the database, but what docs/security.md names."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from tests.helpers import run, until

from stepwell import (
    AesGcm,
    Blob,
    Blueprint,
    Codec,
    Context,
    Event,
    FatalError,
    NodeContext,
    NodeResult,
    Retry,
    RunError,
    Signal,
    StepError,
    Stepwell,
    Stream,
    current_step,
    step,
    workflow,
)
from stepwell.model.entries import Dropped

MARK = "hunter2-4711"
CODEC = Codec(AesGcm({"k": os.urandom(32)}, current="k"))

signal = Signal("said", dict[str, str])
event = Event("happened", dict[str, str])
words = Stream("words", str)


@step
async def result(mark: str) -> str:
    return mark


@step
async def large(mark: str) -> str:
    return f"{mark} " * 5000


@step(retry=Retry(attempts=2, first_delay="1ms"))
async def progress(mark: str) -> str:
    me = current_step()
    me.heartbeat({"at": mark})
    me.send(words, mark)
    if me.attempt == 1:
        raise ConnectionError(f"{mark} is gone")
    return str(me.last_progress)


@step(retry=None)
async def fail(mark: str) -> None:
    raise ValueError(f"{mark} is wrong")


@step
async def store(mark: str) -> Blob:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{mark}.txt"
        path.write_text(mark * 10)
        return await current_step().blob(path)


@workflow
async def values(ctx: Context, mark: str) -> str:
    ctx.metadata["note"] = mark
    ctx.send(words, mark)
    await result(mark)
    await large(mark)
    await progress(mark)
    await store(mark)
    return mark


@workflow
async def failing(ctx: Context, mark: str) -> None:
    try:
        await fail(mark)
    except StepError as error:
        raise RuntimeError(f"no {mark}") from error


@workflow
async def parent(ctx: Context, mark: str) -> None:
    await ctx.call(values, mark)
    with pytest.raises(RunError):
        await ctx.call(failing, mark)
    child = await ctx.start(waiting, mark)
    await child.send(signal, {"mark": mark})
    await child.result()


@workflow
async def waiting(ctx: Context, mark: str) -> None:
    await ctx.receive(signal, where={"mark": mark})


@workflow
async def listening(ctx: Context) -> str:
    hook = await ctx.create_hook(str, token="my-own-token")
    await ctx.receive(signal)
    await ctx.receive(event)
    return await hook


class Strict(Struct):
    mark: str

    def __post_init__(self) -> None:
        raise ValueError(f"{self.mark} is refused")


@workflow
async def refusing(ctx: Context) -> None:
    await ctx.receive(Signal("said", Strict))


@workflow(retry=Retry(attempts=2, first_delay="1ms"))
async def again(ctx: Context, mark: str) -> None:
    await result(mark)
    await fail(mark)


@workflow
async def endless(ctx: Context, mark: list[str]) -> None:
    await result(mark[0])
    if len(mark) == 1:
        ctx.continue_as_new(mark * 2)


async def write(ctx: NodeContext[str]) -> NodeResult:
    ctx.state.set("kept", ctx.input)
    return NodeResult(output={"it": ctx.input})


async def spoil(ctx: NodeContext[Any]) -> None:
    raise FatalError(f"{MARK} is spoilt") if ctx.input is None else ValueError(MARK)


async def mend(ctx: NodeContext[Any]) -> str:
    return f"{ctx.error}"


graph = (
    Blueprint("graph", input=str, result="out")
    .node("write", write)
    .node("spoil", spoil, fallback="mend", retry=None)
    .node("mend", mend)
    .node("stop", "wait")
    .node("out", "join")
    .edge("write", "spoil")
    .edge("spoil", "stop")
    .edge("stop", "out")
)
INCLUDE = [values, failing, parent, waiting, listening, refusing, again, endless, graph]


async def waits(app: Stepwell, id: str, names: set[str]) -> None:
    async def there() -> bool:
        return names <= {wait.name for wait in (await app.runs.get(id)).waiting}

    await until(there)


async def runs_values(app: Stepwell) -> None:
    handle = await app.start(values, MARK, metadata={"who": MARK})
    assert await handle.result() == MARK
    assert [chunk async for chunk in handle.stream(words)] == [MARK, MARK]


async def runs_children(app: Stepwell) -> None:
    await (await app.start(parent, MARK)).result()


async def fails(app: Stepwell) -> None:
    for flow in (failing, again):
        with pytest.raises(RunError, match=MARK):
            await (await app.start(flow, MARK)).result()


async def gets_messages(app: Stepwell) -> None:
    handle = await app.start(listening, id="l")
    await waits(app, "l", {"said"})
    await handle.send(signal, {"mark": MARK})
    await waits(app, "l", {"happened"})
    await app.publish(event, {"mark": MARK})
    await app.complete("my-own-token", MARK)
    assert await handle.result() == MARK


async def dropped(app: Stepwell) -> bool:
    entries = [event.entry async for event in app.runs.events("d")]
    return any(isinstance(entry, Dropped) and f"{MARK} is refused" in entry.reason for entry in entries)


async def drops_a_message_and_is_cancelled(app: Stepwell) -> None:
    handle = await app.start(refusing, id="d")
    await waits(app, "d", {"said"})
    await handle.send(signal, {"mark": MARK})
    await until(lambda: dropped(app))
    await handle.cancel(f"because of {MARK}")
    with pytest.raises(RunError, match=MARK):
        await handle.result()


async def continues(app: Stepwell) -> None:
    await (await app.start(endless, [MARK])).result()


async def runs_a_blueprint(app: Stepwell) -> None:
    handle = await app.start(graph, MARK, id="g")
    await waits(app, "g", {"stop"})
    await handle.resume("stop", output={"mark": MARK})
    await handle.result()
    assert MARK in str((await app.runs.state("g")).nodes["spoil"].error)


async def forks_retries_and_imports(app: Stepwell) -> None:
    with pytest.raises(RunError):
        await (await app.start(failing, MARK, id="f")).result()
    for id in (await app.runs.retry("f"), await app.runs.fork("f")):
        with pytest.raises(RunError, match=MARK):
            await app.handle(id).result()
    data = await app.runs.export("f")
    assert MARK.encode() not in data
    await app.runs.import_(data, id="imported")


async def is_restarted_over(app: Stepwell) -> None:
    with pytest.raises(RunError):
        await (await app.start(failing, MARK, id="o")).result()
    with pytest.raises(RunError):
        await (await app.start(failing, MARK, id="o", on_conflict="restart_if_failed")).result()


EVERYTHING = [
    runs_values,
    runs_children,
    fails,
    gets_messages,
    drops_a_message_and_is_cancelled,
    continues,
    runs_a_blueprint,
    forks_retries_and_imports,
    is_restarted_over,
]


def bytes_after(does: Callable[[Stepwell], Awaitable[None]], folder: Path, codec: Codec) -> bytes:
    """All that is on disk, while the app is still open, and after."""
    url = f"sqlite:///{folder / 'runs.db'}"

    async def body() -> bytes:
        async with Stepwell(url, include=INCLUDE, codec=codec) as app:
            await does(app)
            return contents(folder)

    return run(body()) + contents(folder)


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("does", EVERYTHING, ids=lambda does: does.__name__)
def test_the_database_holds_only_ciphertext(
    does: Callable[[Stepwell], Awaitable[None]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "stepwell")

    found = bytes_after(does, tmp_path, CODEC)

    assert b"$sealed" in found
    at = found.find(MARK.encode())
    assert at < 0, found[at - 300 : at + 100]
    assert MARK not in caplog.text


def test_without_a_cipher_the_same_search_finds_it(tmp_path: Path) -> None:
    assert MARK.encode() in bytes_after(runs_values, tmp_path, Codec())


async def says_it_in_names(app: Stepwell) -> None:
    await (await app.start(values, "x", id=f"id-{MARK}", tags={"tag": f"tag-{MARK}"})).result()


def test_ids_and_tags_are_not_encrypted(tmp_path: Path) -> None:
    found = bytes_after(says_it_in_names, tmp_path, CODEC)

    assert f"id-{MARK}".encode() in found
    assert f"tag-{MARK}".encode() in found
