"""What happened in a run of a blueprint, as events with ids that are the same whoever tells of them, and whenever."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from stepwell.engine.graph.program import NodeEvent
from stepwell.engine.graph.state import node_path
from stepwell.model.entries import AttemptFailed, Ended, Entry, Received
from stepwell.model.ids import RunId
from stepwell.model.messages import PauseRequested, ResumeRequested


class GraphEvent(Struct, frozen=True, kw_only=True):
    """Something that happened in a run of a blueprint, at `at` (ms), and was written down with frame `seq`.

    `type` is `workflow:start`, `workflow:pause`, `workflow:resume`, `workflow:finish`, `node:start`, `node:finish`,
    `node:error`, `node:fallback`, `node:retry`, `node:skipped`, `edge:evaluate`, `context:change`, `batch:start` or
    `batch:finish`. The payload always has `executionId` (the run) and `blueprintId`; those of nodes have `nodeId` and
    `visit`. An event that is told twice has the same `id`.
    """

    id: str
    run: str
    seq: int
    at: int
    type: str
    payload: dict[str, Any]


class Teller(Struct, frozen=True):
    """Tells of one generation of a run. `base` is the frame that began it."""

    run: RunId
    blueprint: str
    base: int

    def happened(self, events: Sequence[NodeEvent], seq: int) -> Iterator[GraphEvent]:
        """What the program saw; `seq` is the frame of what it saw live. All of one frame come in one call."""
        counts: dict[int, int] = {}
        for event in events:
            at = event.seq or seq
            number = counts[at] = counts.get(at, -1) + 1
            # The frame that begins a later generation is also the last one of the generation before.
            place = f"{at}+" if event.seq == self.base > 1 else f"{at}"
            payload = msgspec.json.decode(msgspec.json.encode(event.payload))
            yield self._event(f"{place}:{number}", at, event.at, event.type, payload)

    def noted(self, entries: Sequence[Entry], seq: int, at: int) -> Iterator[GraphEvent]:
        """What only the journal knows: retries, pauses."""
        for number, entry in enumerate(entries):
            told = _told(entry)
            if told is not None:
                yield self._event(f"{seq}:e{number}", seq, at, *told)

    def ended(self, entries: Sequence[Entry], seq: int, at: int) -> Iterator[GraphEvent]:
        """The end, which is the last thing of its frame."""
        for number, entry in enumerate(entries):
            if isinstance(entry, Ended):
                payload: dict[str, Any] = {"status": entry.status}
                if entry.failure is not None:
                    payload["errors"] = [str(entry.failure)]
                if entry.reason:
                    payload["reason"] = entry.reason
                yield self._event(f"{seq}:e{number}", seq, at, "workflow:finish", payload)

    def _event(self, place: str, seq: int, at: int, type: str, payload: dict[str, Any]) -> GraphEvent:
        if "[" in payload.get("visit", ""):
            payload["nodeId"] = payload["visit"]  # of an item
        payload |= {"executionId": self.run, "blueprintId": self.blueprint}
        return GraphEvent(id=f"{self.run}:{place}", run=self.run, seq=seq, at=at, type=type, payload=payload)


def _told(entry: Entry) -> tuple[str, dict[str, Any]] | None:
    match entry:
        case AttemptFailed(id=visit):
            error = str(entry.failure)
            node = node_path(visit).rpartition("/")[2]
            payload = {"nodeId": node, "visit": visit, "attempt": entry.attempt, "error": error}
            return "node:retry", {**payload, "retryAt": entry.retry_at}
        case Received(message=PauseRequested(reason=reason)):
            return "workflow:pause", {"reason": reason}
        case Received(message=ResumeRequested()):
            return "workflow:resume", {}
        case _:
            return None
