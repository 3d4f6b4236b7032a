"""A simulation told to people: what happens in it, what went wrong, who said what, and what stands in the journals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from stepwell.model.durations import format_ms
from stepwell.model.entries import Entry
from stepwell.model.ids import RunId
from stepwell.testing.simulator.files import parts_of
from stepwell.testing.simulator.graphs import case_of, plan_in
from stepwell.testing.simulator.journals import Journal
from stepwell.testing.simulator.plans import GRAPH, Graph, Plan
from stepwell.testing.simulator.scenarios import (
    Action,
    Bells,
    Crash,
    Cut,
    Drain,
    Fault,
    Flaky,
    Freeze,
    Full,
    Ill,
    Jump,
    Scenario,
    Settings,
    Slow,
)
from stepwell.testing.simulator.shrinking import text_of
from stepwell.testing.simulator.simulation import Verdict
from stepwell.testing.simulator.witness import Violation
from stepwell.testing.virtual import EPOCH

INVARIANTS = {
    0: "a simulation comes to its end",
    1: "frames have no gaps and are written once; the head equals their fold whenever nobody owns the run",
    2: "a recorded result never changes; no step starts before what it depends on is durable",
    3: "an accepted message is journaled exactly once; none is accepted after the end",
    4: "a run that can go on, or is not settled, has a finite wake_at",
    5: "a run ends once; what it left behind is settled",
    6: "a worker that lost a run cannot change its outcome, and its steps are told to stop",
    7: "whatever goes wrong, the run ends, with a result that some execution without faults gives",
    8: "replaying a finished run's journal gives the same result",
    9: "nothing is done to another run before the intention is in the journal",
    10: "a run that kills its workers stops after a bounded number of claims",
}
"""Section 9 of the design, in short. 0 is ours."""

_WIDE = 150
_LAST_LINES = 60
_EPOCH_MS = round(EPOCH.timestamp() * 1000)
_FLAKY = {
    "before": "fails before it takes effect",
    "after": "fails after it took effect",
    "twice": "happens twice",
    "late": "happens once more, later",
    "dies": "kills its process",
}
_ILL = {
    "refuses": "nobody takes it",
    "hangs": "it is taken, and nothing is done",
    "mute": "it is done, and never answered",
    "breaks": "its connection breaks",
    "dies": "its process dies",
    "late": "it is answered when it has been given up",
    "twice": "it arrives twice",
    "lies": "its answer names waits that are over, twice, with other times",
    "rubbish": "its answer makes no sense",
}
_ACTIONS = {
    "signal": "sends {detail} to {run}",
    "publish": "publishes news",
    "hook": "completes the first hook of {run}",
    "cancel": "cancels {run}{grace}",
    "attach": "starts {run} again",
    "restart": "restarts {run} if it has failed",
    "answer": "answers a node of {run} that waits{how}",
    "look": "asks why {run} does not move",
}


# --- the scenario


def story(scenario: Scenario) -> list[str]:
    """What happens in a scenario, in order of time. Times of clients count from when their run has been started."""
    events = [(fault.at, fault_text(fault)) for fault in scenario.faults]
    for script in scenario.runs:
        events.append((script.at, f"a client starts {script.id}, which does: {plan_text(script.plan)}"))
        events += [(script.at + action.at, action_text(action, script.id)) for action in script.actions]
    lines = [f"{at / 1000:9.3f} s  {text}" for at, text in sorted(events, key=lambda event: event[0])]
    return [f"{'always':>11}  {_settings_text(scenario.settings)}", *lines]


def plan_text(plan: Plan) -> str:
    """A plan in one line: its operation, its numbers, and its parts in brackets."""
    words = [str(plan.__struct_config__.tag)]
    for field in plan.__struct_fields__:
        value = getattr(plan, field)
        if field == "ms" and value is not None:
            words.append(_time(value))
        elif isinstance(value, bool):
            words += [field] * value
        elif isinstance(value, str):
            words += [value] * bool(value)
        elif isinstance(value, int) and value:
            words.append(f"{field}={value}")
    parts = ", ".join(map(plan_text, parts_of(plan)))
    return " ".join(words) + (f" ({parts})" if parts else "")


def action_text(action: Action, run: str) -> str:
    """What a client does to a run."""
    grace = f", with {_time(int(action.detail))} to clean up" if action.kind == "cancel" and action.detail else ""
    text = _ACTIONS.get(action.kind, f"asks to {action.kind} {{run}}")
    how = f" ({action.detail})" if action.detail else ""
    return f"a client {text.format(run=run, detail=action.detail, grace=grace, how=how)}"


def fault_text(fault: Fault) -> str:
    """What goes wrong, where, for how long."""
    match fault:
        case Crash(worker=worker, turns=turns, down_ms=down_ms):
            return f"worker {worker} dies after {turns} more callbacks; the next one starts {_time(down_ms)} later"
        case Drain(worker=worker):
            return f"worker {worker} is drained, and another one started"
        case Freeze(worker=worker, ms=ms):
            return f"worker {worker} is frozen for {_time(ms)}"
        case Slow(worker=worker, ms=ms, latency_ms=latency_ms):
            return f"calls of worker {worker} take up to {_time(latency_ms)} longer, for {_time(ms)}"
        case Cut(worker=worker, ms=ms, answers_only=answers_only):
            what = "gets no answers" if answers_only else "does not reach the backend"
            return f"worker {worker} {what}, for {_time(ms)}"
        case Jump(worker=worker, by_ms=by_ms):
            whose = "the backend's clock" if worker < 0 else f"the clock of worker {worker}"
            return f"{whose} jumps by {'-' if by_ms < 0 else ''}{_time(abs(by_ms))}"
        case _:
            return f"{_calls_text(fault)}, for {_time(getattr(fault, 'ms', 0))}"


def _calls_text(fault: Fault) -> str:
    match fault:
        case Flaky(how=how, share=share, port=port):
            return f"{share:.0%} of all {port + ' ' if port else ''}calls: each {_FLAKY.get(how, how)}"
        case Bells(lost=lost, twice=twice, late=late):
            return f"of all notices, {lost:.0%} are lost, {twice:.0%} come twice, {late:.0%} late"
        case Ill(how=how, share=share):
            return f"of {share:.0%} of all invocations elsewhere: {_ILL.get(how, how)}"
        case Full():
            return "the disk is full"
        case _:
            fields = {name: getattr(fault, name) for name in fault.__struct_fields__ if name not in ("at", "ms")}
            return f"{fault.__struct_config__.tag} {' '.join(f'{name}={value}' for name, value in fields.items())}"


def _settings_text(settings: Settings) -> str:
    skews = [f"worker {n} by {skew} ms" for n, skew in enumerate(settings.skews_ms[: settings.workers]) if skew]
    off = f"; clocks are off: {', '.join(skews)}" if skews else ""
    usual = Settings()
    named = ("workers", "lease_ms", "latency_ms", "skews_ms")
    others = {name: getattr(settings, name) for name in settings.__struct_fields__ if name not in named}
    rest = [f"{name}={value}" for name, value in others.items() if value != getattr(usual, name)]
    workers = f"{settings.workers} worker{'s' if settings.workers > 1 else ''}"
    latency = f"calls take {f'up to {_time(settings.latency_ms)}' if settings.latency_ms else 'no time'}"
    return ", ".join([workers, f"leases of {_time(settings.lease_ms)}", latency, *rest]) + off


def _time(ms: int) -> str:
    return format_ms(ms)


# --- what went wrong


def violation_lines(violation: Violation) -> list[str]:
    """Which invariant does not hold, and how that shows."""
    head = f"invariant {violation.invariant} does not hold: {INVARIANTS.get(violation.invariant, 'unknown')}"
    run = f"run {violation.run}: " if violation.run != "-" else ""
    return [head, *_indented(f"{run}{text_of(violation)}")]


def report(verdict: Verdict) -> list[str]:
    """All that helps to understand a violation: what is wrong, the story, the log, and the journal concerned."""
    violation = verdict.violation
    assert violation is not None, "a report is about what went wrong"
    lines = [*violation_lines(violation), "", "what happens in it:", *_indented(*story(verdict.scenario))]
    if verdict.log:
        skipped = len(verdict.log) - _LAST_LINES
        more = f" (the last {_LAST_LINES} of {len(verdict.log)} lines)" if skipped > 0 else ""
        lines += ["", f"what workers said{more}:", *_indented(*verdict.log[-_LAST_LINES:])]
    concerned = [RunId(violation.run)] if violation.run in verdict.journals else list(verdict.journals)
    for run in concerned:
        journal = verdict.journals[run]
        if journal.created.workflow == GRAPH:
            lines += ["", f"the blueprint of {run}:", *_indented(*graph_lines(plan_in(journal.created)))]
        lines += ["", f"the journal of {run}:", *_indented(*journal_lines(journal))]
    return lines


def graph_lines(plan: Graph) -> list[str]:
    """A random blueprint and its subflows, a node or an edge on a line, and what its waits are answered."""
    case = case_of(plan)
    lines = [f"input {_json(case.input)}"]
    for document in (case.document, *case.blueprints.values()):
        nodes = document["nodes"]
        lines.append(f"{document['id']} {_json(document.get('metadata') or {})}")
        for node in nodes.values() if isinstance(nodes, dict) else nodes:
            rest = {name: value for name, value in node.items() if name not in ("id", "uses")}
            lines.append(f"  {node['id']}: {node['uses']} {_json(rest)}".rstrip())
        for edge in document["edges"]:
            rest = {name: value for name, value in edge.items() if name not in ("source", "target")}
            lines.append(f"  {edge['source']} -> {edge['target']} {_json(rest)}".rstrip())
    return lines + [f"answers to {name}: {_json(answers)}" for name, answers in case.script.items()]


def _json(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return "" if text == "{}" else text


def journal_lines(journal: Journal) -> list[str]:
    """Each entry on a line: seq, time since the beginning, by which claim (a, b, ... as they come), and what it is."""
    claims: dict[str, str] = {}
    lines = []
    for seq, frame in enumerate(journal.frames, 1):
        by = claims.setdefault(frame.by, _letters(len(claims)))
        start = f"{seq:>4} {(frame.at - _EPOCH_MS) / 1000:10.3f} {by:>2}"
        for entry in frame.entries:
            lines.append(f"{start}  {_entry_text(entry)}")
            start = " " * len(start)
    return lines


def _entry_text(entry: Entry) -> str:
    fields = msgspec.json.decode(msgspec.json.encode(entry), type=dict[str, Raw])
    kind = bytes(fields.pop("t")).decode().strip('"')
    fields.pop("seed", None)  # long, and of no use
    fields.pop("blueprint", None)  # told by itself
    text = f"{kind:9} " + " ".join(f"{name}={bytes(raw).decode()}" for name, raw in fields.items())
    return text.rstrip() if len(text) <= _WIDE else text[: _WIDE - 1] + "…"


def _letters(number: int) -> str:
    more, letter = divmod(number, 26)
    return (_letters(more - 1) if more else "") + chr(ord("a") + letter)


def _indented(*texts: str) -> Iterator[str]:
    return (f"  {line}" for text in texts for line in text.splitlines())
