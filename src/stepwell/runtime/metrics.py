"""What happens in this process, counted: an observer that adds numbers up. Who shows them reads `families`.

It costs little enough to be always on in a server. The number of series is bounded: names of workflows and steps come
from users, and those that come after the limit are counted together, as "other".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from stepwell.engine.program import StepCommand
from stepwell.model.entries import (
    AttemptFailed,
    ContinuedAsNew,
    Ended,
    Entry,
    Received,
    StepCompleted,
    StepFailed,
    TimerFired,
)
from stepwell.model.ids import RunId, step_name
from stepwell.runtime.telemetry import Held, LetGo

Labels = tuple[str, ...]

OTHER = "other"
WORKFLOWS_MAX = 100
STEPS_MAX = 300
"""Pairs of a workflow and a step."""

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LATE = (*_FAST, 30.0, 60.0, 300.0)
_STEP = (*_FAST, 30.0, 60.0, 300.0, 1800.0)
_RUN = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43_200.0, 86_400.0, 604_800.0)
_COMMIT = (0.0001, 0.00025, 0.0005, *_FAST[:-2])
_SIZE = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class Counter:
    """Sums that only grow, by labels."""

    __slots__ = ("help", "labels", "name", "values")

    def __init__(self, name: str, help: str, *labels: str) -> None:
        self.name = name
        self.help = help
        self.labels = labels
        self.values: dict[Labels, float] = {}

    def add(self, *labels: str, by: float = 1.0) -> None:
        """One more."""
        self.values[labels] = self.values.get(labels, 0.0) + by


class Gauge:
    """What is so now, by labels."""

    __slots__ = ("help", "labels", "name", "values")

    def __init__(self, name: str, help: str, *labels: str) -> None:
        self.name = name
        self.help = help
        self.labels = labels
        self.values: dict[Labels, float] = {}

    def set(self, value: float, *labels: str) -> None:
        """It is so much."""
        self.values[labels] = value

    def add(self, value: float, *labels: str) -> None:
        """It is so much more."""
        self.values[labels] = self.values.get(labels, 0.0) + value


class Distribution:
    """Counts of values up to each bound, the last of which is infinite; and the sum of all."""

    __slots__ = ("counts", "sum")

    def __init__(self, bounds: int) -> None:
        self.counts = [0] * (bounds + 1)
        self.sum = 0.0


class Histogram:
    """How large values are, by labels. `bounds` are upper and inclusive."""

    __slots__ = ("bounds", "help", "labels", "name", "values")

    def __init__(self, name: str, help: str, bounds: tuple[float, ...], *labels: str) -> None:
        self.name = name
        self.help = help
        self.bounds = bounds
        self.labels = labels
        self.values: dict[Labels, Distribution] = {}

    def observe(self, value: float, *labels: str) -> None:
        """One more value."""
        found = self.values.get(labels)
        if found is None:
            found = self.values[labels] = Distribution(len(self.bounds))
        found.counts[bisect_left(self.bounds, value)] += 1
        found.sum += value


Family = Counter | Gauge | Histogram


class Names:
    """The first `limit` names, by which something is counted."""

    __slots__ = ("_known", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._known: set[Labels] = set()

    def has(self, *names: str) -> bool:
        """Whether these are counted by themselves."""
        if names in self._known:
            return True
        if len(self._known) >= self.limit:
            return False
        self._known.add(names)
        return True


class Metrics:
    """The counts of one process, over all apps whose telemetry it was added to."""

    def __init__(self) -> None:
        self._workflows = Names(WORKFLOWS_MAX)
        self._steps = Names(STEPS_MAX)
        self.runs_started = Counter(
            "stepwell_runs_started", "Runs whose code a worker here was the first to run.", "workflow"
        )
        self.runs_ended = Counter("stepwell_runs_ended", "Runs that ended here.", "workflow", "status")
        self.run_seconds = Histogram(
            "stepwell_run_duration_seconds", "From the creation of a run to its end.", _RUN, "workflow", "status"
        )
        self.late_seconds = Histogram(
            "stepwell_schedule_latency_seconds",
            "From when a run was due (created, a timer, a message) to when a worker here had it.",
            _LATE,
            "cause",
        )
        self.steps = Counter(
            "stepwell_step_attempts",
            "Attempts of steps whose outcome is durable: completed, retried (another attempt follows) or failed.",
            *("workflow", "step", "outcome"),
        )
        self.step_seconds = Histogram(
            "stepwell_step_duration_seconds", "How long attempts of steps took.", _STEP, "workflow", "step"
        )
        self.steps_stopped = Counter(
            "stepwell_step_attempts_stopped", "Attempts that were stopped: nobody wanted their outcome any more."
        )
        self.steps_running = Gauge("stepwell_steps_running", "Attempts of steps that run here now.")
        self.activations = Counter(
            "stepwell_activations", "How runs that were held here were let go (see the documentation).", "how"
        )
        self.failures = Counter(
            "stepwell_activation_failures", "Code that could not drive a run, which stays open.", "workflow"
        )
        self.leases_lost = Counter(
            "stepwell_leases_lost",
            "Runs that were lost: taken by another worker, or late, when no lease could be renewed in time.",
            "how",
        )
        self.frames = Counter("stepwell_frames", "Frames written to journals.")
        self.messages = Counter("stepwell_messages_received", "Messages journaled by their runs.", "kind")
        self.timers = Counter("stepwell_timers_fired", "Timers of runs that fired.")
        self.generations = Counter("stepwell_generations", "Runs that began anew: continued, or retried.", "workflow")
        self.batch_size = Histogram(
            "stepwell_commit_size", "How many frames, or parks, went to the store in one call.", _SIZE, "call"
        )
        self.batch_seconds = Histogram(
            "stepwell_commit_duration_seconds", "How long such a call of the store took.", _COMMIT, "call"
        )
        self.requests = Counter("stepwell_http_requests", "HTTP requests answered.", "route", "method", "status")
        self.request_seconds = Histogram(
            "stepwell_http_request_duration_seconds",
            "From the head of an HTTP request to the end of its answer.",
            _LATE,
            *("route", "method"),
        )

        self._counting = self._counters()

    def families(self) -> list[Family]:
        """All of them, in the order of their declaration."""
        return [value for value in vars(self).values() if isinstance(value, Counter | Gauge | Histogram)]

    # --- the server

    def observe_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """An HTTP request was answered. `route` is the path as it was declared; empty if there is none."""
        self.requests.add(route, method if route else OTHER, str(status))
        self.request_seconds.observe(seconds, route, method if route else OTHER)

    # --- the observer

    def begun(self, held: Held, mail: Sequence[int], now: int) -> None:
        """A run is held."""
        head, driver = held.head, held.driver
        is_new = driver.seq == 1 and not head.waiting and not head.error and head.takes <= 1
        if is_new:
            self.runs_started.add(self._workflow(held))
        if driver.ended is None:
            cause, due = _due(held, mail, now, is_new=is_new)
            if due is not None:
                self.late_seconds.observe(max(0, now - due) / 1000, cause)

    def committed(self, held: Held, entries: Sequence[Entry]) -> None:
        """A frame is durable."""
        self.frames.add()
        workflow = self._workflow(held)
        for entry in entries:
            count = self._counting.get(type(entry))
            if count is not None:
                count(workflow, entry)
            elif type(entry) is Ended:
                self.runs_ended.add(workflow, entry.status)
                seconds = (held.driver.at - held.driver.origin.born_at) / 1000
                self.run_seconds.observe(max(0.0, seconds), workflow, entry.status)

    def attempt_started(self, run: RunId, base: int, command: StepCommand, now: int) -> None:  # noqa: ARG002
        """A step runs."""
        self.steps_running.add(1)

    def attempt_ended(self, run: RunId, base: int, command: StepCommand, outcome: Entry | None, now: int) -> None:  # noqa: ARG002
        """It does not."""
        self.steps_running.add(-1)
        if outcome is None:
            self.steps_stopped.add()

    def let_go(self, held: Held, how: LetGo, now: int, error: str) -> None:  # noqa: ARG002
        """A run is not held any more."""
        self.activations.add(how)
        if how == "failed":
            self.failures.add(self._workflow(held))
        elif how in ("taken", "late"):
            self.leases_lost.add(how)

    def batch(self, name: str, size: int, seconds: float) -> None:
        """One call of the store."""
        self.batch_size.observe(size, name)
        self.batch_seconds.observe(seconds, name)

    def _counters(self) -> dict[type, Callable[[str, Any], None]]:
        """What counts an entry of a workflow's run, by the type of the entry."""
        return {
            StepCompleted: self._completed,
            StepFailed: self._failed,
            AttemptFailed: self._retried,
            Received: self._received,
            TimerFired: self._fired,
            ContinuedAsNew: self._continued,
        }

    def _completed(self, workflow: str, entry: StepCompleted) -> None:
        self._attempt(workflow, entry, "completed")

    def _failed(self, workflow: str, entry: StepFailed) -> None:
        self._attempt(workflow, entry, "failed")

    def _retried(self, workflow: str, entry: AttemptFailed) -> None:
        self._attempt(workflow, entry, "retried")

    def _received(self, _: str, entry: Received) -> None:
        self.messages.add(str(entry.message.__struct_config__.tag))

    def _fired(self, _: str, __: TimerFired) -> None:
        self.timers.add()

    def _continued(self, workflow: str, _: ContinuedAsNew) -> None:
        self.generations.add(workflow)

    def _attempt(self, workflow: str, entry: StepCompleted | StepFailed | AttemptFailed, outcome: str) -> None:
        step = step_name(entry.id)
        if not self._steps.has(workflow, step):
            step = OTHER
        self.steps.add(workflow, step, outcome)
        self.step_seconds.observe(entry.ms / 1000, workflow, step)

    def _workflow(self, held: Held) -> str:
        name = held.head.workflow
        return name if self._workflows.has(name) else OTHER


def _due(held: Held, mail: Sequence[int], now: int, *, is_new: bool) -> tuple[str, int | None]:
    """Why the run was due, and since when: the store does not say, since to take a run is to move that time."""
    if is_new:
        return "start", held.driver.fold.not_before or held.head.created_at
    times = [(at, "message") for at in mail]
    times += [(wait.until, "timer") for wait in held.head.waiting if wait.until is not None and wait.until <= now]
    if not times:
        return "", None
    due, cause = min(times)
    return cause, due
