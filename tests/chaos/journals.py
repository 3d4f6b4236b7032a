"""What must hold for every journal, whatever happened to the processes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from stepwell import RunQuery, Stepwell
from stepwell.cli.doctor import journal_problems
from stepwell.model.entries import Frame, Received, StepCompleted
from stepwell.model.runs import Head

Journal = tuple[Head, list[Frame]]


async def journals(app: Stepwell) -> list[Journal]:
    """All runs of the store with their frames, each looked into."""
    found: list[Journal] = []
    cursor = None
    while True:
        page = await app.runs.list(RunQuery(limit=500, cursor=cursor))
        for head in page.runs:
            loaded, frames = await app.client.journal(head.id)
            if loaded.head.owner is None:
                assert journal_problems(loaded.head, frames) == [], head.id
            assert [seq for seq, _ in frames] == list(range(1, len(frames) + 1)), f"{head.id} has gaps"
            found.append((loaded.head, [frame for _, frame in frames]))
            _check_claims(head.id, [frame for _, frame in frames])
        cursor = page.cursor
        if cursor is None:
            return found


def _check_claims(run: str, frames: Sequence[Frame]) -> None:
    writers = [by for by, _ in groupby(frame.by for frame in frames)]
    assert len(set(writers)) == len(writers), f"{run}: a claim wrote again after another one had written: {writers}"


def completed_steps(found: Sequence[Journal]) -> dict[tuple[str, str], int]:
    """When each step of each run was journaled as completed (ms); once, that is."""
    completed = {}
    for head, frames in found:
        for frame in frames:
            for entry in frame.entries:
                if isinstance(entry, StepCompleted):
                    assert (head.id, entry.id) not in completed, f"{head.id} {entry.id} completed twice"
                    completed[head.id, entry.id] = frame.at
    return completed


def received(found: Sequence[Journal]) -> dict[str, list[str]]:
    """The ids of the messages that each run has journaled."""
    return {
        head.id: [entry.id for frame in frames for entry in frame.entries if isinstance(entry, Received)]
        for head, frames in found
    }
