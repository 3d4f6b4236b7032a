"""What the parts of the evaluator share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from stepwell.testing.blueprints.documents import Link

Json = Any
State = Literal["taken", "skipped", "failed"]


@dataclass
class Failing:
    """Why a node failed."""

    message: str
    type: str = "Error"
    is_fatal: bool = False


class Stopped(Exception):
    """A node failed so that the whole run stops."""

    def __init__(self, failing: Failing) -> None:
        super().__init__(failing.message)
        self.failing = failing


class Unscripted(BaseException):
    """A wait has no answer in the script: the test is wrong."""


@dataclass
class Passing:
    """What became of an edge in a scope."""

    state: State
    value: Json = None


class Scope:
    """One iteration of a loop, or the outermost scope. `ignored` are edges that do not count in it."""

    def __init__(self, loop: str | None, parent: Scope | None, ignored: frozenset[int] = frozenset()) -> None:
        self.loop = loop
        self.parent = parent
        self.ignored = ignored
        self.edges: dict[int, Passing] = {}
        self.settled: set[str] = set()
        self.served: set[str] = set()

    def around(self, loop: str | None) -> Scope:
        """The scope of that loop, this one or one around it."""
        scope = self
        while scope.loop != loop:
            assert scope.parent is not None, f"no scope of {loop}"
            scope = scope.parent
        return scope

    def chain(self) -> list[Scope]:
        return [self] if self.parent is None else [self, *self.parent.chain()]

    def ignores(self, link: Link) -> bool:
        return any(link.index in scope.ignored for scope in self.chain())
