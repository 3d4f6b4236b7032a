"""What a run came to, for tests to look at."""

from __future__ import annotations

from collections import Counter
from typing import Any, Generic, TypeVar

from msgspec import Struct

from stepwell.authoring.registry import Registry
from stepwell.engine.history import timeline
from stepwell.engine.timeline import Timeline
from stepwell.model.entries import Ended, Frame, StepCompleted, StepFailed
from stepwell.model.failures import Failure
from stepwell.model.ids import RunId, step_name
from stepwell.model.runs import Head
from stepwell.runtime.client import Client, outcome_error
from stepwell.runtime.handles import Handle

Out = TypeVar("Out")


class TestRun(Struct, Generic[Out], frozen=True, kw_only=True):
    """A run that has ended.

    `effects` counts how often the body (or the fake) of each step ran, by step id: more than once after failed
    attempts and crashes. `history` is the whole journal as (seq, frame).
    """

    __test__ = False

    id: RunId
    head: Head
    ended: Ended
    history: tuple[tuple[int, Frame], ...]
    metadata: dict[str, Any]
    effects: Counter[str]
    value: Any = None

    @property
    def status(self) -> str:
        """completed, failed, cancelled, terminated or dead."""
        return self.ended.status

    @property
    def result(self) -> Out:
        """The run's result; raises as `handle.result()` does if it did not complete."""
        if self.ended.status != "completed":
            raise outcome_error(self.id, self.ended)
        return self.value  # type: ignore[no-any-return]

    @property
    def error(self) -> Failure:
        """Why it failed. `AssertionError` if it did not."""
        assert self.ended.failure is not None, f"run {self.id} has no error: it is {self.status}"
        return self.ended.failure

    @property
    def steps(self) -> list[str]:
        """The names of the steps that were executed, compensations too, in the order in which they were over."""
        entries = (entry for _, frame in self.history for entry in frame.entries)
        return [step_name(entry.id) for entry in entries if isinstance(entry, StepCompleted | StepFailed)]

    @property
    def timeline(self) -> Timeline:
        """What happened, in order, with times."""
        return timeline(self.id, self.history)


async def outcome_of(
    client: Client, registry: Registry, handle: Handle[Out], ended: Ended, effects: Counter[str]
) -> TestRun[Out]:
    """Read what there is about a run that has ended."""
    loaded, frames = await client.journal(handle.id)
    return TestRun(
        id=handle.id,
        head=loaded.head,
        ended=ended,
        history=tuple(frames),
        metadata={key: registry.decode(raw) for key, raw in loaded.head.metadata.items()},
        effects=effects,
        value=await handle.result() if ended.status == "completed" else None,
    )
