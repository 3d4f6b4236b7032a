"""Fields of a document that mean nothing, and look as if they were meant to."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from typing import Any

from msgspec import Struct

from stepwell.formats.fields import key_path
from stepwell.model.blueprint_rules import PARAMETERS
from stepwell.model.blueprints import ALIASES

FIELDS: dict[str, tuple[str, ...]] = {
    "": ("id", "nodes", "edges", "metadata"),
    "node": ("id", "uses", "params", "inputs", "config"),
    "config": ("maxRetries", "retryDelay", "backoff", "maxDelay", "timeout", "fallback", "joinStrategy"),
    "edge": ("source", "target", "action", "condition", "transform"),
    "metadata": ("version", "cycleEntryPoints", "concurrency", "output"),
}
"""The fields that mean something, by the kind of object."""

_CUTOFF = 0.75


class Unknown(Struct, frozen=True, kw_only=True):
    """A field that means nothing, and the one that was probably meant."""

    path: str
    meant: str
    node_id: str | None = None


def unknown_fields(document: dict[str, Any], *, implementations: Collection[str] = ()) -> Iterator[Unknown]:
    """Such fields, as far as the form of the document allows to look. Fields that resemble none are notes of others.

    The parameters of a built-in whose name is among `implementations` are left alone.
    """
    yield from _near(document, "", FIELDS[""])
    metadata = document.get("metadata")
    if isinstance(metadata, dict):
        yield from _near(metadata, "metadata", FIELDS["metadata"])
    for path, key, node in _objects(document.get("nodes"), "nodes"):
        name = node.get("id", key)
        id = name if isinstance(name, str) else None
        yield from _near(node, path, FIELDS["node"], id)
        config = node.get("config")
        if isinstance(config, dict):
            yield from _near(config, f"{path}.config", FIELDS["config"], id)
        params, uses = node.get("params"), node.get("uses")
        if isinstance(params, dict) and isinstance(uses, str) and uses in ALIASES and uses not in implementations:
            yield from _near(params, f"{path}.params", tuple(PARAMETERS[ALIASES[uses]]), id)
    for path, _, edge in _objects(document.get("edges"), "edges"):
        yield from _near(edge, path, FIELDS["edge"])


def _objects(collection: object, name: str) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    if isinstance(collection, list):
        for index, item in enumerate(collection):
            if isinstance(item, dict):
                yield f"{name}[{index}]", None, item
    elif isinstance(collection, dict):
        for key, item in collection.items():
            if isinstance(item, dict):
                yield key_path(name, key), key, item


def _near(raw: dict[str, Any], path: str, known: tuple[str, ...], id: str | None = None) -> Iterator[Unknown]:
    for field in raw:
        if field in known or field.startswith("_"):
            continue
        lower = {name.lower(): name for name in known if name not in raw}
        near = difflib.get_close_matches(field.lower().replace("_", ""), lower, 1, _CUTOFF)
        if near:
            yield Unknown(path=key_path(path, field) if path else field, meant=lower[near[0]], node_id=id)
