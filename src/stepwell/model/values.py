"""Values of our own that users pass around: the name of a secret, and a reference to a large object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec
from msgspec import Struct

from stepwell.errors import DefinitionError, NotInWorkflowError

_reveal: ContextVar[Callable[[str], str]] = ContextVar("stepwell_reveal")


class Secret(Struct, frozen=True):
    """The name of a secret. The name is recorded; the secret itself never is."""

    name: str = msgspec.field(name="secret")

    def __post_init__(self) -> None:
        if not self.name:
            raise DefinitionError("Secret(''): give the name under which the secret is known")

    def reveal(self) -> str:
        """The secret itself. Only in a running step."""
        provider = _reveal.get(None)
        if provider is None:
            raise NotInWorkflowError(f"{self!r}.reveal() works only in a running step: pass the Secret on to one")
        return provider(self.name)

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"


def provide_secrets(provider: Callable[[str], str]) -> None:
    """Let `Secret.reveal` ask `provider` in the current context, which must be the caller's own."""
    _reveal.set(provider)


@contextmanager
def secrets_from(provider: Callable[[str], str]) -> Iterator[None]:
    """Let `Secret.reveal` ask `provider` while this context lasts."""
    token = _reveal.set(provider)
    try:
        yield
    finally:
        _reveal.reset(token)


class Blob(Struct, frozen=True):
    """A reference to an object in the blob store: small enough to pass anywhere. `size` is in bytes."""

    key: str
    size: int
    name: str = ""
    sha256: str = ""
