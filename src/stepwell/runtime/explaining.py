"""One answer to "why is this run not moving?": a headline, the facts behind it, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, structs

from stepwell.authoring.registry import Registry
from stepwell.authoring.remotes import RemoteWorkflow
from stepwell.engine.history import timeline
from stepwell.engine.timeline import ControlItem, StepItem, Timeline
from stepwell.model.durations import format_ms
from stepwell.model.ids import RunId, claim_identity, is_invocation
from stepwell.model.runs import Head, Wait
from stepwell.runtime.client import Client
from stepwell.runtime.explaining_graphs import GraphCase, graph_case
from stepwell.runtime.explaining_remote import (
    RemoteCase,
    attempt_words,
    moment_words,
    next_attempt,
    remote_case,
    retry_words,
    token_cure,
)
from stepwell.runtime.replaying import ReplayReport, replay_frames

_SHOWN = 10
_LACKS = "has no implementation of"


class Explanation(Struct, frozen=True, kw_only=True):
    """Why a run stands where it stands. `cure` is empty if there is nothing to do but wait."""

    run: RunId
    status: str
    headline: str
    facts: tuple[str, ...] = ()
    cure: str = ""

    def __str__(self) -> str:
        lines = [f"run {self.run} {self.headline}", *(f"  {fact}" for fact in self.facts)]
        return "\n".join([*lines, *([f"  do: {self.cure}"] if self.cure else [])])


async def explain(client: Client, registry: Registry, run: RunId) -> Explanation:
    """Look at the run's head and journal, at the children that it waits for, and at whether the code here fits."""
    loaded, frames = await client.journal(run, after=0)
    head = loaded.head
    story, now = timeline(run, frames), client.backend.clock.now()
    graph = graph_case(registry, head, frames, now)
    remote = await remote_case(client, registry, head, frames)
    if head.is_terminal:
        end = _ended(head, story, () if graph is None else graph.failures())
        cure = "" if remote is None else remote.end_cure(head, story)
        return structs.replace(end, cure=cure or end.cure)
    workflow = registry.find(head.workflow, head.version)
    replayed = None if workflow is None else replay_frames(run, frames, workflow, registry, status=head.status)
    case = _Case(head, story, replayed, now, _known(registry, head), (graph, remote))
    found = case.explanation()
    children = [await _child(client, wait) for wait in case.waits if wait.kind == "child" and wait.detail]
    return Explanation(
        run=run, status=head.status, headline=found.headline, facts=(*found.facts, *children), cure=found.cure
    )


def _known(registry: Registry, head: Head) -> str | None:
    """The versions of the run's workflow that are here, in words; None: this app has no code of workflows at all."""
    known = [*registry.workflows()]
    if all(isinstance(item, RemoteWorkflow) for item in known):
        return None
    names = [f"{item.id}@{item.spec.version}" if item.spec.version else item.id for item in known]
    same = [name for item, name in zip(known, names, strict=True) if item.id == head.workflow]
    return f"; it has {', '.join(same)}" if same else ""


async def _child(client: Client, wait: Wait) -> str:
    """One level down: what the child does, or waits for."""
    child = await client.find(RunId(wait.detail))
    if child is None:
        return f"child {wait.detail} is not there yet"
    if child.is_terminal:
        return f"child {child.id} has {_ended_as(child)}; the news is on its way"
    waits = ", ".join(_wait_words(item, client.backend.clock.now()) for item in child.waiting[:3])
    return f"child {child.id} ({child.workflow}) is {child.status}" + (f": {waits}" if waits else "")


# --- runs that have ended


def _ended(head: Head, story: Timeline, failures: Sequence[str]) -> Explanation:
    end = story.end
    facts = []
    if head.ended_at is not None:
        facts.append(f"it ended at {moment_words(head.ended_at)}")
    if end is not None and end.failure is not None:
        facts.append(f"error: {end.failure}")
    if end is not None and end.reason:
        facts.append(f"reason: {end.reason}")
    facts += failures
    facts += [f"{item.action} was asked for: {item.reason or 'no reason given'}" for item in _stops(story)]
    if not head.is_settled:
        facts.append(
            "it still owes something to other runs (children to cancel, a parent to tell), which a worker does"
        )
    cure = "" if head.status == "completed" else f"stepwell runs retry {head.id}"
    if head.status == "dead":
        cure = f"look at the logs of its workers, then: {cure}"
    return Explanation(run=head.id, status=head.status, headline=_ended_as(head), facts=tuple(facts), cure=cure)


def _stops(story: Timeline) -> list[ControlItem]:
    return [item for item in story.of(ControlItem) if item.action in ("cancel", "terminate")]


