"""`stepwell doctor`: this machine, the backend, and a sample of the journals, each with a verdict and a cure."""

from __future__ import annotations

import platform
import shutil
import sqlite3
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from stepwell.cli.console import Paint, note, paint_for, short_ms, width
from stepwell.cli.places import backend_url, opened_app, sqlite_path
from stepwell.cli.problems import DONE, FAILED, UNREACHABLE, CommandError
from stepwell.cli.values import encoded
from stepwell.errors import BackendError
from stepwell.model.entries import Created, Ended, Frame, Received
from stepwell.model.runs import Head, RunQuery
from stepwell.ports import Backend
from stepwell.runtime.app import Stepwell

_STUCK_MS = 60_000
_AHEAD_MS = 5_000
_ROOM_LOW = 1 << 30
_WAL_LARGE = 256 << 20


class Check(Struct, frozen=True):
    """One thing that was looked at. `cure` says what to do, unless it is ok."""

    name: str
    verdict: Literal["ok", "warning", "failed"]
    text: str
    cure: str = ""


async def doctor(arguments: Namespace) -> int:
    """Check everything; 1 if something failed, 3 if there is no backend to look at."""
    checks = _machine()
    code = DONE
    try:
        async with opened_app(arguments.backend) as app:
            checks.append(Check("backend", "ok", f"{app.backend.url} answers"))
            checks += _sqlite(app.url)
            checks += await _runs(app)
            checks.append(await _journals(app, arguments.sample))
    except (BackendError, CommandError) as error:
        checks.append(Check("backend", "failed", str(error), "give another --backend, or start it"))
        code = UNREACHABLE
    if any(check.verdict == "failed" for check in checks):
        code = code or FAILED
    if arguments.json:
        print(encoded({"url": backend_url(arguments.backend), "ok": code == DONE, "checks": checks}))
    else:
        _tell(checks, paint_for(sys.stdout))
    return code


def _machine() -> list[Check]:
    try:
        own = version("stepwell")
    except PackageNotFoundError:
        own = "from source"
    versions = f"Python {platform.python_version()}, stepwell {own}, msgspec {msgspec.__version__}"
    return [Check("versions", "ok", f"{versions}, SQLite {sqlite3.sqlite_version} on {platform.system()}")]


# --- SQLite


def _sqlite(url: str) -> list[Check]:
    path = sqlite_path(url)
    return [] if path is None else [*_file(path), _room(path)]


def _file(path: Path) -> list[Check]:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        mode = str(_value(connection, "pragma journal_mode"))
        schema = _value(connection, "pragma user_version")
        damage = str(_value(connection, "pragma quick_check(1)"))
    is_wal = mode == "wal"
    return [
        Check("schema", "ok", f"version {schema}"),
        Check(
            "journal mode",
            "ok" if is_wal else "failed",
            mode,
            "" if is_wal else "is it on a network drive? SQLite needs a local disk",
        ),
        Check(
            "file",
            "ok" if damage == "ok" else "failed",
            "no damage found" if damage == "ok" else damage,
            "" if damage == "ok" else "stop all workers, and restore a backup or use `sqlite3 FILE .recover`",
        ),
    ]


def _room(path: Path) -> Check:
    free = shutil.disk_usage(path.resolve().parent).free
    log = path.with_name(path.name + "-wal")
    wal = log.stat().st_size if log.exists() else 0
    text = f"{_bytes(path.stat().st_size)}, log {_bytes(wal)}, {_bytes(free)} free on the disk"
    if free < _ROOM_LOW:
        return Check("room", "warning", text, "make room, or delete old runs: stepwell purge --older-than 30d")
    if wal > _WAL_LARGE:
        return Check("room", "warning", text, "a process reads for very long and keeps the log from being emptied")
    return Check("room", "ok", text)


def _value(connection: sqlite3.Connection, query: str) -> object:
    return connection.execute(query).fetchone()[0]


# --- runs


