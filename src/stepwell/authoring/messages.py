"""Names with types: signals, events and streams. The same object is used on both ends."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, overload

from stepwell.errors import DefinitionError

T = TypeVar("T")


class _Named(Generic[T]):
    """A name and the type of what goes under it."""

    __slots__ = ("name", "type")

    def __init__(self, name: str, type: Any = Any) -> None:
        if not isinstance(name, str) or not name or len(name) > 200:
            raise DefinitionError(f"{self.__class__.__name__}({name!r}): give a name of 1 to 200 characters")
        self.name = name
        self.type = type

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.name!r}, {getattr(self.type, '__name__', self.type)})"


class Signal(_Named[T]):
    """A typed message to one run. Early ones are buffered; each is received once."""

    __slots__ = ()

    @overload
    def __init__(self, name: str, type: type[T]) -> None: ...
    @overload
    def __init__(self: Signal[Any], name: str, type: Any = ...) -> None: ...
    def __init__(self, name: str, type: Any = Any) -> None:
        super().__init__(name, type)


class Event(_Named[T]):
    """A typed message to every run that waits for it, or comes to wait for it after it was published."""

    __slots__ = ()

    @overload
    def __init__(self, name: str, type: type[T]) -> None: ...
    @overload
    def __init__(self: Event[Any], name: str, type: Any = ...) -> None: ...
    def __init__(self, name: str, type: Any = Any) -> None:
        super().__init__(name, type)


class Stream(_Named[T]):
    """A durable, ordered, typed sequence of chunks that a run and its steps write, and anybody reads while they do."""

    __slots__ = ()

    @overload
    def __init__(self, name: str, type: type[T]) -> None: ...
    @overload
    def __init__(self: Stream[Any], name: str, type: Any = ...) -> None: ...
    def __init__(self, name: str, type: Any = Any) -> None:
        super().__init__(name, type)
