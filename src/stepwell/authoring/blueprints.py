"""Blueprints: workflows as data, built in Python or read from JSON.

A blueprint is a JSON document and the implementations that its nodes name. The document is the truth: what is built
here is what `to_json()` gives, and what was read comes out again as it was, unknown fields included.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, Literal, Self, TypedDict, TypeVar, Unpack, cast, overload

from stepwell.authoring.implementations import (
    Implementation,
    checked_implementation,
    found_implementations,
    implementation_name,
)
from stepwell.authoring.lint_blueprints import lint_document
from stepwell.authoring.messages import Event, Signal
from stepwell.authoring.workflows import Definition, DefinitionKeywords, WorkflowRef, workflow_spec
from stepwell.engine.graph.analysis import Analysis, analyze
from stepwell.engine.graph.findings import Finding
from stepwell.errors import BlueprintError, DefinitionError
from stepwell.formats.flowcraft import graph_of, parse_document
from stepwell.formats.mermaid import to_mermaid
from stepwell.model.blueprints import ALIASES, Graph
from stepwell.model.durations import Duration, duration_ms
from stepwell.model.policies import NO_RETRY, Retry

In = TypeVar("In")
Out = TypeVar("Out")
Json = dict[str, Any]
Join = Literal["all", "any"]


class RouteKeywords(TypedDict, total=False):
    """What any node that does work may have. `fallback` is the id of the node that takes over if it fails for good.
    With `join="any"` it runs once the first edge to it is taken, else when all of them are decided."""

    fallback: str
    join: Join


class NodeKeywords(RouteKeywords, total=False):
    """The options of a node.

    `inputs` says where its input comes from: a node's id, a path into its output, a key of the state, or these by
    field. `uses` is the name of the implementation in the JSON. Without `retry` a step is tried as it says, all else
    once; None: once. `timeout` bounds one attempt.
    """

    uses: str
    params: Mapping[str, Any]
    inputs: str | Mapping[str, str]
    retry: Retry | None
    timeout: Duration


class BatchKeywords(TypedDict, total=False):
    """The options of a batch. At most `concurrency` items run at a time; with `chunk_size` the next so many begin when
    those before have ended. `output_key` is the key of the state that has the results, too: by default the batch's id,
    so that it can be named as nodes are. `retry` and `timeout` are an item's.
    The first failure fails the batch; with `settle`, there is `{"value"}` or `{"error"}` for each item. `uses` is the
    worker's name in the JSON."""

    uses: str
    output_key: str
    concurrency: int
    chunk_size: int
    settle: bool
    retry: Retry | None
    timeout: Duration


class BlueprintOptions(DefinitionKeywords, total=False):
    """The options of a blueprint besides those of any workflow and its types; see `Blueprint`."""

    result: str | Mapping[str, str] | None
    concurrency: int | None


class BlueprintKeywords(BlueprintOptions, total=False):
    """All of them."""

    input: Any
    output: Any


