"""`stepwell runs show`, `events`, `explain` and `export`: one run, looked into."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import datetime

import msgspec
from msgspec import Raw, structs

from stepwell.cli.console import note, paint_for, width
from stepwell.cli.drawing import draw
from stepwell.cli.places import opened_app
from stepwell.cli.problems import DONE
from stepwell.cli.runs import head_json
from stepwell.cli.values import encoded
from stepwell.model.entries import ContinuedAsNew, Created, Entry


async def show(arguments: Namespace) -> int:
    """Draw the run's timeline."""
    async with opened_app(arguments.backend) as app:
        timeline = await app.runs.timeline(arguments.run)
        head = await app.runs.get(arguments.run)
        now = app.backend.clock.now()
    if arguments.json:
        print(encoded({"head": head_json(head), "timeline": timeline}))
        return DONE
    lines = draw(timeline, head, now=now, columns=width(), paint=paint_for(sys.stdout), is_full=arguments.all)
    print("\n".join(lines))
    return DONE


async def events(arguments: Namespace) -> int:
    """Print the journal, one entry per line. Secrets of the run stay out."""
    async with opened_app(arguments.backend) as app:
        async for event in app.runs.events(arguments.run, follow=arguments.follow):
            entry = _without_seed(event.entry)
            if arguments.json:
                print(encoded({"seq": event.seq, "at": event.at, "entry": entry}), flush=True)
                continue
            fields = msgspec.json.decode(msgspec.json.encode(entry), type=dict[str, Raw])
            kind = bytes(fields.pop("t")).decode().strip('"')
            when = datetime.fromtimestamp(event.at / 1000).astimezone().strftime("%H:%M:%S.%f")[:-3]
            rest = " ".join(f"{name}={bytes(raw).decode()}" for name, raw in fields.items())
            print(f"{event.seq:>5} {when} {kind:14} {rest}".rstrip(), flush=True)
    return DONE


async def explain(arguments: Namespace) -> int:
    """Say why the run is not moving."""
    async with opened_app(arguments.backend) as app:
        explanation = await app.runs.explain(arguments.run)
    print(encoded(explanation) if arguments.json else explanation)
    return DONE


async def export(arguments: Namespace) -> int:
    """Write the run as one JSON document. Its seed stays out: hook tokens could be forged with it."""
    async with opened_app(arguments.backend) as app:
        data = await app.runs.export(arguments.run)
    print(data.decode())
    note(f"exported {arguments.run}, {len(data)} bytes")
    return DONE


def _without_seed(entry: Entry) -> Entry:
    match entry:
        case Created():
            return structs.replace(entry, seed="")
        case ContinuedAsNew(created=created):
            return structs.replace(entry, created=structs.replace(created, seed=""))
        case _:
            return entry
