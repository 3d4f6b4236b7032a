"""Everything about runs that are there: list, steer, fork, explain."""

from __future__ import annotations

from stepwell.authoring.registry import Registry
from stepwell.model.ids import RunId
from stepwell.model.runs import Head, Page, RunQuery
from stepwell.runtime.client import Client, NewStart


class Runs:
    """The runs of an app's backend."""

    def __init__(self, client: Client, registry: Registry) -> None:
        self._client = client
        self._registry = registry

    async def list(self, query: RunQuery = RunQuery()) -> Page:
        """One page of runs, newest first."""
        return await self._client.backend.store.search(query)

    async def get(self, run: str) -> Head:
        """The head of a run. `RunNotFoundError`."""
        return await self._client.head(RunId(run))

    async def restart(self, start: NewStart) -> None:
        """placeholder, see the next commit"""
        raise NotImplementedError
