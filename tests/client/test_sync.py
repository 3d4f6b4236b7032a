"""The blocking twin of the client is what the generator makes of it."""

from __future__ import annotations

import inspect

import pytest
from tools.generate_client import SOURCES, render, target

from stepwell.client import Client, ClientHandle, ClientRuns, ClientTokens
from stepwell.client.sync import app, handles, runs, tokens
from stepwell.runtime.app import Stepwell
from stepwell.runtime.handles import Handle
from stepwell.runtime.runs import Runs


@pytest.mark.parametrize("name", SOURCES)
def test_the_twin_is_as_it_would_be_generated(name: str) -> None:
    assert target(name).read_text(encoding="utf-8") == render(name), "run: python tools/generate_client.py"


@pytest.mark.parametrize(
    ("one", "twin"),
    [
        (Client, app.SyncClient),
        (ClientHandle, handles.SyncClientHandle),
        (ClientRuns, runs.SyncClientRuns),
        (ClientTokens, tokens.SyncClientTokens),
    ],
)
def test_the_twin_has_the_same_methods_with_the_same_parameters(one: type, twin: type) -> None:
    assert _methods(twin) == {name: shape for name, shape in _methods(one).items() if name != "sync"}


@pytest.mark.parametrize(("remote", "local"), [(ClientHandle, Handle), (ClientRuns, Runs)])
def test_the_client_has_the_methods_that_there_are_in_process(remote: type, local: type) -> None:
    assert _methods(remote) == _methods(local)


def test_the_client_starts_and_publishes_as_an_app_does() -> None:
    shared = ("start", "start_many", "handle", "publish", "complete")

    assert {name: _methods(Client)[name] for name in shared} == {name: _methods(Stepwell)[name] for name in shared}


def _methods(kind: type) -> dict[str, list[str]]:
    """The parameters of each public method, as text."""
    return {
        name: [str(item.replace(annotation=inspect.Parameter.empty)) for item in _parameters(method)]
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def _parameters(method: object) -> list[inspect.Parameter]:
    return [*inspect.signature(method).parameters.values()]  # type: ignore[arg-type]
