"""How a step worker behaves: who may ask, how much at a time, how long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from msgspec import Struct, structs

from stepwell.errors import DefinitionError
from stepwell.model.durations import Duration, duration_ms
from stepwell.model.values import Secret
from stepwell.runtime.options import WorkerOptions

SecretGiven = str | Secret
_TIMES = {"body_timeout": "body_timeout_ms", "beat": "beat_ms", "hold": "hold_ms", "drain": "drain_ms"}


class StepWorkerKeywords(TypedDict, total=False):
    """The options of a step worker.

    `secret` is what the orchestrator signs its requests with: a text, or a `Secret` that the app looks up; several
    while one is replaced by another. `require_v2` takes only requests that are signed with their time, path and
    headers, which orchestrators other than ours do not do. `max_body` is the largest request, in bytes, and
    `body_timeout` how long it may take to come. `concurrency` invocations go on at a time, and `threads` of their sync
    steps. `beat`: how often a long answer says that it is alive. `hold`: a retry that is due sooner is waited for; for
    a later one, the orchestrator asks again. `drain`: how long invocations may go on after the server was told to stop.
    """

    secret: SecretGiven | Sequence[SecretGiven] | None
    require_v2: bool
    max_body: int
    body_timeout: Duration
    concurrency: int
    threads: int
    beat: Duration
    hold: Duration
    drain: Duration


class StepWorkerOptions(Struct, frozen=True, kw_only=True):
    """The same, checked; times in ms."""

    secrets: tuple[bytes, ...] = ()
    require_v2: bool = False
    max_body: int = 32 * 2**20
    body_timeout_ms: int = 30_000
    concurrency: int = 100
    threads: int = WorkerOptions().threads
    beat_ms: int = 5_000
    hold_ms: int = 1_000
    drain_ms: int = 10_000

    def __post_init__(self) -> None:
        for name in ("max_body", "body_timeout_ms", "concurrency", "threads", "beat_ms"):
            if getattr(self, name) < 1:
                raise DefinitionError(f"step_worker({name.removesuffix('_ms')}=): give more than 0")
        if not all(self.secrets):
            raise DefinitionError(
                "step_worker(secret=''): an empty secret keeps nobody out; leave it away, or give one"
            )
        if self.require_v2 and not self.secrets:
            raise DefinitionError("step_worker(require_v2=True): signatures need a secret; give secret=, too")


def step_worker_options(given: StepWorkerKeywords, look_up: Callable[[str], str]) -> StepWorkerOptions:
    """The options as keywords, checked. `DefinitionError`."""
    changes: dict[str, Any] = {}
    for keyword, value in given.items():
        if keyword not in StepWorkerKeywords.__annotations__:
            known = ", ".join(sorted(StepWorkerKeywords.__annotations__))
            raise DefinitionError(f"step_worker() has no option {keyword!r}; there are: {known}")
        if keyword == "secret":
            changes["secrets"] = _secrets(value, look_up)
        elif keyword in _TIMES:
            changes[_TIMES[keyword]] = duration_ms(value, what=f"step_worker({keyword})")  # type: ignore[arg-type]
        else:
            changes[keyword] = value
    return structs.replace(StepWorkerOptions(), **changes)


def _secrets(given: Any, look_up: Callable[[str], str]) -> tuple[bytes, ...]:
    if given is None:
        return ()
    several = [given] if isinstance(given, str | Secret) else list(given)
    for item in several:
        if not isinstance(item, str | Secret):
            raise DefinitionError(f"step_worker(secret=) holds a {type(item).__name__}; give texts, or Secret(name)")
    return tuple((look_up(item.name) if isinstance(item, Secret) else item).encode() for item in several)
