"""Serving the workflows of an app to an orchestrator elsewhere, one invocation at a time."""

from stepwell.runtime.stepworker.replies import Reply, StepWorker

__all__ = ["Reply", "StepWorker"]
