"""`stepwell worker`: works on due runs until it is told to stop, and says once per second at most what it did."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from argparse import Namespace
from collections import Counter
from types import ModuleType

from stepwell.authoring.workflows import Definition
from stepwell.cli.console import note
from stepwell.cli.places import app_of, backend_url, load_module, make_home, split_target
from stepwell.cli.problems import DONE, CommandError
from stepwell.model.entries import Ended
from stepwell.model.ids import RunId
from stepwell.runtime.app import Stepwell
from stepwell.runtime.working import WorkerKeywords


async def worker(arguments: Namespace) -> int:
    """Work until SIGTERM or Ctrl-C, then drain."""
    app = _app(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
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
            await app.worker(**_options(arguments)).run()
        finally:
            reporter.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reporter
    note(f"worker {os.getpid()} drained: {_counts(ended) or 'no run ended here'}")
    return DONE


def _app(arguments: Namespace) -> Stepwell:
    place, name = split_target(arguments.target)
    module = load_module(place)
    app = app_of(module, name)
    url = backend_url(arguments.backend, app)
    if app is None:
        app = Stepwell(url, include=[_with_workflows(module)])
    app.url = url
    make_home(url)
    return app


def _with_workflows(module: ModuleType) -> ModuleType:
    if not any(isinstance(value, Definition) for value in vars(module).values()):
        raise CommandError(f"{module.__name__} has neither an app nor a workflow; write MODULE:app")
    return module


def _options(arguments: Namespace) -> WorkerKeywords:
    options: WorkerKeywords = {}
    if arguments.queues is not None:
        options["queues"] = [queue.strip() for queue in arguments.queues.split(",") if queue.strip()]
    if arguments.concurrency is not None:
        options["concurrency"] = arguments.concurrency
    return options


async def _report(ended: Counter[str]) -> None:
    told = ended.total()
    while True:
        await asyncio.sleep(1)
        if ended.total() != told:
            told = ended.total()
            note(f"runs ended here: {_counts(ended)}")


def _counts(ended: Counter[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(ended.items()))
