"""Runs as documents, and code against their journals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.helpers import run, until

from stepwell import Context, DefinitionError, RunConflictError, RunError, Signal, Stepwell, step, workflow
from stepwell.runtime.replaying import replay

go = Signal("go", str)


@step(retry=None)
async def work(text: str) -> str:
    if text == "broken":
        raise ValueError(text)
    return text * 10_000


@workflow(id="job")
async def job(ctx: Context, text: str) -> int:
    long = await work(text)
    await ctx.sleep("1ms")
    return len(long) + len(await ctx.receive(go))


@workflow(id="job")
async def other_arguments(ctx: Context, text: str) -> int:
    long = await work(text + "!")
    await ctx.sleep("1ms")
    return len(long) + len(await ctx.receive(go))


@workflow(id="job")
async def other_order(ctx: Context, text: str) -> int:
    await ctx.receive(go)
    return len(await work(text))


@workflow(id="job")
async def other_result(ctx: Context, text: str) -> int:
    await work(text)
    await ctx.sleep("1ms")
    return len(await ctx.receive(go))


@workflow(id="job")
async def longer(ctx: Context, text: str) -> int:
    await work(text)
    await ctx.sleep("1ms")
    await ctx.receive(go)
    await work("more")
    return 0


async def exported(*, with_seed: bool = True) -> bytes:
    async with Stepwell("memory://", include=[job]) as app:
        handle = await app.start(job, "ab", id="j")
        await handle.send(go, "now")
        await handle.result(timeout=5)
        return await app.runs.export("j", with_seed=with_seed)


def test_an_export_holds_payloads_but_not_the_seed() -> None:
    data = json.loads(run(exported(with_seed=False)))
    assert (data["format"], data["version"]) == ("stepwell-run", 1)
    assert data["frames"][0]["entries"][0]["seed"] == ""
    assert "ab" * 10_000 in json.dumps(data["frames"])


def test_code_that_fits_replays() -> None:
    report = replay(run(exported()), job)
    assert (report.is_ok, report.warnings, report.impure) == (True, (), ())


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (other_order, "cannot continue"),
        (other_result, "the run completed with 20003, the code gives 3"),
        (longer, "the run ended as completed; the code waits for more"),
    ],
)
def test_code_that_does_not_fit_is_reported(code: Any, error: str) -> None:
    report = replay(run(exported()), code)
    assert not report.is_ok
    assert error in (report.error or "")


def test_other_arguments_are_a_warning() -> None:
    report = replay(run(exported()), other_arguments)
    assert report.is_ok
    assert report.warnings == ("step work was called with other arguments than history #2 was",)


def test_an_app_replays_its_runs() -> None:
    async def scenario() -> None:
        url = "memory://replays"
        async with Stepwell(url, include=[job]) as app, Stepwell(url) as without_code:
            await app.start(job, "ab", id="j")

            async def waits() -> bool:
                report = await app.runs.replay("j")
                return [wait.name for wait in report.waits] == ["go"]

            await until(waits)
            with pytest.raises(DefinitionError, match="no code"):
                await without_code.runs.replay("j")

    run(scenario())


def test_an_imported_run_that_had_ended_is_there_to_look_into_and_fork() -> None:
    data = run(exported())

    async def scenario() -> None:
        async with Stepwell("memory://", include=[job]) as app:
            assert await app.runs.import_(data) == "j-import"
            assert (await app.runs.get("j-import")).status == "completed"
            assert await app.handle("j-import").result(timeout=5) == 20_003
            fork = await app.runs.fork("j-import", from_step="work")
            assert await app.handle(fork).result(timeout=5) == 20_003
            with pytest.raises(RunConflictError):
                await app.runs.import_(data)

    run(scenario())


@pytest.mark.parametrize("with_seed", [True, False])
def test_an_imported_run_that_was_open_waits_to_be_resumed(with_seed: bool) -> None:
    async def data() -> bytes:
        async with Stepwell("memory://", include=[job]) as app:
            handle = await app.start(job, "ab", id="j")

            async def is_waiting() -> bool:
                return await handle.status() == "waiting"

            await until(is_waiting)
            await app._stop_worker(app._worker)  # type: ignore[arg-type]
            await handle.send(go, "unread")
            return await app.runs.export("j", with_seed=with_seed)

    document = run(data())

    async def scenario() -> None:
        async with Stepwell("memory://", include=[job]) as app:
            run_id = await app.runs.import_(document, id="mine")
            handle = app.handle(run_id)
            assert await handle.status() == "paused"
            await app.runs.resume(run_id)
            assert await handle.result(timeout=5) == 20_006

    run(scenario())


def test_what_is_not_an_export_is_refused() -> None:
    async def scenario() -> None:
        async with Stepwell("memory://") as app:
            for data, words in [(b"{}", "not an exported run"), (b"no json", "not an exported run")]:
                with pytest.raises(DefinitionError, match=words):
                    await app.runs.import_(data)

    run(scenario())
    document = json.loads(run(exported()))
    with pytest.raises(DefinitionError, match="newer Stepwell"):
        replay(json.dumps({**document, "version": 2}).encode(), job)
    with pytest.raises(DefinitionError, match="format is 'other'"):
        replay(json.dumps({**document, "format": "other"}).encode(), job)


def _with_head(**changes: Any) -> Any:
    return lambda document: document["head"].update(changes)


@pytest.mark.parametrize(
    "change",
    [
        _with_head(base=0),
        _with_head(base=99),
        _with_head(base=2),
        _with_head(seq=99),
        _with_head(status="waiting"),
        lambda document: document["frames"][0]["entries"].clear(),
        lambda document: document["frames"][0]["entries"].pop(0),
        lambda document: document["frames"].pop(),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(change: Any) -> None:
    document = json.loads(run(exported()))
    change(document)

    async def scenario() -> None:
        async with Stepwell("memory://") as app:
            with pytest.raises(DefinitionError, match="this exported run was changed"):
                await app.runs.import_(json.dumps(document).encode())

    run(scenario())


@pytest.mark.parametrize("id", ["a b", "a/b", "", "x" * 201, "a\n"])
def test_ids_that_no_run_may_have_are_refused_by_forks_retries_and_imports(id: str) -> None:
    async def scenario() -> None:
        async with Stepwell("memory://", include=[job]) as app:
            with pytest.raises(RunError):
                await (await app.start(job, "broken", id="j")).result(timeout=5)
            data = await app.runs.export("j")
            for verb in (app.runs.fork("j", id=id), app.runs.retry("j", id=id)):
                with pytest.raises(DefinitionError, match="run id"):
                    await verb
            if id:
                with pytest.raises(DefinitionError, match="run id"):
                    await app.runs.import_(data, id=id)

    run(scenario())


def test_a_failed_run_replays_to_its_failure() -> None:
    async def data() -> bytes:
        async with Stepwell("memory://", include=[job]) as app:
            with pytest.raises(RunError):
                await (await app.start(job, "broken", id="j")).result(timeout=5)
            return await app.runs.export("j")

    report = replay(run(data()), job)
    assert report.is_ok
