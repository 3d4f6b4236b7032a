"""What bodies elsewhere counted, in their own metadata and above, and whether they were told to clean up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from stepwell.engine.remote.calls import Answer
from stepwell.model.entries import Ended, Entry, Received, SendMetadata, StepCompleted, StepFailed
from stepwell.model.ids import is_invocation
from stepwell.model.messages import CancelRequested, MetadataSent
from stepwell.model.runs import Head
from stepwell.testing.simulator.journals import Journal
from stepwell.testing.simulator.ledger import marks_in
from stepwell.testing.simulator.plans import AWAY, UP

_decode = msgspec.json.Decoder(Answer).decode


def wrong_counts(journal: Journal, head: Head, ended: Ended) -> Iterator[str]:
    """Each count of a body counts once: here if it was for this run, and in a message if for one above."""
    is_copy = journal.created.forked_from is not None  # it may begin in the midst, with what was counted before
    if ended.status != "completed" or "~" in journal.run or is_copy:
        return
    *before, last = journal.frames
    expected = Counter({UP: sum(_heard(frame.entries) for frame in before)})
    late = Counter({UP: _heard(last.entries)})  # what comes with the end may be too late
    if journal.created.workflow == AWAY:
        _, _, told = msgspec.json.decode(bytes(ended.value))
        expected.update(told["own"])
        sent = sum(len(act.ops) for act in journal.intents.values() if isinstance(act, SendMetadata))
        above = told["above"] if journal.created.parent is not None else 0
        if sent != above:
            yield f"{sent} changes were sent to runs above, and it counted {above}"
    for key, count in expected.items():
        there = msgspec.json.decode(bytes(head.metadata.get(key, b"0")))
        if not count <= there <= count + late[key]:
            yield f"its metadata has {there} for {key}, and {count} were counted"


def _heard(entries: Sequence[Entry]) -> int:
    """How much the runs below asked it to count."""
    messages = [entry.message for entry in entries if isinstance(entry, Received)]
    return sum(len(message.ops) for message in messages if isinstance(message, MetadataSent))


def wrong_marks(value: object, entries: Sequence[Entry]) -> Iterator[str]:
    """What the body's steps gave is in the journal, each an entry."""
    steps = [bytes(entry.value) for entry in entries if isinstance(entry, StepCompleted) and entry.via]
    journaled = set(marks_in([step.decode() for step in steps]))
    for mark in marks_in(_own(value)):
        if mark not in journaled:
            yield f"its result holds {mark}, and no step of its journal gave that"


def _own(value: object) -> object:
    """Without what children gave."""
    if not isinstance(value, list):
        return value
    return [] if value[:1] in (["child"], ["away"]) else [_own(item) for item in value]


def wrong_cleanup(entries: Sequence[Entry], ended: Ended) -> Iterator[str]:
    """A worker that knows cancels is invoked once more when its run is cancelled."""
    can_clean_up = is_asked = is_cancelled = False
    for entry in entries:
        if isinstance(entry, Received) and isinstance(entry.message, CancelRequested):
            is_cancelled = is_cancelled or can_clean_up
        elif isinstance(entry, StepCompleted | StepFailed) and is_invocation(entry.id):
            is_asked = is_asked or is_cancelled
            is_known = isinstance(entry, StepCompleted) and "cancel" in _decode(bytes(entry.value)).speaks
            can_clean_up = can_clean_up or is_known
    if ended.status == "cancelled" and is_cancelled and not is_asked:
        yield "was cancelled, and its worker, which knows cancels, was not asked to clean up"
