"""All mutations, by name, and what became of each when that was last measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.mutations.elsewhere import ELSEWHERE
from tests.mutations.engines import ENGINES
from tests.mutations.graphs import GRAPHS
from tests.mutations.hunting import Found, hunt
from tests.mutations.reverted import REVERTED
from tests.mutations.runtimes import RUNTIMES
from tests.mutations.stores import STORES

MUTATIONS = {mutation.name: mutation for mutation in (*STORES, *ENGINES, *GRAPHS, *ELSEWHERE, *RUNTIMES, *REVERTED)}

_MEASURED = Path(__file__).with_name("measured.json")


def measured() -> dict[str, Found]:
    """By mutation; what is not in here has not been found."""
    return msgspec.json.decode(_MEASURED.read_bytes(), type=dict[str, Found])


def write_measured(found: dict[str, Found]) -> None:
    """Keep what was measured."""
    ordered = {name: found[name] for name in MUTATIONS if name in found}
    _MEASURED.write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n")


def hunt_named(name: str, limit: int, weathers: Sequence[str] = ("random",)) -> Found | None:
    """`hunt`, for another process to be asked."""
    return hunt(MUTATIONS[name], limit, weathers)
