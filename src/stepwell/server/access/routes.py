"""Routes about keys, tokens and the audit log.

Admins of a namespace see and change what is of their namespace. Admins of the default namespace are the operators of
the server: they do so for all.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from stepwell.model.durations import duration_ms
from stepwell.model.ids import RunId
from stepwell.server.access.audit import AuditEntry
from stepwell.server.access.keys import IssuedKey, Key, KeyClosedError, KeyNotFoundError, KeyStatus, status_of
from stepwell.server.access.scopes import Scope, parse_scopes
from stepwell.server.access.tokens import DEFAULT_TTL_MS
from stepwell.server.endpoints import Answer, Call, Endpoint
from stepwell.server.problems import Problem

_Duration = str | Annotated[float, Meta(ge=0)]


class KeyRecord(Key, frozen=True, kw_only=True, omit_defaults=True):
    """A key without its secret."""

    status: KeyStatus


class KeyList(Struct, frozen=True):
    """Keys, oldest first, revoked and expired ones too."""

    keys: list[KeyRecord]


class NewKeyBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A key to make. `expires`: after so many seconds, or text such as "90d"; by default never."""

    scopes: tuple[Scope, ...]
    name: str = ""
    namespace: str | None = None
    expires: _Duration | None = None


class KeyWithSecret(Struct, frozen=True):
    """A key that was made or rotated; `secret` is what clients send, and is never shown again."""

    key: KeyRecord
    secret: str


class RotateBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`grace`: how long the secret so far is still taken, in seconds or as text; by default not at all."""

    grace: _Duration = 0.0


class KeyQuery(Struct, frozen=True):
    """Which keys."""

    namespace: str | None = None


class NewTokenBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A token for a run, or for one stream of it. `ttl` in seconds, or as text such as "15m"; at most a day."""

    run: str
    stream: str | None = None
    scopes: tuple[Scope, ...] = ("read",)
    ttl: _Duration = DEFAULT_TTL_MS / 1000


class NewToken(Struct, frozen=True):
    """A short-lived token. `id` is how the audit log names it."""

    token: str
    id: str
    scopes: tuple[Scope, ...]
    expires_at: int


class AuditQuery(Struct, frozen=True):
    """Which entries; `day` (UTC) is today by default."""

    day: str = ""
    namespace: str | None = None
    order: Literal["newest", "oldest"] = "newest"
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class AuditAnswer(Struct, frozen=True):
    """Entries of one day."""

    entries: tuple[AuditEntry, ...]
    cursor: str | None


async def list_keys(call: Call) -> Answer:
    """Those of a namespace; for operators, of all, unless they name one."""
    namespace: str | None = call.query.namespace
    if namespace is None and not call.caller.is_operator:
        namespace = call.caller.namespace
    if namespace is not None:
        _check_reach(call, namespace)
    await call.server.access.keys.refresh()  # what another server has just done counts here, too
    return Answer(body=KeyList([_record(call, key) for key in call.server.access.keys.all(namespace)]))


async def create_key(call: Call) -> Answer:
    """Make a key."""
    body: NewKeyBody = call.body
    namespace = call.caller.namespace if body.namespace is None else body.namespace
    _check_reach(call, namespace)
    issued = await call.server.access.keys.create(
        scopes=body.scopes,
        name=body.name,
        namespace=namespace,
        expires_in_ms=None if body.expires is None else duration_ms(body.expires, what="expires"),
        by=call.caller.who,
    )
    return _with_secret(call, issued, status=201)


async def revoke_key(call: Call) -> Answer:
    """End a key."""
    key = await call.server.access.keys.revoke((await _key(call)).id, by=call.caller.who)
    return Answer(body=_record(call, key))


async def rotate_key(call: Call) -> Answer:
    """Give a key another secret."""
    body: RotateBody = call.body or RotateBody()
    grace_ms = duration_ms(body.grace, what="grace")
    key = await _key(call)
    try:
        issued = await call.server.access.keys.rotate(key.id, grace_ms=grace_ms, by=call.caller.who)
    except KeyClosedError as error:
        raise Problem(409, "key_closed", str(error)) from None
    return _with_secret(call, issued, status=200)


