"""What is left when all is over, in a form in which two plays of one scenario can be compared.

Faults may move things in time, and so into other frames. What depends on that alone is taken out: times, claims, seqs,
ids that hold chance, and the order between the kinds of entries that a frame groups. What arrived at the body stays in
its order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from stepwell import Stream
from stepwell.backends.memory.world import Run
from stepwell.model.entries import (
    Confirmed,
    ContinuedAsNew,
    Created,
    Dropped,
    Ended,
    Entry,
    Frame,
    Intended,
    MetadataChanged,
    Patched,
    Received,
    Sent,
    Started,
)
from stepwell.model.failures import NULL
from stepwell.model.ids import RunId
from stepwell.model.messages import ChildEnded
from tests.faults.play import Play, Played, Scenario

Journals = dict[RunId, list[tuple[int, Frame]]]

_TIMES = ("at", "born_at", "deadline", "due", "ms", "not_before", "retry_at", "since", "started_at", "until")
_PLACES = ("base", "mail", "no", "previous")
_CHANCE = ("by", "lineage", "random_base", "seed")
_SHIFTED = frozenset((*_TIMES, *_PLACES, *_CHANCE, "traceback"))
"""Fields that say when, by whom, or as the how-manieth."""
_IDS = (
    (re.compile(r"^(child:.+):\d+$"), r"\1"),  # the seq of the child's end
    (re.compile(r"^(cancel:.+)\.\d+\.(.+)$"), r"\1.\2"),  # the base of the sender's generation
    (re.compile(r"^(signal:.+)\.\d+\.(.+)\.[0-9a-f]{8}$"), r"\1.\2"),  # and its lineage
    (re.compile(r"^hook:\d+\."), "hook:"),
)
"""What is in the ids of messages besides their senders."""

_CHILD_ID = re.compile("c[0-9a-f]{24}")
_TIMED_ID = re.compile("[0-9a-f]{25}")


class Story(Struct, frozen=True):
    """What must be the same."""

    answer: object
    runs: dict[str, Any]
    streams: dict[str, list[Any]]
    steps: list[str]


async def story(scenario: Scenario, play: Play, played: Played, journals: Journals) -> Story:
    """Tell what happened, without when."""
    names = _names(journals)
    runs = {
        names[run]: {
            "head": _head(play.world.runs[run]),
            "generations": [_generation(part) for part in _generations(_flat(frames))],
        }
        for run, frames in journals.items()
    }
    keys = [key for key in play.world.streams if not key.startswith("event/") and not key.endswith("/")]
    streams = {key: await _chunks(play, key) for key in keys}
    told = Story(played.answer, runs, streams, sorted(_named(names, played.effects)))
    text = msgspec.json.encode(told, order="sorted").decode()
    for run, name in names.items():
        if run != name:
            text = text.replace(run, name)
    again = msgspec.json.decode(text, type=Story)
    if scenario.is_concurrent:
        _sort(again)
    return msgspec.structs.replace(again, runs=dict(sorted(again.runs.items())), steps=sorted(again.steps))


def _sort(story: Story) -> None:
    """What is under way at the same time ends in the order in which the calls for it were answered."""
    for run in story.runs.values():
        for generation in run["generations"]:
            for kind in ("arrived", "intended", "noted"):
                generation[kind].sort(key=str)
    for chunks in story.streams.values():
        chunks.sort()


async def journals_of(play: Play) -> Journals:
    """Every frame of every run, payloads included, in the order in which they were created."""
    return {run: (await play.observer.client.journal(run))[1] for run in play.world.runs}


def counted(played: Played, journals: Journals) -> Counter[str]:
    """How often each step of each run took effect."""
    return _named(_names(journals), played.effects)


# --- names


def _names(journals: Journals) -> dict[RunId, str]:
    """Children by who started them, and runs that got no id by their order: their ids hold chance."""
    names: dict[RunId, str] = {}
    nameless: list[RunId] = []

    def name(run: RunId) -> str:
        if run in names:
            return names[run]
        created = journals[run][0][1].entries[0]
        assert isinstance(created, Created)
        parent = created.parent
        if parent is None and _TIMED_ID.fullmatch(run):
            nameless.append(run)
            return f"run {len(nameless)}"
        if parent is None or not _CHILD_ID.fullmatch(run):
            return run
        if parent.run not in journals:
            return f"{parent.run}>{parent.command}"
        begun = sum(
            isinstance(entry, ContinuedAsNew)
            for seq, frame in journals[parent.run]
            for entry in frame.entries
            if seq <= parent.base
        )
        return f"{name(parent.run)}>{begun}.{parent.command}"

    for run in journals:
        names[run] = name(run)
    return names


def _named(names: dict[RunId, str], effects: Counter[str]) -> Counter[str]:
    """Effects under the names of their runs; those of runs that are gone by now together."""
    named: Counter[str] = Counter()
    for key, times in effects.items():
        run, _, step = key.partition("/")
        gone = "(gone)" if _CHILD_ID.fullmatch(run) else run
        named[f"{names.get(RunId(run), gone)}/{step}"] += times
    return named


# --- journals


def _flat(frames: Iterable[tuple[int, Frame]]) -> list[Entry]:
    return [entry for _, frame in frames for entry in frame.entries]


def _generations(entries: Sequence[Entry]) -> list[list[Entry]]:
    parts: list[list[Entry]] = []
    for entry in entries:
        if isinstance(entry, Created | ContinuedAsNew):
            parts.append([])
        parts[-1].append(entry)
    return parts


def _generation(entries: Sequence[Entry]) -> dict[str, Any]:
    """One generation, by kind of entry: between the kinds, the order depends on what shared a frame.

    That an act was done is left out: when its answer comes late, what follows from it may come first, and even the end.
    That it was refused is kept. Left out, too: the end of a child that was told to stop, for which nobody waits, and
    that a body began late.
    """
    metadata: dict[str, Raw] = {}
    kinds: dict[str, list[Any]] = {"arrived": [], "intended": [], "refused": [], "noted": []}
    for entry in entries:
        match entry:
            case MetadataChanged(values=values):
                metadata |= values
            case Intended():
                kinds["intended"].append(_plain(entry))
            case Confirmed(failure=failure):
                if failure is not None:
                    kinds["refused"].append(_plain(entry))
            case Sent() | Patched() | Dropped():
                kinds["noted"].append(_plain(entry))
            case Started() | Received(message=ChildEnded(status="cancelled")):
                pass
            case _:
                kinds["arrived"].append(_plain(entry))
    return {**kinds, "metadata": {key: bytes(raw).decode() for key, raw in sorted(metadata.items())}}


def _plain(entry: Entry) -> Any:
    plain = msgspec.json.decode(msgspec.json.encode(entry))
    if isinstance(entry, ContinuedAsNew):
        plain["unread"] = sorted(plain.get("unread", ()), key=str)
        plain["history"] = _generation([item for frame in entry.history for item in frame.entries])
    return _timeless(plain)


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_place(item) if key == "id" else _timeless(item)
            for key, item in value.items()
            if key not in _SHIFTED
        }
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    return value


def _without_place(id: str) -> str:
    for pattern, kept in _IDS:
        id = pattern.sub(kept, id)
    return id


def _head(run: Run) -> dict[str, Any]:
    head = run.head
    return {
        "workflow": head.workflow,
        "status": head.status,
        "tags": head.tags,
        "metadata": {key: bytes(raw).decode() for key, raw in sorted(head.metadata.items())},
    }


async def _chunks(play: Play, key: str) -> list[Any]:
    """A stream as its readers see it."""
    run, _, name = key.partition("/")
    handle = play.observer.handle(run)
    return [
        (chunk.source.partition("@")[0], bytes(chunk.raw).decode())
        async for chunk in handle.stream_chunks(Stream(name))
    ]


# --- what must hold whatever happened


async def leftovers(play: Play, journals: Journals, *, replay: bool) -> list[str]:
    """What should not be there when every run has ended. With `replay`, the code goes through the journals, too."""
    world = play.world
    found = [f"the name {name!r} is held by {holder}" for name, holder in world.names.items()]
    found += [f"queue {queue} has {len(jobs)} jobs" for queue, jobs in world.queues.items() if jobs]
    for key in (*world.blobs, *world.streams):
        owner = key.partition("/")[0]
        if owner != "event" and RunId(owner) not in world.runs:
            found.append(f"{key} belongs to a run that there is not")
    for run, frames in journals.items():
        found += [f"run {run}: {text}" for text in _broken(world.runs[run], frames)]
        if replay:
            found += await _replay(play, run)
    return found


def _broken(run: Run, frames: list[tuple[int, Frame]]) -> Iterable[str]:
    head, entries = run.head, _flat(frames)
    ends = [entry for entry in entries if isinstance(entry, Ended)]
    if len(ends) != 1 or entries[-1] is not ends[0]:
        yield f"{len(ends)} ends, the last entry is {type(entries[-1]).__name__}"
    elif ends[0].status != head.status:
        yield f"the head says {head.status}, the journal {ends[0].status}"
    if [seq for seq, _ in frames] != list(range(1, len(frames) + 1)) or head.seq != len(frames):
        yield f"the head is at {head.seq}; the frames are {[seq for seq, _ in frames]}"
    starts = [seq for seq, frame in frames for entry in frame.entries if isinstance(entry, Created | ContinuedAsNew)]
    if head.base != starts[-1]:
        yield f"the head's base is {head.base}, the last generation began at {starts[-1]}"
    if (head.owner, head.wake_at, head.takes, head.waiting) != (None, None, 0, ()):
        yield f"the head is not at rest: {head}"
    if dict(head.metadata) != (folded := _metadata(entries)):
        yield f"the head's metadata are {head.metadata}, the journal's {folded}"
    journaled = Counter((entry.no, entry.id) for entry in entries if isinstance(entry, Received))
    for mail in run.inbox:
        if journaled[mail.no, mail.id] != 1:
            yield f"message {mail.id} is {journaled[mail.no, mail.id]} times in the journal"
    times = [frame.at for _, frame in frames]
    if times != sorted(times):
        yield f"time goes back: {times}"


def _metadata(entries: Sequence[Entry]) -> dict[str, Raw]:
    metadata: dict[str, Raw] = {}
    for entry in entries:
        if isinstance(entry, Created):
            metadata = dict(entry.metadata)
        elif isinstance(entry, ContinuedAsNew):
            metadata = dict(entry.created.metadata)
        elif isinstance(entry, MetadataChanged):
            metadata |= entry.values
    return {key: raw for key, raw in metadata.items() if raw != NULL}


async def _replay(play: Play, run: RunId) -> list[str]:
    report = await play.observer.runs.replay(run)
    return [] if report.error is None else [f"run {run} does not replay: {report.error}"]