def _ended_as(head: Head) -> str:
    if head.status == "dead":
        return "is dead: it was claimed again and again without progress"
    return head.status if head.status in ("completed", "failed") else f"was {head.status}"


# --- runs that are open


class _Found(Struct, frozen=True):
    headline: str
    facts: tuple[str, ...] = ()
    cure: str = ""


class _Case:
    """One open run, and the questions in the order in which they explain it."""

    def __init__(
        self,
        head: Head,
        story: Timeline,
        replayed: ReplayReport | None,
        now: int,
        known: str | None,
        kind: tuple[GraphCase | None, RemoteCase | None],
    ) -> None:
        self.head = head
        self.story = story
        self.lacks = () if replayed is None or not replayed.is_missing_code else (replayed.error or "",)
        self.replayed = replayed = None if self.lacks else replayed
        self.now = now
        self.known = known
        self.graph, self.remote = graph, _ = kind
        # The code here knows better than the head, which is only written when a run parks.
        is_known = replayed is not None and replayed.is_ok
        has_begun = head.status != "queued" and (head.owner is not None or not _starts(head.waiting))
        is_better = replayed is not None and is_known and has_begun
        self.waits: tuple[Wait, ...] = replayed.waits if replayed is not None and is_better else head.waiting
        if graph is not None:
            self.waits = graph.waits

    def explanation(self) -> _Found:
        return (
            self._code_does_not_fit()
            or self._is_paused()
            or self._lacks_its_worker()
            or self._is_held()
            or self._has_failed_to_move()
            or self._is_due()
            or self._sleeps()
        )

    def _code_does_not_fit(self) -> _Found | None:
        if self.replayed is None or self.replayed.is_ok:
            return None
        error = (self.replayed.error or "").splitlines()
        cure = "restore the order of the code or guard the change with ctx.patched, and deploy; the run then goes on"
        return _Found("cannot go on with the code that is here", tuple(error), cure)

    def _is_paused(self) -> _Found | None:
        if not self.story.is_paused and self.head.status != "paused":
            return None
        last = next((item for item in reversed(self.story.of(ControlItem)) if item.action == "pause"), None)
        facts = [] if last is None else [f"paused at {moment_words(last.at)}: {last.reason or 'no reason given'}"]
        return _Found("is paused", (*facts, *self._what_it_waits_for()), f"stepwell runs resume {self.head.id}")

    def _lacks_its_worker(self) -> _Found | None:
        """The worker elsewhere that has its body did not answer, and is asked again later."""
        at = None if self.remote is None else next_attempt(self.story, self.now)
        is_left = self.head.owner is not None and self.head.wake_at is not None and self.head.wake_at <= self.now
        if self.remote is None or at is None or is_left:
            return None
        text = f"waits for its worker elsewhere, which is asked again {self._when(at)}"
        return _Found(text, (*self._retries(), *self.remote.facts()), self.remote.cure())

    def _is_held(self) -> _Found | None:
        head = self.head
        if head.owner is None or head.wake_at is None:
            return None
        worker = claim_identity(head.owner)
        facts = [*self._progress(), *self._what_it_waits_for()]
        if head.takes > 1:
            facts.append(f"claimed {head.takes} times without a new frame: its workers may die of it")
        if head.wake_at <= self.now:
            since = format_ms(self.now - head.wake_at)
            facts.append(f"the lease of worker {worker} ended {since} ago; another worker takes the run over")
            return _Found("was left by its worker", tuple(facts), self._worker_cure())
        return _Found(
            f"is held by worker {worker}, whose lease ends in {format_ms(head.wake_at - self.now)}", tuple(facts)
        )

    def _has_failed_to_move(self) -> _Found | None:
        """Let go while it was running: the worker that had it could not drive it, and tries again later."""
        head = self.head
        if not head.error and (head.status != "running" or not self._is_later()):
            return None
        facts = tuple(head.error.splitlines()) or ("the log of the worker that had it says why",)
        again = "" if head.wake_at is None else f"; next try {self._when(head.wake_at)}"
        cure = "fix the code and deploy it; the run then goes on"
        if _LACKS in head.error:
            cure = "include it in the app of this queue's workers, or start a worker that has it"
        return _Found(f"could not be driven{again}", facts, cure)

    def _is_due(self) -> _Found | None:
        head = self.head
        if head.wake_at is None or head.wake_at > self.now:
            return None
        facts = [f"due for {format_ms(self.now - head.wake_at)}"]
        if head.mail:
            facts.append(f"{head.mail} messages were accepted so far, perhaps some are unread")
        kind = f"{head.workflow}@{head.version}" if head.version else head.workflow
        if self.known is not None and self.replayed is None and not self.lacks:
            facts.append(f"this app has no code for {kind}{self.known}")
        facts += self.lacks
        text = f"is due, and waits for a worker that serves queue {head.queue!r} and has workflow {kind}"
        return _Found(text, tuple(facts), self._worker_cure())

    def _sleeps(self) -> _Found:
        head = self.head
        facts = tuple(self._what_it_waits_for())
        if head.wake_at is not None and (head.status == "queued" or _starts(self.waits)):
            return _Found(f"starts {self._when(head.wake_at)}", facts)
        first = self.waits[0] if self.waits else None
        cure = "" if first is None else _cure(head.id, first, is_remote=self.remote is not None)
        headline = "waits" if first is None else f"waits: {_wait_words(first, self.now)}"
        if self.graph is not None and (sentences := self.graph.waiting()):
            headline, cure = f"waits: {sentences[0]}", self.graph.cure() or cure
        if head.wake_at is not None and not facts:
            facts = (f"it wakes {self._when(head.wake_at)}",)
        return _Found(headline, facts, cure)

    # --- facts

    def _what_it_waits_for(self) -> list[str]:
        if self.graph is not None and not _starts(self.waits):
            return [*self.graph.waiting()[:_SHOWN], *self.graph.retries(), *self.graph.failures(), *self.lacks]
        facts = [_wait_words(wait, self.now) for wait in self.waits[:_SHOWN]]
        if len(self.waits) > _SHOWN:
            facts.append(f"and {len(self.waits) - _SHOWN} more")
        return [*facts, *self._retries(), *(() if self.remote is None else self.remote.facts())]

    def _retries(self) -> list[str]:
        facts = []
        for step in self.story.steps:
            last = step.attempts[-1] if step.attempts else None
            if step.status == "retrying" and last is not None and last.retry_at is not None:
                what = f"{attempt_words(step.id)}: attempt {last.number} failed ({last.error})"
                was = "was due " if last.retry_at <= self.now else ""
                facts.append(f"{what}; the next {was}{self._when(last.retry_at)}")
        return facts

    def _progress(self) -> list[str]:
        pending = () if self.replayed is None else self.replayed.pending
        facts = (
            [f"{attempt_words(id)} has no result yet" for id in pending[:_SHOWN]]
            if self.graph is None
            else self.graph.running()
        )
        last = _last_step(self.story)
        if last is not None and last.ended_at is not None:
            what = "step" if self.graph is None else "node"
            facts.append(f"the last {what} to finish was {last.id}, {format_ms(max(0, self.now - last.ended_at))} ago")
        return facts

    def _worker_cure(self) -> str:
        queue = "" if self.head.queue == "default" else f" --queues {self.head.queue}"
        return f"start a worker that has this workflow: stepwell worker MODULE:app{queue}"

    def _is_later(self) -> bool:
        return self.head.wake_at is not None and self.head.wake_at > self.now

    def _when(self, at: int) -> str:
        return f"in {format_ms(at - self.now)}" if at > self.now else f"{format_ms(self.now - at)} ago"


