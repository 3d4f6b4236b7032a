"""What `explain` says of a blueprint's run: which nodes run, wait, failed, and what recovered them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from stepwell.authoring.registry import Registry
from stepwell.engine.graph.state import GraphState, NodeProgress, known_actions, node_at, waiting_visits
from stepwell.errors import DefinitionError
from stepwell.model.durations import format_ms
from stepwell.model.ids import CommandId
from stepwell.model.runs import Head, Wait
from stepwell.runtime.graphs import Frames, Look, look

_SHOWN = 10
_FAILED = ("failed", "recovered")


class GraphCase:
    """A run of a blueprint, in words."""

    def __init__(self, seen: Look, now: int) -> None:
        self._look = seen
        self._now = now
        self.state: GraphState = seen.state
        self.waits: tuple[Wait, ...] = tuple(seen.program.waits()) if seen.has_begun else seen.head.waiting

    def waiting(self) -> list[str]:
        """What the nodes wait for, a sentence for each."""
        by_visit: dict[str, list[Wait]] = {}
        for wait in self.waits:
            visit = wait.name if wait.kind in ("child", "timer") else wait.detail
            by_visit.setdefault(visit, []).append(wait)
        return [self._sentence(visit, waits) for visit, waits in by_visit.items() if waits[0].kind != "start"]

    def cure(self) -> str:
        """How the first node that waits for an answer gets one, as a command."""
        if not self.state.waiting:
            return ""
        first = self.state.waiting[0]
        known = known_actions(waiting_visits(self._look.program)[0])
        action = "" if known is None else f" --action {'|'.join(known)}"
        return f"stepwell runs resume {self._look.head.id} --node {shlex.quote(first)}{action} --output JSON"

    def running(self) -> list[str]:
        """The nodes that are being worked on."""
        around = {id.rpartition("/")[0] for id in self.state.nodes}
        return _short(
            [
                f"node {node.visit} runs" + _share(node)
                for id, node in self.state.nodes.items()
                if node.status == "running" and id not in around and node.iteration is None and not node.error
            ]
        )

    def retries(self) -> list[str]:
        """The nodes between two attempts."""
        found = [
            f"node {id}: attempt {attempt.attempt} failed ({attempt.failure}); the next {self._when(attempt.retry_at)}"
            for id, attempt in self._look.fold.attempts.items()
            if id in self._look.program.machine.visits
        ]
        return _short(found)

    def failures(self) -> list[str]:
        """The nodes that failed, recovered or not."""
        return _short([self._failed(node) for node in self.state.nodes.values() if node.status in _FAILED])

    def _failed(self, node: NodeProgress) -> str:
        if node.status == "failed":
            return f"node {node.visit} failed: {node.error}"
        plan_node = node_at(self._look.program.plan, node.id)
        fallback = None if plan_node is None else plan_node.fallback
        return f"node {node.visit} failed ({node.error}); {'nobody' if fallback is None else fallback.id} took over"

    def _sentence(self, visit: str, waits: Sequence[Wait]) -> str:
        until = next((wait.until for wait in waits if wait.until is not None), None)
        if waits[0].kind == "timer":
            child = self._look.has_child(CommandId(visit))
            what = "its child run may take until then" if child else "it sleeps"
            return f"node {visit} goes on {self._when(until or 0)} ({what})"
        if waits[0].kind == "child":
            return f"node {visit} waits for child run {waits[0].detail}"
        asked = " or ".join(_asked(wait, visit) for wait in waits)
        left = "" if until is None else f", for {format_ms(max(0, until - self._now))} at most"
        return f"node {visit} waits for {asked}{left}"

    def _when(self, at: int) -> str:
        return f"in {format_ms(at - self._now)}" if at > self._now else f"{format_ms(self._now - at)} ago"


def graph_case(registry: Registry, head: Head, frames: Frames, now: int) -> GraphCase | None:
    """None if the run is no blueprint's, or cannot be looked at."""
    try:
        seen = look(registry, head, frames, now=now)
    except DefinitionError:
        return None
    return GraphCase(seen, now)


def _asked(wait: Wait, visit: str) -> str:
    if wait.kind == "token":
        return "an answer" if wait.name == visit else f"a call of webhook {wait.name}"
    return f"{wait.kind} {wait.name}"


def _share(node: NodeProgress) -> str:
    return "" if node.items is None else f", {node.done} of {node.items} items are done"


def _short(facts: list[str]) -> list[str]:
    return facts if len(facts) <= _SHOWN else [*facts[:_SHOWN], f"and {len(facts) - _SHOWN} more"]
