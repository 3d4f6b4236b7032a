"""The namespaces of an opened app: each is an app of its own, over the same opened backend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from stepwell.errors import StepwellError

if TYPE_CHECKING:
    from stepwell.runtime.app import Stepwell

NAMESPACES_MAX = 1000
"""How many are open at a time."""


class Siblings:
    """One app per name, made when it is first asked for."""

    def __init__(self, make: Callable[[str], Stepwell]) -> None:
        self._make = make
        self._apps: dict[str, Stepwell] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def app_of(self, namespace: str) -> Stepwell:
        """The app of a namespace, opened. Beyond the limit, the one that was not asked for longest is closed."""
        app = self._apps.pop(namespace, None)
        if app is None:
            if len(self._apps) >= NAMESPACES_MAX:
                self._close_one()
            app = self._make(namespace)
        self._apps[namespace] = app  # the last is the one that was asked for last
        return app

    def apps(self) -> list[Stepwell]:
        """Those that are open."""
        return list(self._apps.values())

    async def close(self) -> None:
        """Stop their workers, and close them."""
        await asyncio.gather(*self._closing, *map(_closed, self.apps()))
        self._apps.clear()

    def _close_one(self) -> None:
        idle = next((name for name, app in self._apps.items() if _is_idle(app)), None)
        if idle is None:
            raise StepwellError(
                f"this app has {NAMESPACES_MAX} namespaces open, and all of them are in use; let other processes serve "
                "some of them"
            )
        closing = asyncio.get_running_loop().create_task(_closed(self._apps.pop(idle)))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _is_idle(app: Stepwell) -> bool:
    """Whether nobody has entered it, works for it, or waits for its runs."""
    return app._entered == 1 and app._worker is None and not app.hub.awaited()


async def _closed(app: Stepwell) -> None:
    """Close it, whoever has entered it."""
    app._entered = 1
    await app.__aexit__()
