"""Durable workflows: as simple as a function, as safe as a database.

Names are loaded at their first use, because everything that merely has Stepwell installed (pytest, for one, through its
plugin) would pay for all of it otherwise.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepwell.authoring.blueprints import Blueprint
    from stepwell.authoring.context import ChildHandle, Context, current_run
    from stepwell.authoring.flows import Flow, flow
    from stepwell.authoring.hooks import Hook
    from stepwell.authoring.info import RunInfo
    from stepwell.authoring.mapping import Outcome
    from stepwell.authoring.messages import Event, Signal, Stream
    from stepwell.authoring.nodes import Middleware, NodeContext, NodeResult
    from stepwell.authoring.remotes import RemoteWorkflow
    from stepwell.authoring.running import StepContext, current_step
    from stepwell.authoring.steps import Step, step
    from stepwell.authoring.workflows import Workflow, WorkflowRef, workflow
    from stepwell.codec import AesGcm, Codec, Compression
    from stepwell.errors import (
        AccessError,
        ActivationError,
        BackendError,
        BlueprintError,
        CodecError,
        DefinitionError,
        Evicted,
        FatalError,
        FlowError,
        HookError,
        NonDeterminismError,
        NotDurableError,
        NotInWorkflowError,
        RetryableError,
        RunCancelledError,
        RunClosedError,
        RunConflictError,
        RunError,
        RunNotFoundError,
        StepError,
        StepwellError,
        WorkerError,
    )
    from stepwell.formats.hooks import HookRequest, HookResponse
    from stepwell.model.failures import Failure
    from stepwell.model.policies import Retry
    from stepwell.model.runs import Head, Page, RunQuery
    from stepwell.model.values import Blob, Secret
    from stepwell.runtime.app import Stepwell
    from stepwell.runtime.handles import Handle
    from stepwell.runtime.remote.targets import Target

__all__ = [
    "AccessError",
    "ActivationError",
    "AesGcm",
    "BackendError",
    "Blob",
    "Blueprint",
    "BlueprintError",
    "ChildHandle",
    "Codec",
    "CodecError",
    "Compression",
    "Context",
    "DefinitionError",
    "Event",
    "Evicted",
    "Failure",
    "FatalError",
    "Flow",
    "FlowError",
    "Handle",
    "Head",
    "Hook",
    "HookError",
    "HookRequest",
    "HookResponse",
    "Middleware",
    "NodeContext",
    "NodeResult",
    "NonDeterminismError",
    "NotDurableError",
    "NotInWorkflowError",
    "Outcome",
    "Page",
    "RemoteWorkflow",
    "Retry",
    "RetryableError",
    "RunCancelledError",
    "RunClosedError",
    "RunConflictError",
    "RunError",
    "RunInfo",
    "RunNotFoundError",
    "RunQuery",
    "Secret",
    "Signal",
    "Step",
    "StepContext",
    "StepError",
    "Stepwell",
    "StepwellError",
    "Stream",
    "Target",
    "WorkerError",
    "Workflow",
    "WorkflowRef",
    "current_run",
    "current_step",
    "flow",
    "step",
    "workflow",
]

_MODULES = {
    "stepwell.authoring.blueprints": ("Blueprint",),
    "stepwell.authoring.context": ("ChildHandle", "Context", "current_run"),
    "stepwell.authoring.flows": ("Flow", "flow"),
    "stepwell.authoring.hooks": ("Hook",),
    "stepwell.authoring.info": ("RunInfo",),
    "stepwell.authoring.mapping": ("Outcome",),
    "stepwell.authoring.messages": ("Event", "Signal", "Stream"),
    "stepwell.authoring.nodes": ("Middleware", "NodeContext", "NodeResult"),
    "stepwell.authoring.remotes": ("RemoteWorkflow",),
    "stepwell.authoring.running": ("StepContext", "current_step"),
    "stepwell.authoring.steps": ("Step", "step"),
    "stepwell.authoring.workflows": ("Workflow", "WorkflowRef", "workflow"),
    "stepwell.codec": ("AesGcm", "Codec", "Compression"),
    "stepwell.errors": (
        "AccessError",
        "ActivationError",
        "BackendError",
        "BlueprintError",
        "CodecError",
        "DefinitionError",
        "Evicted",
        "FatalError",
        "FlowError",
        "HookError",
        "NonDeterminismError",
        "NotDurableError",
        "NotInWorkflowError",
        "RetryableError",
        "RunCancelledError",
        "RunClosedError",
        "RunConflictError",
        "RunError",
        "RunNotFoundError",
        "StepError",
        "StepwellError",
        "WorkerError",
    ),
    "stepwell.formats.hooks": ("HookRequest", "HookResponse"),
    "stepwell.model.failures": ("Failure",),
    "stepwell.model.policies": ("Retry",),
    "stepwell.model.runs": ("Head", "Page", "RunQuery"),
    "stepwell.model.values": ("Blob", "Secret"),
    "stepwell.runtime.app": ("Stepwell",),
    "stepwell.runtime.handles": ("Handle",),
    "stepwell.runtime.remote.targets": ("Target",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


if not TYPE_CHECKING:  # checkers shall find a name that is not there

    def __getattr__(name: str) -> Any:
        module = _HOMES.get(name)
        if module is None:
            raise AttributeError(f"module 'stepwell' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(module), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
