"""Disks that can be filled and freed."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from stepwell import BackendError, Stepwell

_MB = 1 << 20
_TMPFS_MB = 48
_PAGES = 6000
_SMALLEST = 4096


class Disk(Protocol):
    """Where a database is, and how to leave no room there."""

    url: str

    async def fill(self, app: Stepwell) -> None: ...
    async def free(self, app: Stepwell) -> None: ...


class Tmpfs:
    """A small file system of its own, with a file that takes all the room there is."""

    def __init__(self, directory: Path) -> None:
        self.url = f"sqlite:///{directory / 'chaos.db'}"
        self._filler = directory / "filler"

    async def fill(self, app: Stepwell) -> None:
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(_SMALLEST))

    async def free(self, app: Stepwell) -> None:
        self._filler.unlink()


class Pages:
    """A database that may not grow beyond so many pages, with blobs that take them all."""

    def __init__(self, directory: Path) -> None:
        self.url = f"sqlite:///{directory / 'chaos.db'}?max_pages={_PAGES}"
        self._count = 0

    async def fill(self, app: Stepwell) -> None:
        size = _MB
        while size >= _SMALLEST:
            self._count += 1
            try:
                await app.backend.blobs.put(f"ballast/{self._count}", bytes(size))
            except BackendError:
                size //= 2

    async def free(self, app: Stepwell) -> None:
        while True:
            try:
                await app.backend.blobs.delete("ballast/")
            except BackendError:
                await asyncio.sleep(0.1)
            else:
                return


@contextlib.contextmanager
def small_file_system(directory: Path) -> Iterator[Disk]:
    """A tmpfs. Where nobody may mount one, the limit of pages has to do, under the same requirements."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_TMPFS_MB}m", "stepwell-chaos", str(directory)]
    try:
        is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        is_mounted = False
    if not is_mounted:
        yield Pages(directory)
        return
    try:
        yield Tmpfs(directory)
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@contextlib.contextmanager
def few_pages(directory: Path) -> Iterator[Disk]:
    """The limit of pages."""
    directory.mkdir()
    yield Pages(directory)
