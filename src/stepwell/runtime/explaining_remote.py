"""Why a run whose body lives elsewhere does not move: which target it is for, how that stands, what it last said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from msgspec import Struct

from stepwell.authoring.registry import Registry
from stepwell.engine.prefix import generation_start
from stepwell.engine.timeline import Timeline
from stepwell.errors import WorkerError, type_name
from stepwell.formats.voyant.faults import unworded
from stepwell.model.entries import Created, Frame
from stepwell.model.ids import INVOCATION, RunId, is_invocation
from stepwell.model.runs import Head
from stepwell.runtime.client import Client
from stepwell.runtime.remote.dispatching import Dispatcher
from stepwell.runtime.remote.labels import labels_of_run
from stepwell.runtime.remote.targets import Targets, TargetState
from stepwell.runtime.remote.viewing import is_remote


class RemoteCase(Struct, frozen=True, kw_only=True):
    """What is known of the worker of a run. `state`: its target, None if there is none here; `has_targets`: this app
    has some at all."""

    workflow: str
    state: TargetState | None
    has_targets: bool

    def facts(self) -> list[str]:
        """Which target it is, and how that stands."""
        state = self.state
        if state is None:
            lack = "no target of this app is for it" if self.has_targets else "this app has no targets"
            return [f"its body lives elsewhere; {lack}"]
        facts = [f"its body lives elsewhere: target {state.label}"]
        last = unworded(state.last_error)
        if state.circuit != "closed":
            until = "" if state.retry_at is None else f" until {moment_words(state.retry_at)}"
            times = f"{state.failures} failures in a row"
            facts.append(f"target {state.label} is left alone{until}: {times}, the last of them: {last}")
        elif state.failures:
            times = "once" if state.failures == 1 else f"{state.failures} times in a row"
            facts.append(f"target {state.label} failed {times}, the last time: {last}")
        return facts

    def cure(self) -> str:
        """What to do if its worker is in the way."""
        if self.state is not None:
            return f"look after target {self.state.label}; the run then goes on by itself"
        if not self.has_targets:
            return "look at the worker of this run, and at the app that has the targets; the run then goes on by itself"
        return f"add a target for workflow {self.workflow}: [[targets]] in stepwell.toml, or Stepwell(targets=[...])"

    def end_cure(self, head: Head, story: Timeline) -> str:
        """What to do about a run that its worker failed; empty: it did not."""
        failure = None if story.end is None else story.end.failure
        if failure is None or type_name(WorkerError) not in failure.types:
            return ""
        what = "the worker of this run" if self.state is None else f"target {self.state.label}"
        return f"look after {what}, then: stepwell runs retry {head.id}"


async def remote_case(
    client: Client, registry: Registry, head: Head, frames: Sequence[tuple[int, Frame]]
) -> RemoteCase | None:
    """The case of a run whose body lives elsewhere; None: it is none."""
    if not is_remote(registry, head.workflow, head.version, frames):
        return None
    dispatcher = registry.dispatch
    targets = dispatcher.targets if isinstance(dispatcher, Dispatcher) else Targets()
    created = generation_start(frames[0][1])
    first = created if isinstance(created, Created) else created.created
    version = first.version or labels_of_run(registry.codec, first).version
    target = targets.find(head.workflow, version, client.namespace)
    states = zip(targets, targets.states(), strict=True)
    return RemoteCase(
        workflow=head.workflow,
        state=next((state for item, state in states if item is target), None),
        has_targets=bool(len(targets)),
    )


def attempt_words(id: str) -> str:
    """A step as explanations call it."""
    return f"invocation {id[len(INVOCATION) + 1 : -1]} of its worker" if is_invocation(id) else f"step {id}"


def retry_words(name: str, left: str) -> str:
    """The wait for the next attempt of a step."""
    return f"to ask its worker again{left}" if is_invocation(name) else f"to try {name} again{left}"


def token_cure(run: RunId, name: str) -> str:
    """How to complete what a worker elsewhere waits for. It makes its tokens itself, and what these are called within
    the run is all that is known of them here."""
    return f'post {{"payload": JSON}} to /api/runs/{quote(run)}/tokens/{quote(name)} of a server'


def next_attempt(story: Timeline, now: int) -> int | None:
    """When the worker of a run is asked again (ms), if it is between two attempts of an invocation."""
    tries = [step.attempts[-1].retry_at for step in story.steps if step.status == "retrying" and is_invocation(step.id)]
    return max((at for at in tries if at is not None and at > now), default=None)


def moment_words(ms: int) -> str:
    """A time as explanations tell it."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
