"""Runs of blueprints from outside: where their nodes stand, now or at any frame, and answers to those that wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from stepwell.authoring.looking import looking_program
from stepwell.authoring.registry import Registry
from stepwell.engine.fold import Fold
from stepwell.engine.graph.plan import Kind
from stepwell.engine.graph.program import GraphProgram, Watches
from stepwell.engine.graph.state import (
    GraphState,
    Standing,
    graph_state,
    has_count,
    known_actions,
    node_at,
    node_path,
    waiting_visits,
    without_count,
)
from stepwell.engine.graph.visits import Visit
from stepwell.engine.program import Line
from stepwell.errors import ActivationError, DefinitionError, RunClosedError, RunConflictError
from stepwell.model.blueprints import ALIASES
from stepwell.model.entries import ContinuedAsNew, Created, Frame, Received, StartChild
from stepwell.model.ids import CommandId, RunId
from stepwell.model.messages import HookCompleted
from stepwell.model.runs import TERMINAL, Head
from stepwell.ports import Loaded
from stepwell.runtime.client import Client
from stepwell.runtime.payloads import loaded_mail

Frames = list[tuple[int, Frame]]

_TRIES = 3
_SHOWN = 30


class Look(Struct, frozen=True):
    """A run with the program of one of its generations, fed with its journal up to a frame."""

    head: Head
    fold: Fold
    lines: Sequence[Line]
    program: GraphProgram
    seq: int
    at: int
    has_begun: bool

    @property
    def state(self) -> GraphState:
        """Where its nodes stand."""
        fold = self.fold
        return graph_state(
            self.program,
            Standing(status=self._status, seq=self.seq, at=self.at, ended=fold.ended, attempts=fold.attempts),
        )

    def has_child(self, visit: CommandId) -> bool:
        """Whether this visit is, or was, a child run."""
        return isinstance(self.fold.acts.get(visit), StartChild)

    @property
    def _status(self) -> str:
        if self.fold.ended is not None:
            return self.fold.ended.status
        if self.fold.is_paused:
            return "paused"
        if not self.has_begun:
            return "queued"
        return "running" if self.program.machine.running else "waiting"


async def run_state(client: Client, registry: Registry, run: RunId, at: int | None) -> GraphState:
    """Where the nodes of a run stand, or stood at frame `at`."""
    if at is None:
        loaded, frames = await client.journal(run, after=0)
    else:
        loaded, every = await client.journal(run)
        last = every[-1][0]
        if not 1 <= at <= last:
            raise DefinitionError(f"run {run} has no frame {at}; its journal goes from 1 to {last}")
        frames = _generation(every, at)
    return look(registry, loaded.head, frames, now=client.backend.clock.now(), at=at).state


def look(registry: Registry, head: Head, frames: Frames, *, now: int, at: int | None = None) -> Look:
    """Replay the frames of one generation, up to frame `at`, with nothing that could run. `DefinitionError`."""
    is_begun = has_begun(head, Fold(head.id, frames), now)
    shown = [(seq, frame) for seq, frame in frames if at is None or seq <= at]
    fold = Fold(head.id, shown)
    lines = fold.begin()
    seq, last = shown[-1]
    return Look(head, fold, lines, fed(registry, fold, lines, is_begun=is_begun), seq, last.at, is_begun)


def fed(
    registry: Registry, fold: Fold, lines: Sequence[Line], *, is_begun: bool, watches: Watches = Watches.NOTHING
) -> GraphProgram:
    """A program that has read these lines, if its run has begun."""
    program = looking_program(registry, fold.origin, [*lines, *fold.held], watches=watches)
    try:
        if is_begun:
            program.begin(lines, at=fold.origin.started_at, is_repeat=True)
    except ActivationError as error:
        raise DefinitionError(f"run {fold.origin.run} cannot be shown: {error}") from None
    return program


def generations(frames: Frames) -> list[Frames]:
    """All generations. The frame that begins one is also the last of the one before."""
    starts = [index for index, (_, frame) in enumerate(frames) if _is_start(frame)]
    ends = [start + 1 for start in starts[1:]]
    return [frames[start:end] for start, end in zip(starts, [*ends, len(frames)], strict=True)]


def _generation(frames: Frames, at: int) -> Frames:
    """The frames of the generation that frame `at` belongs to; a frame that begins one shows that one."""
    found = next(each for each in reversed(generations(frames)) if each[0][0] <= at)
    return found if found[-1][0] == frames[-1][0] else found[:-1]


def _is_start(frame: Frame) -> bool:
    return isinstance(frame.entries[0], Created) or isinstance(frame.entries[-1], ContinuedAsNew)


def has_begun(head: Head, fold: Fold, now: int) -> bool:
    """Whether the first nodes have been visited. Of a run that was only just taken, no frame says so."""
    is_past = fold.origin.base < head.base
    is_held = head.status == "running" and fold.not_before <= now
    return is_past or fold.has_begun or fold.was_parked(head) or is_held


# --- answering


async def answer_node(
    client: Client, registry: Registry, run: RunId, node: str, *, action: str | None = None, output: Any = None
) -> bool:
    """Resume a node that waits. False: it had this very answer before. `RunConflictError`, `DefinitionError`."""
    value = envelope(registry, node, action, output)
    for _ in range(_TRIES):
        loaded, frames = await client.journal(run, after=0)
        desk = _Desk(registry, loaded, frames, now=client.backend.clock.now())
        visit_id = desk.chosen(node)
        known = desk.answer_to(visit_id, await _unread(client, loaded, desk.look.fold.mail))
        if known is not None:
            return desk.check_same(visit_id, known, value)
        visit = desk.waiting(visit_id, node)
        check_action(visit, action)
        base = desk.look.fold.origin.base
        message = HookCompleted(base=base, command=visit.id, value=value)
        try:
            answer = await client.deliver(run, message, id=f"resume:{base}.{visit.id}")
        except RunClosedError:
            continue  # it ended just now; look again for whose answer it had
        if answer.answer == "ok":
            return True
    raise RunConflictError(f"node {node!r} of run {run} was answered by somebody else just now; look at it again")


class _Desk:
    """One run, and who waits in it."""

    def __init__(self, registry: Registry, loaded: Loaded, frames: Frames, *, now: int) -> None:
        self._registry = registry
        self.look = look(registry, loaded.head, frames, now=now)
        self._state = self.look.state
        self._waiting = {visit.id: visit for visit in waiting_visits(self.look.program)}
        if self._state.status in TERMINAL:
            self._waiting = {}

    def chosen(self, node: str) -> CommandId:
        """The visit that is meant: of a node's own id, the one that waits, or else the last."""
        plan = self.look.program.plan
        path = node_path(node)
        plan_node = node_at(plan, path)
        if plan_node is None and (named := plan.by_id.get(node)) is not None:
            node = path = named.name  # an id with signs that visit ids encode
            plan_node = named
        dynamic = self._state.nodes.get(path)
        if plan_node is None and dynamic is None:
            raise DefinitionError(f"run {self._state.run} has no node {path!r}; {self._wait_nodes()}")
        if plan_node is not None and plan_node.kind is not Kind.WAIT:
            raise DefinitionError(f"node {path!r} is no wait node ({plan_node.node.uses}); {self._wait_nodes()}")
        if has_count(node) or node in self._waiting:
            return CommandId(node.removesuffix(":1"))
        found = [id for id in self._waiting if node in (node_path(id), without_count(id))]
        if len(found) > 1:
            raise RunConflictError(f"node {node!r} of run {self._state.run} waits {len(found)} times: {_list(found)}")
        last = dynamic.visit if dynamic is not None and node == path else ""
        return found[0] if found else CommandId(last or node)

    def answer_to(self, visit: CommandId, unread: Iterable[Received]) -> Raw | None:
        """The answer that this visit has, or will find in the inbox."""
        fold = self.look.fold
        base = fold.origin.base
        journaled = [line.entry for line in (*self.look.lines, *fold.held) if isinstance(line.entry, Received)]
        for received in (*journaled, *unread):
            message = received.message
            if isinstance(message, HookCompleted) and (message.base, message.command) == (base, visit):
                return message.value
        return None

    def check_same(self, visit: CommandId, known: Raw, value: Raw) -> bool:
        """False, if a node has the answer that it shall get."""
        old, new = (msgspec.json.decode(self._plain(raw)) for raw in (known, value))
        if old == new:
            return False
        raise RunConflictError(
            f"node {visit!r} of run {self._state.run} has another answer already: {_shown(self._plain(known))}"
        )

    def waiting(self, visit: CommandId, node: str) -> Visit:
        """The visit, if it waits."""
        found = self._waiting.get(visit)
        if found is not None:
            return found
        progress = self._state.nodes.get(node_path(visit))
        status: str = "pending" if progress is None else progress.status
        if progress is not None and progress.visit not in ("", visit):
            status = f"{status} by now (visit {progress.visit})"
        waits = f"waiting now: {_list(self._waiting)}" if self._waiting else "nothing in it waits to be resumed"
        raise RunConflictError(
            f"node {node!r} of run {self._state.run} ({self._state.status}) does not wait: it is {status}; {waits}"
        )

    def _wait_nodes(self) -> str:
        names = [path for path, node in self._state.nodes.items() if ALIASES.get(node.uses) == "wait"]
        return f"its wait nodes: {_list(names[:_SHOWN])}" + (", ..." if len(names) > _SHOWN else "")

    def _plain(self, raw: Raw) -> Raw:
        return self._registry.codec.opened(raw, where="an answer")


async def _unread(client: Client, loaded: Loaded, mail: int) -> list[Received]:
    return [item for item in await loaded_mail(client.backend.blobs, loaded.mail) if item.no > mail]


def envelope(registry: Registry, node: str, action: str | None, output: Any) -> Raw:
    """An answer to a node, as messages hold it. `CodecError`."""
    typed = registry.codec.typed(type(output)) if output is not None else registry.codec.typed(Any)
    plain = typed.plain.encode(output, where=f"the output of node {node!r}")
    return registry.codec.sealed(msgspec.json.encode({"action": action or None, "output": plain}))


def check_action(visit: Visit, action: str | None) -> None:
    """`DefinitionError` if no edge listens to this action."""
    known = known_actions(visit)
    if action and known is not None and action not in known:
        raise DefinitionError(f"action {action!r}: node {visit.node.id!r} listens to: {_list(known)}")


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _shown(raw: Raw) -> str:
    text = bytes(raw).decode(errors="replace")
    return text if len(text) <= 200 else f"{text[:200]}..."
