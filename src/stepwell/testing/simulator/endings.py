"""What must hold when all runs have ended: the results, the streams, the waiters, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import Raw

from stepwell.backends.memory.world import World
from stepwell.engine.graph.state import GraphState
from stepwell.model.entries import ContinuedAsNew, Created, Ended, Entry, Frame, MetadataChanged, Received, Sent
from stepwell.model.failures import NULL
from stepwell.model.ids import RunId
from stepwell.model.messages import CancelRequested, TerminateRequested
from stepwell.runtime.app import Stepwell
from stepwell.runtime.reading import StreamChunk, read_stream
from stepwell.runtime.replaying import replay_frames
from stepwell.testing.simulator.counting import wrong_cleanup, wrong_counts, wrong_marks
from stepwell.testing.simulator.fleet import Fleet
from stepwell.testing.simulator.flowing import wrong_answers, wrong_course, wrong_end, wrong_nodes, wrong_steps
from stepwell.testing.simulator.graphs import plan_in, relay
from stepwell.testing.simulator.journals import REGISTRY, Journal
from stepwell.testing.simulator.ledger import Ledger
from stepwell.testing.simulator.oracle import fits_away, fits_run, may_raise
from stepwell.testing.simulator.plans import AWAY, EVENT, GRAPH, Plan
from stepwell.testing.simulator.playing import WORKFLOWS
from stepwell.testing.simulator.sequences import wrong_order

Wrong = Callable[[int, str, str], None]

_plan_of = msgspec.json.Decoder(Plan).decode
_WAIT_S = 60.0
_PARTS = 5


class Endings:
    """All runs of a simulation at its end. `wrong` takes what is not as it must be. Where workers are lost all the
    time, a run `may_die` of that."""

    may_die = False

    def __init__(
        self, journals: dict[RunId, Journal], fleet: Fleet, *, world: World, ledger: Ledger, wrong: Wrong
    ) -> None:
        self._journals = journals
        self._fleet = fleet
        self._world = world
        self._ledger = ledger
        self._wrong = wrong

    async def check(self) -> None:
        """Look at everything."""
        self._check_executions()
        for run, journal in self._journals.items():
            if run in self._world.runs:  # else it was deleted, by a restart under its id
                await self._check_run(journal)

    def _check_executions(self) -> None:
        alive = {process.name for process in self._fleet.processes if not process.is_dead}
        for execution in self._ledger.executions:
            if not execution.over and execution.process in alive:
                self._wrong(6, execution.run, f"step {execution.step} still runs in {execution.process}")

    async def _check_run(self, journal: Journal) -> None:
        run = journal.run
        answer = await self._fleet.ask(lambda app: _facts(app, run))
        if isinstance(answer, Exception):
            self._wrong(5, run, f"cannot be read any more: {answer}")
            return
        frames, chunks, work, told = answer
        ended = frames[-1][1].entries[-1]
        assert isinstance(ended, Ended), "asked about runs that have ended"
        if (told.status, bytes(told.value)) != (ended.status, bytes(ended.value)):
            self._wrong(5, run, "who waits for it is told another end")
        entries = [entry for _, frame in frames for entry in frame.entries]
        assert isinstance(entries[0], Created), "the first entry of a run"
        for text in (
            *_wrong_results(ended, entries, may_die=self.may_die),
            *_wrong_messages(ended, counts_events=not self._fleet.has_repeated),
            *_wrong_leftovers(journal, self._world, chunks),
            *_wrong_work(journal, work, self._ledger),
            *wrong_counts(journal, self._world.runs[run].head, ended),
            *wrong_cleanup(entries, ended),
        ):
            self._wrong(7, run, text)
        if entries[0].workflow == GRAPH:
            await self._check_graph(run, frames, entries, ended)
        report = replay_frames(run, _last_generation(frames), WORKFLOWS[entries[0].workflow], REGISTRY)
        if not report.is_ok:
            self._wrong(8, run, str(report.error))

    async def _check_graph(
        self, run: RunId, frames: list[tuple[int, Frame]], entries: list[Entry], ended: Ended
    ) -> None:
        """Where the nodes of a blueprint stand, at its end and before."""
        created = entries[0]
        assert isinstance(created, Created), "the first entry of a run"
        plan, last = plan_in(created), frames[-1][0]
        places = sorted({*(1 + (last - 1) * part // _PARTS for part in range(_PARTS)), last})
        states = await self._fleet.ask(lambda app: _states(app, run, places))
        if isinstance(states, Exception):
            self._wrong(8, run, f"its nodes cannot be shown: {states}")
            return
        wrong = [*wrong_course(states), *wrong_answers(entries)]
        if ended.status in ("completed", "failed"):
            wrong += [*wrong_nodes(plan, entries, states[-1]), *wrong_steps(plan, entries)]
        for text in wrong:
            self._wrong(7, run, text)


async def _states(app: Stepwell, run: RunId, places: list[int]) -> list[GraphState]:
    return [await app.runs.state(run, at=place) for place in places]


_Facts = tuple[list[tuple[int, Frame]], list[Raw], list[StreamChunk], Ended]


async def _facts(app: Stepwell, run: RunId) -> _Facts:
    """A run's frames, the chunks of its body, those of its steps, and its end, all as a client sees them."""
    _, frames = await app.client.journal(run)
    ended = await app.client.ended(run, _WAIT_S)
    chunks = [chunk.raw async for chunk in read_stream(app.client, run, "chunks")]
    return frames, chunks, [chunk async for chunk in read_stream(app.client, run, "work")], ended


