"""`stepwell send`, `publish`, `complete`: what comes to runs from outside, typed by hand."""

from __future__ import annotations

from argparse import Namespace

from stepwell.cli.console import note
from stepwell.cli.places import app_of_runs
from stepwell.cli.problems import DONE
from stepwell.cli.values import encoded, given_json


async def send(arguments: Namespace) -> int:
    """Send a signal to a run. Its type is checked where the run receives it."""
    data = given_json(arguments.value, what="the signal's value")
    async with app_of_runs(arguments) as app:
        value = app.registry.codec.sealed(data)
        is_new = await app.client.send(arguments.run, arguments.signal, value, id=arguments.message_id)
    sent = {"run": arguments.run, "signal": arguments.signal, "new": is_new}
    return _tell(arguments, sent, f"sent {arguments.signal} to {arguments.run}" + ("" if is_new else " (it had it)"))


async def publish(arguments: Namespace) -> int:
    """Publish an event."""
    data = given_json(arguments.value, what="the event's value")
    async with app_of_runs(arguments) as app:
        value = app.registry.codec.sealed(data)
        count = await app.client.publish(arguments.event, value)
    runs = "1 run that waits" if count == 1 else f"{count} runs that wait"
    return _tell(arguments, {"event": arguments.event, "runs": count}, f"published {arguments.event} to {runs} for it")


async def complete(arguments: Namespace) -> int:
    """Complete a hook."""
    data = given_json(arguments.value, what="the hook's value")
    async with app_of_runs(arguments) as app:
        value = app.registry.codec.sealed(data)
        run = await app.client.complete(arguments.token, value)
    return _tell(arguments, {"run": run}, f"completed a hook of run {run}")


def _tell(arguments: Namespace, result: dict[str, object], text: str) -> int:
    if arguments.json:
        print(encoded(result))
    else:
        note(text)
    return DONE
