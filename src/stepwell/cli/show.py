"""`stepwell runs show`, `events`, `explain` and `export`: one run, looked into."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import datetime

import msgspec
from msgspec import Raw, structs

from stepwell.cli.console import note, paint_for, width
from stepwell.cli.drawing import draw
from stepwell.cli.nodes import graph_of_run, node_lines, picture
from stepwell.cli.places import app_of_runs
from stepwell.cli.problems import DONE, CommandError
from stepwell.cli.readable import CURE, HIDDEN, Reader
from stepwell.cli.runs import head_json
from stepwell.cli.values import encoded
from stepwell.engine.graph.state import GraphState
from stepwell.errors import SealedError
from stepwell.model.entries import ContinuedAsNew, Created, Entry
from stepwell.runtime.app import Stepwell


async def show(arguments: Namespace) -> int:
    """Draw the run's timeline; of a blueprint's run, where its nodes stand, too."""
    async with app_of_runs(arguments) as app:
        head = await app.runs.get(arguments.run)
        graph = await graph_of_run(app, arguments.run)
        if graph is None and (arguments.at is not None or arguments.mermaid):
            raise CommandError(f"run {arguments.run} has no nodes: {head.workflow} is a function, and no blueprint")
        reader = Reader(app.registry.codec, is_json=arguments.json)
        state = None if graph is None else await _state(app, arguments, reader)
        timeline = reader.plain(await app.runs.timeline(arguments.run))
        now = app.backend.clock.now()
    paint = paint_for(sys.stdout)
    if arguments.mermaid and graph is not None and state is not None:
        print(picture(graph, state))
    elif arguments.json:
        data = {"head": head_json(head, app.registry.codec), "timeline": timeline}
        print(encoded(data if state is None else {**data, "blueprint": state}))
    elif arguments.at is not None and state is not None:
        when = datetime.fromtimestamp(state.at / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        print(f"{paint(state.run, 'bold')}  {state.blueprint}  {paint.status(state.status)} at #{state.seq}, {when}\n")
        print(*node_lines(state, columns=width(), paint=paint, is_full=arguments.all), sep="\n")
    else:
        lines = draw(timeline, head, now=now, columns=width(), paint=paint, is_full=arguments.all)
        if state is not None:
            lines += ["", *node_lines(state, columns=width(), paint=paint, is_full=arguments.all)]
        print("\n".join(lines))
    reader.tell(arguments.run)
    return DONE


async def _state(app: Stepwell, arguments: Namespace, reader: Reader) -> GraphState | None:
    """Where the nodes stand, unless what they gave is encrypted and not all else is asked for."""
    try:
        return await app.runs.state(arguments.run, at=arguments.at)
    except SealedError as error:
        if arguments.at is not None or arguments.mermaid:
            raise CommandError(f"run {arguments.run}: {error}\n{CURE[0].upper()}{CURE[1:]}") from None
        reader.has_missed = True
        return None


async def events(arguments: Namespace) -> int:
    """Print the journal, one entry per line. Secrets of the run stay out."""
    async with app_of_runs(arguments) as app:
        reader = Reader(app.registry.codec, is_json=arguments.json)
        async for event in app.runs.events(arguments.run, follow=arguments.follow):
            entry = reader.plain(_without_seed(event.entry))
            if arguments.json:
                print(encoded({"seq": event.seq, "at": event.at, "entry": entry}), flush=True)
                continue
            fields = msgspec.json.decode(msgspec.json.encode(entry), type=dict[str, Raw])
            kind = bytes(fields.pop("t")).decode().strip('"')
            when = datetime.fromtimestamp(event.at / 1000).astimezone().strftime("%H:%M:%S.%f")[:-3]
            rest = " ".join(f"{name}={bytes(raw).decode()}" for name, raw in fields.items())
            print(f"{event.seq:>5} {when} {kind:14} {rest}".rstrip(), flush=True)
    reader.tell(arguments.run)
    return DONE


async def explain(arguments: Namespace) -> int:
    """Say why the run is not moving."""
    async with app_of_runs(arguments) as app:
        try:
            explanation = await app.runs.explain(arguments.run)
        except SealedError as error:
            raise CommandError(f"run {arguments.run}: {error}\n{CURE[0].upper()}{CURE[1:]}") from None
    print(encoded(explanation) if arguments.json else explanation)
    if HIDDEN in str(explanation):
        note(f"some of run {arguments.run} is encrypted; {CURE}")
    return DONE


async def export(arguments: Namespace) -> int:
    """Write the run as one JSON document. Its seed stays out: hook tokens could be forged with it."""
    async with app_of_runs(arguments) as app:
        data = await app.runs.export(arguments.run)
    print(data.decode())
    keys = "; what is encrypted stays so: who reads it needs the keys" if b'"$sealed' in data else ""
    note(f"exported {arguments.run}, {len(data)} bytes{keys}")
    return DONE


def _without_seed(entry: Entry) -> Entry:
    match entry:
        case Created():
            return structs.replace(entry, seed="")
        case ContinuedAsNew(created=created):
            return structs.replace(entry, created=structs.replace(created, seed=""))
        case _:
            return entry
