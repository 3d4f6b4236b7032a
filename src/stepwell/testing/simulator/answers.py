"""Answers to the nodes of random blueprints that wait: what clients give, and what a journal says was given."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from stepwell.authoring.messages import Signal
from stepwell.model.entries import Entry, Received, TimerFired
from stepwell.model.messages import HookCompleted
from stepwell.model.messages import Signal as SignalSent
from stepwell.runtime.app import Stepwell
from stepwell.testing.blueprints.documents import Vertex
from stepwell.testing.blueprints.evaluator import CODES
from stepwell.testing.blueprints.sheets import Case
from stepwell.testing.simulator.graphs import case_of
from stepwell.testing.simulator.plans import Graph

Json = Any

TIMEOUT = "timeout"


# --- what clients give


async def answer(app: Stepwell, run: str, plan: Graph, number: int, how: str, id: str) -> None:
    """Answer one of the visits that wait, the `number`-th if there are so many: as the script says; or with an `other`
    output; `twice`, at the same time; by `rivals`, who answer differently. `anybody`: any node that ever waits, whether
    or not it does now."""
    case = case_of(plan)
    if how == "anybody":
        visits = [name.partition("/")[2].translate(CODES) for name in case.script]
    else:
        visits = sorted((await app.runs.state(run)).waiting)
    if not visits:
        return
    visit = visits[number % len(visits)]
    gives = [give(app, run, case, visit, id=id, other=output) for output in _outputs(how, id)]
    for outcome in await asyncio.gather(*gives, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _outputs(how: str, id: str) -> list[str | None]:
    """What is answered at the same time; None stands for what the script says."""
    match how:
        case "other":
            return [id]
        case "twice":
            return [None, None]
        case "rivals":
            return [None, id]
        case _:
            return [None]


async def give(app: Stepwell, run: str, case: Case, visit: str, *, id: str, other: str | None = None) -> bool:
    """Give a visit the answer of the script, or one with another output; whether there is one to give."""
    name, count = _counted(visit)
    given = _scripted(case, name, count)
    if "signal" in given:
        await app.handle(run).send(Signal(_signal_of(case, name), Any), given["signal"], id=id)
    elif given:
        output = given.get("output") if other is None else other
        await app.handle(run).resume(visit, action=given.get("action"), output=output)
    return bool(given)


def _counted(visit: str) -> tuple[str, int]:
    name, _, count = visit.rpartition("/")[2].partition(":")
    return name, int(count or 1)


def _scripted(case: Case, name: str, count: int) -> dict[str, Json]:
    """An answer that is no timeout; empty if the node is to get none."""
    for key, answers in case.script.items():
        if key.partition("/")[2].translate(CODES) == name:
            offset = (count - 1) % len(answers)
            turned = [*answers[offset:], *answers[:offset]]
            return next((_explicit(found) for found in turned if found != TIMEOUT), {})
    return {}


def _explicit(found: dict[str, Json]) -> dict[str, Json]:
    return found or {"output": None}


def _signal_of(case: Case, name: str) -> str:
    for document in (case.document, *case.blueprints.values()):
        nodes = document["nodes"]
        for node in nodes.values() if isinstance(nodes, dict) else nodes:
            if node["id"].translate(CODES) == name:
                return str(node["params"]["signal"])
    raise AssertionError(f"no node is called {name}")


# --- what was given


class Given:
    """What a journal says of each visit that waited: whichever came first, an answer or the timeout."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.by_visit: dict[str, Json] = {}
        self.repeated: list[str] = []
        self._signals: dict[str, deque[Json]] = {}
        answered: set[str] = set()
        for visit, found in self._told(entries):
            if found != TIMEOUT:
                self.repeated += [visit] * (visit in answered)
                answered.add(visit)
            self.by_visit.setdefault(visit, found)

    def _told(self, entries: Iterable[Entry]) -> Iterator[tuple[str, Json]]:
        for entry in entries:
            if isinstance(entry, TimerFired):
                yield entry.name, TIMEOUT
            elif isinstance(entry, Received) and isinstance(entry.message, HookCompleted):
                yield entry.message.command, msgspec.json.decode(bytes(entry.message.value))
            elif isinstance(entry, Received) and isinstance(entry.message, SignalSent):
                value = msgspec.json.decode(bytes(entry.message.value))
                self._signals.setdefault(entry.message.name, deque()).append({"signal": value})

    def __call__(self, visit: str, vertex: Vertex) -> Json:
        """The answer to a visit. Signals are taken in the order in which the evaluator comes to those who wait."""
        if visit in self.by_visit:
            return self.by_visit[visit]
        signals = self._signals.get(str(vertex.params.get("signal")))
        return signals.popleft() if signals else UNSET
