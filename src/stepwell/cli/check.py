"""`stepwell check`: the gate before a deploy. Lints workflow bodies, and replays a sample of the runs against the code.

The files are read; with `--live` they are imported too, as a worker would. The backend is only read from: there is no
worker, and the app's lifespan is not entered.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from msgspec import Struct

from stepwell.authoring.lint import Finding, lint_files, makes_workflows
from stepwell.authoring.workflows import Definition
from stepwell.cli.console import Paint, is_terminal, note, paint_for
from stepwell.cli.places import app_of, load_module, sqlite_path
from stepwell.cli.problems import DONE, FAILED, UNREACHABLE, CommandError
from stepwell.cli.replays import (
    Group,
    Orphans,
    Replayed,
    Replays,
    Sample,
    Tally,
    by_difference,
    by_warning,
    kind_name,
    replay_sample,
)
from stepwell.cli.values import encoded
from stepwell.runtime.app import Stepwell

_SKIPPED = frozenset({"node_modules", "site-packages", "__pycache__"})
_SHOWN = 3


class Checked(Struct, frozen=True):
    """What was found in files, and what replaying showed. `is_strict`: warnings count too."""

    findings: list[Finding]
    replays: Replays = Replays()
    is_strict: bool = False

    @property
    def is_ok(self) -> bool:
        """Whether the code may be deployed."""
        if any(finding.severity == "error" for finding in self.findings) or self.replays.broken:
            return False
        return not (self.is_strict and self.has_warnings)

    @property
    def has_warnings(self) -> bool:
        """Whether there is anything to say at all."""
        replays = self.replays
        return bool(self.findings or replays.orphans or replays.changed or by_warning(replays.runs))

    def json(self) -> dict[str, Any]:
        """As data."""
        return {
            "ok": self.is_ok,
            "findings": self.findings,
            "replays": [run.json() for run in self.replays.runs],
            "workflows": self.replays.tallies,
            "orphans": self.replays.orphans,
        }


async def check(arguments: Namespace) -> int:
    """Print what is wrong; 1 if anything is."""
    sample = Sample(_limit("--sample", arguments.sample), _limit("--finished", arguments.finished))
    files = list(dict.fromkeys(file for place in arguments.files for file in _files(place)))
    if arguments.live is not None:
        _ensure_database(arguments.live)
    findings = lint_files(files)
    replays = Replays()
    if arguments.live is not None and not any(finding.code == "SW100" for finding in findings):
        with contextlib.redirect_stdout(sys.stderr):  # what the files print is not ours
            modules, failed = _imported(files, {Path(place) for place in arguments.files})
        findings += failed
        if not failed:
            async with _app(modules, arguments.live) as app:
                with contextlib.redirect_stdout(io.StringIO()):  # nor is what bodies print
                    replays = await replay_sample(app, sample, _progress)
    checked = Checked(findings, replays, arguments.strict)
    if arguments.json:
        print(encoded(checked.json()))
    else:
        _Telling(checked, is_verbose=arguments.verbose).tell(len(files), arguments.live)
    return DONE if checked.is_ok else FAILED


def _limit(option: str, text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal():
        raise CommandError(f"{option} {text}: give a number of runs, or all")
    return int(text)


# --- the code


def _files(place: str) -> Iterator[Path]:
    """A file, or the Python files of a folder, except for tests and what is hidden or installed in it."""
    path = Path(place)
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise CommandError(f"there is no file {place} in {Path.cwd()}; give files with workflows, or folders")
    found = False
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not _is_skipped(Path(folder, name)))
        for name in sorted(names):
            if name.endswith(".py") and not _is_test(name):
                found = True
                yield Path(folder, name)
    if not found:
        raise CommandError(f"there are no Python files in {place} (tests are left out)")


def _is_skipped(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in _SKIPPED or (folder / "pyvenv.cfg").exists()


def _is_test(name: str) -> bool:
    return name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"


def _imported(files: list[Path], given: set[Path]) -> tuple[list[ModuleType], list[Finding]]:
    """The modules; of folders, only those that make a workflow or an app, since others may do anything."""
    modules, failed = [], []
    for file in files:
        if file in given or makes_workflows(file):
            try:
                modules.append(load_module(str(file)))
            except CommandError as error:
                failed.append(Finding(str(file), 1, 1, "SW100", str(error)))
    return modules, failed


def _app(modules: list[ModuleType], url: str) -> Stepwell:
    """An app over all their workflows, that only reads. Payloads and hook URLs are as their own app makes them."""
    apps = [app for module in modules if (app := app_of(module)) is not None]
    workflows: list[Definition[Any, Any]] = [item for app in apps for item in app.registry.workflows()]
    own = apps[0].registry if apps else Stepwell().registry
    if sqlite_path(url) is not None:
        url += "&read_only=true" if "?" in url else "?read_only=true"
    return Stepwell(url, include=[*workflows, *modules], worker=False, codec=own.codec, public_url=own.public_url)


def _ensure_database(url: str) -> None:
    path = sqlite_path(url)
    if path is not None and not path.exists():
        raise CommandError(f"there is no database {path} (in {Path.cwd()}): is --live {url} right?", UNREACHABLE)


def _progress(text: str) -> None:
    if is_terminal(sys.stderr):
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


# --- telling


class _Telling:
    """For people: what is wrong on stdout, the numbers on stderr."""

    def __init__(self, checked: Checked, *, is_verbose: bool) -> None:
        self._checked = checked
        self._is_verbose = is_verbose
        self._paint: Paint = paint_for(sys.stdout)

    def tell(self, files: int, live: str | None) -> None:
        """Everything."""
        checked, replays = self._checked, self._checked.replays
        for finding in checked.findings:
            print(self._paint(str(finding), "red" if finding.severity == "error" else "yellow"))
        for group in by_difference(replays.broken):
            self._group(group, "would break", "red")
        for group in by_difference(replays.changed):
            self._group(group, "finished, and would now go another way", "yellow")
        for group in by_warning(replays.runs):
            self._group(group, "can go on, but", "yellow")
        for orphans in replays.orphans:
            self._orphans(orphans)
        count = len(checked.findings)
        note(f"{_count(files, 'file')}: {_count(count, 'finding') if count else 'no findings'}")
        if live is not None:
            self._numbers()

    def _group(self, group: Group, what: str, style: str) -> None:
        runs = group.runs
        place = f" at {group.place}" if group.place else ""
        print(self._paint(f"{_count(len(runs), 'run')} of {runs[0].name} {what}{place}: {group.text}", style))
        if group.cure and (runs[0].is_live or runs[0].report.is_ok):  # what is over needs none
            print(f"  cure: {group.cure}")
        for line in _lines(runs) if self._is_verbose else [_examples(runs)]:
            print(f"  {line}")

    def _orphans(self, orphans: Orphans) -> None:
        name = kind_name(orphans.workflow, orphans.version)
        text = f"{_count(orphans.runs, 'live run')} of {name}: there is no code for them here, so nobody would go on"
        print(self._paint(text, "yellow"))
        accepts = f', or take them over: accepts=["{orphans.version}"]' if orphans.version else ""
        print(f"  cure: check all files that are deployed; keep the old workflow until its runs are over{accepts}")
        print(f"  {_listed(list(orphans.examples), orphans.runs)}")

    def _numbers(self) -> None:
        replays = self._checked.replays
        if any(finding.code == "SW100" for finding in self._checked.findings):
            note("no run was replayed: mend the files first")
            return
        for tally in replays.tallies:
            note(f"{kind_name(tally.workflow, tally.version)}: {_live_text(tally)}; {_finished_text(tally)}")
        if not replays.tallies and not replays.orphans:
            note("there are no runs")
        if replays.broken:
            note("do not deploy; how to change code under live runs: docs/versions.md")


def _live_text(tally: Tally) -> str:
    if not tally.live:
        return "no live runs"
    return f"{tally.replayed} of {_count(tally.live, 'live run')} replayed, {tally.broken or 'none'} would break"


def _finished_text(tally: Tally) -> str:
    if not tally.finished:
        return "no finished runs replayed"
    return f"the newest {_count(tally.finished, 'finished run')} replayed, {tally.changed or 'none'} changed"


def _examples(runs: list[Replayed]) -> str:
    return _listed([_at(run) for run in runs[:_SHOWN]], len(runs))


def _listed(shown: list[str], count: int) -> str:
    more = count - len(shown)
    return ", ".join(shown) + (f" and {more} more (-v lists all)" if more else "")


def _lines(runs: list[Replayed]) -> Iterator[str]:
    for run in runs:
        difference = run.report.difference
        yield _at(run) if difference is None else f"{_at(run)}: {difference.why}"


def _at(run: Replayed) -> str:
    difference = run.report.difference
    return f"{run.report.run} #{difference.seq}" if difference is not None and difference.seq else run.report.run


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
