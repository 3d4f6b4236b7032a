"""What comes to a driver, and what it decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stepwell.engine.program import ActCommand, StepCommand
from stepwell.model.entries import Entry, Received, Started
from stepwell.model.ids import CommandId


class Arrival(NamedTuple):
    """Something that happened at `time` (ms) and wants into the journal."""

    time: int
    entry: Entry


class Decision:
    """The next frame, if any, and what may begin when it is durable (at once, without one).

    `resumes`: the run was paused, and goes on: all its open steps may begin, if they do not run already.
    """

    __slots__ = ("acts", "entries", "has_notes", "is_guarded", "resumes", "start", "stop")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.is_guarded = False
        self.has_notes = False
        self.resumes = False
        self.start: list[StepCommand] = []
        self.stop: list[CommandId] = []
        self.acts: list[ActCommand] = []

    def add_notes(self, notes: Sequence[Entry], *, before_last: bool = False) -> None:
        """Put notes at the end, or before an entry that must be the last; the time of the start comes first."""
        if type(notes[0]) is Started:
            self.entries.insert(0, notes[0])
            notes = notes[1:]
        end = len(self.entries) - before_last
        self.entries[end:end] = notes
        self.has_notes = True


def arrival_order(arrival: Arrival) -> tuple[int, bool, int]:
    """By time; a message before anything else of its millisecond; messages by number."""
    entry = arrival.entry
    if isinstance(entry, Received):
        return (arrival.time, False, entry.no)
    return (arrival.time, True, 0)
