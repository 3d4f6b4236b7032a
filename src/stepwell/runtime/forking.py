"""New runs out of old ones: a fork from a step, a retry after a failure.

The new run begins with what was settled in the old one, under an id of its own: the old run's end is never undone, and
nobody who was told of it is told again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Raw, Struct, UnsetType, structs

from stepwell.authoring.registry import Registry
from stepwell.engine.fold import Fold
from stepwell.engine.generations import changed_metadata
from stepwell.engine.prefix import (
    RUN_TIMEOUT,
    Generation,
    Where,
    generation_start,
    has_only_messages,
    rebased,
    settled_prefix,
    settled_steps,
    unbegun,
)
from stepwell.errors import DefinitionError, HookError, RunConflictError
from stepwell.model.entries import (
    Confirmed,
    ContinuedAsNew,
    Created,
    Entry,
    Frame,
    Intended,
    OpenHook,
    Started,
    TimerFired,
)
from stepwell.model.ids import Claim, CommandId, RunId
from stepwell.model.runs import Head, checked_run_id
from stepwell.ports import MAX_SEQ, NewRun, Wanted
from stepwell.runtime.client import Client
from stepwell.runtime.graph_edits import check_nodes, is_graph, node_edits
from stepwell.runtime.graphs import Look, look
from stepwell.runtime.payloads import spilled_frame

_STEPS_SHOWN = 30


class Origin(Struct, frozen=True):
    """The last generation of a run: what a fork is made of."""

    head: Head
    frames: tuple[Frame, ...]
    start: Created | ContinuedAsNew
    base: int

    @property
    def created(self) -> Created:
        """The run's first entry, with the version and metadata of this generation."""
        return self.start if isinstance(self.start, Created) else self.start.created

    @property
    def fold(self) -> Fold:
        """What the frames of this generation say, and the head where they do not."""
        fold = Fold(self.head.id, list(enumerate(self.frames, self.base)))
        fold.was_parked(self.head)
        return fold

    @property
    def journal(self) -> tuple[Frame, ...]:
        """All that happened in this generation, what it began with included."""
        kept = () if isinstance(self.start, Created) else self.start.history
        return (*kept, *self.frames)

    def with_created(self, created: Created) -> Origin:
        """The same with another first entry, but for the input, which is that of the generation."""
        start = self.start
        if isinstance(start, Created):
            return structs.replace(self, start=structs.replace(created, input=start.input))
        return structs.replace(self, start=structs.replace(start, created=created))


