"""What the contracts share: what a backend says of itself, running an async test on it, and making runs."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Literal, TypeVar

from msgspec import Struct

from stepwell import backends
from stepwell.model.ids import Claim, MessageId, RunId
from stepwell.model.runs import Head
from stepwell.ports import MAX_SEQ, Append, Backend, Delivery, HeadChange, Loaded, Mail, NewRun, Park, Serves, Wanted

PAST = 1
"""A time at which everything is long due."""
DAY_MS = 86_400_000
LEASE_MS = 30_000
ANY = Serves()


TEST_S = 60.0
"""A test that takes longer hangs: then it fails."""

Needs = Literal["is_shared", "is_durable", "disconnect"]


class Address(Struct, frozen=True):
    """How any process opens data that is there: by URL, or as `await function(**given)` of `module:function`."""

    target: str
    given: dict[str, str] = {}


class Contract:
    """What a backend says of itself. `open` is required; the rest has defaults.

    A class of tests with `needs` is for backends that offer that; for others these tests do not exist.
    """

    _needs: ClassVar[Needs | None] = None

    is_shared: ClassVar[bool] = True
    """Whether several processes can open the same data. Only an embedded backend may say no."""

    is_durable: ClassVar[bool] = True
    """Whether data outlives the last `close`. Only a backend that is not shared may say no."""

    async def open(self) -> Backend:
        """A new backend that holds nothing. It is closed after the test."""
        raise NotImplementedError(f"{type(self).__name__} needs `async def open(self) -> Backend`")

    def address(self, backend: Backend) -> Address:
        """How another process opens the same data, or this one opens it once more. By default: its URL."""
        return Address(backend.url)

    async def disconnect(self, backend: Backend) -> None:
        """Cut all its connections as the real thing would break, without telling it.

        Who does not give this has nothing to cut: only an embedded backend.
        """
        raise NotImplementedError

    async def discard(self) -> None:
        """Remove what `open` made. Called after each test, when its backends are closed."""

    @classmethod
    def offers(cls, what: Needs) -> bool:
        """Whether this backend has what some tests need."""
        if what == "disconnect":
            return cls.disconnect is not Contract.disconnect
        return bool(getattr(cls, what))

    def __init_subclass__(cls, needs: Needs | None = None) -> None:
        """Leave out the tests of what this backend does not offer."""
        super().__init_subclass__()
        cls._needs = needs
        if cls.open is Contract.open:
            return  # tests without a backend
        for part in cls.__mro__:
            needs = vars(part).get("_needs")
            if needs is not None and not cls.offers(needs):
                for name in vars(part):
                    if name.startswith("test_"):
                        setattr(cls, name, None)


C = TypeVar("C", bound=Contract)


def on_backend(test: Callable[[C, Backend], Awaitable[None]]) -> Callable[[C], None]:
    """Turn `async def test(self, backend)` into a plain test."""

    def run(self: C) -> None:
        asyncio.run(_run(self, test))

    run.__name__, run.__qualname__, run.__doc__ = test.__name__, test.__qualname__, test.__doc__
    run.__module__ = test.__module__
    return run


async def _run(contract: C, test: Callable[[C, Backend], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(TEST_S):
            backend = await contract.open()
            try:
                await test(contract, backend)
            finally:
                await backend.close()
    finally:
        await contract.discard()


async def opened_at(address: Address) -> Backend:
    """Open data that is there."""
    module, is_function, function = address.target.partition(":")
    if not is_function or function.startswith("//"):
        return await backends.open(address.target)
    connect: Callable[..., Awaitable[Backend]] = getattr(importlib.import_module(module), function)
    return await connect(**address.given)


async def refused(awaitable: Awaitable[object], error: type[Exception]) -> None:
    """Assert that this raises `error`."""
    try:
        await awaitable
    except error:
        return
    raise AssertionError(f"{error.__name__} was not raised")


async def becomes(check: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until `check` holds, at most five seconds."""
    for _ in range(1000):
        if await check():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"it did not happen: {what}")


def claim_of(backend: Backend, nonce: object) -> Claim:
    """A claim made through this backend's store."""
    return Claim(f"{backend.store.identity}:{nonce}")


def new_run(id: str = "r", *bodies: bytes, **head: Any) -> NewRun:
    """A run that is due; `bodies` are its frames (by default one)."""
    fields: dict[str, Any] = {"workflow": "w", "created_at": PAST, "wake_at": PAST, **head}
    return NewRun(head=Head(id=RunId(id), **fields), frames=bodies or (b'"created"',))


def frame(seq: int, body: bytes = b'"x"', *, run: str = "r", **given: Any) -> Append:
    """A frame to append."""
    return Append(run=RunId(run), seq=seq, body=body, **given)


def message(id: str = "m", body: bytes = b'"hello"', *, run: str = "r") -> Delivery:
    """A message to deliver."""
    return Delivery(run=RunId(run), id=MessageId(id), body=body)


async def created(backend: Backend, *runs: NewRun) -> None:
    """Create these, all of them new."""
    assert await backend.store.create(runs) == [None] * len(runs)


async def claimed(backend: Backend, nonce: object = 1, run: str = "r", lease_ms: int = LEASE_MS) -> Claim:
    """Claim this run, which is due or un-owned."""
    claim = claim_of(backend, nonce)
    taken = await backend.store.take(claim, lease_ms=lease_ms, limit=1, serves=ANY, runs=[RunId(run)])
    assert [head.id for head in taken.heads] == [run]
    return claim


async def owned_run(backend: Backend, run: str = "r") -> Claim:
    """A run that exists and is claimed."""
    await created(backend, new_run(run))
    return await claimed(backend, run, run)


async def parked(backend: Backend, claim: Claim, run: str = "r", **given: Any) -> str:
    """Park one run."""
    fields: dict[str, Any] = {"mail": 0, "wake_at": None, **given}
    return (await backend.store.park([Park(run=RunId(run), owner=claim, **fields)]))[0]


async def settled_run(backend: Backend, run: str = "r") -> None:
    """A run that has ended and owes nothing."""
    claim = await owned_run(backend, run)
    change = HeadChange(status="completed", wake_at=None, release=True, ended_at=PAST)
    assert await backend.store.append([frame(2, b'"end"', run=run, owner=claim, mail=0, head=change)]) == ["ok"]


async def loaded(backend: Backend, run: str = "r", after: int = 0, mail: int = 0) -> Loaded:
    """Load a run that exists."""
    found = (await backend.store.load([Wanted(RunId(run), after, mail)]))[0]
    assert found is not None
    return found


async def head_of(backend: Backend, run: str = "r") -> Head:
    """The head of a run that exists."""
    return (await loaded(backend, run, after=MAX_SEQ)).head


async def bodies(backend: Backend, run: str = "r") -> list[bytes]:
    """The frames of a run; asserts that they are gap-free from 1."""
    frames = (await loaded(backend, run, after=-1)).frames
    assert [seq for seq, _ in frames] == list(range(1, len(frames) + 1))
    return [body for _, body in frames]


async def inbox(backend: Backend, run: str = "r") -> tuple[Mail, ...]:
    """All messages of a run; asserts that they are numbered from 1."""
    mail = (await loaded(backend, run)).mail
    assert [item.no for item in mail] == list(range(1, len(mail) + 1))
    return mail
