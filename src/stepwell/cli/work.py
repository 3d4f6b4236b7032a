"""`stepwell worker`: works on due runs until it is told to stop, and says once per second at most what it did."""

from __future__ import annotations

import asyncio
import contextlib
import os
from argparse import Namespace
from collections import Counter
from typing import cast

from stepwell.cli.config import Settings, worker_flags
from stepwell.cli.console import begin_logging, note
from stepwell.cli.places import in_namespace, worked_app
from stepwell.cli.problems import DONE
from stepwell.model.entries import Ended
from stepwell.model.ids import RunId
from stepwell.runtime.working import WorkerKeywords


async def worker(arguments: Namespace) -> int:
    """Work until SIGTERM or Ctrl-C, then drain."""
    settings = Settings.load(arguments.config).over(worker_flags(arguments))
    app = in_namespace(worked_app(settings), arguments.namespace, settings)
    begin_logging(settings.get("log_format"))
    ended: Counter[str] = Counter()
    on_ended = app.hub.on_ended

    def count(run: RunId, end: Ended) -> None:
        ended[end.status] += 1
        if on_ended is not None:
            on_ended(run, end)

    app.hub.on_ended = count
    async with app:
        kinds = ", ".join(sorted({workflow.id for workflow in app.registry.workflows()}))
        note(f"worker {os.getpid()} on {app.backend.url}: {kinds}; Ctrl-C or SIGTERM drains")
        reporter = asyncio.create_task(_report(ended))
        try:
            await app.worker(**cast(WorkerKeywords, settings.given("worker"))).run()
        finally:
            reporter.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reporter
    note(f"worker {os.getpid()} drained: {_counts(ended) or 'no run ended here'}")
    return DONE


async def _report(ended: Counter[str]) -> None:
    told = ended.total()
    while True:
        await asyncio.sleep(1)
        if ended.total() != told:
            told = ended.total()
            note(f"runs ended here: {_counts(ended)}")


def _counts(ended: Counter[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(ended.items()))