async def _runs(app: Stepwell) -> list[Check]:
    store, now = app.backend.store, app.backend.clock.now()
    newest = (await store.search(RunQuery(limit=1))).runs
    ahead = newest[0].created_at - now if newest else 0
    checks = [
        Check("clock", "ok", "not behind the newest run")
        if ahead <= _AHEAD_MS
        else Check("clock", "warning", f"{short_ms(ahead)} behind the newest run", "set this machine's clock by NTP")
    ]
    late = [due for due in await store.peek_due(now - _STUCK_MS, 100) if due.wake_at <= now - _STUCK_MS]
    checks.append(
        Check(
            "due runs",
            "warning",
            f"{_many(late, 100)} due for more than {short_ms(_STUCK_MS)}, for example {late[0].run}",
            f"is a worker running? stepwell runs explain {late[0].run}",
        )
        if late
        else Check("due runs", "ok", "none is late")
    )
    dead = (await store.search(RunQuery(status=("dead",), limit=100))).runs
    checks.append(
        Check(
            "dead runs",
            "warning",
            f"{_many(dead, 100)} killed its worker each time, for example {dead[0].id}",
            f"stepwell runs explain {dead[0].id}",
        )
        if dead
        else Check("dead runs", "ok", "none")
    )
    return checks


async def _journals(app: Stepwell, sample: int) -> Check:
    page = await app.backend.store.search(RunQuery(limit=min(max(sample, 1), 1000)))
    wrong = []
    for head in page.runs:
        loaded, frames = await app.client.journal(head.id)
        if await _is_still(app.backend, loaded.head):
            wrong += [f"{head.id}: {problem}" for problem in journal_problems(loaded.head, frames)]
    if wrong:
        return Check("journals", "failed", "; ".join(wrong[:5]), "stop all workers, keep the file, report this")
    return Check("journals", "ok", f"{len(page.runs)} looked into: no gaps, heads agree")


async def _is_still(backend: Backend, head: Head) -> bool:
    """Whether the head is exact, and was so while its journal was read."""
    page = await backend.store.search(RunQuery(text=head.id, limit=10))
    return head.owner is None and any(item.id == head.id and item.seq == head.seq for item in page.runs)


def journal_problems(head: Head, frames: Sequence[tuple[int, Frame]]) -> list[str]:
    """How the journal and the head of a run at rest contradict each other."""
    problems = []
    if [seq for seq, _ in frames] != list(range(1, len(frames) + 1)):
        problems.append("frames are missing")
    if not frames or not isinstance(frames[0][1].entries[0], Created):
        return [*problems, "the journal does not begin with its creation"]
    # Claims that were given back unread, or a result that came late, leave the head of a run behind that is due again.
    is_behind = frames[-1][0] > head.seq and head.wake_at is not None and not head.is_terminal
    if frames[-1][0] != head.seq and not is_behind:
        problems.append(f"the journal ends at {frames[-1][0]}, the head says {head.seq}")
    if any(after[1].at < before[1].at for before, after in pairwise(frames)):
        problems.append("time goes back")
    entries = [entry for _, frame in frames for entry in frame.entries]
    ends = [entry for entry in entries if isinstance(entry, Ended)]
    if len(ends) > 1:
        problems.append("it ends twice")
    status = ends[-1].status if ends else None
    if head.is_terminal != bool(ends) or (status is not None and status != head.status):
        problems.append(f"the head says {head.status}, the journal {status or 'that it is open'}")
    numbers = [entry.no for entry in entries if isinstance(entry, Received)]
    if len(set(numbers)) != len(numbers):
        problems.append("a message was received twice")
    if max(numbers, default=0) > head.mail:
        problems.append("it received a message that its inbox never had")
    return problems


# --- telling


def _tell(checks: Sequence[Check], paint: Paint) -> None:
    marks = {"ok": paint("✓", "green"), "warning": paint("!", "yellow"), "failed": paint("✗", "red")}
    room = max(len(check.name) for check in checks)
    for check in checks:
        print(f"{marks[check.verdict]} {check.name.ljust(room)}  {check.text}"[: width() * 4])
        if check.cure:
            print(f"  {' ' * room}  {check.cure}")
    bad = sum(check.verdict != "ok" for check in checks)
    note("all is well" if bad == 0 else f"{bad} of {len(checks)} checks need attention")


def _many(found: Sequence[object], limit: int) -> str:
    return f"{limit} or more runs" if len(found) >= limit else f"{len(found)} run{'s' if len(found) != 1 else ''}"


def _bytes(size: int) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size //= 1024
    return f"{size} TB"
