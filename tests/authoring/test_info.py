"""What a body may know of its run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from stepwell import AesGcm, Codec, Context, Retry, RunInfo, Stepwell, step, workflow
from stepwell.formats.voyant.labels import LABELS, Labels
from stepwell.testing import StepwellTest
from tests.helpers import run

CODEC = Codec(AesGcm({"k": bytes(range(32))}, current="k"))
SAID = Labels(
    version="2026-05-01",
    environment="preview",
    tenant=Raw(b'{"tenantId":"t"}'),
    triggered_by=Raw(b'{"kind":"api","actor":"ada"}'),
    key="7",
    is_null=True,
)
seen: list[RunInfo] = []


class Down(Exception):
    pass


@step(retry=None)
async def fail_twice() -> None:
    if len(seen) < 3:
        raise Down


def told(info: RunInfo) -> dict[str, Any]:
    return msgspec.to_builtins(info)  # type: ignore[no-any-return]


@workflow(version="7")
async def knows(ctx: Context) -> dict[str, Any]:
    await ctx.sleep("1h")
    return told(ctx.info)


@workflow
async def middle(ctx: Context) -> list[dict[str, Any]]:
    return [told(ctx.info), await knows()]


@workflow
async def top(ctx: Context) -> list[dict[str, Any]]:
    return [told(ctx.info), *await middle()]


@workflow(retry=Retry(attempts=5, first_delay="1s"))
async def stubborn(ctx: Context) -> int:
    seen.append(ctx.info)
    await fail_twice()
    return ctx.info.attempt


def test_a_run_by_itself(stepwell: StepwellTest) -> None:
    done = stepwell.run_sync(knows, id="a", tags={"team": "x"})

    info = msgspec.convert(done.result, RunInfo)
    assert info == RunInfo(
        id=info.id,
        workflow="knows",
        version="7",
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        tags={"team": "x"},
        tenant={},
        triggered_by={"kind": "api"},
    )
    assert info.id == "a"


def test_a_delayed_run_was_started_when_its_delay_was_over(stepwell: StepwellTest) -> None:
    done = stepwell.run_sync(knows, delay="2h")

    assert done.result["started_at"] == "2026-01-01T02:00:00Z"


def test_children_know_who_is_above(stepwell: StepwellTest) -> None:
    first, second, third = stepwell.run_sync(top, id="t").result

    assert (first["parent"], first["root"]) == (None, None)
    assert (second["parent"], second["root"]) == ("t", "t")
    assert (third["parent"], third["root"]) == (second["id"], "t")


def test_each_attempt_has_its_number_and_the_time_of_the_first(stepwell: StepwellTest) -> None:
    seen.clear()

    assert stepwell.run_sync(stubborn).result == 3
    assert [info.attempt for info in seen] == [1, 2, 3]
    assert len({info.started_at for info in seen}) == 1


@pytest.mark.parametrize("codec", [Codec(), CODEC])
def test_children_have_what_was_said_when_the_run_was_triggered(codec: Codec) -> None:
    async def body() -> None:
        async with Stepwell("memory://", include=[top, middle, knows, quick], codec=codec) as app:
            said = msgspec.json.decode(SAID.payload)
            handle = await app.start(quick, 2, metadata={LABELS: said})
            answers = await handle.result()
            assert len(answers) == 3
            for answer in answers:
                info = msgspec.convert(answer, RunInfo)
                assert info.version == "2026-05-01"
                assert info.environment == "preview"
                assert info.tenant == {"tenantId": "t"}
                assert info.triggered_by == {"kind": "api", "actor": "ada"}
            children = (await app.runs.list(parent=handle.id)).runs
            (child,) = children
            labels = msgspec.json.decode(codec.opened(child.metadata[LABELS], where="it"), type=Labels)
            assert (labels.key, labels.is_null, labels.environment) == ("", False, "preview")

    run(body())


@workflow
async def quick(ctx: Context, depth: int) -> list[dict[str, Any]]:
    return [told(ctx.info), *(await quick(depth - 1) if depth else [])]
