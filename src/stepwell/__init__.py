"""Durable workflows: as simple as a function, as safe as a database."""

from stepwell.authoring.context import ChildHandle, Context, Hook, current_run
from stepwell.authoring.mapping import Outcome
from stepwell.authoring.messages import Event, Signal, Stream
from stepwell.authoring.running import StepContext, current_step
from stepwell.authoring.steps import Step, step
from stepwell.authoring.workflows import Workflow, WorkflowRef, workflow
from stepwell.codec import Codec
from stepwell.errors import (
    ActivationError,
    BackendError,
    CodecError,
    DefinitionError,
    Evicted,
    FatalError,
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
)
from stepwell.model.failures import Failure
from stepwell.model.policies import Retry
from stepwell.model.runs import Head, Page, RunQuery
from stepwell.model.values import Blob, Secret
from stepwell.runtime.app import Stepwell
from stepwell.runtime.handles import Handle

__all__ = [
    "ActivationError",
    "BackendError",
    "Blob",
    "ChildHandle",
    "Codec",
    "CodecError",
    "Context",
    "DefinitionError",
    "Event",
    "Evicted",
    "Failure",
    "FatalError",
    "Handle",
    "Head",
    "Hook",
    "HookError",
    "NonDeterminismError",
    "NotDurableError",
    "NotInWorkflowError",
    "Outcome",
    "Page",
    "Retry",
    "RetryableError",
    "RunCancelledError",
    "RunClosedError",
    "RunConflictError",
    "RunError",
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
    "Workflow",
    "WorkflowRef",
    "current_run",
    "current_step",
    "step",
    "workflow",
]