class Forking:
    """Makes runs out of runs."""

    def __init__(self, client: Client, registry: Registry) -> None:
        self._client = client
        self._registry = registry

    async def fork(
        self, run: RunId, *, from_step: str | None, edit: Mapping[str, Any], input: Any, id: str | None
    ) -> RunId:
        """A new run that begins with the old one's results before `from_step`. `input` UNSET: the old one's."""
        origin = await self.origin(run)
        wanted = [*edit] if from_step is None else [from_step, *edit]
        if is_graph(self._registry, origin.fold):
            check_nodes(self._look(origin), settled_steps(origin.journal), wanted)
            edits = node_edits(self._registry, origin.journal, edit)
        else:
            edits = {CommandId(step): self._registry.encode(value, what=f"edit {step}") for step, value in edit.items()}
        cut = _checked_cut(origin, from_step, edits)
        prefix = unbegun(settled_prefix(origin.journal, cut, base=origin.base, edits=edits))
        if from_step in (created := origin.created).seeds:
            seeds = {id: raw for id, raw in created.seeds.items() if id != from_step}
            origin = origin.with_created(structs.replace(created, seeds=seeds))
        if not isinstance(input, UnsetType):
            origin = structs.replace(origin, start=structs.replace(origin.start, input=self._input(origin, input)))
            prefix = prefix if from_step is not None or edits else ()
        elif cut is Where.END:
            prefix = _begun(origin, prefix)
        return await self.create(origin, prefix, id=id, suffix="fork")

    async def retry(self, run: RunId, *, id: str | None) -> RunId:
        """A new run that begins with what was settled before the old one failed or was stopped."""
        origin = await self.origin(run)
        status = origin.head.status
        if not origin.head.is_terminal:
            raise RunConflictError(f"run {run} has not ended ({status}); cancel it first, or fork it")
        if status == "completed":
            raise RunConflictError(f"run {run} completed, so there is nothing to retry; fork it from a step instead")
        prefix = unbegun(settled_prefix(origin.journal, Where.FAILURE, base=origin.base))
        return await self.create(origin, prefix, id=id, suffix="retry")

    async def origin(self, run: RunId) -> Origin:
        """The run's last generation. `RunNotFoundError`."""
        loaded, frames = await self._client.journal(run, after=0)
        return Origin(loaded.head, tuple(frame for _, frame in frames), generation_start(frames[0][1]), frames[0][0])

    def _look(self, origin: Origin) -> Look:
        frames = list(enumerate(origin.frames, origin.base))
        return look(self._registry, origin.head, frames, now=self._client.backend.clock.now())

    def _input(self, origin: Origin, value: Any) -> Raw:
        created = origin.created
        workflow = self._registry.find(created.workflow, created.version)
        if workflow is None:
            return self._registry.encode(value, what=f"input of workflow {created.workflow}")
        return self._registry.input_of(workflow, (value,))

    # --- making the run

    async def create(self, origin: Origin, prefix: tuple[Frame, ...], *, id: str | None, suffix: str) -> RunId:
        """A run like `origin`, which begins with `prefix`; without an `id`, `<id>-<suffix>`. `RunConflictError`."""
        await self._check_tokens(origin, prefix)
        number = 1
        while True:
            new_id = checked_run_id(id) if id is not None else _numbered(origin.head.id, suffix, number)
            head, frames = self._new(origin, prefix, new_id)
            if await self._put(head, frames):
                return new_id
            if id is not None:
                raise RunConflictError(f"run {id} exists; choose another id for the {suffix} of {origin.head.id}")
            number += 1

    def _new(self, origin: Origin, prefix: tuple[Frame, ...], id: RunId) -> tuple[Head, list[Frame]]:
        now = self._client.backend.clock.now()
        old, first = origin.head, origin.frames[0]
        is_anew = has_only_messages(prefix)
        created = structs.replace(
            origin.created,
            forked_from=old.id,
            blueprint=origin.fold.origin.blueprint,
            parent=None,
            deadline=_deadline(origin, prefix, now),
            not_before=now if is_anew else origin.created.not_before,  # the history was made with it
        )
        # Its bytes are like no other frame's, so that a repeated create can tell its own run from another's.
        by = Claim(f"{self._client.backend.store.identity}:{self._client.backend.clock.random_bytes(6).hex()}")
        frames = [Frame(first.at, by, (created,))]
        if isinstance(origin.start, ContinuedAsNew):
            frames.append(Frame(first.at, by, (_continued(origin, origin.start, created, is_anew),)))
        seed = created.seed
        base = len(frames)
        frames += rebased(prefix, Generation(id, base, seed))
        head = Head(
            id=id,
            workflow=created.workflow,
            version=created.version,
            queue=old.queue,
            priority=old.priority,
            created_at=now,
            mail=Fold(id, list(enumerate(frames[base - 1 :], base))).mail,
            seq=len(frames),
            base=base,
            tags=created.tags,
            metadata=changed_metadata(created, (entry for frame in prefix for entry in frame.entries)),
        )
        return head, frames

    async def _put(self, head: Head, frames: Sequence[Frame]) -> bool:
        """Create the run; False: another run has this id."""
        blobs = self._client.backend.blobs
        bodies = tuple([await spilled_frame(blobs, head.id, frame) for frame in frames])
        if await self._client.create_run(NewRun(head=head, frames=bodies, wake_in_ms=0)) is None:
            return True
        (present,) = await self._client.backend.store.load([Wanted(head.id, -1, MAX_SEQ)])
        return present is not None and present.frames[0][1] == bodies[0]

    async def _check_tokens(self, origin: Origin, prefix: Iterable[Frame]) -> None:
        """A custom hook token that a live run holds cannot be held by its fork too."""
        entries = [entry for frame in prefix for entry in frame.entries]
        redone = {entry.id for entry in entries if isinstance(entry, Confirmed) and entry.redo}
        for entry in entries:
            if isinstance(entry, Intended) and isinstance(entry.act, OpenHook) and entry.id in redone:
                holder = await self._client.backend.store.resolve(entry.act.token)
                if holder is not None and not await self._is_gone(RunId(holder)):
                    raise HookError(
                        f"run {origin.head.id} opened the hook {entry.act.token!r}, which run {holder} holds until it "
                        f"ends; end that run first, or fork from an earlier step"
                    )

    async def _is_gone(self, run: RunId) -> bool:
        head = await self._client.find(run)
        return head is None or head.is_settled


