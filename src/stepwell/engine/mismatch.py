"""The message for code that does not fit its history: what is there, what the code asks, and three cures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from stepwell.engine.program import Line, Origin
from stepwell.errors import NonDeterminismError
from stepwell.model.entries import Confirmed, Entry, Intended, StepCompleted, StepFailed, TimerFired
from stepwell.model.ids import CommandId, step_name


def mismatch(
    origin: Origin,
    line: Line,
    asks: Sequence[tuple[str, str]],
    places: Sequence[str],
    *,
    is_finished: bool,
) -> NonDeterminismError:
    """`asks` are (id, kind) of what the code waits for; `places` where its tasks stand."""
    kind, name, what = describe(line.entry)
    created = origin.created
    version = f" v{created.version}" if created.version else ""
    when = datetime.fromtimestamp(line.at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    text = [
        f"run {origin.run} ({created.workflow}{version}) cannot continue; nothing was changed, it stays resumable",
        f"  history #{line.seq:<4} {kind:<7} {name:<16} {what} {when}",
    ]
    if is_finished:
        text.append("  code asks      nothing: it has finished")
    elif not asks:
        text.append(f"  code asks      nothing           {_places(places)}")
    else:
        asked, asked_kind = asks[0]
        others = [id for id, _ in asks[1:4]]
        pending = f"{', '.join(others) or 'nothing else'} {'are' if len(others) > 1 else 'is'} pending"
        text.append(f"  code asks      {asked_kind:<7} {asked:<16} {_places(places)}   (and {pending})")
    text.extend(_cures(name, asks))
    fork = f"or: stepwell runs fork {origin.run} --from-step {name}      " if kind == "step" else ""
    text.append(f"  {fork}see: stepwell runs explain {origin.run}")
    return NonDeterminismError("\n".join(text))


def describe(entry: Entry) -> tuple[str, str, str]:
    """(kind, name, what happened), for people."""
    match entry:
        case StepCompleted(id=id):
            return "step", id, "completed"
        case StepFailed(id=id):
            return "step", id, "failed"
        case TimerFired(n=n, name=name):
            return "timer", f"{name} #{n}", "fired"
        case Intended(id=id) | Confirmed(id=id):
            return "act", id, type(entry).__name__.lower()
        case _:
            return type(entry).__name__.lower(), "", "recorded"


def _places(places: Sequence[str]) -> str:
    return "; ".join(places[:3])


def _cures(name: str, asks: Sequence[tuple[str, str]]) -> list[str]:
    cures = []
    if asks:
        patch = f"{step_name(CommandId(asks[0][0]))}-first"
        cures.append(f"  did you add `{asks[0][0]}` before `{name}`?")
        cures.append(f'  guard it:  if ctx.patched("{patch}"): ...')
    else:
        cures.append(f"  did you remove or rename `{name}`?  keep it for runs that have it, behind ctx.patched(...)")
    return cures
