"""Hooks: waits that something outside completes, by URL or token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from stepwell.engine.mailbox import Address
from stepwell.model.ids import CommandId

if TYPE_CHECKING:
    from stepwell.authoring.context import Context

T = TypeVar("T")


class Hook(Generic[T]):
    """A wait that something outside completes, by `url` or `token`."""

    def __init__(self, context: Context, id: CommandId, token: str, type: type[T], until: int | None) -> None:
        self._context = context
        self._id = id
        self._until = until
        self._decode = context._decoder(type, f"hook {id}")
        self.token = token

    @property
    def url(self) -> str:
        """Where to send the value with an HTTP POST."""
        return f"{self._context._registry.public_url}/hooks/{self.token}"

    def __await__(self) -> Generator[Any, Any, T]:
        return self._next().__await__()

    def __aiter__(self) -> AsyncIterator[T]:
        return Each(self._next)

    async def _next(self) -> T:
        return await self._context._wait(  # type: ignore[no-any-return]
            Address("token", self._id), self._decode, until=self._until
        )


class Each(Generic[T]):
    """One after another, until there is none in time. Not a generator: those want to be closed after a `break`."""

    def __init__(self, next: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._next = next

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self._next()
        except TimeoutError:
            raise StopAsyncIteration from None
