"""Hooks over HTTP. The token in the URL is the credential; nothing is asked of the caller but what the hook asks.

Whoever has no genuine token is told the same, after the same work, whatever runs there are.
"""

from __future__ import annotations

import logging
from hashlib import sha256

from msgspec import Raw, Struct

from stepwell.errors import HookError, StepwellError
from stepwell.formats.hooks import HookRequest, HookResponse, media_type, query_pairs
from stepwell.model.tokens import parse_token
from stepwell.runtime.hook_requests import answer_of, known_answer, payload_of, secret_of
from stepwell.runtime.hooks import FoundHook, find_hook, hand_over
from stepwell.server.bodies import checked_json
from stepwell.server.endpoints import Answer, Call, Endpoint
from stepwell.server.problems import Problem
from stepwell.server.queries import AnyQuery
from stepwell.server.signatures import ID, is_signed

_log = logging.getLogger("stepwell.server")
_ID_MAX = 64
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})
_OF_ANSWERS = {"content-security-policy": "sandbox allow-forms", "referrer-policy": "no-referrer"}
"""What a run answers is not to speak for this server in a browser, nor to hand on the URL with the token."""


class HookTaken(Struct, frozen=True):
    """The run has it, or will have it when it comes to wait for it."""

    run: str


async def _complete(call: Call) -> Answer:
    """202 with the run; or what the run answers, if the hook is one that waits for that and it comes in time."""
    token, path = _divided(call.path["token"])
    hook = await _found(call, token)
    _check_method(call, hook)
    if hook.options.signed_by:
        _check_signature(call, hook)
    id = _id(call)
    value = _payload(call, hook, path)
    if hook.state == "soon":
        text = "the run has begun anew and not opened this hook yet; try again"
        raise Problem(503, "hook_not_open", text, headers={"retry-after": "1"})
    if not await hand_over(call.app.client, hook, value, id=id):
        response = await known_answer(call.app.client, hook, id=id)
        if response is None:
            raise Problem(410, "hook_is_over", "the run of this hook has ended, or gone on without it")
        return _answer(response)
    response = await _response(call, hook, id) if hook.options.respond else None
    return Answer(body=HookTaken(hook.run), status=202) if response is None else _answer(response)


def _divided(text: str) -> tuple[str, str]:
    """The token, and the path behind it. A token of the user's own may have slashes in it, so there it is all."""
    token, slash, rest = text.partition("/")
    return (token, slash + rest) if slash and parse_token(token) is not None else (text, "")


async def _found(call: Call, token: str) -> FoundHook:
    try:
        return await find_hook(call.app.client, token)
    except HookError:
        raise Problem(404, "no_such_hook", "there is no such hook") from None


def _check_method(call: Call, hook: FoundHook) -> None:
    allowed = hook.options.verbs
    method = call.scope["method"]
    if method not in allowed:
        text = f"this hook is completed by {', '.join(allowed)}, and not by {method}"
        raise Problem(405, "method_not_allowed", text, headers={"allow": ", ".join(allowed)})


def _check_signature(call: Call, hook: FoundHook) -> None:
    try:
        secret = secret_of(call.app, hook.options.signed_by)
        now = call.app.client.clock.now() / 1000
        if is_signed(secret, call.raw_body, call.headers, now=now):
            return
    except Exception as error:  # providers of secrets raise what they like
        _log.error("a hook of run %s cannot be completed: its secret: %s", hook.run, error)
        text = "the signature cannot be checked now; try again"
        raise Problem(503, "signature_not_checked", text, headers={"retry-after": "60"}) from None
    raise Problem(401, "bad_signature", "the request is not signed as it must be")


def _id(call: Call) -> str:
    """Under which what comes counts once."""
    given = call.header(ID) or call.header("idempotency-key")
    if not given:
        return call.app.backend.clock.random_bytes(12).hex()
    return given if len(given) <= _ID_MAX else sha256(given.encode()).hexdigest()


def _payload(call: Call, hook: FoundHook, path: str) -> Raw:
    """`Problem` 400, 415."""
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in call.scope["headers"]]
    request = HookRequest(
        method=call.scope["method"],
        path=path,
        query=query_pairs(call.scope["query_string"]),
        headers=tuple([(name, value) for name, value in headers if name not in _CREDENTIALS]),
        body=call.raw_body,
    )
    kind = media_type(request.content_type)
    if not hook.options.request and request.body and (kind.endswith("json") or not kind):
        checked_json(request.body)
    value = payload_of(call.app.client, hook, request)
    if value is None:
        text = f"this hook takes JSON, forms and text, not {kind[:100]!r}"
        raise Problem(415, "unsupported_media_type", text)
    return value


async def _response(call: Call, hook: FoundHook, id: str) -> HookResponse | None:
    wait = call.server.options.hook_wait
    try:
        async with call.server.patience.at_most(wait):
            return await answer_of(call.app.client, hook, id=id, within=wait)
    except TimeoutError:
        return None
    except StepwellError as error:
        # It was taken, and to send it again would do no good.
        _log.warning("the answer of run %s to a hook cannot be read: %s", hook.run, error)
        return None


def _answer(response: HookResponse) -> Answer:
    given = {name.lower(): value for name, value in response.headers.items()}
    return Answer(
        body=response.body,
        status=response.status,
        headers={**_OF_ANSWERS, **given},
        content_type=response.content_type,
    )


def _endpoint(path: str, method: str) -> Endpoint:
    return Endpoint(
        method=method,
        path=path,
        handler=_complete,
        scope=None,
        summary=f"Complete a hook with a {method} request of any content type.",
        query=AnyQuery,
        body=None if method == "GET" else bytes,
        body_required=False,
        answers={202: HookTaken},
        problems=(401, 404, 405, 410, 415),
    )


ENDPOINTS = tuple(
    _endpoint(path, method)
    for path in ("/hooks/{token:path}", "/n/{namespace}/hooks/{token:path}")
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
)
