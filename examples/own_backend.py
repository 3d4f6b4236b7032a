"""A backend of your own: one port is ours, blobs as files; the other five are borrowed from SQLite for now.

Its tests are in test_own_backend.py. docs/backends.md says in which order to go on.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from stepwell import BackendError, DefinitionError, backends
from stepwell.backends.clock import SystemClock
from stepwell.ports import Backend, Clock

R = TypeVar("R")


async def in_thread(work: Callable[[], R]) -> R:
    """The runtime repeats calls that raise `BackendError`, so foreign errors are translated where they come in."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise BackendError(f"blobs cannot be kept in {error.filename}: {error.strerror}; check the disk") from error


class FileBlobs:
    """A file per blob. A key is any text, so its bytes make the name: in hexadecimal, 200 characters to a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def put(self, key: str, data: bytes) -> None:
        await in_thread(partial(self._put, key, data))

    async def get(self, key: str) -> bytes | None:
        return await in_thread(partial(self._get, key))

    async def delete(self, prefix: str) -> None:
        await in_thread(partial(self._delete, prefix))

    def _put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # all of it or nothing, whoever else writes or reads

    def _get(self, key: str) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None

    def _delete(self, prefix: str) -> None:
        for path in self._directory.rglob("*.blob"):
            name = "".join(path.relative_to(self._directory).parts).removesuffix(".blob")
            if bytes.fromhex(name).startswith(prefix.encode()):
                path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        name = key.encode().hex()
        parts = [name[at : at + 200] for at in range(0, len(name), 200)] or [""]
        return self._directory.joinpath(*parts[:-1], f"{parts[-1]}.blob")


class OwnBackend:
    """The sum of the ports."""

    is_embedded = True

    def __init__(self, url: str, directory: Path, rest: Backend) -> None:
        self.url = url
        self.clock, self.store, self.queue = rest.clock, rest.store, rest.queue
        self.coordination, self.streams = rest.coordination, rest.streams
        self.blobs = FileBlobs(directory / "blobs")
        self._rest = rest

    async def close(self) -> None:
        await self._rest.close()


async def connect(url: str, clock: Clock, options: Mapping[str, object]) -> Backend:
    """`own:///some/directory`. A package registers this function, so that URLs lead here."""
    if options:
        raise DefinitionError(f"own:// has no options, but was given {', '.join(options)}")
    directory = Path("/" + url.removeprefix("own://").lstrip("/"))
    directory.mkdir(parents=True, exist_ok=True)
    rest = await backends.open(f"sqlite:///{directory}/runs.db", clock=clock)
    return OwnBackend(url, directory, rest)


async def open_directory(directory: str) -> Backend:
    """The same without a registered scheme."""
    return await connect(f"own://{directory}", SystemClock(), {})


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        backend = await open_directory(directory)
        await backend.blobs.put("run/report", b"\0" * 1000)
        assert await backend.blobs.get("run/report") == b"\0" * 1000
        await backend.blobs.delete("run/")
        assert await backend.blobs.get("run/report") is None
        await backend.close()


if __name__ == "__main__":
    asyncio.run(main())
