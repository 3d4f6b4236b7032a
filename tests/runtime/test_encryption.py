"""A cipher that gives other bytes each time changes nothing about what runs do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import run, until

from stepwell import (
    AesGcm,
    BackendError,
    Blueprint,
    Codec,
    CodecError,
    Context,
    DefinitionError,
    NodeContext,
    RunClosedError,
    RunConflictError,
    RunError,
    Signal,
    StepError,
    Stepwell,
    step,
    workflow,
)
from stepwell.model.entries import Frame, FrameCodec, MetadataChanged, StepFailed
from stepwell.model.failures import Failure
from stepwell.model.ids import Claim, CommandId, RunId
from stepwell.ports import Append, Appended, Store, Wanted
from stepwell.runtime.sealing import SealedStore
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
            await app.handle("m").send(note, {"to": "grace"})  # so that it is looked at now, and not in a second
            assert await app.handle("m", waiting).result(timeout=30) == "!"

    for part in (start, send, fail, go_on):
        run(part())


async def is_free(app: Stepwell, id: str) -> bool:
    return (await app.runs.get(id)).owner is None


@workflow
async def waiting(ctx: Context) -> str:
    return (await ctx.receive(note, where={"to": "ada"}))["text"]


# --- failures and reasons


@workflow
async def rejected(ctx: Context, card: str) -> None:
    try:
        await decline(card)
    except Declined as error:
        await asyncio.sleep(0.01)
        raise ValueError(f"{error} of ada") from error


@workflow
async def parent(ctx: Context, card: str) -> str:
    try:
        await ctx.call(rejected, card)
    except RunError as error:
        await ctx.receive(note)
        return str(error)
    return ""


@step(retry=None)
async def fail(card: str) -> None:
    raise ValueError(f"card {card}")


@workflow
async def cautious(ctx: Context, card: str) -> str:
    try:
        await fail(card)
    except StepError as error:
        await ctx.receive(note)
        return error.message
    return ""


def test_the_text_of_a_failure_is_read_back() -> None:
    async def body() -> None:
        async with Stepwell("memory://", include=[rejected, parent], codec=CODEC) as app:
            handle = await app.start(rejected, "4711", id="r")
            with pytest.raises(RunError, match="card 4711 of ada") as caught:
                await handle.result()
            assert any("raise Declined" in text for text in caught.value.__notes__)
            assert "card 4711 of ada" in str(await app.runs.explain("r"))
            assert (await app.runs.get("r")).error == "ValueError"

    run(body())


def test_crashes_do_not_change_what_a_body_sees_of_failures() -> None:
    with StepwellTest(codec=CODEC, include=[rejected]) as test:
        report = test.drive(test.crash_everywhere(parent, "4711", messages=[(note, "1m", {})]))

    assert "card 4711 of ada" in bytes(report.crashes[0].ended.value).decode()


@pytest.mark.parametrize(("flow", "wanted"), [(cautious, "card 4711"), (parent, "card 4711 of ada")])
def test_without_the_key_a_failure_stops_the_run_and_changes_nothing(flow: Any, wanted: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    include = [cautious, parent, rejected]

    async def begin() -> None:
        async with Stepwell(url, include=include, codec=CODEC) as app:
            await app.start(flow, "4711", id="m")
            await until(lambda: waits_for(app, "note"))

    async def stop() -> None:
        async with Stepwell(url, include=include, codec=mixed) as app:
            await app.handle("m").send(note, {})
            assert "is encrypted, and cannot be decrypted here" in await refused(app)

    async def go_on() -> None:
        async with Stepwell(url, include=include, codec=CODEC) as app:
            await until(lambda: is_free(app, "m"))
            await app.handle("m").send(note, {})
            assert wanted in await app.handle("m", flow).result(timeout=30)

    # Its payloads can be read here, and the texts of failures cannot.
    mixed = Codec(OnlyShort())
    for part in (begin, stop, go_on):
        run(part())


class OnlyShort:
    """Has the key only for short payloads: a failure's text is longer."""

    def encrypt(self, data: bytes, /) -> bytes:
        assert CODEC.cipher is not None
        return CODEC.cipher.encrypt(data)

    def decrypt(self, data: bytes, /) -> bytes:
        assert CODEC.cipher is not None
        if len(data) > 150:
            raise ValueError
        return CODEC.cipher.decrypt(data)


def test_a_failure_that_cannot_be_read_says_so() -> None:
    sealed = Failure(types=("m.Declined",), message='{"$sealed":"AAAA"}')

    assert str(sealed) == "Declined: (encrypted)"
    with pytest.raises(CodecError, match="the text of a failure, Declined, is encrypted"):
        sealed.opened()


