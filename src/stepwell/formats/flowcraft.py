"""Blueprints as JSON, in the shape of Flowcraft: text to a document, a document to a graph.

A document made for that library loads unchanged. What it tolerates in silence, edges to nowhere above all, is refused
here, with the place and the cure. Unknown fields stay in the document and mean nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, NoReturn

from msgspec import Struct

from stepwell.errors import BlueprintError
from stepwell.formats.fields import Fields, Mistake, key_path
from stepwell.model.blueprint_rules import shown, violations
from stepwell.model.blueprints import Edge, Graph, Node, NodeConfig

MAX_MISTAKES = 20
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
_PLAIN = NodeConfig()


class Draft(Struct, frozen=True, kw_only=True):
    """What could be made of a document. `mistakes` are those of form; entries too broken to use are left out of the
    graph. The paths say where its nodes and edges stand in the document."""

    graph: Graph
    mistakes: tuple[Mistake, ...]
    node_paths: tuple[str, ...]
    edge_paths: tuple[str, ...]


def parse_document(text: str | bytes) -> dict[str, Any]:
    """The JSON object in `text` (UTF-8). BlueprintError with line and column if it is none."""
    if isinstance(text, bytes):
        text = _decoded(text)
    text = text.removeprefix("\ufeff")
    try:
        document = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        if _HALF_CHARACTER.search(text):
            json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise BlueprintError(f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise BlueprintError("not a blueprint: arrays and objects are nested too deep") from None
    except UnicodeEncodeError:
        raise BlueprintError("not text: it holds half of a character (\\ud800 to \\udfff); write whole ones") from None
    except ValueError as error:
        raise BlueprintError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BlueprintError(f"a blueprint is an object with id, nodes and edges, not {shown(document)}")
    return document


def is_blueprint(document: object) -> bool:
    """Whether this is meant to be a blueprint: an object that has nodes or edges."""
    if not isinstance(document, dict):
        return False
    return any(isinstance(document.get(field), list | dict) for field in ("nodes", "edges"))


def graph_of(document: dict[str, Any], *, implementations: Collection[str] = ()) -> Graph:
    """What a document says. BlueprintError names every mistake (up to 20), each with its path in the JSON and the cure.

    `implementations`: names of users' own; a built-in whose name is among them is none.
    """
    draft = read(document)
    found = [str(mistake) for mistake in draft.mistakes[: MAX_MISTAKES + 1]]
    broken = violations(draft.graph, implementations=implementations)
    found += (
        f"{violation.path(draft.node_paths, draft.edge_paths)}: {violation.message}"
        for violation in islice(broken, MAX_MISTAKES + 1 - len(found))
    )
    if found:
        raise BlueprintError(_text(draft.graph.id, found), mistakes=found[:MAX_MISTAKES])
    return draft.graph


def read(document: dict[str, Any]) -> Draft:
    """The graph as far as it can be made out, and what is wrong with the form of the document."""
    mistakes: list[Mistake] = []
    top = Fields(document, "", mistakes)
    id = top.required("id") or ""
    nodes = {path: node for path, node in _nodes(top, mistakes) if node is not None}
    edges = _edges(top, mistakes)
    metadata = Fields(top.object("metadata") or {}, "metadata", mistakes)
    graph = Graph(
        id=id,
        version=metadata.text("version") or "",
        nodes=tuple(nodes.values()),
        edges=tuple(edge for edge, _ in edges.values()),
        cycle_entry_points=tuple(metadata.texts("cycleEntryPoints")),
        concurrency=metadata.count("concurrency"),
        output=metadata.text_or_texts("output") or None,
    )
    return Draft(
        graph=graph,
        mistakes=tuple(mistakes),
        node_paths=tuple(nodes),
        edge_paths=tuple(path for _, path in edges.values()),
    )


def _nodes(top: Fields, mistakes: list[Mistake]) -> Iterator[tuple[str, Node | None]]:
    for path, key, raw in _entries(top, "nodes"):
        fields = Fields(raw, path, mistakes)
        id = key if key is not None and raw.get("id") is None else fields.required("id")
        fields.owner = id
        node = _node(fields, id or "", mistakes)
        yield path, None if id is None else node


def _node(fields: Fields, id: str, mistakes: list[Mistake]) -> Node:
    uses, params, inputs = fields.required("uses"), fields.object("params"), fields.text_or_texts("inputs")
    raw = fields.object("config")
    config = _config(Fields(raw, f"{fields.path}.config", mistakes, id)) if raw else _PLAIN
    return Node(id=id, uses=uses or "", params=params or {}, inputs=inputs, config=config)


def _config(fields: Fields) -> NodeConfig:
    attempts, delay = fields.whole("maxRetries"), fields.duration("retryDelay")
    backoff, most = fields.number("backoff", least=1), fields.duration("maxDelay")
    return NodeConfig(
        max_retries=None if attempts is None else max(attempts, 1),
        retry_delay=_PLAIN.retry_delay if delay is None else delay,
        backoff=_PLAIN.backoff if backoff is None else backoff,
        max_delay=_PLAIN.max_delay if most is None else most,
        timeout=fields.duration("timeout") or None,
        fallback=fields.text("fallback") or None,
        join_strategy=fields.choice("joinStrategy", ("all", "any")),
    )


_Key = tuple[str, str, str | None, str | None]


def _edges(top: Fields, mistakes: list[Mistake]) -> dict[_Key, tuple[Edge, str]]:
    """Of edges that differ in their transform only, the last one, at the place of the first."""
    edges: dict[_Key, tuple[Edge, str]] = {}
    for path, _, raw in _entries(top, "edges"):
        fields = Fields(raw, path, mistakes)
        source, target = fields.required("source"), fields.required("target")
        action, condition = fields.text("action") or None, fields.text("condition") or None
        transform = fields.text("transform") or None
        if source is not None and target is not None:
            edge = Edge(source=source, target=target, action=action, condition=condition, transform=transform)
            edges[source, target, action, condition] = (edge, path)
    return edges


def _entries(top: Fields, name: str) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """The path, the key (in an object) and the value of each node or edge."""
    collection = top.raw.get(name)
    items: Iterator[tuple[str, str | None, Any]] = iter(())
    if isinstance(collection, list):
        items = ((f"{name}[{index}]", None, item) for index, item in enumerate(collection))
    elif isinstance(collection, dict):
        items = ((key_path(name, key), key, item) for key, item in collection.items())
    elif collection is not None:
        top.wrong(name, f"must be an array or an object of {name}, not {shown(collection)}")
    for path, key, item in items:
        if isinstance(item, dict):
            yield path, key, item
        else:
            top.wrong(path, f"must be an object, not {shown(item)}")


def _text(id: str, found: list[str]) -> str:
    name = f"blueprint {id!r}" if id else "blueprint"
    if len(found) == 1:
        return f"{name}: {found[0]}"
    count = f"more than {MAX_MISTAKES}" if len(found) > MAX_MISTAKES else f"{len(found)}"
    return "\n".join([f"{name}: {count} mistakes", *(f"  {mistake}" for mistake in found[:MAX_MISTAKES])])


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BlueprintError(f"not UTF-8: byte {error.start} is {text[error.start]:#04x}; save it as UTF-8") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number there; write a number or null")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large a number")
    return number
