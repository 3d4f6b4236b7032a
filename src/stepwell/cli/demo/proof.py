"""The proof: what the journal says was completed, against what the steps themselves wrote when they ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from stepwell.model.entries import Frame, StepCompleted


class Proof(Struct, frozen=True, kw_only=True):
    """`before`: steps that were in the journal when the worker was killed. `repeated`: those of them that ran again,
    which must be none. `rerun`: steps that were under way at that moment, which start over. `missing`: steps in the
    journal that left no effect. `gaps`: whether frames are missing in the journal."""

    before: int
    total: int
    repeated: tuple[str, ...]
    rerun: tuple[str, ...]
    missing: tuple[str, ...]
    has_gaps: bool

    @property
    def holds(self) -> bool:
        """Whether no completed step ran twice, and nothing is missing."""
        return not (self.repeated or self.missing or self.has_gaps) and self.total > 0


def completed_steps(frames: Sequence[tuple[int, Frame]]) -> list[str]:
    """The ids of the steps whose results are in a journal."""
    return [entry.id for _, frame in frames for entry in frame.entries if isinstance(entry, StepCompleted)]


def executions(log: Path) -> Counter[str]:
    """How often each step began, as its own lines say."""
    if not log.exists():
        return Counter()
    return Counter(line.partition("\t")[0] for line in log.read_text(encoding="utf-8").splitlines())


def prove(before: Sequence[str], frames: Sequence[tuple[int, Frame]], log: Path) -> Proof:
    """Compare. `before` holds the steps that were journaled when the worker died."""
    ran = executions(log)
    after = completed_steps(frames)
    known = set(before)
    return Proof(
        before=len(known),
        total=len(after),
        repeated=tuple(sorted(id for id in known if ran[id] != 1)),
        rerun=tuple(sorted(id for id, count in ran.items() if count > 1 and id not in known)),
        missing=tuple(sorted(id for id in after if ran[id] == 0)),
        has_gaps=[seq for seq, _ in frames] != list(range(1, len(frames) + 1)) or len(set(after)) != len(after),
    )
