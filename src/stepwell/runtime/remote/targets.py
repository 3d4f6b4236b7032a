"""Targets: the step workers elsewhere that an app knows, and which of them a run is for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from weakref import WeakSet

from msgspec import Struct

from stepwell.authoring.registry import Registry
from stepwell.authoring.remotes import RemoteWorkflow
from stepwell.errors import DefinitionError
from stepwell.model.durations import Duration, duration_ms
from stepwell.model.values import Secret
from stepwell.ports import Clock
from stepwell.runtime.namespaces import checked_namespace
from stepwell.runtime.remote.circuits import CircuitState
from stepwell.runtime.remote.links import Link
from stepwell.runtime.remote.places import Place, place_of

if TYPE_CHECKING:
    from stepwell.runtime.stepworker import StepWorker

_ANSWER_MIN = 1024


class TargetKeywords(TypedDict, total=False):
    """The options of a target.

    `versions` and `namespaces`: only runs of those; without, of all. `secret` signs requests: a `Secret`, or the text
    itself. `connect_timeout` bounds how long a connection takes, `idle_timeout` the time between two pieces of an
    answer once it has begun, and `timeout` the whole call. `max_answer` is how many bytes an answer may have, and
    `concurrency` how many calls go on at a time. `name` is what it is called in messages, by default its URL without
    what may be secret. `trust_env`: use the proxies of the environment.
    """

    versions: Sequence[str]
    namespaces: Sequence[str]
    secret: Secret | str | None
    connect_timeout: Duration
    idle_timeout: Duration
    timeout: Duration
    max_answer: int
    concurrency: int
    name: str
    trust_env: bool


class Target:
    """A step worker elsewhere, and the workflows that it runs: `Target("https://pay.example/step", workflows=["pay"])`.

    `to` is a URL, an ASGI application in this process, what `app.step_worker()` gives, or an async function
    `(body, headers) -> (status, headers, body)`. Of several targets for a workflow the most specific is asked: those
    that name the run's namespace go first, then those that name its version.
    """

    __slots__ = (
        "concurrency",
        "connect_ms",
        "idle_ms",
        "label",
        "max_answer",
        "namespaces",
        "place",
        "secret",
        "total_ms",
        "trust_env",
        "versions",
        "workflows",
    )

    def __init__(
        self,
        to: str | StepWorker | Callable[..., Any],
        *,
        workflows: Sequence[str],
        **options: Unpack[TargetKeywords],
    ) -> None:
        _check_names(options)
        self.place: Place = place_of(to)
        self.label = options.get("name") or self.place.label
        self.workflows = _names(
            workflows, f"Target({self.label!r}, workflows=", "the ids of the workflows that it runs"
        )
        self.versions = _names(options.get("versions", ()), f"Target({self.label!r}, versions=", "versions", least=0)
        self.namespaces = _names(
            options.get("namespaces", ()), f"Target({self.label!r}, namespaces=", "namespaces", least=0
        )
        for namespace in self.namespaces:
            checked_namespace(namespace)
        self.secret = _checked_secret(options.get("secret"), self.label)
        self.connect_ms = self._duration(options, "connect_timeout", "10s")
        self.idle_ms = self._duration(options, "idle_timeout", "1m")
        self.total_ms = self._duration(options, "timeout", "15m")
        self.max_answer = self._number(options, "max_answer", 32 * 2**20, least=_ANSWER_MIN)
        self.concurrency = self._number(options, "concurrency", 100, least=1)
        self.trust_env = bool(options.get("trust_env", False))

    def serves(self, workflow: str, version: str, namespace: str) -> bool:
        """Whether such runs may be for it."""
        return (
            workflow in self.workflows
            and (not self.versions or version in self.versions)
            and (not self.namespaces or namespace in self.namespaces)
        )

    @property
    def rank(self) -> tuple[bool, bool]:
        """How specific it is."""
        return bool(self.namespaces), bool(self.versions)

    def __repr__(self) -> str:
        return f"<target {self.label}: {', '.join(self.workflows)}>"

    def _duration(self, options: TargetKeywords, name: Any, default: str) -> int:
        given: Any = options.get(name, default)
        ms = duration_ms(given, what=f"Target({self.label!r}, {name}=)")
        if ms < 1:
            raise DefinitionError(f"Target({self.label!r}, {name}=): give more than 0")
        return ms

    def _number(self, options: TargetKeywords, name: Any, default: int, *, least: int) -> int:
        number = options.get(name, default)
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            raise DefinitionError(f"Target({self.label!r}, {name}={number!r}): give a whole number, {least} or more")
        return number


class TargetState(Struct, frozen=True, kw_only=True):
    """How a target stands, as seen from this process. Times in ms since 1970. `failures` are those in a row;
    `last_error` is the last of all. While the circuit is open, nobody calls it before `retry_at`."""

    label: str
    workflows: tuple[str, ...]
    versions: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    circuit: CircuitState = "closed"
    failures: int = 0
    in_flight: int = 0
    last_error: str = ""
    last_ok_at: int | None = None
    retry_at: int | None = None


class Targets:
    """The targets of an app. They may come and go while it is open."""

    def __init__(self, targets: Iterable[Target] = ()) -> None:
        self._registries: WeakSet[Registry] = WeakSet()
        self._made: set[str] = set()
        self._links: dict[Target, Link] = {}
        self._clock: Clock | None = None
        self._left: list[Link] = []
        for target in targets:
            self.add(target)

    def __iter__(self) -> Iterator[Target]:
        return iter([*self._links])

    def __len__(self) -> int:
        return len(self._links)

    def add(self, target: Target) -> None:
        """Know one more. `DefinitionError` if it is for the same runs as another, and neither is more specific."""
        if not isinstance(target, Target):
            raise DefinitionError(f"targets holds {target!r:.100}; give Target(url, workflows=[...])")
        for other in self._links:
            if (shared := _clash(target, other)) is not None:
                raise DefinitionError(
                    f"targets {other.label} and {target.label} are both for workflow {shared}, and neither is more "
                    f"specific: give them versions= or namespaces= that differ"
                )
        self._links[target] = Link(target)
        for registry in self._registries:
            self._register(target, registry)

    def remove(self, target: Target) -> None:
        """Call it no more. Calls under way come to their end. `DefinitionError` if it is not among them."""
        link = self._links.pop(target, None)
        if link is None:
            known = ", ".join(item.label for item in self._links) or "none"
            raise DefinitionError(f"there is no {target!r} among the targets; there are: {known}")
        self._left.append(link)

    async def sweep(self) -> None:
        """Let go of connections to those that were removed, when nobody uses them any more."""
        idle = [link for link in self._left if not link.in_flight]
        self._left = [link for link in self._left if link.in_flight]
        for link in idle:
            await link.close()

    def find(self, workflow: str, version: str = "", namespace: str = "") -> Target | None:
        """The most specific target for such runs."""
        fitting = [target for target in self._links if target.serves(workflow, version, namespace)]
        return max(fitting, key=lambda target: target.rank, default=None)

    def link_to(self, target: Target) -> Link:
        """The way to a target that `find` gave just now."""
        return self._links[target]

    def states(self) -> list[TargetState]:
        """How all of them stand, in the order in which they were added."""
        now = 0 if self._clock is None else self._clock.now()
        return [_state(target, link, now) for target, link in self._links.items()]

    def serve(self, registry: Registry, clock: Clock) -> None:
        """An app of this registry opens: it gets the workflows that targets name, and that it does not have."""
        self._clock = clock
        self._registries.add(registry)
        for target in self._links:
            self._register(target, registry)

    async def close(self) -> None:
        """The app closes: let go of all connections. What is known of circuits stays."""
        for link in (*self._left, *self._links.values()):
            await link.close()
        self._left.clear()
        self._registries.clear()

    def _register(self, target: Target, registry: Registry) -> None:
        for name in target.workflows:
            if name not in self._made and registry.find(name) is not None:
                continue  # the app says itself what it is
            self._made.add(name)
            for version in target.versions or ("",):
                found = registry.find(name, version)
                if found is None or found.spec.version != version:
                    registry.add(RemoteWorkflow(name, version=version))


def _state(target: Target, link: Link, now: int) -> TargetState:
    circuit = link.circuit
    return TargetState(
        label=target.label,
        workflows=target.workflows,
        versions=target.versions,
        namespaces=target.namespaces,
        circuit=circuit.state(now),
        failures=circuit.failures,
        in_flight=link.in_flight,
        last_error=circuit.last_error,
        last_ok_at=circuit.last_ok_at,
        retry_at=circuit.retry_at,
    )


def _clash(one: Target, other: Target) -> str | None:
    """A workflow of whose runs nobody could tell for which of the two they are."""
    if one.rank != other.rank:
        return None
    if one.versions and not set(one.versions) & set(other.versions):
        return None
    if one.namespaces and not set(one.namespaces) & set(other.namespaces):
        return None
    return next((name for name in one.workflows if name in other.workflows), None)


def _check_names(options: TargetKeywords) -> None:
    unknown = sorted(set(options) - set(TargetKeywords.__annotations__))
    if unknown:
        known = ", ".join(sorted(TargetKeywords.__annotations__))
        raise DefinitionError(f"Target() has no option {unknown[0]!r}; there are: workflows, {known}")


def _names(given: Sequence[str], where: str, what: str, *, least: int = 1) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(name, str) and name for name in given):
        raise DefinitionError(f"{where}{given!r:.100}): give a list of {what}")
    if len(given) < least:
        raise DefinitionError(f"{where}[]): give {what}")
    return tuple(dict.fromkeys(given))


def _checked_secret(secret: Secret | str | None, label: str) -> Secret | str | None:
    if secret is None or (isinstance(secret, Secret | str) and secret):
        return secret
    raise DefinitionError(f'Target({label!r}, secret=): give a Secret("name"), or a text that is not empty')
