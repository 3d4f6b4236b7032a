"""The message for code that does not fit its history: what is there, what the code asks, and three cures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from stepwell.engine.program import Line, Origin
from stepwell.errors import NonDeterminismError, SealedError
from stepwell.model.entries import Confirmed, Entry, Intended, StepCompleted, StepFailed, TimerFired
from stepwell.model.ids import CommandId, step_name


class Difference(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where code and history part, for programs that list it. `seq` is the frame (0: no single one), `history` what it
    holds, `code` what is asked instead, `place` the user's line, `why` both in one sentence without the run."""

    seq: int = 0
    history: str = ""
    code: str = ""
    place: str = ""
    why: str
    cure: str


FAILED = "has failed"
"""How `finished` begins if the body failed."""


def mismatch(
    origin: Origin,
    line: Line,
    asks: Sequence[tuple[str, str]],
    places: Sequence[str],
    *,
    finished: str = "",
) -> NonDeterminismError:
    """`asks` are (id, kind) of what the code waits for; `places` where its tasks stand. `finished` says how it did, if
    it has."""
    kind, name, what = describe(line.entry)
    created = origin.created
    version = f" v{created.version}" if created.version else ""
    when = datetime.fromtimestamp(line.at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    text = [
        f"run {origin.run} ({created.workflow}{version}) cannot continue; nothing was changed, it stays resumable",
        f"  history #{line.seq:<4} {kind:<7} {name:<16} {what} {when}",
    ]
    if finished:
        text.append(f"  code asks      nothing: it {finished}")
    elif not asks:
        text.append(f"  code asks      nothing           {_places(places)}")
    else:
        asked, asked_kind = asks[0]
        others = [id for id, _ in asks[1:4]]
        pending = f"{', '.join(others) or 'nothing else'} {'are' if len(others) > 1 else 'is'} pending"
        text.append(f"  code asks      {asked_kind:<7} {asked:<16} {_places(places)}   (and {pending})")
    text.extend(_cures(name, asks, finished))
    fork = f"or: stepwell runs fork {origin.run} --from-step {name}      " if kind == "step" else ""
    text.append(f"  {fork}see: stepwell runs explain {origin.run}")
    found = _difference(line, asks, "" if finished else _places(places), finished)
    return NonDeterminismError("\n".join(text), difference=found)


def unreadable(origin: Origin, line: Line, error: Exception) -> NonDeterminismError:
    """The error for a recorded result that the code's types cannot read."""
    kind, name, _ = describe(line.entry)
    text = f"run {origin.run}: history #{line.seq} does not fit the code: {error}"
    found = Difference(
        seq=line.seq,
        history=f"{kind} {name}",
        why=str(error),
        cure="let the type read what is recorded (a default for a new field), or give the new code a new version",
    )
    return NonDeterminismError(text, difference=found)


def without_key(origin: Origin, error: SealedError) -> NonDeterminismError:
    """The error for a value whose key is not here, on which nothing may depend."""
    return NonDeterminismError(f"run {origin.run} cannot go on here, and stays as it is: {error}")


def _difference(line: Line, asks: Sequence[tuple[str, str]], place: str, finished: str) -> Difference:
    kind, name, _ = describe(line.entry)
    history = f"{kind} {name}".rstrip()
    code = f"{asks[0][1]} {asks[0][0]}" if asks and not finished else ""
    says = f"asks for {code}" if code else finished or "asks for nothing"
    return Difference(
        seq=line.seq,
        history=history,
        code=code,
        place=place,
        why=f"history has {history}, the code {says}",
        cure=" ".join(text.strip() for text in _cures(name, asks, finished)),
    )


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


def _cures(name: str, asks: Sequence[tuple[str, str]], finished: str) -> list[str]:
    if finished.startswith(FAILED):
        return ["  the code fails where it went on before: mend that, or keep the old code for runs that have it"]
    cures = []
    if asks:
        patch = f"{step_name(CommandId(asks[0][0]))}-first"
        cures.append(f"  did you add `{asks[0][0]}` before `{name}`?")
        cures.append(f'  guard it:  if ctx.patched("{patch}"): ...')
    else:
        cures.append(f"  did you remove or rename `{name}`?  keep it for runs that have it, behind ctx.patched(...)")
    return cures
