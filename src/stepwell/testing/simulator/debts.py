"""What a run that has ended must have done for others, told from its journal alone.

The product has such a list of its own, `Fold.obligations`. This one is made in another way, so that a mistake in the
one is not a mistake in the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from stepwell.model.entries import (
    Confirmed,
    ContinuedAsNew,
    Entry,
    Frame,
    Intended,
    Received,
    SendMetadata,
    SendSignal,
    StartChild,
)
from stepwell.model.ids import CommandId, RunId
from stepwell.model.messages import ChildEnded


class Debt(Struct, frozen=True):
    """`run` must have a message whose id begins with `message`, unless it has ended or is gone; without a message, it
    must have been created."""

    run: RunId
    message: str = ""


def debts(run: RunId, frames: Iterable[Frame]) -> Iterator[Debt]:
    """All of all generations."""
    entries = list(_entries(frames))
    ended = {
        entry.message.child
        for entry in entries
        if isinstance(entry, Received) and isinstance(entry.message, ChildEnded)
    }
    refused: set[CommandId] = set()
    confirmed: set[CommandId] = set()
    for entry in entries:
        if isinstance(entry, Confirmed):
            (confirmed if entry.failure is None else refused).add(entry.id)
    for entry in entries:
        if not isinstance(entry, Intended) or entry.id in refused:
            continue
        match entry.act:
            case StartChild(child=child, on_parent_end=on_parent_end):
                yield Debt(child)
                if on_parent_end == "cancel" and child not in ended:
                    yield Debt(child, f"cancel:{run}.")
            case SendSignal(run=other):
                yield Debt(other, f"signal:{run}.")
            case SendMetadata(run=other):
                yield Debt(other, f"metadata:{run}.")
            case _:
                pass


def _entries(frames: Iterable[Frame]) -> Iterator[Entry]:
    for frame in frames:
        for entry in frame.entries:
            if isinstance(entry, ContinuedAsNew):
                yield from _entries(entry.history)
            yield entry
