"""The door of an app's step worker."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from stepwell.authoring.registry import Registry
from stepwell.backends import SystemClock
from stepwell.errors import DefinitionError
from stepwell.runtime.steps import StepRunner
from stepwell.runtime.stepworker.door import Door
from stepwell.runtime.stepworker.invocation import Bench
from stepwell.runtime.stepworker.lifetime import Lifetime
from stepwell.runtime.stepworker.options import StepWorkerKeywords, step_worker_options

if TYPE_CHECKING:
    from stepwell.runtime.app import Stepwell


def door_of(app: Stepwell, given: StepWorkerKeywords) -> Door:
    """The door, closed. `DefinitionError`."""
    options = step_worker_options(given, app._secrets)
    registry = _plain(app.registry)
    clock = app._clock or SystemClock()
    runner = StepRunner(registry, NoBlobs(), clock, threads=options.threads, resources={}, secrets=app._secrets)

    def prepare() -> None:
        for item in app._include:
            registry.include(item)
        if registry is not app.registry:
            for workflow in app.registry.workflows():
                registry.add(workflow)

    spans = None
    if app.is_traced:
        tracing = app._options["tracing"]
        spans = importlib.import_module("stepwell.runtime.stepworker.spans").Spans(
            None if tracing is True else tracing, hides_texts=app.registry.codec.cipher is not None
        )
        runner.telemetry.add(spans)
    lifetime = Lifetime(app._lifespan, given=lambda: app._resources if app.is_open else None)
    return Door(Bench(runner, options, spans), lifetime, prepare=prepare)


class NoBlobs:
    """A step worker has no backend, so it has no place for files."""

    async def put(self, key: str, data: bytes) -> None:  # noqa: ARG002 - as the port has it
        """`DefinitionError`."""
        raise DefinitionError(
            "current_step().blob(): this step runs in a step worker, which has no blob store; put the file where the "
            "next step can fetch it, and return its address"
        )

    async def get(self, key: str) -> bytes | None:  # noqa: ARG002 - as the port has it
        """`DefinitionError`."""
        raise DefinitionError(
            "current_step().read_blob(): this step runs in a step worker, which has no blob store; pass an address "
            "that it can fetch from"
        )

    async def delete(self, prefix: str) -> None:
        """There is none."""


def _plain(registry: Registry) -> Registry:
    """The registry whose payloads are what goes over the wire: it is the orchestrator that encrypts them."""
    codec = registry.codec
    if codec.cipher is None and codec.compression is None:
        return registry
    return Registry([], codec.bare(), public_url=registry.public_url, middleware=registry.middleware)
