"""What a caller may do, and who a caller is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from msgspec import Struct

from stepwell.errors import DefinitionError

Scope = Literal["read", "trigger", "signal", "admin"]
"""`read`: look. `trigger`: start, retry and fork runs. `signal`: send to runs, cancel, pause, go on, export. `admin`:
all of these, and terminate, delete, import, keys, the audit log."""

SCOPES: tuple[Scope, ...] = get_args(Scope)


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks. `id` is that of the key or token. With `run`, or `run` and `stream`, nothing else may be asked for."""

    kind: Literal["key", "token", "open", "stranger"]
    id: str = ""
    name: str = ""
    namespace: str = ""
    scopes: frozenset[Scope] = frozenset()
    run: str | None = None
    stream: str | None = None
    expires_at: int | None = None

    @classmethod
    def stranger(cls) -> Caller:
        """Somebody of whom nothing is known."""
        return _STRANGER

    @classmethod
    def open(cls) -> Caller:
        """Whoever asks a server in dev mode."""
        return _OPEN

    def may(self, scope: Scope) -> bool:
        """Whether the caller has this scope."""
        return scope in self.scopes or "admin" in self.scopes

    @property
    def is_operator(self) -> bool:
        """Whether the caller looks after all namespaces: an admin of the default one."""
        return self.namespace == "" and self.run is None and self.may("admin")

    @property
    def who(self) -> str:
        """As the audit log says it: `key:1f…`, `token:9a…`, `open`, `stranger`."""
        return f"{self.kind}:{self.id}" if self.id else self.kind


_STRANGER = Caller(kind="stranger")
_OPEN = Caller(kind="open", name="dev mode", scopes=frozenset(SCOPES))


def parse_scopes(given: Iterable[str], *, what: str = "scopes") -> frozenset[Scope]:
    """The scopes that these names say. `DefinitionError`."""
    names = [name.strip() for name in given]
    known = ", ".join(SCOPES)
    for name in names:
        if name not in SCOPES:
            raise DefinitionError(f"{what}: there is no scope {name[:100]!r}; there are: {known}")
    if not names:
        raise DefinitionError(f"{what}: give at least one of {known}; a key that may do nothing is of no use")
    return frozenset(scope for scope in SCOPES if scope in names)
