"""The events of a blueprint's run, from its journal: all that its event sinks were told, and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import structs

from stepwell.authoring.registry import Registry
from stepwell.engine.fold import Fold
from stepwell.engine.graph.events import GraphEvent, Teller
from stepwell.engine.graph.program import NodeEvent, Watches
from stepwell.model.entries import Frame, Received
from stepwell.model.ids import RunId
from stepwell.model.messages import CancelRequested, PauseRequested, ResumeRequested
from stepwell.model.runs import Head
from stepwell.runtime.client import Client
from stepwell.runtime.graphs import Frames, fed, generations, has_begun


async def node_events(client: Client, registry: Registry, run: RunId) -> list[GraphEvent]:
    """All events of a run, over all its generations. `DefinitionError` if it is no blueprint's."""
    loaded, frames = await client.journal(run)
    now = client.backend.clock.now()
    return [event for generation in generations(frames) for event in _events(registry, loaded.head, generation, now)]


def _events(registry: Registry, head: Head, frames: Frames, now: int) -> Iterator[GraphEvent]:
    fold = Fold(head.id, frames)
    released = dict(_released(frames))
    lines = [structs.replace(line, seq=released.get(id(line.entry), line.seq)) for line in fold.begin()]
    is_begun = has_begun(head, fold, now)
    program = fed(registry, fold, lines, is_begun=is_begun, watches=Watches.HISTORY)
    happened: dict[int, list[NodeEvent]] = {}
    for event in program.events:
        happened.setdefault(event.seq, []).append(event)
    teller = Teller(head.id, program.plan.graph.id, fold.origin.base)
    for seq, frame in frames:
        entries = () if seq == fold.origin.base else frame.entries
        yield from teller.noted(entries, seq, frame.at)
        yield from teller.happened(happened.get(seq, ()), seq)
        yield from teller.ended(entries, seq, frame.at)


def _released(frames: Sequence[tuple[int, Frame]]) -> Iterator[tuple[int, int]]:
    """Entries of pauses, by identity, with the frames that ended these: what came in a pause takes effect then."""
    is_paused, held = False, list[int]()
    for seq, frame in frames:
        for entry in frame.entries:
            message = entry.message if isinstance(entry, Received) else None
            if isinstance(message, PauseRequested):
                is_paused = True
            elif isinstance(message, ResumeRequested | CancelRequested):
                yield from ((each, seq) for each in held)
                is_paused, held = False, []
            elif is_paused:
                held.append(id(entry))
