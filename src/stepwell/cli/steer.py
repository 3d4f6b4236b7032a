"""`stepwell runs cancel`, `terminate`, `pause`, `resume`, `retry` and `fork`: several at a time, each told of."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from msgspec import structs

from stepwell.cli.console import is_terminal, note
from stepwell.cli.places import app_of_runs
from stepwell.cli.problems import DONE, FAILED, CommandError
from stepwell.cli.runs import query_of
from stepwell.cli.values import encoded, given_json
from stepwell.model.runs import RunQuery, Status
from stepwell.runtime.app import Stepwell
from stepwell.runtime.bulk import RunResult

_LIVE: tuple[Status, ...] = ("queued", "running", "waiting", "paused")
_STOPPED: tuple[Status, ...] = ("failed", "cancelled", "terminated", "dead")


async def cancel(arguments: Namespace) -> int:
    """Ask runs to stop."""
    return await _steer(
        arguments,
        "cancel",
        lambda app, runs: app.runs.cancel(runs, arguments.reason, grace=arguments.grace),
        done="asked to stop",
    )


async def terminate(arguments: Namespace) -> int:
    """End runs without cleanup."""
    return await _steer(arguments, "terminate", lambda app, runs: app.runs.terminate(runs, arguments.reason))


async def pause(arguments: Namespace) -> int:
    """Start nothing new in runs."""
    return await _steer(arguments, "pause", lambda app, runs: app.runs.pause(runs, arguments.reason))


async def resume(arguments: Namespace) -> int:
    """Let paused runs go on, or a node that waits."""
    if arguments.node is not None:
        return await _resume_node(arguments)
    if arguments.action is not None or arguments.output is not None:
        raise CommandError("runs resume: --action and --output belong to a node; name it with --node")
    return await _steer(arguments, "resume", lambda app, runs: app.runs.resume(runs), statuses=("paused",))


async def retry(arguments: Namespace) -> int:
    """Try runs that were stopped again, as new runs."""
    return await _steer(
        arguments, "retry", lambda app, runs: app.runs.retry(runs), statuses=_STOPPED, done="goes on as"
    )


async def fork(arguments: Namespace) -> int:
    """Start a run that shares the beginning of another."""
    edits = dict(_edit(text) for text in arguments.edit)
    async with app_of_runs(arguments) as app:
        new = await app.runs.fork(arguments.run, from_step=arguments.from_step, edit=edits, id=arguments.id)
    print(encoded({"run": arguments.run, "new": new}) if arguments.json else new)
    return DONE


async def _resume_node(arguments: Namespace) -> int:
    if len(arguments.runs) != 1 or query_of(arguments) != RunQuery():
        raise CommandError("runs resume: --node is a node of one run; give the run's id")
    (run,), node = arguments.runs, arguments.node
    output = None if arguments.output is None else msgspec.json.decode(given_json(arguments.output, what="--output"))
    async with app_of_runs(arguments) as app:
        is_new = await app.runs.answer(run, node, action=arguments.action, output=output)
    if arguments.json:
        print(encoded({"run": run, "node": node, "new": is_new}))
    else:
        print(f"{run} {node} resumed" + ("" if is_new else " (it had this answer)"))
    return DONE


Verb = Callable[[Stepwell, Sequence[str]], Awaitable[list[RunResult]]]


async def _steer(
    arguments: Namespace, name: str, verb: Verb, *, statuses: tuple[Status, ...] = _LIVE, done: str = ""
) -> int:
    async with app_of_runs(arguments) as app:
        runs = arguments.runs or await _chosen(app, arguments, name, statuses)
        if arguments.runs and query_of(arguments) != RunQuery():
            raise CommandError(f"runs {name}: give ids, or options that choose runs, not both")
        results = await verb(app, runs)
    if len(results) == 1 and results[0].error is not None and not arguments.json:
        raise results[0].error
    for result in results:
        _tell(result, done or f"{name.removesuffix('e')}ed", is_json=arguments.json)
    return DONE if all(result.is_ok for result in results) else FAILED


async def _chosen(app: Stepwell, arguments: Namespace, name: str, statuses: tuple[Status, ...]) -> list[str]:
    """The runs that the options choose, once somebody has agreed to their number."""
    query = query_of(arguments)
    if query == RunQuery():
        raise CommandError(f"runs {name}: name runs, or choose them, for example: --workflow checkout --status failed")
    query = query if query.status else structs.replace(query, status=statuses)
    runs: list[str] = [head.id async for head in app.runs.iterate(query)]
    if not runs:
        note("no runs match")
    elif not arguments.yes and not confirmed(f"{name} {_count(len(runs))}?"):
        raise CommandError(f"{_count(len(runs))} would be changed, nothing was done; add --yes")
    return runs


def confirmed(question: str) -> bool:
    """Ask on the terminal; without one, no."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _tell(result: RunResult, done: str, *, is_json: bool) -> None:
    error = None if result.error is None else str(result.error)
    if is_json:
        print(encoded({"run": result.run, "new": result.new, "error": error}))
    elif error is not None:
        note(f"stepwell: {result.run}: {error}")
    elif result.new is not None:
        print(f"{result.run} {done} {result.new}")
    else:
        print(f"{result.run} {done}")


def _edit(text: str) -> tuple[str, Any]:
    step, found, value = text.partition("=")
    if not found:
        raise CommandError(f"--edit {text}: write it as STEP=JSON")
    return step, msgspec.json.decode(given_json(value, what=f"--edit {step}"))


def _count(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"