def test_an_exported_run_keeps_its_texts_encrypted_and_can_be_imported_and_replayed() -> None:
    async def body() -> None:
        async with Stepwell("memory://", include=[declined, rejected], codec=CODEC) as app:
            with pytest.raises(RunError):
                await (await app.start(rejected, "4711", id="r")).result()
            data = await app.runs.export("r")
            assert b"4711" not in data
            assert replay(data, rejected, codec=CODEC).is_ok
            await app.runs.import_(data, id="again")
            with pytest.raises(RunError, match="card 4711 of ada"):
                await app.handle("again").result()

    run(body())


def test_a_reason_is_read_back() -> None:
    async def body() -> None:
        async with Stepwell("memory://", include=[waiting], codec=CODEC) as app:
            handle = await app.start(waiting, id="m")
            await until(lambda: waits_for(app, "note"))
            await handle.cancel("ada said so")
            with pytest.raises(RunError, match="ada said so"):
                await handle.result()

    run(body())


def test_runs_from_before_the_cipher_go_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"

    async def before() -> None:
        async with Stepwell(url, include=[cautious]) as app:
            await app.start(cautious, "4711", id="m")
            await until(lambda: waits_for(app, "note"))

    async def after() -> None:
        async with Stepwell(url, include=[cautious], codec=CODEC) as app:
            await app.handle("m").send(note, {})
            assert await app.handle("m", cautious).result(timeout=10) == "card 4711"

    run(before())
    run(after())


class Deaf:
    """A store whose first answer to an append is lost."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.bodies: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, frames: Sequence[Append]) -> list[Appended]:
        answers = await self._store.append(frames)
        self.bodies += [frame.body for frame in frames]
        if len(self.bodies) == 1:
            raise BackendError("no answer")
        return answers


def test_a_repeated_append_is_the_identical_frame() -> None:
    async def body() -> None:
        async with Stepwell("memory://", include=[waiting], worker=False) as app:
            await app.start(waiting, id="m")
            deaf = Deaf(app.backend.store)
            store = SealedStore(deaf, CODEC)  # type: ignore[arg-type]
            failed = StepFailed(id=CommandId("fail"), failure=Failure(types=(), message="ada"))
            frame = Append(run=RunId("m"), seq=2, body=FrameCodec.encode(Frame(5, Claim("c"), (failed,))))
            with pytest.raises(BackendError):
                await store.append([frame])
            assert await store.append([frame]) == ["ok"]
            assert len(set(deaf.bodies)) == 1
            assert b"ada" not in deaf.bodies[0]
            (loaded,) = await store.load([Wanted(RunId("m"))])
            assert loaded is not None
            assert loaded.frames[1] == (2, frame.body)

    run(body())


# --- blueprints


async def told(ctx: NodeContext[str]) -> str:
    assert ctx.error is not None
    ctx.state.set("why", ctx.error.message)
    return f"{ctx.input}: {ctx.error.message}"


risky = (
    Blueprint("risky", input=str, result="out")
    .node("fail", fail, fallback="told", retry=None)
    .node("told", told)
    .node("out", "join")
    .edge("fail", "out")
)


def test_crashes_do_not_change_what_a_blueprint_sees_of_failures() -> None:
    with StepwellTest(codec=CODEC) as test:
        report = test.drive(test.crash_everywhere(risky, "4711"))

    assert bytes(report.crashes[0].ended.value) == b'"4711: card 4711"'


def test_the_errors_of_nodes_are_read_back() -> None:
    async def body() -> None:
        async with Stepwell("memory://", include=[risky], codec=CODEC) as app:
            await (await app.start(risky, "4711", id="b")).result()
            assert (await app.runs.state("b")).nodes["fail"].error == "ValueError: card 4711"

    run(body())


# --- keys that are not here


@workflow
async def counted(ctx: Context) -> int:
    with suppress(Exception):
        ctx.metadata.increment("count", 3)
    await ctx.receive(note)
    with suppress(Exception):
        return int(ctx.metadata["count"])
    return -1


@pytest.mark.parametrize(
    ("flow", "given", "other", "wanted"),
    [(echo, ["a"], OTHER, "a a"), (counted, [], Codec(), 3), (risky, ["4711"], OTHER, "4711: card 4711")],
    ids=["input", "metadata", "blueprint"],
)
def test_a_run_without_its_key_waits_for_a_worker_that_has_it(
    flow: Any, given: Any, other: Codec, wanted: Any, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"

    async def begin() -> None:
        async with Stepwell(url, include=[flow], codec=CODEC, worker=False) as app:
            await app.start(flow, *given, id="m", metadata={"count": 0})

    async def stop() -> None:
        async with Stepwell(url, include=[flow], codec=other) as app:
            assert "encrypted" in await refused(app)

    async def go_on() -> None:
        async with Stepwell(url, include=[flow], codec=CODEC) as app:
            await until(lambda: is_free(app, "m"))
            with suppress(RunClosedError):
                await app.handle("m").send(note, {})
            assert await app.handle("m", flow).result(timeout=30) == wanted

    for part in (begin, stop, go_on):
        run(part())
