"""What a running step sees of itself."""

from __future__ import annotations

import pytest

from stepwell import Context, NotInWorkflowError, current_step, step, workflow
from stepwell.testing import StepwellTest


@step(key="7")
async def looks_at_itself() -> list[object]:
    this = current_step()
    return [this.id, this.run_id, this.attempt, this.cancelled, this.log.name, this.last_progress]


@step
def looks_from_a_thread() -> str:
    return current_step().id


@workflow
async def looks(ctx: Context) -> list[object]:
    return [*(await looks_at_itself()), await looks_from_a_thread()]


def test_a_step_knows_itself(stepwell: StepwellTest) -> None:
    *seen, from_thread = stepwell.run_sync(looks, id="me").result

    assert seen == ["looks_at_itself[7]", "me", 1, False, "stepwell.step.looks_at_itself", None]
    assert from_thread == "looks_from_a_thread"


def test_elsewhere_there_is_no_step() -> None:
    with pytest.raises(NotInWorkflowError, match="outside of a running step"):
        current_step()


@workflow
async def in_the_body(ctx: Context) -> str:
    try:
        return current_step().id
    except NotInWorkflowError as error:
        return str(error)


def test_a_body_is_no_step(stepwell: StepwellTest) -> None:
    assert "outside of a running step" in stepwell.run_sync(in_the_body).result
