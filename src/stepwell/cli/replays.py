"""Which runs `stepwell check --live` replays against the code, and what came of it: by reason instead of by run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, zip_longest
from typing import Any, get_args

import msgspec
from msgspec import Struct, structs

from stepwell.engine.purity import cure_of
from stepwell.errors import RunNotFoundError
from stepwell.model.ids import CommandId, RunId, step_name
from stepwell.model.runs import EndStatus, Head, LiveStatus, RunQuery
from stepwell.runtime.app import Stepwell
from stepwell.runtime.replaying import ReplayReport

Progress = Callable[[str], None]
"""Told what is going on, for somebody who watches."""

_LOOK_AT_MOST = 20
_EXAMPLES = 3
_TELL_EVERY = 25


class Sample(Struct, frozen=True):
    """How many runs of each workflow and version to replay; None: all of them."""

    live: int | None
    finished: int | None


class Replayed(Struct, frozen=True):
    """One run that was replayed."""

    status: str
    is_live: bool
    report: ReplayReport

    @property
    def name(self) -> str:
        """The workflow, with the version that the run has."""
        return kind_name(self.report.workflow, self.report.version)

    def json(self) -> dict[str, Any]:
        """As data, in one level."""
        return {"status": self.status, "live": self.is_live, **msgspec.to_builtins(self.report)}


class Tally(Struct, frozen=True, kw_only=True):
    """The runs of one workflow and version, in numbers. `broken` are live, `changed` are finished."""

    workflow: str
    version: str
    live: int = 0
    replayed: int = 0
    broken: int = 0
    finished: int = 0
    changed: int = 0


class Orphans(Struct, frozen=True):
    """Live runs that this code has no workflow for."""

    workflow: str
    version: str
    runs: int
    examples: tuple[RunId, ...]


class Replays(Struct, frozen=True):
    """What replaying showed: each run, live ones first; the numbers; and what could not be replayed."""

    runs: list[Replayed] = []
    tallies: list[Tally] = []
    orphans: list[Orphans] = []

    @property
    def broken(self) -> list[Replayed]:
        """The live runs that cannot go on."""
        return [run for run in self.runs if run.is_live and not run.report.is_ok]

    @property
    def changed(self) -> list[Replayed]:
        """The finished runs that would go another way."""
        return [run for run in self.runs if not run.is_live and not run.report.is_ok]


class Group(Struct, frozen=True):
    """Runs of which the same can be said."""

    text: str
    place: str
    cure: str
    runs: list[Replayed]


def kind_name(workflow: str, version: str) -> str:
    """`checkout v2`."""
    return f"{workflow} v{version}" if version else workflow


async def replay_sample(app: Stepwell, sample: Sample, progress: Progress) -> Replays:
    """Replay the runs of the app's backend, without doing anything."""
    live = await _Live.of(app, sample.live, progress)
    chosen = [(head, True) for kind in live.kinds.values() for head in kind.spread()]
    chosen += [(head, False) for head in await _finished(app, sample.finished)]
    runs = []
    for number, (head, is_live) in enumerate(chosen):
        if number % _TELL_EVERY == 0:
            progress(f"replayed {number} of {len(chosen)} runs")
        try:
            report = await app.runs.replay(head.id)
        except RunNotFoundError:
            continue  # somebody has deleted it meanwhile
        runs.append(Replayed(head.status, is_live, report))
    progress("")
    return Replays(runs, _tallies(live, runs), list(live.orphans.values()))


class _Kind:
    """The live runs of one workflow and version, by what they wait for; of each place at most `limit`."""

    def __init__(self, workflow: str, version: str, limit: int | None) -> None:
        self.workflow = workflow
        self.version = version
        self.limit = limit
        self.count = 0
        self.places: dict[tuple[str, ...], list[Head]] = {}

    def add(self, head: Head) -> None:
        """One more; they come newest first."""
        self.count += 1
        waits = {f"{wait.kind} {step_name(CommandId(wait.name))}" for wait in head.waiting}
        place = self.places.setdefault((head.status, *sorted(waits)), [])
        if self.limit is None or len(place) < self.limit:
            place.append(head)

    def spread(self) -> list[Head]:
        """So many of them: in turn one of each place, the newest first."""
        found = [head for head in chain.from_iterable(zip_longest(*self.places.values())) if head is not None]
        return found[: self.limit]


