"""`stepwell keys ...`: API keys, straight in the backend. Servers that run take note of it within seconds."""

from __future__ import annotations

import sys
from argparse import Namespace

from msgspec import structs

from stepwell.cli.console import note, paint_for, short_ms, table, width
from stepwell.cli.places import opened_app
from stepwell.cli.problems import DONE, CommandError
from stepwell.cli.values import encoded
from stepwell.model.durations import duration_ms

try:
    from stepwell.server.access.keys import IssuedKey, Key, KeyRing, status_of
    from stepwell.server.access.tokens import Secrets
except ModuleNotFoundError as missing:
    raise CommandError(f"keys are for the server, which needs {missing.name}: pip install 'stepwell[server]'") from None

_BY = "command line"
_STYLES = {"active": "green", "expired": "dim", "revoked": "dim", "unreadable": "red"}


async def create(arguments: Namespace) -> int:
    """Make a key. The database is made, too, since keys come before the first start of a server."""
    expires_in_ms = None if arguments.expires is None else duration_ms(arguments.expires, what="--expires")
    async with opened_app(arguments.backend, creates=True) as app:
        issued = await KeyRing(app.client).create(
            scopes=arguments.scopes.split(","),
            name=arguments.name,
            namespace=arguments.namespace,
            expires_in_ms=expires_in_ms,
            by=_BY,
        )
        now = app.client.clock.now()
    return _show(arguments, issued, now)


async def rotate(arguments: Namespace) -> int:
    """Another secret for a key."""
    grace_ms = duration_ms(arguments.grace, what="--grace")
    async with opened_app(arguments.backend) as app:
        issued = await KeyRing(app.client).rotate(arguments.key, grace_ms=grace_ms, by=_BY)
        now = app.client.clock.now()
    return _show(arguments, issued, now)


async def revoke(arguments: Namespace) -> int:
    """End a key."""
    async with opened_app(arguments.backend) as app:
        key = await KeyRing(app.client).revoke(arguments.key, by=_BY)
        now = app.client.clock.now()
    if arguments.json:
        print(encoded({"key": _json(key, now)}))
    else:
        note(f"revoked key {key.id}; servers refuse it within seconds")
    return DONE


async def list_keys(arguments: Namespace) -> int:
    """All keys, oldest first."""
    async with opened_app(arguments.backend) as app:
        ring = KeyRing(app.client)
        await ring.refresh()
        now = app.client.clock.now()
    keys = ring.all(arguments.namespace)
    if arguments.json:
        print(encoded({"keys": [_json(key, now) for key in keys]}))
        return DONE
    paint = paint_for(sys.stdout)
    rows = [_row(key, now, paint(status_of(key, now), _STYLES[status_of(key, now)])) for key in keys]
    heading = ("STATUS", "ID", "SCOPES", "AGE", "EXPIRES", "NAMESPACE", "NAME")
    for line in table(heading, rows, columns=width(), paint=paint):
        print(line)
    if not keys:
        note("no keys; `stepwell keys create` makes one")
    return DONE


async def rotate_tokens(arguments: Namespace) -> int:
    """Another secret for tokens."""
    async with opened_app(arguments.backend) as app:
        secrets = Secrets(app.client)
        await secrets.rotate(ends_others=arguments.now)
    if arguments.json:
        print(encoded({"ended": arguments.now}))
    else:
        so_far = "are refused within seconds" if arguments.now else "are good until they expire"
        note(f"tokens get another secret; those that were issued so far {so_far}")
    return DONE


def _show(arguments: Namespace, issued: IssuedKey, now: int) -> int:
    if arguments.json:
        print(encoded({"key": _json(issued.key, now), "secret": issued.text}))
        return DONE
    print(issued.text)
    note(
        f"key {issued.key.id} may {', '.join(issued.key.scopes)}; keep this line, it is shown only now. "
        "Clients send it as  Authorization: Bearer KEY"
    )
    return DONE


def _json(key: Key, now: int) -> dict[str, object]:
    return {**structs.asdict(key), "status": status_of(key, now)}


def _row(key: Key, now: int, status: str) -> tuple[str, ...]:
    expires = "never" if key.expires_at is None else "-" if key.expires_at <= now else short_ms(key.expires_at - now)
    scopes, age = ",".join(key.scopes), short_ms(now - key.created_at)
    return status, key.id, scopes, age, expires, key.namespace or "(default)", key.name
