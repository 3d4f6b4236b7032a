"""What a body does to the world outside of its run: acts, which are intended, done and confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stepwell.engine.mailbox import Address
from stepwell.engine.program import ActCommand
from stepwell.model.entries import (
    Act,
    CancelChild,
    Confirmed,
    Intended,
    OpenHook,
    Received,
    SendMetadata,
    StartChild,
    Subscribe,
)
from stepwell.model.ids import CommandId, MessageId, RunId, child_run_id
from stepwell.model.messages import ChildEnded
from stepwell.model.metadata import MetadataOp

if TYPE_CHECKING:
    from stepwell.engine.function import FunctionProgram


class _ActState:
    __slots__ = ("act", "future")

    def __init__(self, act: Act, future: asyncio.Future[Any]) -> None:
        self.act = act
        self.future = future


class Outside:
    """The acts of one generation, by command."""

    __slots__ = (
        "_acts",
        "_known_children",
        "_program",
        "changes",
    )

    def __init__(self, program: FunctionProgram) -> None:
        self._program = program
        self._acts: dict[CommandId, _ActState] = {}
        self._known_children: dict[CommandId, RunId] | None = None
        self.changes: dict[str, list[MetadataOp]] | None = None

    def close(self) -> None:
        """Nothing is asked of this any more: let go of the program."""
        del self._program

    def act(self, id: CommandId, act: Act) -> asyncio.Future[Any]:
        """Do something to the outside; the future resolves when it is confirmed."""
        program = self._program
        future = program.loop.create_future()
        if not program.loop.evicting:
            self._acts[id] = _ActState(act, future)
            program.issue(ActCommand(id, act))
        return future

    async def call_child(self, act: StartChild, id: CommandId, decode: Callable[[Received], Any]) -> Any:
        """Start a child and wait for its end. Cancelling this cancels the child."""
        program = self._program
        started = self.act(id, act)
        started.add_done_callback(_ignore_outcome)
        waiter = program.mailbox.enlist(Address("child", id), decode, detail=act.child)

        def refused(future: asyncio.Future[Any]) -> None:
            if not future.cancelled() and (error := future.exception()) and not waiter.future.done():
                waiter.future.set_exception(error)

        started.add_done_callback(refused)
        try:
            return await program.mailbox.answered(waiter)
        except asyncio.CancelledError:
            self.cancel_child(id, act.child)
            raise

    def child_id(self, command: CommandId) -> RunId:
        """The id of a child: as the history has it, for that may have been taken from another run."""
        program = self._program
        if self._known_children is None:
            acts = (line.entry for line in program.history if isinstance(line.entry, Intended))
            self._known_children = {entry.id: entry.act.child for entry in acts if isinstance(entry.act, StartChild)}
        origin = program.origin
        known = self._known_children.get(command)
        return known or child_run_id(origin.run, origin.base, command, origin.seed)

    def cancel_child(self, id: CommandId, child: RunId) -> None:
        """Ask a child to stop; once."""
        name = CommandId(f"{id}/cancel")
        if name not in self._acts and not self._program.loop.evicting:
            self.act(name, CancelChild(child=child)).add_done_callback(_ignore_outcome)

    def subscribe(self, event: str) -> None:
        """Make this run be found by the event's publishers, from the run's beginning on; once per generation."""
        id = CommandId(f"subscribe.{event}")
        if id not in self._acts and not self._program.loop.evicting:
            since = self._program.origin.born_at
            self.act(id, Subscribe(event=event, since=since)).add_done_callback(_ignore_outcome)

    def change_above(self, target: str, change: MetadataOp) -> None:
        """Change the metadata of the parent or of the root, together with what else changes until the body waits."""
        if not self._program.loop.evicting:
            if self.changes is None:
                self.changes = {}
            self.changes.setdefault(target, []).append(change)

    def send_changes(self) -> None:
        """Send what has changed above: one act for each target. The body waits now, live and on replay.

        A run that has nobody above it sends nothing. It may be the fork of one that had, and did: so it counts alike,
        and knows the acts in its history.
        """
        changes, self.changes = self.changes, None
        program = self._program
        parent = program.origin.created.parent
        for target, ops in (changes or {}).items():
            id = program.new_id(f"@metadata.{target}")
            if parent is not None:
                run = parent.run if target == "parent" else parent.root or parent.run
                self.act(id, SendMetadata(run=run, ops=tuple(ops))).add_done_callback(_ignore_outcome)
                continue
            future = program.loop.create_future()
            future.set_result(None)
            self._acts[id] = _ActState(SendMetadata(run=RunId(""), ops=()), future)

    def asks(self) -> list[tuple[str, str]]:
        """(id, kind) of the acts that are not confirmed, for messages."""
        return [
            (id, "child" if isinstance(state.act, StartChild) else "act")
            for id, state in self._acts.items()
            if not state.future.done()
        ]

    def feed(self, entry: Intended | Confirmed) -> bool:
        """Apply a journaled act. False: the code asks for no such act."""
        state = self._acts.get(entry.id)
        if state is None or (isinstance(entry, Intended) and type(state.act) is not type(entry.act)):
            return False
        if isinstance(entry, Confirmed):
            self._confirm(state, entry)
        return True

    def _confirm(self, state: _ActState, entry: Confirmed) -> None:
        act, failure = state.act, entry.failure
        program = self._program
        if not state.future.done():
            if failure is None:
                state.future.set_result(None)
            else:
                state.future.set_exception(program.translator.act_error(act, failure))
        elif failure is not None and isinstance(act, StartChild):
            # The body went on with a child that this run, a fork, could not start for itself: that child has failed.
            message = ChildEnded(
                child=act.child, base=program.origin.base, command=entry.id, status="failed", failure=failure
            )
            id = MessageId(f"refused:{entry.id}")
            program.mailbox.put(Received(no=0, id=id, at=program.now_ms, message=message))
        elif failure is not None and isinstance(act, OpenHook):
            # The same with a hook, whose token another run has by now.
            program.mailbox.refuse(Address("token", entry.id), program.translator.act_error(act, failure))


def _ignore_outcome(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
