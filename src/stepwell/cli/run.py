"""`stepwell run`: one run, here and now, on a database that keeps it when this process does not live to see its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from msgspec import Struct

from stepwell.authoring.workflows import Definition
from stepwell.cli.config import Settings
from stepwell.cli.console import is_terminal, note, paint_for, width
from stepwell.cli.interrupts import Interrupts
from stepwell.cli.places import (
    app_of,
    backend_url,
    in_namespace,
    load_module,
    make_home,
    split_target,
    workflow_of,
)
from stepwell.cli.problems import DONE, FAILED, PARKED, CommandError
from stepwell.cli.progress import Progress
from stepwell.cli.values import given_json, plain_json, shown_json
from stepwell.codec import escape
from stepwell.errors import RunNotFoundError, StepwellError
from stepwell.model.entries import Ended
from stepwell.model.ids import RunId
from stepwell.runtime.app import Stepwell
from stepwell.runtime.client import outcome_error


class Job(Struct, frozen=True):
    """What was asked for. `command` is how it was typed, up to the options that all have. `input` is JSON, None if none
    was given."""

    app: Stepwell
    workflow: Definition[Any, Any]
    command: tuple[str, ...]
    input: bytes | None
    arguments: Namespace


async def run(arguments: Namespace) -> int:
    """Start the run or attach to it, work until it ends, print its result."""
    place, name = split_target(arguments.target)
    module = load_module(place)
    workflow = workflow_of(module, name)
    return await carry_out(job_of(arguments, workflow, ("run", arguments.target), [module]))


def job_of(
    arguments: Namespace, workflow: Definition[Any, Any], command: tuple[str, ...], modules: Sequence[ModuleType]
) -> Job:
    """A run of `workflow` in the app of one of these modules, else in an app over all of them."""
    app = next((app for module in modules if (app := app_of(module)) is not None), None)
    url = backend_url(arguments.backend, app)
    if app is None:
        app = Stepwell(url, include=modules)
    app.url = url
    app = in_namespace(app, arguments.namespace, Settings.load())
    app.registry.include(workflow)
    make_home(url)
    given = None if arguments.input is None else given_json(arguments.input, what="--input")
    return Job(app, workflow, command, given, arguments)


async def carry_out(job: Job) -> int:
    """Do it, and tell of it; the exit code."""
    logging.basicConfig(level=logging.INFO if is_terminal(sys.stderr) else logging.WARNING, format="%(message)s")
    with Interrupts() as interrupts:
        async with job.app:
            async with job.app.worker(impure_check=True):  # a developer is looking
                run, since = await _start(job)
                outcome = await _until_end(job.app, run, since, interrupts)
                if outcome is None:
                    note("parking the run; Ctrl-C again leaves at once")
            # What ran when Ctrl-C came may have brought the run to its end.
            head = await job.app.client.head(run)
            if outcome is None and head.is_terminal:
                outcome = await job.app.client.last_entry(head)
    if outcome is None:
        _tell_parked(job, run)
        return PARKED
    return _tell_outcome(job.app, run, outcome)


async def _start(job: Job) -> tuple[RunId, int]:
    """The run, and the seq up to which it was there before."""
    since = 0
    id = job.arguments.id
    if id is not None:
        with contextlib.suppress(RunNotFoundError):
            head = await job.app.client.head(RunId(id))
            if job.input is None and head.workflow == job.workflow.id:
                return head.id, head.seq
            since = head.seq
    options: Any = {} if id is None else {"id": id}
    if job.input is None:
        handle = await job.app.start(job.workflow, **options)
        return handle.id, since
    types = job.app.registry.types_of(job.workflow)
    if not types.has_input:
        raise CommandError(f"workflow {job.workflow.id} takes no input; leave out --input")
    value = types.input.decode(escape(job.input), where="--input")
    handle = await job.app.start(job.workflow, value, **options)
    return handle.id, since


async def _until_end(app: Stepwell, run: RunId, since: int, interrupts: Interrupts) -> Ended | None:
    """The run's end; None if somebody wants to stop before that."""
    broken: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    def activation_failed(failed: RunId, error: BaseException) -> None:
        if failed == run and not broken.done():
            broken.set_exception(CommandError(f"{error}\n(run {run} stays open: stepwell runs explain {run})", FAILED))

    app.hub.on_activation_failed = activation_failed
    tasks: list[asyncio.Future[Any]] = [asyncio.create_task(app.client.ended(run)), broken]
    stopped = asyncio.create_task(interrupts.asked.wait())
    progress = asyncio.create_task(_show_progress(app, run, since))
    try:
        await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        done = next((task for task in tasks if task.done()), None)
        if done is None:
            return None
        if not progress.done():
            await asyncio.wait([progress], timeout=0.3)  # its last lines
        ended: Ended = done.result()
        return ended
    finally:
        for task in (*tasks, stopped, progress):
            task.cancel()
        await asyncio.wait([*tasks, stopped, progress])


async def _show_progress(app: Stepwell, run: RunId, since: int) -> None:
    if not is_terminal(sys.stderr):
        return
    paint = paint_for(sys.stderr)
    note(f"{paint('run', 'bold')} {run} {paint(f'in {app.backend.url}', 'dim')}")
    with contextlib.suppress(StepwellError):  # watching never hurts the run
        await Progress(run, note, paint=paint, columns=width(), since=since).follow(app)


def _tell_parked(job: Job, run: RunId) -> None:
    if job.app.url.startswith("memory:"):
        note(f"stopped run {run}; memory:// keeps nothing: give --backend to be able to go on")
        return
    note(f"parked run {run}; go on with:\n  {_same_command(job, run)}")


def _same_command(job: Job, run: RunId) -> str:
    arguments = job.arguments
    words = ["stepwell", *job.command]
    if arguments.input not in (None, "-"):
        words += ["--input", arguments.input]
    words += ["--id", run]
    if arguments.backend is not None:
        words += ["--backend", arguments.backend]
    if arguments.namespace is not None:
        words += ["--namespace", arguments.namespace]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _tell_outcome(app: Stepwell, run: RunId, ended: Ended) -> int:
    if ended.status != "completed":
        note(f"stepwell: {outcome_error(run, ended)}\nSee: stepwell runs show {run}; again: stepwell runs retry {run}")
        return FAILED
    data = plain_json(ended.value, app.registry.codec)
    print(shown_json(data, is_pretty=is_terminal(sys.stdout)))
    return DONE
