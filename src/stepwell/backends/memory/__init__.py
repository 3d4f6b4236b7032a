"""Everything in dictionaries: the reference for what the ports mean, and the backend of tests.

One lock makes each call atomic, so that `renew` may come from another thread. Nothing here ever waits for the world.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping

from stepwell.backends.memory.side import MemoryBlobs, MemoryCoordination, MemoryQueue, MemoryStreams
from stepwell.backends.memory.store import MemoryStore
from stepwell.backends.memory.world import World
from stepwell.errors import DefinitionError
from stepwell.ports import Backend, Clock

_named: weakref.WeakValueDictionary[str, World] = weakref.WeakValueDictionary()
"""Weak, so that a named world also goes when its backends were dropped without being closed."""


class MemoryBackend:
    """All ports over one world."""

    is_embedded = True

    def __init__(self, url: str, world: World, clock: Clock) -> None:
        self.url = url
        self.clock = clock
        self.store = MemoryStore(world, clock)
        self.queue = MemoryQueue(world, clock)
        self.coordination = MemoryCoordination(world, clock)
        self.blobs = MemoryBlobs(world)
        self.streams = MemoryStreams(world)
        self._world: World | None = world
        world.opened += 1

    async def close(self) -> None:
        """Let go of the world; a named one goes with its last backend."""
        if self._world is None:
            return
        self._world.opened -= 1
        if not self._world.opened:
            _named.pop(_name(self.url), None)
        self._world = None


async def connect(url: str, clock: Clock, options: Mapping[str, object]) -> Backend:
    """`memory://`: a new world. `memory://name`: the world of that name in this process."""
    if options:
        raise DefinitionError(f"memory:// has no options, but was given {', '.join(sorted(options))}")
    name = _name(url)
    world = (_named.get(name) if name else None) or World()
    if name:
        _named[name] = world
    return MemoryBackend(url, world, clock)


def _name(url: str) -> str:
    return url.partition("://")[2]
