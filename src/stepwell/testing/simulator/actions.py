"""What clients do to runs in a simulation. Each is repeated with the same ids until it is answered."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from stepwell.authoring.messages import Event, Signal
from stepwell.authoring.workflows import WorkflowRef
from stepwell.model.ids import RunId
from stepwell.runtime.app import OnConflict, Stepwell
from stepwell.runtime.handles import Handle
from stepwell.testing.simulator.answers import answer
from stepwell.testing.simulator.fleet import SimApp
from stepwell.testing.simulator.graphs import blueprint_of, case_of
from stepwell.testing.simulator.plans import AWAY, EVENT, GRAPH, Graph, Plan
from stepwell.testing.simulator.playing import BIG, SHARED
from stepwell.testing.simulator.scenarios import Action, RunScript

NEWS = Event(EVENT, str)

_Do = Callable[[Stepwell, RunScript, Action, str], Coroutine[Any, Any, Any]]


def perform(app: Stepwell, script: RunScript, action: Action, number: int) -> Coroutine[Any, Any, Any]:
    """Do the `number`-th action of a script."""
    return _ACTIONS[action.kind](app, script, action, f"{script.id}-{number}")


def begin(app: Stepwell, script: RunScript, *, on_conflict: OnConflict = "attach") -> Coroutine[Any, Any, Handle[Any]]:
    """Start the run of a script, also from a process that has no code for it."""
    workflow: WorkflowRef[Any, Any] = WorkflowRef(script.workflow, input=Plan)
    given: Any = script.plan
    if script.workflow == GRAPH and isinstance(script.plan, Graph):
        workflow, given = blueprint_of(script.plan), case_of(script.plan).input
    return app.start(workflow, given, id=script.id, on_conflict=on_conflict, delay=script.delay_ms / 1000)


def _cancel(app: Stepwell, script: RunScript, action: Action, id: str) -> Coroutine[Any, Any, Any]:
    grace = int(action.detail) / 1000 if action.detail else None
    return app.runs.cancel(script.id, "on purpose", grace=grace, request_id=id)


async def _answer(app: Stepwell, script: RunScript, action: Action, id: str) -> None:
    if script.workflow == GRAPH and isinstance(script.plan, Graph):
        await answer(app, script.id, script.plan, action.at, action.detail, id)


def _complete(app: Stepwell, script: RunScript, _action: Action, id: str) -> Coroutine[Any, Any, Any]:
    token = f"hook-{script.id}-1"
    if script.workflow == AWAY and isinstance(app, SimApp):
        token = app.elsewhere.tokens.get(RunId(script.id), token)
    return app.complete(token, id, id=id)


_ACTIONS: dict[str, _Do] = {
    "signal": lambda app, script, action, id: app.handle(script.id).send(Signal(action.detail, str), id, id=id),
    "large signal": lambda app, script, action, id: app.handle(script.id).send(
        Signal(action.detail, str), id + "x" * BIG, id=id
    ),
    "publish": lambda app, _script, _action, id: app.publish(NEWS, id, id=id),
    "hook": _complete,
    "shared hook": lambda app, _script, _action, id: app.complete(SHARED, id, id=id),
    "cancel": _cancel,
    "terminate": lambda app, script, _, id: app.runs.terminate(script.id, "on purpose", request_id=id),
    "pause": lambda app, script, _, id: app.runs.pause(script.id, request_id=id),
    "resume": lambda app, script, _, id: app.runs.resume(script.id, request_id=id),
    "attach": lambda app, script, _action, _id: begin(app, script),
    "fork": lambda app, script, _, id: app.runs.fork(script.id, id=f"{id}-fork"),
    "retry": lambda app, script, _, id: app.runs.retry(script.id, id=f"{id}-retry"),
    "restart": lambda app, script, _action, _id: begin(app, script, on_conflict="restart_if_failed"),
    "delete": lambda app, script, _action, _id: app.runs.delete(script.id, force=True),
    "answer": _answer,
    "look": lambda app, script, _action, _id: app.runs.explain(script.id),
}
