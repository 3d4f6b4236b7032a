"""Where runs live: one backend per URL scheme, imported when it is opened.

A backend module has `async def connect(url: str, clock: Clock, options: Mapping[str, object]) -> Backend`. To add one,
add a row to `_SCHEMES`.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple, cast

from stepwell.backends.clock import SystemClock
from stepwell.errors import DefinitionError
from stepwell.ports import Backend, Clock


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
    source = _SCHEMES.get(scheme) if found else None
    if source is None:
        known = ", ".join(f"{name}://" for name in sorted(_SCHEMES))
        raise DefinitionError(f"no backend for the URL scheme {scheme!r}; known are {known}")
    try:
        module = importlib.import_module(source.module)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in source.libraries:
            raise
        raise DefinitionError(
            f"{scheme}:// needs {missing.name}, which is not installed: pip install 'stepwell[{source.extra}]'"
        ) from missing
    return cast(Backend, await module.connect(url, clock or SystemClock(), options))