def _checked_cut(origin: Origin, from_step: str | None, edits: Mapping[CommandId, Raw]) -> CommandId | Where:
    """Where to cut: `from_step`, else after the last edited step, else nowhere."""
    steps = settled_steps(origin.journal)
    wanted = [*edits] if from_step is None else [CommandId(from_step), *edits]
    for step in wanted:
        if step not in steps:
            shown = ", ".join(steps[:_STEPS_SHOWN]) + (", ..." if len(steps) > _STEPS_SHOWN else "")
            raise DefinitionError(f"run {origin.head.id} has no finished step {step!r}; it has: {shown or 'none'}")
    if not wanted:
        return Where.END
    cut = CommandId(from_step) if from_step is not None else max(edits, key=steps.index)
    for step in edits:
        if steps.index(step) > steps.index(cut):
            raise DefinitionError(f"edit {step!r}: that step comes after {cut!r}, from which the fork starts")
    return cut


def _begun(origin: Origin, prefix: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """All of a run's history: its waits are as old as they were, even if the journal holds nothing but messages."""
    fold = origin.fold
    if not fold.has_begun or not has_only_messages(prefix):
        return prefix
    at, last = fold.origin.started_at, origin.frames[-1]
    return (*prefix, structs.replace(last, at=max(at, last.at), entries=(Started(at=at),)))


def _continued(origin: Origin, start: ContinuedAsNew, created: Created, is_anew: bool) -> ContinuedAsNew:
    """The start of the generation, whose history follows as frames. Its chance stays what it was, and its clock, unless
    the body begins anew."""
    return structs.replace(
        start,
        created=created,
        history=(),
        retries=0,
        not_before=created.not_before if is_anew else 0,
        started_at=0 if is_anew else origin.fold.origin.started_at,
        random_base=start.random_base or origin.base,
        names=(),
    )


def _deadline(origin: Origin, prefix: Iterable[Frame], now: int) -> int | None:
    """A new run has its whole time again, unless its time being over is a part of its history."""
    deadline = origin.created.deadline
    if deadline is None or any(_is_run_timeout(entry) for frame in prefix for entry in frame.entries):
        return deadline
    return now + max(0, deadline - max(origin.head.created_at, origin.created.not_before))


def _is_run_timeout(entry: Entry) -> bool:
    return isinstance(entry, TimerFired) and entry.name == RUN_TIMEOUT


def _numbered(run: RunId, suffix: str, number: int) -> RunId:
    """`order-7-retry`, `order-7-retry2`: a retry of a retry counts on."""
    stem, separator, count = run.rpartition(f"-{suffix}")
    if separator and (not count or count.isdecimal()):
        run = RunId(stem)
    return RunId(f"{run}-{suffix}" if number == 1 else f"{run}-{suffix}{number}")
