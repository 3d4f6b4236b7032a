"""The code of an exception, on its way from a step to the workflow, to the parent and to whoever waits."""

from __future__ import annotations

import pytest
from tests.helpers import run

from stepwell import AesGcm, Blueprint, Codec, Context, Failure, RunError, StepError, Stepwell, step, workflow
from stepwell.formats.voyant.faults import code_of
from stepwell.model.entries import FrameCodec, StepFailed
from stepwell.ports import Wanted
from stepwell.testing import StepwellTest

CODEC = Codec(AesGcm({"k": bytes(range(32))}, current="k"))


class Declined(Exception):
    code = "card_declined"


@step(retry=None)
async def charge() -> None:
    raise Declined("no")


@workflow
async def child(ctx: Context) -> None:
    await charge()


@workflow
async def seen(ctx: Context) -> str:
    try:
        await charge()
    except StepError as error:
        return error.code
    return ""


@workflow
async def parent(ctx: Context) -> str:
    try:
        await child()
    except RunError as error:
        return error.code
    return ""


@workflow
async def grandparent(ctx: Context) -> None:
    await child()


nodes: Blueprint[None, None] = Blueprint("codes").node("pay", charge)


async def test_the_workflow_sees_the_code_live_and_on_replay(stepwell: StepwellTest) -> None:
    report = await stepwell.crash_everywhere(seen)

    report.assert_same()
    assert bytes(report.crashes[0].ended.value) == b'"card_declined"'


async def test_a_parent_sees_the_code_of_its_child(stepwell: StepwellTest) -> None:
    assert (await stepwell.run(parent)).result == "card_declined"


@pytest.mark.parametrize("flow", [child, grandparent, nodes])
async def test_who_waits_for_a_run_sees_the_code(stepwell: StepwellTest, flow: object) -> None:
    done = await stepwell.run(flow)  # type: ignore[call-overload]

    assert isinstance(done.error, Failure)
    assert done.error.code == "card_declined"
    assert code_of(done.error) == "card_declined"


def test_with_a_cipher_the_store_does_not_see_the_code() -> None:
    async def body() -> None:
        async with Stepwell("memory://", include=[seen], codec=CODEC) as app:
            handle = await app.start(seen)
            assert await handle.result() == "card_declined"
            store = app.backend.store
            (loaded,) = await store.load([Wanted(handle.id)])
            assert loaded is not None
            entries = [entry for _, body in loaded.frames for entry in FrameCodec.decode(body).entries]
            (failed,) = [entry for entry in entries if isinstance(entry, StepFailed)]
            assert failed.failure.code == "card_declined"
            (bare,) = await store._store.load([Wanted(handle.id)])  # type: ignore[attr-defined]
            assert not any(b"card_declined" in body for _, body in bare.frames)

    run(body())
