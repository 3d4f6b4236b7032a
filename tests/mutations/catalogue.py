"""All mutations, by name."""

from tests.mutations.engines import ENGINES
from tests.mutations.hunting import Found, hunt
from tests.mutations.reverted import REVERTED
from tests.mutations.runtimes import RUNTIMES
from tests.mutations.stores import STORES

MUTATIONS = {mutation.name: mutation for mutation in (*STORES, *ENGINES, *RUNTIMES, *REVERTED)}


def hunt_named(name: str, limit: int, start: int = 0) -> Found | None:
    """`hunt`, for another process to be asked."""
    return hunt(MUTATIONS[name], limit, start=start)