async def create_token(call: Call) -> Answer:
    """Issue a token. That is written down, so that the audit log says whose it is."""
    body: NewTokenBody = call.body
    for scope in sorted(parse_scopes(body.scopes)):
        if not call.caller.may(scope):
            raise Problem(403, "forbidden", f"this key does not have the scope {scope!r}, so its tokens cannot")
    await call.app.client.head(RunId(body.run))
    token = call.server.access.tokens.issue(
        call.caller, run=body.run, stream=body.stream, scopes=body.scopes, ttl_ms=duration_ms(body.ttl, what="ttl")
    )
    about = {"run": body.run, "issued": token.id, **({"stream": body.stream} if body.stream is not None else {})}
    await call.server.access.record(
        call.caller,
        action="POST /api/tokens",
        path=about,
        status=201,
        address=call.client_address,
        request_id=call.request_id,
    )
    return Answer(body=NewToken(token.text, token.id, token.scopes, token.expires_at), status=201)


async def read_audit(call: Call) -> Answer:
    """A page of the audit log."""
    query: AuditQuery = call.query
    namespace = call.caller.namespace if query.namespace is None else query.namespace
    _check_reach(call, namespace)
    today = datetime.fromtimestamp(call.app.client.clock.now() / 1000, UTC).date()
    page = await call.server.access.audit.page(
        namespace,
        query.day or str(today),
        cursor=query.cursor,
        limit=query.limit,
        newest_first=query.order == "newest",
    )
    return Answer(body=AuditAnswer(page.entries, page.cursor))


def _check_reach(call: Call, namespace: str) -> None:
    if namespace != call.caller.namespace and not call.caller.is_operator:
        raise Problem(403, "forbidden", "only admins of the default namespace may ask about other namespaces")


async def _key(call: Call) -> Key:
    """The key in the path. One of another namespace is told as if it were not there."""
    await call.server.access.keys.refresh()
    try:
        key = call.server.access.keys.find(call.path["key"])
    except KeyNotFoundError:
        key = None
    if key is None or (key.namespace != call.caller.namespace and not call.caller.is_operator):
        raise Problem(404, "not_found", f"there is no key {call.path['key'][:100]!r}")
    return key


def _record(call: Call, key: Key) -> KeyRecord:
    return KeyRecord(**structs.asdict(key), status=status_of(key, call.app.client.clock.now()))


def _with_secret(call: Call, issued: IssuedKey, *, status: int) -> Answer:
    return Answer(body=KeyWithSecret(_record(call, issued.key), issued.text), status=status)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/keys",
        handler=list_keys,
        scope="admin",
        summary="List API keys, without their secrets.",
        query=KeyQuery,
        answers={200: KeyList},
    ),
    Endpoint(
        method="POST",
        path="/api/keys",
        handler=create_key,
        scope="admin",
        summary="Make an API key; its secret is in this answer and nowhere else.",
        body=NewKeyBody,
        answers={201: KeyWithSecret},
    ),
    Endpoint(
        method="DELETE",
        path="/api/keys/{key}",
        handler=revoke_key,
        scope="admin",
        summary="Revoke an API key, and with it its tokens.",
        answers={200: KeyRecord},
        problems=(404,),
    ),
    Endpoint(
        method="POST",
        path="/api/keys/{key}/rotate",
        handler=rotate_key,
        scope="admin",
        summary="Give an API key another secret; the one so far may be taken a while longer.",
        body=RotateBody,
        body_required=False,
        answers={200: KeyWithSecret},
        problems=(404, 409),
    ),
    Endpoint(
        method="POST",
        path="/api/tokens",
        handler=create_token,
        scope="read",
        summary="Issue a short-lived token for one run, or one stream of it, as for a browser.",
        body=NewTokenBody,
        answers={201: NewToken},
        problems=(404,),
    ),
    Endpoint(
        method="GET",
        path="/api/audit",
        handler=read_audit,
        scope="admin",
        summary="Read the audit log of a day.",
        query=AuditQuery,
        answers={200: AuditAnswer},
    ),
)