def _last_generation(frames: list[tuple[int, Frame]]) -> list[tuple[int, Frame]]:
    first = max(i for i, (_, frame) in enumerate(frames) if i == 0 or isinstance(frame.entries[-1], ContinuedAsNew))
    return frames[first:]


def _wrong_results(ended: Ended, entries: list[Entry], *, may_die: bool) -> Iterator[str]:
    created = entries[0]
    assert isinstance(created, Created), "the first entry of a run"
    messages = [entry.message for entry in entries if isinstance(entry, Received)]
    cancels = [message for message in messages if isinstance(message, CancelRequested)]
    match ended.status:
        case "completed":
            yield from _wrong_value(created, entries, ended)
        case "failed":
            yield from _wrong_failure(created, entries, ended)
        case "cancelled":
            if not cancels:
                yield "was cancelled, but nobody asked for that"
        case "terminated":
            is_asked = any(isinstance(message, TerminateRequested) for message in messages)
            if not is_asked and all(message.grace_ms is None for message in cancels):
                yield "was terminated, but nobody asked for that"
        case _:
            if not may_die and "kills" not in _told_to(created):
                yield f"is {ended.status}: {ended.failure}"


def _told_to(created: Created) -> str:
    return bytes(created.blueprint if created.workflow == GRAPH else created.input).decode()


def _wrong_failure(created: Created, entries: list[Entry], ended: Ended) -> Iterator[str]:
    if created.workflow == GRAPH:
        yield from wrong_end(plan_in(created), entries, ended)
    elif created.workflow == relay.id or not may_raise(_plan_of(bytes(created.input))):
        yield f"failed, but its plan cannot: {ended.failure}"


def _wrong_value(created: Created, entries: list[Entry], ended: Ended) -> Iterator[str]:
    if created.workflow == GRAPH:
        yield from wrong_end(plan_in(created), entries, ended)
        return
    value = msgspec.json.decode(bytes(ended.value))
    if created.workflow == relay.id:
        if value != msgspec.json.decode(bytes(created.input)):
            yield f"gives {value} instead of its input"
        return
    plan = _plan_of(bytes(created.input))
    if created.workflow == AWAY:
        if not fits_away(plan, value):
            yield f"no execution without faults gives {value}"
            return
        yield from wrong_marks(value[1], entries)
        yield from wrong_order(plan, entries, value[1])
        return
    if created.forked_from is None and _is_old(value):
        yield "the body found itself to be old code"
    if not fits_run(plan, value):
        yield f"no execution without faults gives {value}"
    yield from wrong_order(plan, entries, value)


def _is_old(value: Any) -> bool:
    """Whether some note says that it was made by code without the patch."""
    if not isinstance(value, list) or value[:1] == ["graph"]:
        return False
    return value[3] is False if value[:1] == ["note"] else any(map(_is_old, value))


def _wrong_messages(ended: Ended, *, counts_events: bool) -> Iterator[str]:
    """Each message is had once; of events, each publication, and a client repeats one whose answer it did not get."""
    value = msgspec.json.decode(bytes(ended.value)) if ended.status == "completed" else None
    got = [text for text in _got(value) if counts_events or not text.startswith(EVENT)]
    if len(got) != len(set(got)):
        yield f"had a message twice: {got}"


def _got(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        if len(value) == 3 and value[0] == "got":
            yield f"{value[1]} {value[2]}"
        elif value[:1] not in (["child"], ["told"], ["away"]) or isinstance(
            value[-1], dict
        ):  # what children got is theirs
            for item in value:
                yield from _got(item)


def _wrong_leftovers(journal: Journal, world: World, chunks: list[Raw]) -> Iterator[str]:
    head = world.runs[journal.run].head
    entries = [entry for frame in journal.frames for entry in frame.entries]
    metadata = {key: bytes(value) for key, value in journal.created.metadata.items()}
    for entry in entries:
        if isinstance(entry, ContinuedAsNew):
            metadata = {key: bytes(value) for key, value in entry.created.metadata.items()}
        for each in _with_history(entry):
            if isinstance(each, MetadataChanged):
                metadata.update({key: bytes(value) for key, value in each.values.items()})
    metadata = {key: value for key, value in metadata.items() if value != bytes(NULL)}
    if {key: bytes(value) for key, value in head.metadata.items()} != metadata:
        yield f"its head holds the metadata {head.metadata}, its journal {metadata}"
    sent = [bytes(entry.value) for entry in entries if isinstance(entry, Sent)]
    if "~" not in journal.run and [bytes(chunk) for chunk in chunks] != sent:
        yield f"its stream holds {[bytes(chunk) for chunk in chunks]}, it sent {sent}"


def _with_history(entry: Entry) -> Iterator[Entry]:
    """An entry, or of one that begins a generation, what that knows already."""
    yield entry
    if isinstance(entry, ContinuedAsNew):
        yield from (kept for frame in entry.history for kept in frame.entries)


def _wrong_work(journal: Journal, chunks: list[StreamChunk], ledger: Ledger) -> Iterator[str]:
    """Of each step that completed, a reader has the chunks of the execution whose result counts, and no others."""
    if "~" in journal.run:
        return
    seen: dict[str, list[str]] = {}
    for chunk in chunks:
        if chunk.restarts:
            seen[chunk.source] = []
        seen.setdefault(chunk.source, []).append(msgspec.json.decode(bytes(chunk.raw)))
    for source, mark in journal.marks_of.items():
        sent = [f"{mark}{number}" for number in range(ledger.sends(mark))]
        if seen.get(source, []) != sent:
            yield f"its stream holds {seen.get(source)} of step {source}, which sent {sent}"