def _starts(waits: tuple[Wait, ...]) -> bool:
    return any(wait.kind == "start" for wait in waits)


def _last_step(story: Timeline) -> StepItem | None:
    finished = [step for step in story.steps if step.ended_at is not None and not is_invocation(step.id)]
    return max(finished, key=lambda step: step.ended_at or 0) if finished else None


def _wait_words(wait: Wait, now: int) -> str:
    until = "" if wait.until is None else f", until {moment_words(wait.until)}"
    match wait.kind:
        case "timer":
            left = "" if wait.until is None else f" (in {format_ms(max(0, wait.until - now))})"
            return f"sleeping ({wait.name}){until}{left}"
        case "signal":
            return f"for signal {wait.name}{until}"
        case "event":
            return f"for event {wait.name}{until}" + (f" with {wait.detail}" if wait.detail else "")
        case "token":
            return f"for the completion of {wait.name}{until}"
        case "child":
            return f"for child {wait.detail or wait.name} (command {wait.name}){until}"
        case "start":
            return f"it starts at {moment_words(wait.until or 0)}"
        case "retry":
            left = "" if wait.until is None else f" in {format_ms(max(0, wait.until - now))}"
            return retry_words(wait.name, left)


def _cure(run: RunId, wait: Wait, *, is_remote: bool) -> str:
    match wait.kind:
        case "signal":
            return f"stepwell send {run} {wait.name} JSON"
        case "event":
            return f"stepwell publish {wait.name} JSON"
        case "token":
            if is_remote:
                return token_cure(run, wait.name)
            return "stepwell complete TOKEN JSON, with the token that the run handed out"
        case "child":
            return f"stepwell runs explain {wait.detail}" if wait.detail else ""
        case _:
            return ""
