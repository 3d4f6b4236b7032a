"""The program of a run: its function, or its blueprint."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Raw

from stepwell.authoring.blueprints import Blueprint
from stepwell.authoring.bound import BoundStep
from stepwell.authoring.context import function_program
from stepwell.authoring.implementations import Implementation
from stepwell.authoring.nodework import NodeBinder
from stepwell.authoring.registry import Registry
from stepwell.authoring.remotes import RemoteWorkflow, remote_program
from stepwell.authoring.snapshots import graphs_of, reachable
from stepwell.authoring.steps import Step
from stepwell.authoring.workflows import Definition, Workflow, WorkflowRef
from stepwell.codec import Typed, failure_of
from stepwell.engine.function import FunctionProgram
from stepwell.engine.graph.outcome import Binding, Child, MissingImplementationError
from stepwell.engine.graph.plan import Plan, make_plans
from stepwell.engine.graph.program import GraphProgram, Watches
from stepwell.engine.program import Origin, Program
from stepwell.engine.remote.program import RemoteProgram
from stepwell.formats.flowcraft import graph_of
from stepwell.model.blueprints import Node
from stepwell.model.failures import NULL, Failure

_PLANS_KEPT = 256


def make_program(
    registry: Registry,
    origin: Origin,
    *,
    on_log: Callable[[str], None] | None = None,
    impure_check: bool = False,
    watches: Watches = Watches.NOTHING,
) -> Program:
    """The program of one generation of a run. Its definition must be in the registry.

    `MissingImplementationError` if a node of the run's blueprint has no implementation here.
    """
    definition = registry.find(origin.created.workflow, origin.created.version)
    assert definition is not None, "asked for runs that this app can drive"
    return program_of(definition, registry, origin, on_log=on_log, impure_check=impure_check, watches=watches)


def program_of(
    definition: Definition[Any, Any],
    registry: Registry,
    origin: Origin,
    *,
    on_log: Callable[[str], None] | None = None,
    impure_check: bool = False,
    watches: Watches = Watches.NOTHING,
) -> FunctionProgram | GraphProgram | RemoteProgram:
    """The same, of this definition."""
    if isinstance(definition, Workflow):
        return function_program(definition, registry, origin, on_log=on_log, impure_check=impure_check)
    if isinstance(definition, RemoteWorkflow):
        return remote_program(registry, definition, origin)
    assert isinstance(definition, Blueprint), "there is no fourth kind"
    return graph_program(registry, definition, origin, watches=watches)


def graph_program(
    registry: Registry, blueprint: Blueprint[Any, Any], origin: Origin, *, watches: Watches = Watches.NOTHING
) -> GraphProgram:
    """The program of a run of a blueprint: of the one that the run is pinned to."""
    snapshot = origin.blueprint if origin.blueprint != NULL else registry.snapshot_of(blueprint)
    plan = _plan(registry, blueprint, snapshot, origin)
    return GraphProgram(
        plan,
        origin,
        Host(registry, registry.types_of(blueprint).output, blueprint.id),
        snapshot=snapshot,
        watches=watches,
    )


def missing_implementations(registry: Registry, blueprint: Blueprint[Any, Any]) -> list[str]:
    """What `uses` names in a blueprint or its subflows that this app does not have, sorted."""
    missing = set()
    known = implementations_of(registry, blueprint)
    for item in reachable(blueprint, registry.find):
        for node in item.graph.nodes:
            names = [node.uses]
            if node.built_in == "batch-scatter":
                names.append(str(node.params.get("workerUsesKey")))
            for name in names:
                if name not in known and Node(id="", uses=name).built_in is None:
                    missing.add(name)
    return sorted(missing)


# --- inside


def _plan(registry: Registry, blueprint: Blueprint[Any, Any], snapshot: Raw, origin: Origin) -> Plan:
    variant, bind_step = registry.step_binder(origin)
    key = (sha256(snapshot).digest(), blueprint, variant)
    plan = registry.plans.get(key)
    if plan is None:
        if len(registry.plans) >= _PLANS_KEPT:
            del registry.plans[next(iter(registry.plans))]
        main, others = graphs_of(snapshot)
        plan = registry.plans[key] = make_plans(main, others, _Binder(registry, blueprint, bind_step))
    return plan


class _Binder:
    """Finds what a node names."""

    def __init__(
        self, registry: Registry, blueprint: Blueprint[Any, Any], bind: Callable[[Step[..., Any]], BoundStep]
    ) -> None:
        self._registry = registry
        self._blueprint = blueprint
        self._known = implementations_of(registry, blueprint)
        self._bind = NodeBinder(registry.codec, registry.middleware, bind)

    def __call__(self, node: Node) -> Binding | None:
        registry = self._registry
        found = self._known.get(node.uses)
        if found is None:
            if node.built_in is not None:
                return None
            raise MissingImplementationError(
                f"blueprint {self._blueprint.id}: this app has no implementation of {node.uses!r}, which node "
                f"{node.id!r} uses; include it in the app, or run a worker that has it"
            )
        if isinstance(found, WorkflowRef):
            return child_binding(registry, found)
        return self._bind(node, found)


def child_binding(registry: Registry, workflow: WorkflowRef[Any, Any]) -> Child:
    """A node that is a workflow."""
    types = registry.types_of(workflow)

    def encode(raw: Raw) -> Raw:
        if not types.has_input:
            return NULL
        where = f"input of workflow {workflow.id}"
        return types.input.encode(types.input.plain.decode(raw, where=where), where=where)

    return Child(workflow.id, workflow.spec.version, encode, registry.snapshot_of(workflow))


def implementations_of(registry: Registry, blueprint: Blueprint[Any, Any] | None) -> Mapping[str, Implementation]:
    """What `uses` means in a blueprint: the blueprint's own, else the app's."""
    own = [] if blueprint is None else [item.implementations for item in blueprint.all_blueprints()]
    # A ChainMap may be written to; this one is not.
    return ChainMap(*own, registry.implementations)  # type: ignore[arg-type]


class Host:
    """What a graph program needs of its app. `output` is the type of the blueprint's result."""

    def __init__(self, registry: Registry, output: Typed[Any], blueprint: str) -> None:
        self._registry = registry
        self._output = output
        self._where = f"the result of blueprint {blueprint}"

    def plain(self, raw: Raw) -> Raw:
        """The JSON behind a recorded payload."""
        return self._registry.codec.opened(raw, where="a payload")

    def sealed(self, raw: Raw) -> Raw:
        """The payload of a JSON text."""
        return self._registry.codec.sealed(bytes(raw))

    def result(self, value: Raw) -> Raw:
        """The payload of the run's result."""
        return self._output.encode(self._output.plain.decode(value, where=self._where), where=self._where)

    def failure_of(self, error: BaseException) -> Failure:
        """The record of an exception."""
        return failure_of(error, codec=self._registry.codec)

    def node(self, raw: Raw) -> Node:
        """A dynamic node, from JSON."""
        return graph_of({"id": "dynamic nodes", "nodes": [msgspec.json.decode(raw)]}).nodes[0]

    def hook_url(self, token: str) -> str:
        """Where a webhook is reached."""
        return f"{self._registry.public_url}/hooks/{token}"
