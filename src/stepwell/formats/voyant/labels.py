"""What only the trigger of that system knows of a run, kept in its metadata; tags and ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Raw, Struct

from stepwell.errors import DefinitionError
from stepwell.model.entries import Parent
from stepwell.model.failures import NULL
from stepwell.model.ids import RunId
from stepwell.model.traceparents import TAG as TRACEPARENT

LABELS = "voyant"
"""The key of metadata that holds the labels. Records do not show it."""
ENVIRONMENTS = ("production", "preview", "development")
DEFAULT_ENVIRONMENT = "development"
BY_API = Raw(b'{"kind":"api"}')
NO_VERSION = "local"
"""The version that the wire and its records have of runs without one."""

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]
_CHANCE_BYTES = 10
_NOBODY = "default"


class Labels(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the engine has no use for. `is_null`: the input was null, which is not the same as none."""

    version: str = ""
    environment: str = DEFAULT_ENVIRONMENT
    tenant: Raw = NULL
    triggered_by: Raw = NULL
    key: str = ""
    is_null: bool = False

    @property
    def payload(self) -> bytes:
        """The JSON of the value in the run's metadata."""
        return msgspec.json.encode(self)


def labels_of(payload: Raw | None) -> Labels:
    """The labels in a value of metadata. One that is none of ours, or is not readable here, says nothing."""
    if payload is None:
        return _NONE
    try:
        return _decode(payload)
    except msgspec.DecodeError:
        return _NONE


_decode = msgspec.json.Decoder(Labels).decode
_NONE = Labels()


def tenant_of(labels: Labels, namespace: str) -> Raw:
    """The tenant of a run as JSON; of one of which nobody said it, its namespace."""
    if labels.tenant != NULL:
        return labels.tenant
    return Raw(msgspec.json.encode({"tenantId": namespace or _NOBODY, "projectId": _NOBODY, "organizationId": _NOBODY}))


def trigger_of(labels: Labels, parent: Parent | None) -> Raw:
    """Who asked for a run, as JSON."""
    if parent is not None:
        by = {"kind": "parent", "parentRunId": parent.run, "parentStepId": parent.command}
        return Raw(msgspec.json.encode(by))
    return labels.triggered_by if labels.triggered_by != NULL else BY_API


def tag_map(tags: Iterable[str]) -> dict[str, str]:
    """Tags of a list as tags of ours: `invoice` has no value, `customer:7` has one, unless that key is taken."""
    found: dict[str, str] = {}
    for tag in tags:
        key, colon, value = tag.partition(":")
        if not (colon and key and value) or found.get(key, value) != value:
            key, value = tag, ""
        found[key] = value
    return found


def tag_list(tags: Mapping[str, str]) -> list[str]:
    """Tags of ours as a list, without the trace that asked for the run."""
    return [f"{key}:{value}" if value else key for key, value in tags.items() if key != TRACEPARENT]


def run_id(now_ms: int, chance: bytes) -> RunId:
    """A new id: `run_` and a ULID, of the time and 80 random bits."""
    if len(chance) != _CHANCE_BYTES:
        raise DefinitionError(f"a run id is made of {_CHANCE_BYTES} random bytes, {len(chance)} were given")
    number = (now_ms << 80) | int.from_bytes(chance, "big")
    digits = [_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)]
    return RunId(f"run_{''.join(digits)}")
