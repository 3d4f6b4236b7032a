"""`stepwell sim`: tries seeds until something goes wrong, and then says all that helps to understand it."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
import threading
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from stepwell.cli.console import is_terminal, note, paint_for, short_ms, width
from stepwell.cli.drawing import draw
from stepwell.cli.problems import DONE, FAILED, CommandError
from stepwell.cli.values import encoded
from stepwell.engine.history import timeline
from stepwell.testing.simulator.campaign import LIMIT_S, Finding, Seeds, Tried, campaign, stop_when_late
from stepwell.testing.simulator.files import parse_scenario, scenario_json
from stepwell.testing.simulator.reports import INVARIANTS, journal_lines, report, story, violation_lines
from stepwell.testing.simulator.scenarios import Scenario, random_scenario
from stepwell.testing.simulator.shrinking import TRIES, shrink, text_of, tried
from stepwell.testing.simulator.simulation import Verdict

T = TypeVar("T")

SEEDS = 200
_HIGHEST = 1_000_000_000
_REPLAY_ONLY = ("scenario", "seed")
_CAMPAIGN_ONLY = {"seeds": "--seeds", "first": "--from", "jobs": "--jobs", "failures": "--failures"}


class Failure(Struct, frozen=True, kw_only=True):
    """A violation as data. `file` holds `scenario`; `seed` is None for a scenario that was given."""

    seed: int | None
    invariant: int
    sentence: str
    run: str
    text: str
    scenario: Scenario
    file: str | None = None
    story: list[str] = []
    log: list[str] = []
    journals: dict[str, list[str]] = {}


async def sim(arguments: Namespace) -> int:
    """Print what goes wrong; 1 if anything does."""
    _check(arguments)
    # What dead processes of a simulation leave behind is found by the garbage collector at any time.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    if arguments.scenario is not None:
        return await _replay(arguments, parse_scenario(_read(arguments.scenario), place=arguments.scenario))
    if arguments.seed is not None:
        return await _replay(arguments, random_scenario(arguments.seed))
    return await _Campaign(arguments).run()


def _check(arguments: Namespace) -> None:
    given = [option for name, option in _CAMPAIGN_ONLY.items() if getattr(arguments, name) is not None]
    replays = [f"--{name}" for name in _REPLAY_ONLY if getattr(arguments, name) is not None]
    if len(replays) > 1 or (replays and given):
        raise CommandError(f"{replays[0]} replays one simulation; leave out {', '.join(replays[1:] + given)}")
    for name in ("seeds", "jobs", "failures"):
        number = getattr(arguments, name)
        if number is not None and number < 1:
            raise CommandError(f"--{name} {number}: give a number from 1 on")


def _read(place: str) -> bytes:
    try:
        return Path(place).read_bytes()
    except FileNotFoundError:
        raise CommandError(f"there is no file {place} in {Path.cwd()}; `stepwell sim` wrote none there") from None


# --- one simulation


async def _replay(arguments: Namespace, scenario: Scenario) -> int:
    stop_when_late(LIMIT_S)
    verdict = await _aside(lambda: tried(scenario, keeps_log=True))
    stop_when_late(_HIGHEST)
    if verdict.violation is not None:
        failure = await _explained(arguments, verdict)
        if arguments.json:
            print(encoded({"ok": False, "failures": [failure]}))
        return FAILED
    if arguments.json:
        print(encoded({"ok": True, "failures": [], "fingerprint": verdict.fingerprint}))
        return DONE
    if arguments.verbose:
        _tell(verdict)
    note(f"{_name(arguments)}: all invariants hold; {_amount(verdict.calls, verdict.steps, verdict.virtual_ms)}")
    return DONE


def _name(arguments: Namespace) -> str:
    return f"seed {arguments.seed}" if arguments.scenario is None else str(arguments.scenario)


def _tell(verdict: Verdict) -> None:
    """A simulation in which nothing went wrong."""
    print("\n".join(story(verdict.scenario)))
    if verdict.log:
        print("\n".join(["", "what workers said:", *verdict.log]))
    _draw(verdict)
    for run, journal in verdict.journals.items():
        print("\n".join(["", f"the journal of {run}:", *journal_lines(journal)]))


def _draw(verdict: Verdict) -> None:
    for run, journal in verdict.journals.items():
        told = timeline(run, list(enumerate(journal.frames, 1)))
        print("\n".join(["", *draw(told, None, now=told.at, columns=width(), paint=paint_for(sys.stdout))]))


async def _explained(arguments: Namespace, verdict: Verdict) -> Failure:
    """Make it smaller, write it to a file, and say everything; the same as data."""
    found, shrunk = verdict.violation, verdict
    assert found is not None, "asked about failures only"
    is_given = arguments.scenario is not None
    if not is_given and not arguments.no_shrink:
        smaller = await _aside(lambda: shrink(verdict.scenario, found, on_try=_told))
        _line("")
        shrunk = await _aside(lambda: tried(smaller, keeps_log=True))
    last = shrunk.violation
    assert last is not None, "the same scenario has the same verdict"
    seed = None if is_given else verdict.scenario.seed
    file = None if seed is None else _written(shrunk.scenario, f"stepwell-sim-{seed}.json")
    if not arguments.json:
        _tell_failure(shrunk, verdict, seed, file)
    return Failure(
        seed=seed,
        invariant=last.invariant,
        sentence=INVARIANTS.get(last.invariant, ""),
        run=last.run,
        text=text_of(last),
        scenario=shrunk.scenario,
        file=file,
        story=story(shrunk.scenario),
        log=shrunk.log,
        journals={run: journal_lines(journal) for run, journal in shrunk.journals.items()},
    )


def _tell_failure(shrunk: Verdict, verdict: Verdict, seed: int | None, file: str | None) -> None:
    found = verdict.violation
    assert found is not None, "asked about failures only"
    paint = paint_for(sys.stdout)
    if seed is not None:
        print(paint(f"seed {seed} fails", "red"))
    if shrunk is not verdict:
        before, after = (scenario_json(each.scenario).count("\n") for each in (verdict, shrunk))
        print("\n".join(f"  {line}" for line in violation_lines(found)))
        print(f"what follows is the smallest scenario found in which this goes wrong ({before} lines, now {after}):\n")
    print("\n".join(report(shrunk)))
    print(f"\nthe scenario:\n{scenario_json(shrunk.scenario)}")
    _tell_replays(seed, file)


def _tell_replays(seed: int | None, file: str | None) -> None:
    if seed is not None:
        print(f"replay the seed:     stepwell sim --seed {seed}")
    if file is not None:
        print(f"replay the scenario: stepwell sim --scenario {file}")


def _written(scenario: Scenario, file: str) -> str | None:
    try:
        Path(file).write_text(scenario_json(scenario), encoding="utf-8")
    except OSError as error:
        note(f"the scenario could not be written to {file} ({error.strerror}); it is printed instead")
        return None
    return f"./{file}"


def _told(number: int, best: Scenario) -> None:
    if number % 10 == 0:
        size = scenario_json(best).count("\n")
        _line(f"shrinking: {number} of at most {TRIES} tries, {size} lines left")


# --- many


class _Campaign:
    def __init__(self, arguments: Namespace) -> None:
        first = secrets.randbelow(_HIGHEST) if arguments.first is None else arguments.first
        self._arguments = arguments
        self._seeds = Seeds(
            first=first,
            count=arguments.seeds or SEEDS,
            jobs=arguments.jobs or _cores(),
            failures=arguments.failures or 1,
        )
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._told = self._began
        self._done = self._calls = self._steps = self._virtual_ms = 0
        self._findings: list[Finding] = []

    async def run(self) -> int:
        """All of it."""
        seeds, is_json = self._seeds, self._arguments.json
        again = f"stepwell sim --from {seeds.first} --seeds {seeds.count}"
        if not is_json:
            note(f"{seeds.count:,} seeds from {seeds.first} on, in {seeds.jobs} processes; again: {again}")
        try:
            async for one in campaign(seeds):
                self._add(one)
        except asyncio.CancelledError:
            _line("")
            note(f"stopped; {self._summary()}")
            raise
        _line("")
        failures = [await self._explained(finding) for finding in self._findings]
        if is_json:
            facts = {"calls": self._calls, "steps": self._steps, "virtual_ms": self._virtual_ms}
            asked = {"first": seeds.first, "seeds": seeds.count, "tried": self._done}
            print(encoded({"ok": not failures, **asked, **facts, "failures": failures}))
        else:
            note(self._summary())
        return FAILED if failures else DONE

    def _add(self, one: Tried) -> None:
        self._done += 1
        self._calls += one.calls
        self._steps += one.steps
        self._virtual_ms += one.virtual_ms
        if one.finding is not None:
            self._findings.append(one.finding)
        now = self._loop.time()
        if now - self._told > 0.2:
            self._told = now
            speed = self._done / (now - self._began)
            failed = f"{len(self._findings)} failed" if self._findings else "none failed"
            _line(f"{self._done:,} of {self._seeds.count:,} seeds, {speed:.0f}/s, {failed}")

    def _summary(self) -> str:
        took = short_ms(round((self._loop.time() - self._began) * 1000))
        failed = f"{len(self._findings)} of {self._done:,} seeds failed" if self._findings else ""
        amount = _amount(self._calls, self._steps, self._virtual_ms)
        return f"{failed or f'{self._done:,} seeds: all invariants hold'}; {amount}; in {took}"

    async def _explained(self, finding: Finding) -> Failure:
        """What hangs or ends its process is not tried again here."""
        scenario, text = random_scenario(finding.seed), finding.text
        if finding.invariant:
            verdict = await _aside(lambda: tried(scenario, keeps_log=True))
            if verdict.violation is not None:
                return await _explained(self._arguments, verdict)
            text = f"it went wrong in its process, and does not here, so something is left to chance:\n  {text}"
        file = _written(scenario, f"stepwell-sim-{finding.seed}.json")
        if not self._arguments.json:
            print(f"seed {finding.seed} fails\n  {text}\n\nwhat happens in it:")
            print("\n".join(story(scenario)))
            print()
            _tell_replays(finding.seed, file)
        return Failure(
            seed=finding.seed,
            invariant=finding.invariant,
            sentence=INVARIANTS[finding.invariant],
            run=finding.run,
            text=text,
            scenario=scenario,
            file=file,
            story=story(scenario),
        )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _amount(calls: int, steps: int, virtual_ms: int) -> str:
    return f"{calls:,} calls, {steps:,} steps, {short_ms(virtual_ms)} of virtual time"


def _line(text: str) -> None:
    """What is under way, on a terminal; it makes way for what comes next."""
    if is_terminal(sys.stderr):
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


async def _aside(function: Callable[[], T]) -> T:
    """Run what has a loop of its own in a thread, which Ctrl-C does not wait for."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        try:
            result = function()
        except BaseException as error:
            loop.call_soon_threadsafe(answer.set_exception, error)
        else:
            loop.call_soon_threadsafe(answer.set_result, result)

    threading.Thread(target=work, name="stepwell simulation", daemon=True).start()
    return await answer
