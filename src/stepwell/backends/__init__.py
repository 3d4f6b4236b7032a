"""Where runs live: one backend per URL scheme, imported when it is opened.

A backend has `async def connect(url: str, clock: Clock, options: Mapping[str, object]) -> Backend`. Ours are rows of
`_SCHEMES`. Another package registers its own in the entry point group `stepwell.backends`: scheme = "module:connect".
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

from stepwell.backends.clock import SystemClock as SystemClock
from stepwell.errors import DefinitionError
from stepwell.ports import Backend, Clock

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Connect = Callable[[str, Clock, Mapping[str, object]], Awaitable[Backend]]
"""Opens a backend by its URL, with the options that were given as keywords."""

_GROUP = "stepwell.backends"


class _Source(NamedTuple):
    """The module of a scheme; the pip extra that brings its libraries, and their import names."""

    module: str
    extra: str | None = None
    libraries: tuple[str, ...] = ()


_SCHEMES: dict[str, _Source] = {
    "memory": _Source("stepwell.backends.memory"),
    "sqlite": _Source("stepwell.backends.sqlite"),
}


async def open(url: str, *, clock: Clock | None = None, **options: object) -> Backend:
    """Open a backend: `memory://`, `memory://name`, `sqlite:///relative.db`, `sqlite:////absolute/path.db`.

    Options may also be written into the URL: `sqlite:///path.db?relaxed=true`.
    """
    scheme, found, _ = url.partition("://")
    if not found:
        raise DefinitionError(f"{url!r} is no URL of a backend; write memory:// or sqlite:///path.db, for example")
    source = _SCHEMES.get(scheme)
    connect = _registered(scheme) if source is None else _ours(scheme, source)
    return await connect(url, clock or SystemClock(), options)


def _ours(scheme: str, source: _Source) -> Connect:
    try:
        module = importlib.import_module(source.module)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in source.libraries:
            raise
        raise DefinitionError(
            f"{scheme}:// needs {missing.name}, which is not installed: pip install 'stepwell[{source.extra}]'"
        ) from missing
    return cast(Connect, module.connect)


def _registered(scheme: str) -> Connect:
    """What another package has registered for this scheme."""
    import importlib.metadata  # slow, and most programs do not need it

    registered = importlib.metadata.entry_points(group=_GROUP)
    found = {point.value: point for point in registered if point.name == scheme}
    if len(found) > 1:
        packages = " and ".join(sorted(map(_package, found.values())))
        raise DefinitionError(f"{scheme}:// is registered by {packages}; uninstall all but one")
    for point in found.values():
        try:
            return cast(Connect, point.load())
        except (ImportError, AttributeError) as error:
            raise DefinitionError(
                f"{_package(point)} registers {point.value!r} for {scheme}://, which cannot be loaded: {error}"
            ) from error
    known = ", ".join(f"{name}://" for name in sorted({*_SCHEMES, *(point.name for point in registered)}))
    raise DefinitionError(
        f"no backend for the URL scheme {scheme!r}; known are {known}. Another package registers its own "
        f"in the entry point group {_GROUP!r}: is it installed?"
    )


def _package(point: EntryPoint) -> str:
    return f"the package {point.dist.name!r}" if point.dist else "a package without a name"
