"""`stepwell runs list`."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any, cast

import msgspec
from msgspec import Raw

from stepwell.backends.clock import SystemClock
from stepwell.cli.console import Paint, note, paint_for, short_ms, table, width
from stepwell.cli.places import app_of_runs
from stepwell.cli.problems import DONE, CommandError
from stepwell.cli.progress import wait_names
from stepwell.cli.values import encoded, plain_json
from stepwell.codec import Codec
from stepwell.model.durations import duration_ms
from stepwell.model.runs import STATUSES, Head, RunQuery, Status


async def list_runs(arguments: Namespace) -> int:
    """One page of runs, newest first."""
    query = query_of(arguments, limit=arguments.limit, cursor=arguments.cursor)
    async with app_of_runs(arguments) as app:
        page = await app.runs.list(query)
        now = app.backend.clock.now()
    if arguments.json:
        print(encoded({"runs": [head_json(head, app.registry.codec) for head in page.runs], "cursor": page.cursor}))
        return DONE
    paint = paint_for(sys.stdout)
    for line in run_table(page.runs, now=now, columns=width(), paint=paint):
        print(line)
    if not page.runs:
        note("no runs" + (" match" if query != RunQuery(limit=query.limit) else ""))
    if page.cursor is not None:
        note(f"there are more: --cursor {page.cursor}")
    return DONE


def run_table(heads: tuple[Head, ...], *, now: int, columns: int, paint: Paint) -> list[str]:
    """A line per run."""
    rows = [
        (
            paint.status(head.status),
            head.id,
            f"{head.workflow}{' v' + head.version if head.version else ''}",
            short_ms(now - head.created_at),
            short_ms((head.ended_at or now) - head.created_at),
            head.error if head.is_terminal else wait_names(head.waiting),
        )
        for head in heads
    ]
    return table(
        ("STATUS", "RUN", "WORKFLOW", "AGE", "TOOK", "WAITING FOR, OR ERROR"), rows, columns=columns, paint=paint
    )


def head_json(head: Head, codec: Codec) -> dict[str, Any]:
    """A head as JSON data, with plain metadata."""
    plain = msgspec.structs.replace(head, metadata={})
    data: dict[str, Any] = {name: getattr(plain, name) for name in plain.__struct_fields__}
    return {**data, "metadata": {key: Raw(plain_json(raw, codec)) for key, raw in head.metadata.items()}}


def query_of(arguments: Namespace, *, limit: int = 100, cursor: str | None = None) -> RunQuery:
    """What the filter options say."""
    since = None
    if getattr(arguments, "since", None) is not None:
        since = SystemClock().now() - duration_ms(arguments.since, what="--since")
    if not 1 <= limit <= 1000:
        raise CommandError(f"--limit {limit}: give 1 to 1000")
    return RunQuery(
        workflow=arguments.workflow,
        status=statuses_of(arguments.status),
        tag=tuple(_pair(text) for text in getattr(arguments, "tag", [])),
        since=since,
        limit=limit,
        cursor=cursor,
    )


def statuses_of(given: list[str] | None) -> tuple[Status, ...]:
    """`--status a,b --status c`."""
    names = [name.strip() for text in given or [] for name in text.split(",") if name.strip()]
    for name in names:
        if name not in STATUSES:
            raise CommandError(f"--status {name}: there are {', '.join(STATUSES)}")
    return cast(tuple[Status, ...], tuple(names))


def _pair(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found or not key:
        raise CommandError(f"--tag {text}: write it as KEY=VALUE")
    return key, value
