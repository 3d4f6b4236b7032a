"""The deterministic event loop: on it a workflow body runs, and asyncio itself is durable.

One loop serves one activation. It has no clock, sockets or threads. Its time is that of the last journal entry, which
the owner assigns; its timers fire when the owner says so; and `pump` runs what is ready until nothing is. The same
journal therefore gives the same execution, provided that four things hold which plain asyncio does not give:

- asyncio keeps tasks in sets, which iterate by hash, which is an address. Tasks and futures of this loop hash to
  numbers that the loop counts, so `asyncio.wait`, `TaskGroup` and anyio's groups go in the same order each time;
  what that does not reach is in `order`.
- what would reach the world is refused, and the refusal is kept in the loop, where `except` cannot hide it.
- an abandoned asynchronous generator is not finished later, by another loop; see `_enter`.
- a body that leaves memory is unwound at once; see `eviction`.

Limits: `asyncio.all_tasks()` is empty here, because the set behind it spans the process; `live_tasks` has the answer.
The future that `asyncio.gather` returns is asyncio's own and hashes by address, so do not keep several in a set.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.events import _get_running_loop, _set_running_loop
from asyncio.tasks import _enter_task, _leave_task  # type: ignore[attr-defined,unused-ignore]
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from itertools import repeat
from math import ceil
from typing import Any, TypeVarTuple

from stepwell.engine import eviction
from stepwell.engine.handles import Handle, Timer, Timers
from stepwell.engine.order import AS_COMPLETED, ENSURE_FUTURE, put_anyio_scopes_in_order, shuffled_by_as_completed
from stepwell.engine.places import place_of, waiting_frames
from stepwell.engine.purity import PurityWatch
from stepwell.engine.refusals import RefusingLoop
from stepwell.engine.tasks import WorkflowFuture, WorkflowTask, new_task
from stepwell.errors import ActivationError, Evicted, NotDurableError, SpinError

__all__ = ["BUDGET", "Timer", "WorkflowFuture", "WorkflowLoop", "WorkflowTask"]

BUDGET = 100_000
"""How many callbacks one pump may run."""

_FOREVER = 253_402_300_800.0
"""The year 10000, in seconds: a timer beyond it never fires."""

_TOLERANCE_MS = 0.001
"""What arithmetic on times may be off by. Without it, `sleep(0.1)` would sometimes last 101 ms."""

_Ts = TypeVarTuple("_Ts")
_Outer = tuple[asyncio.AbstractEventLoop | None, asyncio.Task[Any] | None, Any, Any]
"""What was running when a workflow loop was entered: loop, task, hooks of asynchronous generators."""

_get_hooks = sys.get_asyncgen_hooks
_set_hooks: Callable[[Any, Any], None] = sys.set_asyncgen_hooks


class WorkflowLoop(RefusingLoop):
    """The loop of one activation. Everything but `now_ms` and `program` is the loop's own to change.

    `salt` keeps the hashes of tasks in different loops apart, where a library keeps them all in one mapping. Give
    something that is constant over all replays of a run, forks included; or nothing.
    """

    def __init__(
        self,
        *,
        name: str = "run",
        on_log: Callable[[str], None] | None = None,
        impure_check: bool = False,
        salt: int = 0,
    ) -> None:
        super().__init__(name)
        self.program: Any = None
        self.now_ms = 0
        self.ready: deque[Handle | Timer] = deque()
        self.fast = True
        self.impure: list[str] = []
        self.next_timer_name = ""
        self._push: Callable[[Handle | Timer], object] = self.ready.append
        self._timers = Timers()
        self.timers_by_number = self._timers.pending
        self._time_floor = 0.0
        self._tasks: dict[int, WorkflowTask] = {}
        self._task_count = 0
        self._last_hash = (salt & 0x3FFFFFFF) << 16
        self._on_log = on_log
        self._has_warned_of_generators = False
        self._exception_handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self._watch = PurityWatch(self.impure) if impure_check else None

    def __repr__(self) -> str:
        return f"<WorkflowLoop {self.name}>"

    # --- what the owner does

    def pump(self, budget: int = BUDGET) -> None:
        """Run callbacks until none is ready.

        Raises the first `violation`, and `SpinError` past the budget; the loop is then of no more use but to `evict`.
        """
        assert not self.evicting, "an evicted loop is not pumped"
        outer = self._enter()
        try:
            if self._watch is None:
                self._run_ready(budget)
            else:
                with self._watch:
                    self._run_ready(budget)
        finally:
            self._leave(outer)
            self.next_timer_name = ""
        if self.violation is not None:
            raise self.violation

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str) -> WorkflowTask:
        """The main task. It starts with the next pump, from an empty context."""
        return self._create(coro, name, Context())

    def fire(self, n: int, due: int) -> Timer:
        """Make timer `n` ready. Raises `LookupError` unless it is pending and due at `due`."""
        timer = self._timers.take(n, due)
        if timer._when > self._time_floor:
            self._time_floor = timer._when
        self._push(timer)
        return timer

    def next_timer(self) -> Timer | None:
        """The timer that fires next."""
        return self._timers.next()

    def due_timers(self, until: int) -> list[Timer]:
        """The timers due by `until` (ms), in the order in which to fire them."""
        return self._timers.due(until)

    def pending_timers(self) -> list[Timer]:
        """All timers, in the order in which they will fire."""
        return self._timers.all()

    def live_tasks(self) -> list[WorkflowTask]:
        """The tasks that are not done, in creation order."""
        return [task for task in self._tasks.values() if not task.done()]

    def where(self, task: asyncio.Task[Any]) -> str:
        """The user's line at which this task waits, such as "orders.py:41, in checkout"."""
        return place_of(waiting_frames(task.get_coro()))

    def evict(self) -> list[str]:
        """Unwind every coroutine of the body; nothing that they do meanwhile counts. Idempotent.

        Answers a description of each that would not end; those stay in memory, see `eviction.survivors`.
        """
        if self.evicting:
            return []
        assert _get_running_loop() is not self, "a body cannot evict itself"
        tasks = self.live_tasks()
        self.evicting = True
        self._push = _drop
        self.ready.clear()
        self._timers.clear()
        self._tasks.clear()
        outer = self._enter()
        try:
            survived = eviction.unwind(self, reversed(tasks))
        finally:
            self._leave(outer)
        return [f"task {task.get_name()} of run {self.name}, at {self.where(task)}" for task in survived]

    # --- what asyncio and the body call

    def time(self) -> float:
        """The run's time, in seconds. Never before a timer that has fired, in spite of rounding."""
        now = self.now_ms / 1000
        return now if now >= self._time_floor else self._time_floor

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Run it in this pump, after what is ready already."""
        handle = Handle(callback, args, copy_context() if context is None else context)
        self._push(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As `call_at`, so many seconds from now."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """A durable timer, unless it is due already: then as `call_soon`."""
        timer = Timer(when, callback, args, copy_context() if context is None else context)
        name, self.next_timer_name = self.next_timer_name, ""
        if self.evicting or not when < _FOREVER:
            return timer
        due = ceil(when * 1000 - _TOLERANCE_MS)
        if due > self.now_ms:
            timer.since = self.now_ms
            self._timers.add(timer, due, name)
            return timer
        if when > self._time_floor:
            self._time_floor = when
        self._push(timer)
        return timer

    def create_future(self) -> WorkflowFuture:
        """A future of this loop."""
        return WorkflowFuture(loop=self)

    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: Context | None = None,
        **_options: object,
    ) -> WorkflowTask:
        """Start a task, named "task-1" and so on unless it is named. `eager_start` (Python 3.14) is ignored."""
        caller = sys._getframe(1)
        if caller.f_code is ENSURE_FUTURE:
            shuffled = shuffled_by_as_completed(caller)
            if shuffled is not None:
                for other in (coro, *shuffled):
                    other.close()
                self.refuse(NotDurableError(f"run {self.name}: {AS_COMPLETED} (at {self.place()})"))
        elif caller.f_code.co_name == "_spawn":
            put_anyio_scopes_in_order(caller)
        return self._create(coro, name, copy_context() if context is None else context)

    def get_task_factory(self) -> None:
        """None: there is none."""
        return

    def is_running(self) -> bool:
        """Whether it is pumped just now."""
        return _get_running_loop() is self

    def is_closed(self) -> bool:
        """Never."""
        return False

    # C code asks this for each future that it makes. `bool()` is False, and needs no frame.
    get_debug: Any = staticmethod(bool)

    def set_debug(self, enabled: bool) -> None:
        """Has no effect."""

    async def shutdown_asyncgens(self) -> None:
        """Has no effect."""

    async def shutdown_default_executor(self) -> None:
        """Has no effect."""

    def get_exception_handler(self) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None:
        """The body's own handler."""
        return self._exception_handler

    def set_exception_handler(
        self, handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None
    ) -> None:
        """What gets errors that nobody awaits. It is called only while the body runs: the collector keeps no order."""
        self._exception_handler = handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report an error that nobody awaits. It is logged and changes nothing."""
        if self.evicting:
            return
        if self._exception_handler is None or not self.is_running():
            self.default_exception_handler(context)
            return
        try:
            self._exception_handler(self, context)
        except Exception as error:
            self.default_exception_handler({"message": "Unhandled error in exception handler", "exception": error})

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log it with the run's name and the task's."""
        error = context.get("exception")
        task = context.get("task", context.get("future"))
        message = str(context.get("message") or "Unhandled exception in event loop")
        text = f"run {self.name}: {message.removeprefix('Workflow')}"
        if isinstance(task, asyncio.Task):
            text += f", in task {task.get_name()}"
        if error is not None:
            text += f": {type(error).__name__}: {error}"
        self._log(text)

    # --- inside

    def _enter(self) -> _Outer:
        """Become the running loop. What runs around us is put aside: 3.14 allows no entered task of another loop.

        Generators of the body get our hooks, so that an abandoned one is dropped rather than closed by another loop.
        """
        loop = _get_running_loop()
        assert loop is not self, "a body cannot pump its own loop"
        task = None
        if loop is not None:
            task = asyncio.current_task(loop)
            if task is not None:
                _leave_task(loop, task)
        first, final = _get_hooks()
        _set_running_loop(self)
        _set_hooks(None, self._generator_dropped)
        return loop, task, first, final

    def _leave(self, outer: _Outer) -> None:
        loop, task, first, final = outer
        _set_hooks(first, final)
        _set_running_loop(loop)
        if loop is not None and task is not None:
            _enter_task(loop, task)

    def _run_ready(self, budget: int) -> None:
        ready = self.ready
        popleft = ready.popleft
        turns = repeat(None, budget)
        handle: Handle | Timer | None = None
        while True:
            try:
                for _ in turns:
                    if not ready:
                        return
                    handle = popleft()
                    handle._context.run(handle._callback, *handle._args)
                break
            except BaseException as error:
                self._callback_failed(error, handle)
        if ready:
            self.refuse(SpinError(self._spinning(ready[0], budget)))

    _bottom = _run_ready.__code__

    def _callback_failed(self, error: BaseException, handle: object) -> None:
        if isinstance(error, ActivationError):
            self.refuse(error)
        if isinstance(error, (Evicted, SystemExit, KeyboardInterrupt)):
            raise error
        self.call_exception_handler({"message": f"Exception in {handle!r}", "exception": error})

    def _spinning(self, handle: Handle | Timer, budget: int) -> str:
        task = getattr(handle._callback, "__self__", None)
        if isinstance(task, asyncio.Task):
            what = f"task {task.get_name()} at {self.where(task)}"
        else:
            what = repr(handle._callback)
        return f"run {self.name} went on for {budget} callbacks without waiting for anything; next is {what}"

    def _create(self, coro: Any, name: str | None, context: Context) -> WorkflowTask:
        self._task_count = n = self._task_count + 1
        task = new_task(self, coro, f"task-{n}" if name is None else name, context)
        task.n = n
        if self.evicting:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coro.close()
        else:
            self._tasks[n] = task
            task.add_done_callback(self._forget, context=context)
        return task

    def _forget(self, task: Any) -> None:
        self._tasks.pop(task.n, None)
        error = task._exception  # unlike exception(), leaves it to be reported as lost
        if isinstance(error, ActivationError):
            self._record(error)

    def _next_hash(self) -> int:
        self._last_hash = number = self._last_hash + 1
        return number

    def _generator_dropped(self, generator: Any) -> None:
        if self.evicting or self._has_warned_of_generators:
            return
        self._has_warned_of_generators = True
        self._log(
            f"run {self.name}: the asynchronous generator {generator.__qualname__} was dropped before its end, so its "
            "cleanup does not run; use contextlib.aclosing"
        )

    def _log(self, text: str) -> None:
        if self._on_log is not None:
            self._on_log(text)


def _drop(_handle: object) -> None:
    """Where callbacks go while a body is evicted."""