class _Live:
    """What goes on in a backend."""

    def __init__(self) -> None:
        self.kinds: dict[tuple[str, str], _Kind] = {}
        self.orphans: dict[tuple[str, str], Orphans] = {}

    @classmethod
    async def of(cls, app: Stepwell, limit: int | None, progress: Progress) -> _Live:
        """All live runs, counted."""
        live = cls()
        seen = 0
        async for head in app.runs.iterate(RunQuery(status=get_args(LiveStatus))):
            if seen % 1000 == 0:
                progress(f"found {seen} live runs")
            seen += 1
            kind = (head.workflow, head.version)
            if app.registry.find(*kind) is None:
                old = live.orphans.get(kind, Orphans(*kind, 0, ()))
                examples = (*old.examples, head.id)[:_EXAMPLES]
                live.orphans[kind] = structs.replace(old, runs=old.runs + 1, examples=examples)
            else:
                live.kinds.setdefault(kind, _Kind(*kind, limit)).add(head)
        return live


async def _finished(app: Stepwell, limit: int | None) -> list[Head]:
    """The newest finished runs of each workflow."""
    found: list[Head] = []
    for workflow in dict.fromkeys(item.id for item in app.registry.workflows()) if limit != 0 else ():
        mine: list[Head] = []
        looked = 0
        async for head in app.runs.iterate(RunQuery(workflow=workflow, status=get_args(EndStatus))):
            looked += 1
            if app.registry.find(head.workflow, head.version) is not None:
                mine.append(head)
            if limit is not None and (len(mine) == limit or looked == _LOOK_AT_MOST * limit):
                break
        found += mine
    return found


def _tallies(live: _Live, runs: Sequence[Replayed]) -> list[Tally]:
    tallies = {kind: Tally(workflow=kind[0], version=kind[1], live=item.count) for kind, item in live.kinds.items()}
    for run in runs:
        kind = (run.report.workflow, run.report.version)
        old = tallies.get(kind) or Tally(workflow=kind[0], version=kind[1])
        is_bad = not run.report.is_ok
        if run.is_live:
            tallies[kind] = structs.replace(old, replayed=old.replayed + 1, broken=old.broken + is_bad)
        else:
            tallies[kind] = structs.replace(old, finished=old.finished + 1, changed=old.changed + is_bad)
    return [tally for _, tally in sorted(tallies.items())]


# --- by reason


def by_difference(runs: Iterable[Replayed]) -> list[Group]:
    """Runs that part from the code for the same reason at the same line, the largest group first."""
    groups: dict[tuple[str, ...], Group] = {}
    for run in runs:
        difference = run.report.difference
        assert difference is not None, "or it would be ok"
        key = (run.name, difference.place, _plain(difference.why))
        first = Group(difference.why, difference.place, difference.cure, [])
        groups.setdefault(key, first).runs.append(run)
    return _largest_first(groups.values())


def by_warning(runs: Iterable[Replayed]) -> list[Group]:
    """Runs that are warned of in the same way."""
    groups: dict[tuple[str, ...], Group] = {}
    for run in runs:
        for text in run.report.warnings:
            groups.setdefault((run.name, _plain(text)), Group(text, "", "", [])).runs.append(run)
        for text in run.report.impure:
            said = f"the body calls {text}: replay would see something else"
            cure = f"use {cure_of(text)}"
            groups.setdefault((run.name, text), Group(said, "", cure, [])).runs.append(run)
    return _largest_first(groups.values())


def _largest_first(groups: Iterable[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: -len(group.runs))


def _plain(text: str) -> str:
    """Without what differs from run to run: counters, keys and numbers."""
    return re.sub(r"\[[^\]]*\]|:?\d+", "", text)
