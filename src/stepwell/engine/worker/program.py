"""The program of one invocation over the wire: a body on the ordinary loop, whose waits are the orchestrator's."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from stepwell.engine.function import FunctionProgram, Translator
from stepwell.engine.outside import Outside
from stepwell.engine.program import Origin, StepDefinition
from stepwell.engine.worker.desk import Desk
from stepwell.engine.worker.journal import Slice
from stepwell.engine.worker.notes import WireNotes
from stepwell.engine.worker.verdicts import Undone
from stepwell.errors import DefinitionError
from stepwell.model.entries import Act
from stepwell.model.ids import CommandId
from stepwell.model.metadata import MetadataOp


class WireProgram(FunctionProgram):
    """A function program that asks nothing of mailboxes and acts: its waits are on the `desk`.

    `wire_notes` are its notes; `undone` are the compensations that it ran, in order. A `session` drives it.
    """

    __slots__ = ("desk", "is_repeating", "undone", "wire_notes")

    def __init__(
        self,
        body: Callable[[FunctionProgram], Coroutine[Any, Any, Any]],
        origin: Origin,
        translator: Translator,
        *,
        bind: Callable[[Any], StepDefinition],
        slice: Slice,
        on_log: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(body, origin, translator, bind=bind, on_log=on_log)
        self.is_repeating: Callable[[], bool] = bool
        self.desk = Desk(self.loop.create_future, lambda: self.loop.now_ms)
        self.notes = self.wire_notes = WireNotes(slice, lambda: self.is_replaying, lambda: self.loop.now_ms, translator)
        self.outside = _Outside(self)
        self.undone: list[Undone] = []

    @property
    def is_replaying(self) -> bool:
        """Whether the body runs through what it has already done."""
        return self.loop.evicting or self.is_repeating()

    def cancel(self, reason: str) -> None:
        """`CancelledError` at the body's await."""
        self._cancel(reason)
        self.loop.pump()

    def evict(self) -> None:
        """Unwind the body; nothing that it does now counts."""
        self.desk.is_closed = True
        self.is_repeating = bool
        super().evict()

    def where(self) -> str:
        """Where the body's tasks wait."""
        return "; ".join(self.loop.where(task) for task in self.loop.live_tasks()) or "nowhere"


class _Outside(Outside):
    """Nothing is done to others from here. What the body does to them goes into the answer."""

    __slots__ = ()

    def act(self, id: CommandId, act: Act) -> Any:
        """Not over the wire."""
        raise DefinitionError(f"{id}: a body that is run by a step worker cannot do this ({type(act).__name__})")

    def change_above(self, target: Any, change: MetadataOp) -> None:
        """Change the metadata of the parent or of the root."""
        notes: Any = self._program.notes
        notes.change(change, target)
