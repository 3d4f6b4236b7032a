"""Runs that go on where another one failed: with its history, or with results that somebody says its steps had.

The history of a run that is here carries over as far as it counts: results of steps, but also what was received and
slept through in between. Results alone have no order among all that, so they wait in the new run's first entry until
its body asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import UNSET, Raw, Struct, structs

from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.registry import Registry
from stepwell.authoring.workflows import WorkflowRef
from stepwell.engine.prefix import Where, settled_prefix, unbegun
from stepwell.model.entries import Frame, StepCompleted, StepFailed
from stepwell.model.ids import CommandId, RunId, is_invocation
from stepwell.runtime.client import Client
from stepwell.runtime.forking import Forking, Origin
from stepwell.runtime.graph_edits import is_graph, node_edits


class Beginning(Struct, frozen=True, kw_only=True):
    """What the new run is, besides its history. `input` UNSET: the one that the other run had."""

    id: RunId
    tags: dict[str, str]
    metadata: dict[str, Raw]
    input: Raw | Any = UNSET


class Settled(NamedTuple):
    """A step that has an outcome; `value` None: it failed."""

    id: CommandId
    value: Raw | None


class Seeding:
    """Makes such runs. `RunConflictError` if the id is taken."""

    def __init__(self, client: Client, registry: Registry) -> None:
        self._client = client
        self._registry = registry
        self._forking = Forking(client, registry)

    async def origin(self, run: RunId) -> Origin:
        """The run to go on from. `RunNotFoundError`."""
        return await self._forking.origin(run)

    async def resume(self, origin: Origin, step: CommandId | None, beginning: Beginning) -> None:
        """A run with the history before `step`; None: with all that was settled before the failure."""
        prefix = settled_prefix(origin.journal, Where.FAILURE if step is None else step, base=origin.base)
        await self._make(origin, prefix, {}, beginning)

    async def resume_with(self, origin: Origin, results: Mapping[str, Any], beginning: Beginning) -> None:
        """A run whose steps have these results, whatever they had; steps that are not named run again.

        The history is kept as long as it agrees; so what was received and slept through before that counts.
        """
        seeds = self._encoded(results, is_blueprint=is_graph(self._registry, origin.fold))
        cut: CommandId | Where = Where.FAILURE
        edits: dict[CommandId, Raw] = {}
        for id, value in settled(origin):
            if id in seeds and value is not None and self._is_same(value, seeds[id]):
                del seeds[id]
                continue
            if id in seeds:
                edits[id] = seeds.pop(id)
            cut = id
            break
        prefix = settled_prefix(origin.journal, cut, base=origin.base, edits=edits)
        await self._make(origin, prefix, seeds, beginning)

    def seeds(self, workflow: WorkflowRef[Any, Any], results: Mapping[str, Any]) -> dict[str, Raw]:
        """Results for the first entry of a run of this workflow."""
        found = self._encoded(results, is_blueprint=isinstance(workflow, Blueprint))
        return {str(id): raw for id, raw in found.items()}

    def _encoded(self, results: Mapping[str, Any], *, is_blueprint: bool) -> dict[CommandId, Raw]:
        """Results as the journal holds them."""
        if is_blueprint:
            return node_edits(self._registry, (), results)
        return {
            CommandId(id): self._registry.encode(value, what=f"the result of {id}") for id, value in results.items()
        }

    def _is_same(self, one: Raw, other: Raw) -> bool:
        return self._registry.codec.same(one, other, where="the result of a step")

    async def _make(
        self, origin: Origin, prefix: tuple[Frame, ...], seeds: Mapping[CommandId, Raw], beginning: Beginning
    ) -> None:
        created = structs.replace(
            origin.created,
            tags=beginning.tags,
            metadata=beginning.metadata,
            seeds={str(id): raw for id, raw in seeds.items()},
        )
        origin = origin.with_created(created)
        if beginning.input is not UNSET:
            origin = structs.replace(origin, start=structs.replace(origin.start, input=beginning.input))
        await self._forking.create(origin, unbegun(prefix), id=beginning.id, suffix="resume")


def settled(origin: Origin) -> list[Settled]:
    """The steps of a run's last generation that have an outcome, in order. An invocation of a body elsewhere is none,
    unless it failed."""
    found: dict[CommandId, Settled] = {}
    for frame in origin.journal:
        for entry in frame.entries:
            if isinstance(entry, StepCompleted) and not is_invocation(entry.id):
                found[entry.id] = Settled(entry.id, entry.value)
            elif isinstance(entry, StepFailed):
                found[entry.id] = Settled(entry.id, None)
    return list(found.values())
