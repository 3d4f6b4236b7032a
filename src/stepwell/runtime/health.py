"""Whether a process can do its work: facts, gathered; and what follows from them, as a pure function.

Each check says what is wrong and what to do about it. A worker can stop working in many ways without its process
ending: its task may have died, its loop may stand still, its calls may hang, its leases may not be renewed. All of them
show in the end as a run that is due and that nobody takes while there is room for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from stepwell.errors import BackendError
from stepwell.ports import Backend, Serves
from stepwell.runtime.backlog import Backlog, backlog

if TYPE_CHECKING:
    from stepwell.runtime.worker import Worker

PROBE_RUNS = 200
"""Due runs to look at. That is enough to find the oldest of a worker, unless others have left more of theirs alone."""


class HealthLimits(Struct, frozen=True, kw_only=True):
    """When something is wrong; in seconds. `probe`: how long the backend may take to answer. `overdue`: how long a run
    may wait for a worker that has room. `blocked`: how long the event loop may stand still, which is held against it
    for as long as `memory`. `silent`: how long a worker may hear nothing of the store, on top of three polls."""

    probe: float = 2.0
    overdue: float = 60.0
    blocked: float = 5.0
    memory: float = 30.0
    silent: float = 10.0


class WorkerFacts(Struct, frozen=True, kw_only=True):
    """One worker, as of now; times in seconds.

    `silent`: since the store last answered it. `unanswered`: since a renewal was asked for, and none was answered.
    `blocked`: how long its loop stood still, `blocked_ago` when that ended. `overdue`: how long the oldest run has been
    due that it could take; None if there is none.
    """

    name: str = ""
    is_stopping: bool = False
    is_main_alive: bool = True
    is_renewer_alive: bool = True
    dead_listeners: int = 0
    silent: float = 0.0
    unanswered: float = 0.0
    blocked: float = 0.0
    blocked_ago: float = 0.0
    overdue: float | None = None
    overdue_run: str = ""
    free: int = 1
    poll: float = 1.0
    lease: float = 30.0


class Facts(Struct, frozen=True, kw_only=True):
    """A process, as of now. `backend` and `keys` are what went wrong with them; empty: nothing."""

    is_draining: bool = False
    backend: str = ""
    keys: str = ""
    workers: tuple[WorkerFacts, ...] = ()


class Check(Struct, frozen=True, kw_only=True):
    """One question. If the answer is no: what is wrong, and the cure."""

    name: str
    ok: bool = True
    detail: str = ""
    cure: str = ""


class Health(Struct, frozen=True, kw_only=True):
    """The answer to all of them."""

    ok: bool
    checks: tuple[Check, ...]

    def failed(self) -> list[Check]:
        """Those that say no."""
        return [check for check in self.checks if not check.ok]


def judged(facts: Facts, limits: HealthLimits) -> Health:
    """What the facts mean."""
    checks = [
        _check("draining", "this process is stopping" if facts.is_draining else "", "send requests to another one"),
        _check("backend", facts.backend, "see that the backend can be reached from here: stepwell doctor"),
        _check("keys", facts.keys, "see that the backend can be reached from here: stepwell doctor"),
    ]
    for worker in facts.workers:
        checks += _worker_checks(worker, limits)
    return Health(ok=all(check.ok for check in checks), checks=tuple(checks))


def _check(name: str, wrong: str, cure: str) -> Check:
    return Check(name=name, ok=not wrong, detail=wrong, cure=cure if wrong else "")


def _worker_checks(worker: WorkerFacts, limits: HealthLimits) -> list[Check]:
    of = f" of namespace {worker.name}" if worker.name else ""
    if worker.is_stopping:
        wrong = f"the worker{of} takes no runs any more: it was told to stop, or all its threads hang (its log says so)"
        return [_check("worker", wrong, "restart this process")]
    return [
        _check("worker", _dead(worker, of), "restart this process; its log has the error"),
        _check(
            "polling", _silent(worker, of, limits), "see that the backend answers; if it does, restart this process"
        ),
        _check(
            "leases",
            _unrenewed(worker, of),
            "see that the backend answers: when leases end, runs begin elsewhere again",
        ),
        _check(
            "loop",
            _blocked(worker, of, limits),
            "do what computes or blocks in `def` steps, which run in threads; the log names the steps",
        ),
        _check(
            "due runs",
            _overdue(worker, of, limits),
            "look at the log; stepwell explain RUN says what the run waits for; then restart this process",
        ),
    ]


def _dead(worker: WorkerFacts, of: str) -> str:
    if not worker.is_main_alive:
        return f"the task that takes runs{of} has ended"
    if not worker.is_renewer_alive:
        return f"what renews leases{of} has ended"
    if worker.dead_listeners:
        return f"{worker.dead_listeners} listeners{of} have ended: runs that become due are found late"
    return ""


def _silent(worker: WorkerFacts, of: str, limits: HealthLimits) -> str:
    bound = 3 * worker.poll + limits.silent
    if worker.silent <= bound:
        return ""
    return f"the worker{of} has not heard from the store for {worker.silent:.0f} s; it asks every {worker.poll:g} s"


def _unrenewed(worker: WorkerFacts, of: str) -> str:
    if worker.unanswered <= worker.lease / 2:
        return ""
    return f"no lease{of} could be renewed for {worker.unanswered:.0f} s; they last {worker.lease:g} s"


def _blocked(worker: WorkerFacts, of: str, limits: HealthLimits) -> str:
    if worker.blocked < limits.blocked or worker.blocked_ago > limits.memory:
        return ""
    return f"the event loop{of} did not move for {worker.blocked:.0f} s, {worker.blocked_ago:.0f} s ago"


def _overdue(worker: WorkerFacts, of: str, limits: HealthLimits) -> str:
    if worker.overdue is None or worker.overdue <= limits.overdue or worker.free <= 0:
        return ""
    return (
        f"run {worker.overdue_run} has been due for {worker.overdue:.0f} s, and the worker{of}, which could take it, "
        f"has room for {worker.free} runs"
    )


# --- gathering facts


async def probe(backend: Backend, limits: HealthLimits, *, now: int | None = None) -> Backlog | str:
    """Ask the backend something that a worker asks, too. A text: what went wrong."""
    try:
        async with asyncio.timeout(limits.probe):
            return await backlog(backend, now=now, limit=PROBE_RUNS)
    except TimeoutError:
        return f"the backend has not answered within {limits.probe:g} s"
    except BackendError as error:
        return f"the backend fails: {error}"


def worker_facts(worker: Worker, due: Backlog | None, *, name: str = "") -> WorkerFacts:
    """What there is to know of a worker, on its loop or from another thread. `due`: what waits, if that is known."""
    options, renewer, now = worker.options, worker.renewer, worker.clock.monotonic()
    oldest = None if due is None else due.oldest_for(Serves(queues=options.queues, kinds=worker.registry.kinds()))
    blocked, blocked_ago = _block(worker, now)
    return WorkerFacts(
        name=name,
        is_stopping=worker.is_stopping,
        is_main_alive=worker.main is not None and not worker.main.done(),
        is_renewer_alive=renewer.is_alive,
        dead_listeners=sum(task.done() for task in worker.listeners),
        silent=0.0 if worker.looked_at is None else now - worker.looked_at,
        unanswered=0.0 if renewer.unanswered_since is None else now - renewer.unanswered_since,
        blocked=blocked,
        blocked_ago=blocked_ago,
        overdue=None if oldest is None or due is None else (due.now - oldest.since) / 1000,
        overdue_run="" if oldest is None else oldest.head.id,
        free=worker.free,
        poll=options.poll_ms / 1000,
        lease=options.lease_ms / 1000,
    )


def _block(worker: Worker, now: float) -> tuple[float, float]:
    under_way, block = worker.renewer.blocked_for(), worker.renewer.block
    if block is None or under_way >= block.seconds:
        return under_way, 0.0
    return block.seconds, now - block.ended_at
