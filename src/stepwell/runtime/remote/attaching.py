"""An app and its targets: who serves whom when it opens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from stepwell.runtime.remote.dispatching import Dispatcher
from stepwell.runtime.remote.targets import Target, Targets

if TYPE_CHECKING:
    from stepwell.runtime.app import Stepwell


def targets_of(given: Targets | Iterable[Target]) -> Targets:
    """The targets of an app; the apps of its namespaces share them."""
    return given if isinstance(given, Targets) else Targets(given)


def attach(app: Stepwell) -> None:
    """The app is open: bodies that live elsewhere are invoked by its targets, unless somebody else has seen to that."""
    registry, client = app.registry, app.client
    app.targets.serve(registry, client.clock)
    if registry.dispatch is None or isinstance(registry.dispatch, Dispatcher):
        registry.dispatch = Dispatcher(app.targets, client, registry, app.namespace)
