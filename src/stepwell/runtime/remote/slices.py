"""What a worker is sent: the run as of now, in the words of the wire, and the headers around it."""

from __future__ import annotations

import sys
from urllib.parse import quote

from msgspec import UNSET, Raw, Struct, UnsetType

from stepwell.codec import Codec
from stepwell.engine.program import Origin
from stepwell.engine.remote.calls import RemoteCall
from stepwell.formats.voyant.headers import (
    ACCEPT,
    ATTEMPT,
    CANCEL,
    DISPATCH_AUTH,
    HOOK_KEY,
    HOOKS,
    JSON_TYPE,
    KEY_ID,
    NAMESPACE,
    NONCE,
    PROTOCOL_VERSION,
    SIGNATURE,
    TIMESTAMP,
)
from stepwell.formats.voyant.invocations import PROTOCOL, RunMetaIn, StepRequest, WireJournal
from stepwell.formats.voyant.labels import NO_VERSION, Labels, tag_list, tenant_of, trigger_of
from stepwell.formats.voyant.plain import plain
from stepwell.formats.voyant.signing import SignedRequest, key_id, sign_v1, sign_v2
from stepwell.model.entries import Created
from stepwell.model.failures import NULL
from stepwell.model.tokens import hook_key
from stepwell.model.traceparents import TAG, traceparent_of
from stepwell.ports import Clock
from stepwell.runtime.remote.sending import METHOD, Sent

_REASON_MAX = 500


class Around(Struct, frozen=True, kw_only=True):
    """What an invocation is sent with, beside what the journal says. `deadline` (ms): when nobody waits for it any
    more."""

    namespace: str
    public_url: str
    labels: Labels
    attempt: int
    deadline: int


def step_request(call: RemoteCall, journal: WireJournal, codec: Codec, around: Around) -> StepRequest:
    """The request of an invocation."""
    origin, labels = call.journal.origin, around.labels
    created = origin.created
    return StepRequest(
        run_id=origin.run,
        workflow_id=created.workflow,
        workflow_version=labels.version or created.version or NO_VERSION,
        invocation_count=call.number,
        input=_input(origin, labels, codec),
        journal=journal,
        environment=labels.environment,  # type: ignore[arg-type]
        deadline=around.deadline,
        tenant_meta=tenant_of(labels, around.namespace),
        run_meta=RunMetaIn(
            attempt=1 + origin.retries,
            triggered_by=trigger_of(labels, created.parent),
            tags=tag_list(created.tags),
            started_at=max(origin.born_at, created.not_before),
        ),
    )


def headers_of(call: RemoteCall, around: Around) -> dict[str, str]:
    """The headers of an invocation; signatures are made last."""
    origin = call.journal.origin
    headers = {
        "content-type": JSON_TYPE,
        PROTOCOL_VERSION: str(PROTOCOL),
        ACCEPT: "lines",
        ATTEMPT: str(around.attempt),
        HOOKS: f"{around.public_url}/hooks/",
        HOOK_KEY: f"{origin.base}.{hook_key(origin.run, origin.base, origin.seed)}",
    }
    if around.namespace:
        headers[NAMESPACE] = around.namespace
    if (trace := _traceparent(origin.created)) is not None:
        headers[TAG] = trace
    if call.cancel is not None:
        headers[CANCEL] = quote(call.cancel[:_REASON_MAX], safe="")
    return headers


def signed(sent: Sent, secret: str | None, clock: Clock) -> Sent:
    """The call with its signatures, if there is a secret: the protocol's, and ours."""
    if secret is None:
        return sent
    key = secret.encode()
    headers = {
        **sent.headers,
        DISPATCH_AUTH: sign_v1(key, sent.body),
        KEY_ID: key_id(key),
        TIMESTAMP: str(clock.now()),
        NONCE: clock.random_bytes(16).hex(),
    }
    path = sent.path.partition("?")[0]
    headers[SIGNATURE] = sign_v2(key, SignedRequest(method=METHOD, path=path, headers=headers, body=sent.body))
    return Sent(sent.body, headers, sent.path)


def _traceparent(created: Created) -> str | None:
    """The span of this attempt, if runs are traced here; else what asked for the run."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None and (span := trace.get_current_span().get_span_context()).is_valid:
        return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
    asked = created.tags.get(TAG)  # a tag may be anything
    return None if traceparent_of(asked) is None else asked


def _input(origin: Origin, labels: Labels, codec: Codec) -> Raw | UnsetType:
    if origin.input == NULL:
        return NULL if labels.is_null else UNSET
    return plain(codec.opened(origin.input, where="the input of a remote run"))
