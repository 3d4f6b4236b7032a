"""Apps in namespaces of one backend: each is alone."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import run, until
from tests.runtime.conftest import OpenApp

from stepwell import (
    AesGcm,
    Blueprint,
    Codec,
    Context,
    DefinitionError,
    Event,
    HookError,
    RunNotFoundError,
    RunQuery,
    Signal,
    Stepwell,
    StepwellError,
    Stream,
    current_step,
    step,
    workflow,
)
from stepwell.model.ids import RunId
from stepwell.ports import Wanted
from stepwell.runtime import siblings

paid = Event("paid", int)
note = Signal("note", str)
words = Stream("words", str)


@step
async def shout(text: str) -> str:
    return text.upper() * 10_000


@step
async def child_step(text: str) -> str:
    return text.upper()


async def pinned_blueprints(app: Stepwell) -> set[str]:
    """Where the blueprint of run r is, as its namespace knows it; it must be there."""
    (loaded,) = await app.backend.store.load([Wanted(RunId("r"), -1)])
    assert loaded is not None
    found = set(re.findall(r"blueprints of all runs/\w+", loaded.frames[0][1].decode()))
    for key in found:
        assert await app.backend.blobs.get(key) is not None
    return found


@workflow
async def child(ctx: Context, text: str) -> str:
    return (await shout(text))[: len(text)]


@workflow
async def parent(ctx: Context, text: str) -> str:
    """Uses whatever has a name: a child, a hook of its own name, an event, a signal, a stream, large values."""
    ctx.send(words, text)
    hook = await ctx.create_hook(str, token="the token")
    started = await ctx.start(child, text)
    by_event = await ctx.receive(paid)
    by_signal = await ctx.receive(note)
    return f"{await started.result()} {by_event} {by_signal} {await hook}"


@workflow
async def waiting(ctx: Context) -> str:
    return await ctx.receive(note)


@step
async def resource() -> str:
    return current_step().get(str)


@step
async def namespace_of_step() -> str:
    return current_step().namespace


@workflow
async def located(ctx: Context) -> str:
    return await namespace_of_step()


@workflow
async def resourceful(ctx: Context) -> str:
    return await resource()


@workflow
async def addressed(ctx: Context) -> str:
    hook = await ctx.create_hook(str)
    ctx.metadata["url"] = hook.url
    return await hook


def test_runs_of_several_namespaces_share_names_and_nothing_else(app_of: OpenApp) -> None:
    async def one(app: Stepwell, number: int) -> str:
        handle = await app.start(parent, f"text{number}", id="r")

        async def waits() -> bool:
            kinds = {wait.kind for wait in (await handle.head()).waiting}
            return kinds == {"event"}

        await until(waits)
        assert await app.publish(paid, number) == 1
        await handle.send(note, f"note{number}")
        await app.complete("the token", f"hook{number}")
        assert [value async for value in handle.stream(words)] == [f"text{number}"]
        return await handle.result()

    async def scenario() -> None:
        async with app_of(parent, child) as app:
            apps = [app, app.in_namespace("a"), app.in_namespace("b")]
            results = await asyncio.gather(*(one(each, number) for number, each in enumerate(apps)))
            assert results == [f"TEXT{n} {n} note{n} hook{n}" for n in range(3)]
            for each in apps:
                heads = (await each.runs.list()).runs
                assert len(heads) == 2
                assert [head.parent for head in heads if head.workflow == "child"] == ["r"]
                assert "r" in {head.id for head in heads}

    run(scenario())


def test_what_is_done_in_one_namespace_touches_no_other(app_of: OpenApp) -> None:
    async def scenario() -> None:
        async with app_of(waiting) as app:
            acme = app.in_namespace("acme")
            handles = [await each.start(waiting, id="r") for each in (app, acme)]
            await acme.runs.cancel(RunQuery(workflow="waiting"))
            with contextlib.suppress(StepwellError):
                await handles[1].result()
            assert [(await handle.status()) in ("running", "waiting") for handle in handles] == [True, False]
            await acme.runs.delete("r")
            with pytest.raises(RunNotFoundError):
                await handles[1].head()
            with pytest.raises(RunNotFoundError):
                await acme.handle("r").send(note, "x")
            for stranger in ("acme r", " r"):
                with pytest.raises(RunNotFoundError):
                    await app.handle(stranger).head()
            with pytest.raises(HookError):
                await acme.complete("the token", 1)
            await handles[0].send(note, "still here")
            assert await handles[0].result() == "still here"

    run(scenario())


def test_a_worker_takes_the_runs_of_its_own_namespace_only(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db?relaxed=true"

    async def scenario() -> None:
        async with Stepwell(url, include=[child], worker=False) as app:
            acme = app.in_namespace("acme")
            for each in (app, acme):
                await each.start(child, "x", id="r")
            async with Stepwell(url, include=[child], namespace="acme") as worker, worker.worker():
                assert await acme.handle("r").result() == "X"
                assert await worker.handle("r").result() == "X"
                assert await app.handle("r").status() == "queued"
            async with app.worker():
                assert await app.handle("r").result() == "X"

    run(scenario())


def test_a_fork_an_import_and_a_retry_stay_in_the_namespace(app_of: OpenApp) -> None:
    async def scenario() -> None:
        async with app_of(child) as app:
            acme, other = app.in_namespace("acme"), app.in_namespace("other")
            await (await acme.start(child, "x", id="r")).result()
            await acme.runs.fork("r", id="forked")
            await acme.runs.import_(await acme.runs.export("r"))
            assert await other.runs.import_(await acme.runs.export("r"), id="moved") == "moved"
            ids = [{head.id for head in (await each.runs.list()).runs} for each in (app, acme, other)]
            assert ids == [set(), {"r", "forked", "r-import"}, {"moved"}]
            assert await acme.handle("forked").result() == "X"

    run(scenario())


def test_blueprints_are_kept_in_each_namespace(app_of: OpenApp) -> None:
    flow: Blueprint[Any, Any] = Blueprint("flow")
    for number in range(20):
        flow.node(f"shout-{number}", child_step, inputs="text")

    async def scenario() -> None:
        async with app_of(flow) as app:
            for each in (app, app.in_namespace("acme")):
                result = await (await each.start(flow, {"text": "x"}, id="r")).result()
                assert str(result).count("X") == 20
                assert len(await pinned_blueprints(each)) == 1

    run(scenario())


def test_runs_and_steps_know_their_namespace(app_of: OpenApp) -> None:
    async def scenario() -> None:
        async with app_of(located) as app:
            for each, namespace in ((app, ""), (app.in_namespace("acme"), "acme")):
                assert each.namespace == namespace
                for delay in (0, 0.01):  # taken over as it is created, and found later
                    handle = await each.start(located, delay=delay)
                    assert await handle.result() == namespace
                    assert (await handle.head()).namespace == namespace

    run(scenario())


def test_hook_urls_name_the_namespace() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[addressed], public_url="https://here") as app:
            for each, begin in ((app, "https://here/hooks/"), (app.in_namespace("a"), "https://here/n/a/hooks/")):
                handle = await each.start(addressed, id="r")

                async def url(handle: Any = handle) -> str:
                    return str((await handle.metadata()).get("url", ""))

                assert (await until(url)).startswith(begin)

    run(scenario())


def test_siblings_share_what_the_lifespan_yields_and_close_with_the_app() -> None:
    life: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan() -> Any:
        life.append("begin")
        yield "shared"
        life.append("end")

    async def scenario() -> None:
        async with Stepwell("memory://", include=[resourceful], lifespan=lifespan) as app:
            acme = app.in_namespace("acme")
            assert app.in_namespace("acme") is acme
            assert app.in_namespace("") is app
            assert acme.in_namespace("acme") is acme
            assert await (await acme.start(resourceful)).result() == "shared"
            async with acme:
                pass
            assert acme.is_open
        assert not acme.is_open
        assert life == ["begin", "end"]

    run(scenario())


def test_an_app_in_a_namespace_cannot_leave_it() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", namespace="acme") as app:
            for other in ("", "b"):
                with pytest.raises(
                    DefinitionError, match=f"this app is in namespace 'acme', and cannot leave it for '{other}'"
                ):
                    app.in_namespace(other)
        with pytest.raises(StepwellError, match="not open"):
            Stepwell("memory://").in_namespace("acme")

    run(scenario())


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(DefinitionError, match="namespace 'Acme': give 1 to 63 characters of a-z"):
        Stepwell("memory://", namespace="Acme")


def test_beyond_the_limit_the_namespace_that_was_not_asked_for_longest_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(siblings, "NAMESPACES_MAX", 2)

    async def scenario() -> None:
        async with Stepwell("memory://", include=[waiting]) as app:
            one, two = app.in_namespace("one"), app.in_namespace("two")
            await one.start(waiting, id="r")
            app.in_namespace("three")
            await until(lambda: _closed(two))
            assert one.is_open
            await app.in_namespace("three").start(waiting, id="r")
            with pytest.raises(StepwellError, match="2 namespaces open, and all of them are in use"):
                app.in_namespace("four")

    async def _closed(app: Stepwell) -> bool:
        return not app.is_open

    run(scenario())


def test_each_namespace_can_have_its_own_key(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db?relaxed=true"
    keys = {"acme": AesGcm.generate_key(), "other": AesGcm.generate_key()}

    def codec_of(namespace: str) -> Codec:
        key = keys.get(namespace)
        return Codec() if key is None else Codec(AesGcm({namespace: key}, current=namespace))

    async def scenario() -> None:
        async with Stepwell(url, include=[child], codec=codec_of) as app:
            for namespace in ("acme", "other", ""):
                assert await (await app.in_namespace(namespace).start(child, "psst", id="r")).result() == "PSST"
        del keys["acme"]
        async with Stepwell(url, include=[child], codec=codec_of) as app:
            assert await app.in_namespace("other").handle("r", child).result() == "PSST"
            with pytest.raises(StepwellError, match="encrypted: give the app the codec"):
                await app.in_namespace("acme").handle("r", child).result()

    run(scenario())


def test_the_blocking_twin_has_namespaces() -> None:
    with Stepwell("memory://", include=[sys.modules[__name__]]).sync() as s:
        acme = s.in_namespace("acme")
        assert acme.start(child, "x", id="r").result() == "X"
        assert [head.id for head in acme.runs.list().runs] == ["r"]
        assert s.runs.list().runs == ()
