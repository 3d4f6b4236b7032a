"""Steps as a test sees them: some replaced by fakes, all of them counted.

A step is looked up when a body asks for it, and only then is it known which run asks. So the registry of a test answers
with doubles of the steps: same options, same types, another function.
"""

from __future__ import annotations

import inspect
from asyncio.events import _get_running_loop
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from stepwell.authoring.bound import BoundStep
from stepwell.authoring.registry import Registry
from stepwell.authoring.running import current_step
from stepwell.authoring.steps import Step
from stepwell.codec import Codec
from stepwell.engine.loop import WorkflowLoop
from stepwell.engine.program import Origin
from stepwell.errors import CodecError, DefinitionError
from stepwell.model.ids import CommandId, RunId

Fakes = Mapping[Any, Any]
"""Steps to what stands in for them: a value to return, an exception to raise, or a callable of the step's arguments.

Keys are not typed as steps, because type checkers take a mapping's keys for invariant, and no two steps have one type.
"""


class Effects:
    """How often the body of each step ran, by run and step id. Shared by all workers of one world."""

    def __init__(self) -> None:
        self.count: Counter[tuple[RunId, CommandId]] = Counter()
        self.workflows: dict[RunId, str] = {}

    def note(self) -> None:
        """The current step's body begins; from the loop or from the step's thread."""
        step = current_step()
        self.count[step.run_id, step.id] += 1

    def of(self, run: RunId) -> Counter[str]:
        """Those of one run, by step id."""
        return Counter({id: count for (owner, id), count in self.count.items() if owner == run})

    def named(self, root: RunId) -> Counter[str]:
        """All, by text: those of `root` by step id, those of other runs with the workflow's name and the run's id."""
        return Counter(
            {
                id if run == root else f"{self.workflows.get(run, '')} {run}/{id}": count
                for (run, id), count in self.count.items()
            }
        )


class FakingRegistry(Registry):
    """A registry whose steps are doubles. A child run has the fakes of its parent."""

    def __init__(self, codec: Codec, effects: Effects) -> None:
        super().__init__((), codec)
        self.effects = effects
        self.on_problem: Callable[[BaseException], None] = _raise
        self._fakes: dict[RunId, Fakes] = {}
        self._latest: Fakes = {}
        self._doubles: dict[tuple[Step[..., Any], int], BoundStep] = {}

    def fake(self, run: RunId, fakes: Fakes) -> None:
        """These stand in for steps of this run and its children. `DefinitionError`, `CodecError`."""
        for step, value in fakes.items():
            if not isinstance(step, Step):
                raise DefinitionError(f"fakes holds {step!r} as a key; give step objects: fakes={{charge: ...}}")
            if not (isinstance(value, BaseException) or callable(value)):
                self._check(BoundStep(step, self.codec), value)
        self._fakes[run] = self._latest = fakes

    def bind(self, step: Step[..., Any]) -> BoundStep:
        """The double of the step for the run whose body asks; the step itself elsewhere."""
        loop = _get_running_loop()
        if not isinstance(loop, WorkflowLoop):
            return super().bind(step)
        fakes = self._fakes_of(loop.program.origin)
        key = (step, id(fakes))
        double = self._doubles.get(key)
        if double is None:
            double = self._double(step, fakes)
            if step.spec.key is None:
                self._doubles[key] = double
        return double

    def step_binder(self, origin: Origin) -> tuple[object, Callable[[Step[..., Any]], BoundStep]]:
        """The doubles for the nodes of this run."""
        fakes = self._fakes_of(origin)
        return id(fakes), lambda step: self._double(step, fakes)

    def _fakes_of(self, origin: Origin) -> Fakes:
        run = origin.run
        self.effects.workflows.setdefault(run, origin.created.workflow)
        fakes = self._fakes.get(run)
        if fakes is None:
            parent = origin.created.parent
            fakes = self._latest if parent is None else self._fakes.get(parent.run, self._latest)
            self._fakes[run] = fakes
        return fakes

    def _double(self, step: Step[..., Any], fakes: Fakes) -> BoundStep:
        bound = BoundStep(step, self.codec)
        found = _find(step, fakes)
        double = step.options()
        if found is not None:
            double.is_async = True
            double.__wrapped__ = self._faked(bound, fakes[found])
        elif step.is_async:
            double.__wrapped__ = self._counted(step)
        else:
            double.__wrapped__ = self._counted_sync(step)
        bound.step, bound.fn = double, double.__wrapped__
        bound.is_plain = double.is_async and step.spec.timeout_ms is None and step.spec.deadline_ms is None
        return bound

    def _counted(self, step: Step[..., Any]) -> Callable[..., Any]:
        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.effects.note()
            return await step.__wrapped__(*args, **kwargs)

        return counted

    def _counted_sync(self, step: Step[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.effects.note()
            return step.__wrapped__(*args, **kwargs)

        return counted

    def _faked(self, bound: BoundStep, fake: Any) -> Callable[..., Any]:
        async def faked(*args: Any, **kwargs: Any) -> Any:
            self.effects.note()
            if isinstance(fake, BaseException):
                raise fake.with_traceback(None)
            if isinstance(fake, type) and issubclass(fake, BaseException):
                raise fake
            if not callable(fake):
                return fake
            value = fake(*args, **kwargs)
            if inspect.isawaitable(value):
                value = await value
            try:
                self._check(bound, value)
            except CodecError as error:
                self.on_problem(error)
                raise
            return value

        return faked

    def _check(self, bound: BoundStep, value: Any) -> None:
        """A fake must be what the step could give."""
        try:
            bound.isolate_result(value)
        except CodecError as error:
            raise CodecError(f"the fake of step {bound.options.name} does not fit: {error}") from None


def _find(step: Step[..., Any], fakes: Fakes) -> Step[..., Any] | None:
    """The key for this step, or for the step that it was made of by `.options()`; of several, the one of its name."""
    same = [key for key in fakes if key.__wrapped__ is step.__wrapped__]
    named = [key for key in same if key.spec.name == step.spec.name]
    return next(iter(named or same), None)


def _raise(error: BaseException) -> None:
    raise error