class Blueprint(Definition[In, Out], Generic[In, Out]):
    """A workflow as nodes and edges. Started, listed and forked as any workflow; awaited in one, it is a child run.

    `input` and `output` are types, for those who start it. `result` names the node whose output is the run's, or the
    nodes by key; without it, that of the node where the run ended (by id, if it ended at several). `concurrency` bounds
    the nodes that run at the same time. The other options are those of `@workflow`.
    """

    @overload
    def __init__(self, id: str, *, input: type[In], output: type[Out], **options: Unpack[BlueprintOptions]) -> None: ...
    @overload
    def __init__(
        self: Blueprint[In, Any], id: str, *, input: type[In], **options: Unpack[BlueprintOptions]
    ) -> None: ...
    @overload
    def __init__(
        self: Blueprint[Any, Out], id: str, *, output: type[Out], **options: Unpack[BlueprintOptions]
    ) -> None: ...
    @overload
    def __init__(self: Blueprint[Any, Any], id: str, **options: Unpack[BlueprintKeywords]) -> None: ...
    def __init__(self, id: str, **options: Any) -> None:
        input, output = options.pop("input", Any), options.pop("output", Any)
        result, concurrency = options.pop("result", None), options.pop("concurrency", None)
        super().__init__(id, input=input, output=output)
        self.spec = workflow_spec(id, cast("DefinitionKeywords", options))
        self.implementations: dict[str, Implementation] = {}
        self.subflows: dict[str, Blueprint[Any, Any]] = {}
        metadata: Json = {"version": self.spec.version} if self.spec.version else {}
        if concurrency is not None:
            metadata["concurrency"] = concurrency
        if result is not None:
            metadata["output"] = result if isinstance(result, str) else dict(result)
        self._document: Json = {"id": self.spec.id, "nodes": [], "edges": []}
        if metadata:
            self._document["metadata"] = metadata
        self._ids: set[Any] = set()
        self._batches: set[str] = set()
        self._loops: dict[str, tuple[str, str]] = {}
        self._graph: Graph | None = None
        self.__module__ = _module(inspect.currentframe())

    @classmethod
    def from_json(
        cls,
        text: str | bytes | Mapping[str, Any],
        *,
        include: Iterable[object] = (),
        **options: Unpack[BlueprintKeywords],
    ) -> Blueprint[Any, Any]:
        """A blueprint from its JSON, or from the object that this makes. Files of Flowcraft load unchanged.

        `include` is where implementations are looked for, by the names that `uses` gives: modules or module names
        (their public functions, classes, steps and workflows), single ones, other blueprints, or a dict by name. Those
        of the app that includes the blueprint count, too. `BlueprintError` lists the mistakes with their places.
        """
        document = dict(copy.deepcopy(text)) if isinstance(text, Mapping) else parse_document(text)
        given = found_implementations(include)
        graph = graph_of(document, implementations=given)
        if graph.version:
            options.setdefault("version", graph.version)
        made = Blueprint[Any, Any](graph.id, **options)
        made._document = document
        made.implementations = given
        made.subflows = {name: item for name, item in given.items() if isinstance(item, Blueprint)}
        return made

    # --- building

    def node(self, id: str, implementation: Implementation | str, **options: Unpack[NodeKeywords]) -> Self:
        """Add a node: a step, a function of `NodeContext`, a class with `exec`, a workflow (a child run), a blueprint
        (a subflow), or the name that `uses` shall give. See `NodeKeywords` for the options."""
        _check_options(options, NodeKeywords, f"node {id!r}")
        config = _config(options, f"node {id!r}")
        if isinstance(implementation, Blueprint):
            wrong = sorted({"params", "retry", "timeout", "uses"} & set(options))
            if wrong:
                raise DefinitionError(f"node {id!r} is a subflow, which has no option {wrong[0]!r}; its own nodes have")
            params = {"blueprintId": self._inner(id, implementation)}
            return self._add(id, "subflow", params=params, inputs=options.get("inputs"), config=config)
        if isinstance(implementation, WorkflowRef) and (wrong := sorted({"retry", "timeout"} & set(options))):
            raise DefinitionError(f"node {id!r} is a run of its own: say {wrong[0]}= where the workflow is defined")
        name = self._name(implementation, options.get("uses"), id)
        return self._add(id, name, params=options.get("params"), inputs=options.get("inputs"), config=config)

    def edge(
        self,
        source: str,
        target: str,
        *,
        action: str | None = None,
        condition: str | None = None,
        transform: str | None = None,
    ) -> Self:
        """Lead from one node to another: if the source's action is `action` and the condition holds. `transform` is an
        expression for the target's input. Both nodes may be added later."""
        edge = {"source": source, "target": target, "action": action, "condition": condition, "transform": transform}
        self._changed()
        self._edges.append({key: value for key, value in edge.items() if value is not None})
        return self

    def batch(self, id: str, worker: Implementation | str, *, over: str, **options: Unpack[BatchKeywords]) -> Self:
        """Do `worker` for each item of a list, which `over` names as `inputs` do. The output is the list of results, in
        order. See `BatchKeywords` for the options."""
        _check_options(options, BatchKeywords, f"batch {id!r}")
        name = self._name(worker, options.get("uses"), id)
        output_key = options.get("output_key") or (id if over.partition(".")[0] != id else None)
        scatter, gather = f"{id}_scatter", f"{id}_gather"
        params = {
            "workerUsesKey": name,
            "gatherNodeId": gather,
            "outputKey": output_key,
            "chunkSize": options.get("chunk_size"),
            "concurrency": options.get("concurrency"),
            "settle": options.get("settle") or None,
        }
        self._add(
            scatter, "batch-scatter", params=_given(params), inputs=over, config=_config(options, f"batch {id!r}")
        )
        self._add(gather, "batch-gather", params=_given({"gatherNodeId": gather, "outputKey": output_key}))
        self._edges.append({"source": scatter, "target": gather})
        self._batches.add(id)
        return self

    def loop(self, id: str, *, start: str, end: str, condition: str, max_iterations: int | None = None) -> Self:
        """Repeat the nodes from `start` to `end` while the condition holds. An edge to `id` checks it first; an edge
        to `start` runs them once before. Edges that leave `id` go on after the loop."""
        params = _given({"condition": condition, "maxIterations": max_iterations})
        self._add(id, "loop-controller", params=params, config={"joinStrategy": "any"})
        self._edges.append({"source": end, "target": id})
        self._edges.append({"source": id, "target": start, "action": "continue"})
        self._loops[id] = (start, end)
        return self

    def subflow(
        self,
        id: str,
        blueprint: Blueprint[Any, Any] | str,
        *,
        inputs: Mapping[str, str] | None = None,
        outputs: Mapping[str, str] | None = None,
        **options: Unpack[RouteKeywords],
    ) -> Self:
        """Run another blueprint as a part of this run. Without `inputs` it gets the node's input; with them, its state
        begins with these keys. `outputs` names what of it this blueprint's state gets."""
        _check_options(options, RouteKeywords, f"subflow {id!r}")
        name = blueprint if isinstance(blueprint, str) else self._inner(id, blueprint)
        params = {"blueprintId": name, "inputs": _plain(inputs), "outputs": _plain(outputs)}
        return self._add(id, "subflow", params=_given(params), config=_config(options, f"subflow {id!r}"))

    def wait(
        self, id: str, source: Signal[Any] | Event[Any] | str | None = None, *, timeout: Duration | None = None
    ) -> Self:
        """Wait until `handle.resume(id, ...)`, or for a signal or an event. What comes is the output; its field
        `action`, if there is one, selects the edges. Past `timeout` the action is "timeout", if an edge has it;
        otherwise the node fails. A wait right after a webhook waits for its call; "webhook:ID" names one further away.
        """
        name = None if source is None else source if isinstance(source, str) else source.name
        is_event = isinstance(source, Event) or (name is not None and name.startswith("webhook:"))
        params = {
            "eventName": name if is_event else None,
            "signal": None if is_event else name,
            "timeout": None if timeout is None else duration_ms(timeout, what=f"wait {id!r}: timeout"),
        }
        return self._add(id, "wait", params=_given(params))

    def sleep(self, id: str, duration: Duration) -> Self:
        """Go on after this long; the input passes through."""
        return self._add(id, "sleep", params={"duration": duration_ms(duration, what=f"sleep {id!r}")})

    def webhook(self, id: str) -> Self:
        """Make an address that can be called from outside; the output is `{"url", "token", "event"}`. A wait that
        follows gets the call, also one that came early."""
        return self._add(id, "webhook")

    def set(self, id: str, **values: str) -> Self:
        """Compute keys of the state from expressions, without a step."""
        return self._add(id, "set", params={"values": values})

    # --- what it is

    @property
    def document(self) -> Json:
        """The blueprint as a JSON object, complete; not to be changed."""
        document = dict(self._document)
        if self._batches or self._loops:
            document["edges"] = self._wired_edges()
        if self._batches and "output" in document.get("metadata", {}):
            document["metadata"] = {
                **document["metadata"],
                "output": self._wired_output(document["metadata"]["output"]),
            }
        return document

    @property
    def graph(self) -> Graph:
        """The blueprint as checked values. `BlueprintError` lists what is wrong with it."""
        if self._graph is None:
            self._graph = graph_of(self.document, implementations=self.implementations)
            if not self._graph.nodes:
                raise BlueprintError(f"blueprint {self.id!r} has no nodes")
        return self._graph

    def to_json(self, *, indent: int | None = 2) -> str:
        """The document as text. What `from_json` read comes out with the same content, in the same order."""
        return json.dumps(self.document, indent=indent, ensure_ascii=False)

    def all_blueprints(self) -> Iterator[Blueprint[Any, Any]]:
        """This one and its subflows, at any depth."""
        seen: dict[str, Blueprint[Any, Any]] = {}
        todo: list[Blueprint[Any, Any]] = [self]
        while todo:
            blueprint = todo.pop()
            if blueprint.id not in seen:
                seen[blueprint.id] = blueprint
                todo.extend(blueprint.subflows.values())
        yield from seen.values()

    # --- looking at it

    def lint(self, *, include: Iterable[object] = (), keys: Iterable[str] | None = None) -> list[Finding]:
        """What is wrong or doubtful, errors first. `include` is what the app will have besides the blueprint's own;
        `keys` are the fields that inputs will have, None: nobody knows."""
        others = found_implementations(include)
        blueprints = [self, *(item for item in others.values() if isinstance(item, Blueprint))]
        return lint_document(
            self.document,
            implementations={*self.implementations, *others},
            blueprints={item.id for blueprint in blueprints for item in blueprint.all_blueprints()},
            keys=None if keys is None else set(keys),
        )

    def analyze(self) -> Analysis:
        """Cycles, starts, ends and what cannot be reached."""
        return analyze(self.graph)

    def to_mermaid(self) -> str:
        """A flowchart in Mermaid's language."""
        return to_mermaid(self.graph)

    def __repr__(self) -> str:
        version = f" v{self.spec.version}" if self.spec.version else ""
        return f"<blueprint {self.id}{version}>"

    # --- inside

    @property
    def _edges(self) -> list[Json]:
        edges = self._document.get("edges")
        if not isinstance(edges, list):
            edges = self._document["edges"] = list(edges.values()) if isinstance(edges, dict) else []
        return cast("list[Json]", edges)

    def _add(
        self,
        id: str,
        uses: str,
        *,
        params: Mapping[str, Any] | None = None,
        inputs: str | Mapping[str, str] | None = None,
        config: Json | None = None,
    ) -> Self:
        self._changed()
        nodes = self._document.get("nodes")
        if not isinstance(nodes, list):
            given = nodes if isinstance(nodes, dict) else {}
            nodes = self._document["nodes"] = [{"id": key, **item} for key, item in given.items()]
        if len(self._ids) != len(nodes):
            self._ids = {node.get("id") for node in nodes}
        if id in self._ids:
            raise BlueprintError(f"blueprint {self.id!r} has a node {id!r} already; ids are given once")
        self._ids.add(id)
        more = {"params": _plain(params), "inputs": _plain(inputs), "config": config}
        nodes.append({"id": id, "uses": uses, **{key: value for key, value in more.items() if value}})
        return self

    def _changed(self) -> None:
        self._graph = None

    def _name(self, implementation: Implementation | str, uses: str | None, id: str) -> str:
        if isinstance(implementation, str):
            return implementation
        name = uses or implementation_name(implementation)
        if not name:
            raise DefinitionError(f"node {id!r}: {implementation!r} has no name of its own; give uses=")
        if uses is None and name in ALIASES:
            raise DefinitionError(
                f"node {id!r}: {name!r} is the name of a built-in node, whose place this would take in the whole "
                f"blueprint; give another name by uses="
            )
        checked_implementation(name, implementation)
        present = self.implementations.setdefault(name, implementation)
        if present is not implementation:
            raise DefinitionError(f"node {id!r}: another implementation is called {name!r}; give one of them uses=")
        return name

    def _inner(self, id: str, blueprint: Blueprint[Any, Any]) -> str:
        if self.subflows.setdefault(blueprint.id, blueprint) is not blueprint:
            raise DefinitionError(f"node {id!r}: another blueprint is called {blueprint.id!r}; give one another id")
        return blueprint.id

    def _wired_output(self, output: Any) -> Any:
        if isinstance(output, dict):
            return {key: self._wired_output(name) for key, name in output.items()}
        return f"{output}_gather" if output in self._batches else output

    def _wired_edges(self) -> list[Json]:
        """Edges of a batch are those of its two nodes; edges that leave a loop are taken when it ends. Those that begin
        an iteration come last: of all edges into a body, they shall give the input."""
        wired: list[Json] = []
        last: list[Json] = []
        for edge in self._edges:
            edge = dict(edge)
            if edge["source"] in self._batches:
                edge["source"] = f"{edge['source']}_gather"
            if edge["target"] in self._batches:
                edge["target"] = f"{edge['target']}_scatter"
            if edge["source"] in self._loops and "action" not in edge:
                edge["action"] = "break"
            is_start = edge["source"] in self._loops and edge["action"] == "continue"
            (last if is_start else wired).append(edge)
        return wired + last


