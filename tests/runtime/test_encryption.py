"""A cipher that gives other bytes each time changes nothing about what runs do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.helpers import run, until

from stepwell import (
    AesGcm,
    Codec,
    Context,
    DefinitionError,
    RunConflictError,
    Signal,
    Stepwell,
    step,
    workflow,
)
from stepwell.model.entries import MetadataChanged
from stepwell.testing import StepwellTest, replay

KEYS = {"k1": bytes(range(32)), "k2": bytes(range(32, 64))}
CODEC = Codec(AesGcm({"k1": KEYS["k1"]}, current="k1"))
OTHER = Codec(AesGcm({"k2": KEYS["k2"]}, current="k2"))

note = Signal("note", dict[str, str])


class Declined(Exception):
    pass


@step
async def join(words: list[str], times: int) -> str:
    return " ".join(words * times)


@step(retry=None, raises=Declined)
async def decline(card: str) -> None:
    raise Declined(f"card {card}")


@workflow
async def echo(ctx: Context, text: str) -> str:
    return await join([text], 2)


@workflow
async def marked(ctx: Context, mark: str) -> str:
    ctx.metadata["mark"] = mark
    await asyncio.sleep(0.05)
    found = await ctx.receive(note, where={"to": "ada"})
    return mark + found["text"]


@workflow
async def declined(ctx: Context, card: str) -> str:
    try:
        await decline(card)
    except Declined as error:
        await asyncio.sleep(0.05)
        return str(error)
    return ""


def test_the_same_input_again_is_the_same_run() -> None:
    async def body() -> None:
        async with Stepwell("memory://", include=[echo], codec=CODEC) as app:
            await (await app.start(echo, "a", id="e")).result()
            assert await (await app.start(echo, "a", id="e")).result() == "a a"
            with pytest.raises(RunConflictError, match="another input"):
                await app.start(echo, "b", id="e")

    run(body())


def test_a_replay_gives_the_same_result_and_the_same_arguments() -> None:
    async def body() -> bytes:
        async with Stepwell("memory://", include=[echo], codec=CODEC) as app:
            await (await app.start(echo, "a", id="e")).result()
            return await app.runs.export("e")

    report = replay(run(body()), echo, codec=CODEC)

    assert report.is_ok
    assert report.warnings == ()


def test_metadata_is_noted_once_however_often_the_body_is_replayed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"

    async def wait() -> None:
        async with Stepwell(url, include=[marked], codec=CODEC) as app:
            handle = await app.start(marked, "m", id="m")
            await until(lambda: waits_for(app, "note"))
            assert await handle.metadata() == {"mark": "m"}

    async def again() -> None:
        async with Stepwell(url, include=[marked], codec=CODEC) as app:
            handle = app.handle("m", marked)
            await handle.send(note, {"to": "grace", "text": "no"})
            await handle.send(note, {"to": "ada", "text": "!"})
            assert await handle.result(timeout=10) == "m!"
            entries = [event.entry async for event in app.runs.events("m")]
            assert sum(isinstance(entry, MetadataChanged) for entry in entries) <= 1

    run(wait())
    run(again())


async def waits_for(app: Stepwell, name: str, id: str = "m") -> bool:
    return any(wait.name == name for wait in (await app.runs.get(id)).waiting)


def test_what_a_wait_looks_for_is_not_in_the_head() -> None:
    async def body() -> None:
        async with Stepwell("memory://", include=[marked], codec=CODEC) as app:
            await app.start(marked, "m", id="m")
            await until(lambda: waits_for(app, "note"))
            assert [wait.detail for wait in (await app.runs.get("m")).waiting] == ["where to"]

    run(body())


def test_runs_cannot_be_found_by_encrypted_metadata() -> None:
    async def body() -> None:
        async with Stepwell("memory://", include=[echo], codec=CODEC) as app:
            await app.start(echo, "a", id="e", metadata={"who": "ada"}, tags={"team": "red"})
            assert [head.id async for head in app.runs.iterate(tag={"team": "red"})] == ["e"]
            with pytest.raises(DefinitionError, match=r"by metadata who: this app encrypts it.*search by tag"):
                await app.runs.list(metadata={"who": "ada"})

    run(body())


def test_crashes_at_every_write_change_nothing() -> None:
    with StepwellTest(codec=CODEC) as test:
        report = test.drive(test.crash_everywhere(marked, "m", messages=[(note, "1m", {"to": "ada", "text": "!"})]))
        assert len(report.crashes) > 5


async def refused(app: Stepwell) -> str:
    """What the worker says when it cannot go on with a run."""
    said: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    app.hub.on_activation_failed = lambda _, error: None if said.done() else said.set_result(str(error))
    app.handle("m")
    async with asyncio.timeout(10):
        return await said


def test_a_message_without_its_key_is_kept_and_read_when_the_key_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    both = Codec(AesGcm(KEYS, current="k2"))

    async def start() -> None:
        async with Stepwell(url, include=[waiting], codec=OTHER) as app:
            await app.start(waiting, id="m")
            await until(lambda: waits_for(app, "note"))

    async def send() -> None:
        async with Stepwell(url, include=[waiting], codec=CODEC, worker=False) as app:
            await app.handle("m").send(note, {"to": "ada", "text": "!"})

    async def fail() -> None:
        async with Stepwell(url, include=[waiting], codec=OTHER) as app:
            assert "is kept, and the run resumable: a payload cannot be decrypted" in await refused(app)

    async def go_on() -> None:
        async with Stepwell(url, include=[waiting], codec=both) as app:
            await until(lambda: is_free(app, "m"))
            assert await app.handle("m", waiting).result(timeout=30) == "!"

    for part in (start, send, fail, go_on):
        run(part())


async def is_free(app: Stepwell, id: str) -> bool:
    return (await app.runs.get(id)).owner is None


@workflow
async def waiting(ctx: Context) -> str:
    return (await ctx.receive(note, where={"to": "ada"}))["text"]
