"""What every blueprint must keep, whoever made it: names that name something, and parameters that built-ins can use.

Reading a document refuses what breaks these rules; the linter lists it beside its own findings.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from msgspec import Struct

from stepwell.errors import DefinitionError
from stepwell.model.blueprints import BuiltIn, Graph, Node
from stepwell.model.durations import duration_ms

_MAX_SUGGESTIONS = 50
_MAX_COMPARED = 2000
_LONGEST_MS = 100 * 365 * 86_400_000


class Violation(Struct, frozen=True, kw_only=True):
    """One broken rule. `node` and `edge` are positions in the graph, `field` a path from there; `message` reads well
    after that path, and ends with the cure."""

    code: str
    message: str
    node: int | None = None
    edge: int | None = None
    field: str = ""
    node_id: str | None = None
    related_id: str | None = None

    def path(self, nodes: Sequence[str] = (), edges: Sequence[str] = ()) -> str:
        """Where it stands, given the paths of the nodes and edges if they are not in arrays."""
        place = ""
        if self.node is not None:
            place = nodes[self.node] if nodes else f"nodes[{self.node}]"
        elif self.edge is not None:
            place = edges[self.edge] if edges else f"edges[{self.edge}]"
        return ".".join(part for part in (place, self.field) if part)


class Parameter(Struct, frozen=True, kw_only=True):
    """One parameter of a built-in node. `check` returns what is wrong with a value, or nothing."""

    check: Callable[[Any], str]
    required: bool = False
    example: str = ""


class Names:
    """The names that something may refer to; says what a wrong one was probably meant to be."""

    def __init__(self, names: Iterable[str]) -> None:
        self._known = [name for name in islice(names, _MAX_COMPARED) if name]
        self._left = _MAX_SUGGESTIONS

    def hint(self, wrong: str) -> str:
        """`; did you mean 'load'?`, or some of what there is. Asked very often, it says nothing more."""
        near = self._near(wrong, 0.6)
        if near:
            return f"; did you mean {near!r}?"
        if self._left <= 0 or not self._known:
            return ""
        some = ", ".join(repr(name) for name in self._known[:5])
        return f"; there is {some}{' and more' if len(self._known) > 5 else ''}"

    def misspelt(self, name: str) -> bool:
        """Whether a name is probably one of these, misspelt: not just longer or shorter, as `item` and `items` are."""
        near = self._near(name, 0.75)
        return bool(near) and not near.startswith(name) and not name.startswith(near)

    def _near(self, wrong: str, cutoff: float) -> str:
        self._left -= 1
        if self._left < 0:
            return ""
        return next(iter(difflib.get_close_matches(wrong, self._known, 1, cutoff)), "")


def violations(graph: Graph, *, implementations: Collection[str] = ()) -> Iterator[Violation]:
    """All broken rules. A built-in whose name is among `implementations` is none."""
    known: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        known.setdefault(node.id, index)
    names = Names(known)
    starters = {edge.source for edge in graph.edges if edge.action == "continue"}
    for index, node in enumerate(graph.nodes):
        if known[node.id] != index:
            yield Violation(
                code="DUPLICATE_NODE_ID",
                message=f"{node.id!r} is the id of an earlier node too; give each node its own",
                node=index,
                field="id",
                node_id=node.id,
            )
        yield from _fallback(node, index, known, names)
        if node.built_in is not None and node.uses not in implementations:
            yield from _parameters(node, index, known, names)
            if node.built_in == "loop-controller" and node.id not in starters:
                yield _no_continue(node, index)
    yield from _rings(graph, known)
    yield from _edges(graph, known, names)
    yield from _output(graph, known, names)


def _edges(graph: Graph, known: dict[str, int], names: Names) -> Iterator[Violation]:
    for index, edge in enumerate(graph.edges):
        if edge.source not in known:
            yield Violation(
                code="INVALID_EDGE_SOURCE",
                message=f"no node is called {edge.source!r}{names.hint(edge.source)}",
                edge=index,
                field="source",
                node_id=edge.source,
                related_id=edge.target,
            )
        if edge.target not in known:
            yield Violation(
                code="INVALID_EDGE_TARGET",
                message=f"no node is called {edge.target!r}{names.hint(edge.target)}",
                edge=index,
                field="target",
                node_id=edge.target,
                related_id=edge.source,
            )


def _fallback(node: Node, index: int, known: dict[str, int], names: Names) -> Iterator[Violation]:
    fallback = node.config.fallback
    if fallback is not None and fallback not in known:
        yield Violation(
            code="INVALID_FALLBACK",
            message=f"no node is called {fallback!r}; a fallback is the id of a node{names.hint(fallback)}",
            node=index,
            field="config.fallback",
            node_id=node.id,
            related_id=fallback,
        )


def _rings(graph: Graph, known: dict[str, int]) -> Iterator[Violation]:
    """One violation for each ring of fallbacks, at its first node."""
    seen: dict[int, int] = {}
    for start in known.values():
        path: list[int] = []
        index: int | None = start
        while index is not None and index not in seen:
            seen[index] = start
            path.append(index)
            fallback = graph.nodes[index].config.fallback
            index = None if fallback is None else known.get(fallback)
        if index is not None and seen[index] == start and path:
            yield _ring(graph, path[path.index(index) :])


def _ring(graph: Graph, ring: list[int]) -> Violation:
    turn = ring.index(min(ring))
    ids = [graph.nodes[index].id for index in [*ring[turn:], *ring[: turn + 1]]]
    if len(ring) == 1:
        problem = "a node cannot be its own fallback; name another, or none"
    else:
        problem = f"fallbacks in a ring: {' > '.join(repr(id) for id in ids)}; one of these nodes must have none"
    return Violation(
        code="FALLBACK_RING",
        message=problem,
        node=min(ring),
        field="config.fallback",
        node_id=ids[0],
        related_id=ids[1],
    )


def _no_continue(node: Node, index: int) -> Violation:
    return Violation(
        code="LOOP_WITHOUT_CONTINUE",
        message=(
            f"loop {node.id!r} has no edge with the action 'continue'; "
            "add one from it to the node that an iteration begins with"
        ),
        node=index,
        node_id=node.id,
    )


def _output(graph: Graph, known: dict[str, int], names: Names) -> Iterator[Violation]:
    named = {"": graph.output} if isinstance(graph.output, str) else graph.output or {}
    for key, name in named.items():
        if name not in known:
            yield Violation(
                code="INVALID_OUTPUT",
                message=f"no node is called {name!r}; the output of a blueprint is that of a node{names.hint(name)}",
                field=f"metadata.output.{key}" if key else "metadata.output",
                related_id=name,
            )


def milliseconds(value: object) -> int:
    """A duration as blueprints write it: a number of milliseconds, or text such as "1h30m". DefinitionError says what
    is wrong with another value."""
    if isinstance(value, str):
        return duration_ms(value, what="the duration")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DefinitionError(f'must be milliseconds, or text such as "1h30m", not {shown(value)}')
    if not 0 <= value <= _LONGEST_MS:
        raise DefinitionError(f"must be 0 to {_LONGEST_MS} milliseconds (100 years), not {shown(value)}")
    return math.ceil(value)


def is_whole(value: object) -> bool:
    """Whether a JSON value is a whole number, however it is written: 3 and 3.0 are."""
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def shown(value: object) -> str:
    """A JSON value as messages name it."""
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "an array",
        dict: "an object",
    }
    if value is None:
        return "null"
    text = repr(value)
    kind = kinds.get(type(value), type(value).__name__)
    return f"{kind} ({text if len(text) <= 40 else text[:37] + '...'})"


def _parameters(node: Node, index: int, known: dict[str, int], names: Names) -> Iterator[Violation]:
    assert node.built_in is not None
    for name, parameter in PARAMETERS[node.built_in].items():
        value = node.params.get(name)
        problem = ""
        if value is None:
            problem = f"missing; a {node.uses!r} node needs it: {parameter.example}" if parameter.required else ""
        else:
            problem = parameter.check(value)
            if not problem and name == "gatherNodeId" and node.built_in == "batch-scatter" and value not in known:
                problem = f"no node is called {value!r}{names.hint(value)}"
        if problem:
            yield Violation(
                code=_CODES.get((node.built_in, name), "INVALID_PARAMETER"),
                message=problem,
                node=index,
                field=f"params.{name}",
                node_id=node.id,
            )


def _text(value: Any) -> str:
    return "" if isinstance(value, str) else f"must be text, not {shown(value)}"


def _name(value: Any) -> str:
    return _text(value) or ("" if value else "is empty")


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else f"must be true or false, not {shown(value)}"


def _count(value: Any) -> str:
    return "" if is_whole(value) and value >= 1 else f"must be a whole number, 1 or more, not {shown(value)}"


def _duration(value: Any) -> str:
    try:
        milliseconds(value)
    except DefinitionError as error:
        return str(error)
    return ""


def _texts(value: Any) -> str:
    if not isinstance(value, dict):
        return f"must be an object of texts, not {shown(value)}"
    wrong = next((key for key, item in value.items() if not isinstance(item, str)), None)
    return "" if wrong is None else f"the value of {wrong!r} must be text, not {shown(value[wrong])}"


PARAMETERS: dict[BuiltIn, dict[str, Parameter]] = {
    "wait": {
        "signal": Parameter(check=_name),
        "eventName": Parameter(check=_name),
        "timeout": Parameter(check=_duration),
    },
    "sleep": {"duration": Parameter(check=_duration, required=True, example='"1h30m", or milliseconds')},
    "webhook": {},
    "subflow": {
        "blueprintId": Parameter(check=_name, required=True, example="the id of the blueprint to run"),
        "inputs": Parameter(check=_texts),
        "outputs": Parameter(check=_texts),
    },
    "batch-scatter": {
        "workerUsesKey": Parameter(check=_name, required=True, example="what each item is given to"),
        "gatherNodeId": Parameter(check=_text, required=True, example="the id of the node that collects the results"),
        "outputKey": Parameter(check=_text),
        "chunkSize": Parameter(check=_count),
        "concurrency": Parameter(check=_count),
        "settle": Parameter(check=_flag),
    },
    "batch-gather": {"outputKey": Parameter(check=_text), "gatherNodeId": Parameter(check=_text)},
    "loop-controller": {
        "condition": Parameter(check=_name, required=True, example="an expression, true while the loop goes on"),
        "maxIterations": Parameter(check=_count),
    },
    "set": {"values": Parameter(check=_texts, required=True, example="an object of keys and expressions")},
    "start": {},
    "join": {},
    "error": {"message": Parameter(check=_text)},
}
"""What the built-in nodes take, by the names in the document."""

_CODES: dict[tuple[str, str], str] = {
    ("batch-scatter", "workerUsesKey"): "INVALID_BATCH_WORKER_KEY",
    ("subflow", "blueprintId"): "INVALID_SUBFLOW_BLUEPRINT_ID",
}