def _config(options: Mapping[str, Any], what: str) -> Json:
    config: Json = {}
    if "retry" in options:
        retry = options["retry"] or NO_RETRY
        if retry.on or retry.jitter not in (0, Retry().jitter):
            raise DefinitionError(
                f"{what}: a blueprint has no place for Retry(on=) and Retry(jitter=); say it where the step is made, "
                f"as in @step(retry=Retry(...)), and leave it out here"
            )
        config["maxRetries"] = retry.attempts
        if retry.attempts > 1:
            config["retryDelay"] = duration_ms(retry.first_delay)
            config["backoff"] = retry.backoff
            config["maxDelay"] = duration_ms(retry.max_delay)
    if (timeout := options.get("timeout")) is not None:
        config["timeout"] = duration_ms(timeout, what=f"{what}: timeout")
    if (fallback := options.get("fallback")) is not None:
        config["fallback"] = fallback
    if (join := options.get("join")) is not None:
        config["joinStrategy"] = join
    return config


def _check_options(options: Mapping[str, Any], known: type[Any], what: str) -> None:
    names = sorted(known.__annotations__)
    unknown = sorted(set(options) - set(names))
    if unknown:
        raise DefinitionError(f"{what} has no option {unknown[0]!r}; there are: {', '.join(names)}")


def _given(values: Mapping[str, Any]) -> Json:
    return {key: value for key, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _module(frame: Any) -> str:
    """The module that makes a blueprint, for messages."""
    caller: Any = frame
    while caller is not None and caller.f_globals.get("__name__") in (__name__, "typing"):
        caller = caller.f_back
    return "" if caller is None else str(caller.f_globals.get("__name__", ""))
