"""What `stepwell doctor` holds against a journal."""

from __future__ import annotations

from msgspec.structs import replace

from stepwell.cli.doctor import journal_problems
from stepwell.model.entries import Created, Frame, StepCompleted
from stepwell.model.ids import Claim, CommandId, RunId
from stepwell.model.runs import Head

HEAD = Head(id=RunId("r"), workflow="w", status="waiting", created_at=1, seq=2)
FRAMES = [
    (1, Frame(1, Claim("client"), (Created(workflow="w", seed="00"),))),
    (2, Frame(2, Claim("worker:1"), (StepCompleted(id=CommandId("s:1")),))),
]


def test_a_head_that_agrees_with_its_journal_is_fine() -> None:
    assert journal_problems(HEAD, FRAMES) == []


def test_a_head_may_be_behind_while_its_run_is_due_again() -> None:
    """A worker that takes a suspect, and gives it back unread, does not know how long its journal is."""
    assert journal_problems(replace(HEAD, seq=1, wake_at=5), FRAMES) == []


def test_a_head_at_rest_is_not_behind() -> None:
    assert journal_problems(replace(HEAD, seq=1), FRAMES) == ["the journal ends at 2, the head says 1"]


def test_a_head_is_never_ahead() -> None:
    assert journal_problems(replace(HEAD, seq=3, wake_at=5), FRAMES) == ["the journal ends at 2, the head says 3"]
