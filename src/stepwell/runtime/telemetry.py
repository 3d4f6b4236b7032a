"""What a worker tells of itself, to whom it may concern: metrics and traces.

Observers are told on the event loop, after the fact, and decide nothing. They must be quick. One that raises is logged
once and hurts no run. Who calls asks `is_on` first, so that a worker without observers pays for one attribute.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from stepwell.engine.driver import Driver
from stepwell.engine.program import StepCommand
from stepwell.errors import DefinitionError
from stepwell.model.entries import Entry
from stepwell.model.ids import RunId
from stepwell.model.runs import Head

LetGo = Literal["parked", "ended", "taken", "late", "failed", "released", "reloaded"]
"""How a worker lets go of a run. `taken`: another worker has it. `late`: no lease could be renewed in time. `failed`:
the code cannot drive it. `released`: this worker stops. `reloaded`: the journal had a frame that was not known here."""

_log = logging.getLogger("stepwell")


class Held(Protocol):
    """A run that a worker holds, as observers see it; to be read, never to be changed."""

    run: RunId
    head: Head
    driver: Driver


class Observer(Protocol):
    """Is told what a worker does. All runs are those of one app. `now` is in ms, by the worker's clock."""

    def begun(self, held: Held, mail: Sequence[int], now: int) -> None:
        """A run is held, and its code has not run yet. `mail` is when (ms) the messages that wait were accepted."""

    def committed(self, held: Held, entries: Sequence[Entry]) -> None:
        """A frame is durable: number `held.driver.seq`, as of `held.driver.at`."""

    def attempt_started(self, run: RunId, base: int, command: StepCommand, now: int) -> None:
        """In the context in which the step is about to run. `base` is where the run's generation began."""

    def attempt_ended(self, run: RunId, base: int, command: StepCommand, outcome: Entry | None, now: int) -> None:
        """In the same context. None: it was stopped, because nobody wants its outcome. It is not durable yet."""

    def let_go(self, held: Held, how: LetGo, now: int, error: str) -> None:
        """The run is not held any more. `error` is not empty if it `failed`."""

    def batch(self, name: str, size: int, seconds: float) -> None:
        """One call of the store carried so many frames ("append") or parks ("park")."""


class Telemetry:
    """The observers of one app. They may come and go while it works."""

    __slots__ = ("_observers", "_told", "is_on")

    def __init__(self) -> None:
        self.is_on = False
        self._observers: tuple[Observer, ...] = ()
        self._told: set[int] = set()

    def add(self, observer: Observer) -> None:
        """Tell this one, too. One that is here is not told twice."""
        if not any(known is observer for known in self._observers):
            self._observers = (*self._observers, observer)
            self.is_on = True

    def remove(self, observer: Observer) -> None:
        """Tell it nothing more."""
        self._observers = tuple(known for known in self._observers if known is not observer)
        self.is_on = bool(self._observers)
        self._told.discard(id(observer))

    def begun(self, held: Held, mail: Sequence[int], now: int) -> None:
        """See `Observer`; so are all that follow."""
        for observer in self._observers:
            try:
                observer.begun(held, mail, now)
            except Exception:
                self._failed(observer, "begun")

    def committed(self, held: Held, entries: Sequence[Entry]) -> None:
        for observer in self._observers:
            try:
                observer.committed(held, entries)
            except Exception:
                self._failed(observer, "committed")

    def attempt_started(self, run: RunId, base: int, command: StepCommand, now: int) -> None:
        for observer in self._observers:
            try:
                observer.attempt_started(run, base, command, now)
            except Exception:
                self._failed(observer, "attempt_started")

    def attempt_ended(self, run: RunId, base: int, command: StepCommand, outcome: Entry | None, now: int) -> None:
        for observer in self._observers:
            try:
                observer.attempt_ended(run, base, command, outcome, now)
            except Exception:
                self._failed(observer, "attempt_ended")

    def let_go(self, held: Held, how: LetGo, now: int, error: str = "") -> None:
        for observer in self._observers:
            try:
                observer.let_go(held, how, now, error)
            except Exception:
                self._failed(observer, "let_go")

    def batch(self, name: str, size: int, seconds: float) -> None:
        for observer in self._observers:
            try:
                observer.batch(name, size, seconds)
            except Exception:
                self._failed(observer, "batch")

    def _failed(self, observer: Observer, event: str) -> None:
        if id(observer) not in self._told:
            self._told.add(id(observer))
            name = type(observer).__qualname__
            _log.warning("observer %s failed at %s; this is said once", name, event, exc_info=True)


def tracing_observer(provider: Any = None, *, hides_texts: bool = False) -> Observer:
    """Tells OpenTelemetry. `provider` is a `TracerProvider`; None or True: that of the process. With `hides_texts`,
    messages and tracebacks of exceptions stay here: they may hold what a cipher keeps from the store."""
    try:
        tracing = importlib.import_module("stepwell.runtime.tracing")
    except ImportError as error:
        raise DefinitionError(f"traces need OpenTelemetry: pip install 'stepwell[otel]' ({error})") from None
    given = None if provider is None or provider is True else provider
    if given is not None and not hasattr(given, "get_tracer"):
        raise DefinitionError(f"tracing={provider!r}: give True, or a TracerProvider of OpenTelemetry")
    observer: Observer = tracing.Tracing(given, hides_texts=hides_texts)
    return observer
