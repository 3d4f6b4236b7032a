"""`stepwell purge`: delete runs that ended long ago."""

from __future__ import annotations

from argparse import Namespace

from stepwell.cli.console import note
from stepwell.cli.places import app_of_runs
from stepwell.cli.problems import DONE, CommandError
from stepwell.cli.runs import statuses_of
from stepwell.cli.steer import confirmed
from stepwell.cli.values import encoded
from stepwell.runtime.querying import RunFilters


async def purge(arguments: Namespace) -> int:
    """Count first, ask, delete. Runs that must stay a while longer are told of."""
    filters: RunFilters = {}
    if status := statuses_of(arguments.status):
        filters["status"] = status
    if arguments.workflow is not None:
        filters["workflow"] = arguments.workflow
    async with app_of_runs(arguments) as app:
        results = await app.runs.purge(arguments.older_than, dry_run=True, **filters)
        count = sum(result.is_ok for result in results)
        if count and not arguments.dry_run:
            if not arguments.yes and not confirmed(f"delete {count} runs for good?"):
                raise CommandError(f"{count} runs match, nothing was deleted; add --yes, or --dry-run to only count")
            results = await app.runs.purge(arguments.older_than, **filters)
    deleted = [result.run for result in results if result.is_ok]
    kept = {result.run: str(result.error) for result in results if result.error is not None}
    if arguments.json:
        print(encoded({"deleted": [] if arguments.dry_run else deleted, "would_delete": deleted, "kept": kept}))
        return DONE
    print(f"{len(deleted)} runs {'would be ' if arguments.dry_run else ''}deleted")
    for run, reason in kept.items():
        note(f"kept {run}: {reason}")
    return DONE
