"""The whole kit against one backend, without pytest: a verdict for each port, and the badge."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from stepwell.testing.contracts.running import Contract
from stepwell.testing.contracts.side import BlobsContract, CoordinationContract, QueueContract, StreamsContract
from stepwell.testing.contracts.store import StoreContract

PORTS: dict[str, type[Contract]] = {
    "Store": StoreContract,
    "Queue": QueueContract,
    "Coordination": CoordinationContract,
    "Blobs": BlobsContract,
    "Streams": StreamsContract,
}
_HERE = Path(__file__).parent
_SHOWN_MAX = 500


class Failure(Struct, frozen=True):
    """A test that failed: where, and why."""

    test: str
    place: str
    reason: str


class Verdict(Struct, frozen=True):
    """What became of one port's tests."""

    port: str
    passed: int
    failures: tuple[Failure, ...] = ()


def examined(kit: type[Contract]) -> Iterator[Verdict]:
    """Run the tests of one port after the other."""
    for port, contract in PORTS.items():
        made: type[Contract] = type(f"{kit.__name__}{port}", (kit, contract), {})
        results = [_result(made, name) for name in names_of_tests(made)]
        failures = tuple(result for result in results if result is not None)
        yield Verdict(port, len(results) - len(failures), failures)


def names_of_tests(contract: type[Contract]) -> list[str]:
    """The names of its tests, in the order in which they are written."""
    names = dict.fromkeys(name for part in reversed(contract.__mro__) for name in vars(part))
    return [name for name in names if name.startswith("test_") and callable(getattr(contract, name))]


def badge(kit: type[Contract]) -> str:
    """The line of Markdown that a backend earns when all verdicts are without failures."""
    scope = "" if kit.is_shared else ", one process" if kit.is_durable else ", in memory"
    label, message = "Stepwell backend contracts", f"{_version()}{scope}"
    path = "-".join(quote(text.replace("-", "--").replace(" ", "_")) for text in (label, message, "brightgreen"))
    return f"![{label} {message}](https://img.shields.io/badge/{path})"


def _result(contract: type[Contract], name: str) -> Failure | None:
    test: Callable[[], None] = getattr(contract(), name)
    try:
        test()
    except Exception as error:
        place = next(
            (
                f"{Path(frame.filename).name}:{frame.lineno}: {frame.line}"
                for frame in reversed(traceback.extract_tb(error.__traceback__))
                if Path(frame.filename).parent == _HERE
            ),
            "",
        )
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return Failure(name, place, reason[:_SHOWN_MAX])
    return None


def _version() -> str:
    try:
        return version("stepwell")
    except PackageNotFoundError:
        return "from a checkout"
