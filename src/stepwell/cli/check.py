"""`stepwell check`: the gate before a deploy. Lints workflow bodies, and replays live runs against the code."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from msgspec import Struct

from stepwell.authoring.lint import Finding, lint_file
from stepwell.cli.console import note, paint_for
from stepwell.cli.places import app_of, load_module
from stepwell.cli.problems import DONE, FAILED, CommandError
from stepwell.cli.values import encoded
from stepwell.model.runs import RunQuery
from stepwell.runtime.app import Stepwell
from stepwell.runtime.replaying import ReplayReport


class Checked(Struct, frozen=True):
    """What was found in files, what replaying showed, and how many live runs this code knows nothing of."""

    findings: list[Finding]
    replays: list[ReplayReport]
    unknown: int = 0

    @property
    def is_ok(self) -> bool:
        """Whether the code may be deployed."""
        return not any(finding.severity == "error" for finding in self.findings) and all(
            report.is_ok for report in self.replays
        )


async def check(arguments: Namespace) -> int:
    """Print what is wrong; 1 if anything is."""
    for file in arguments.files:
        if not Path(file).is_file():
            raise CommandError(f"there is no file {file} in {Path.cwd()}")
    findings = [finding for file in arguments.files for finding in lint_file(file)]
    checked = Checked(findings, [])
    if arguments.live is not None:
        checked = await _replayed(arguments.files, arguments.live, findings)
    if arguments.json:
        print(encoded(checked))
    else:
        _tell(checked, len(arguments.files), is_live=arguments.live is not None)
    return DONE if checked.is_ok else FAILED


async def _replayed(files: list[str], url: str, findings: list[Finding]) -> Checked:
    modules = [load_module(file) for file in files]
    app = next((found for module in modules if (found := app_of(module)) is not None), None) or Stepwell(url)
    for module in modules:
        app.registry.include(module)
    app.url = url
    reports, unknown = [], 0
    async with app:
        async for head in app.runs.iterate(RunQuery(status=("queued", "running", "waiting", "paused"))):
            if app.registry.find(head.workflow, head.version) is None:
                unknown += 1
            else:
                reports.append(await app.runs.replay(head.id))
    return Checked(findings, reports, unknown)


def _tell(checked: Checked, files: int, *, is_live: bool) -> None:
    paint = paint_for(sys.stdout)
    for finding in checked.findings:
        print(paint(str(finding), "red" if finding.severity == "error" else "yellow"))
    for report in checked.replays:
        if report.error is not None:
            print(paint(f"{report.run} ({report.workflow}): {report.error}", "red"))
        for text in (*report.warnings, *report.impure):
            print(paint(f"{report.run} ({report.workflow}): {text}", "yellow"))
    count = len(checked.findings)
    note(f"{_count(files, 'file')}: {_count(count, 'finding') if count else 'no findings'}")
    if is_live:
        bad = sum(not report.is_ok for report in checked.replays)
        note(f"{len(checked.replays)} live runs replayed: {bad or 'none'} cannot go on with this code")
    if checked.unknown:
        note(f"{checked.unknown} live runs are of workflows that are not in these files")


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
