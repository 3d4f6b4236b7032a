"""A door to the hooks of a test's app, and the fixture `stepwell`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from stepwell.errors import StepwellError
from stepwell.server.application import Server
from stepwell.server.endpoints import Answer, Call
from stepwell.server.hooks import ENDPOINTS
from stepwell.server.options import ServerOptions
from stepwell.server.problems import Problem, problem_of
from stepwell.server.routing import Routes
from stepwell.testing import StepwellTest
from stepwell.testing.plugin import pytest_pyfunc_call, stepwell, stepwell_options

Headers = Mapping[str, str] | None

__all__ = ["door", "pytest_pyfunc_call", "stepwell", "stepwell_options"]


class Door:
    """Sends requests to the endpoints of hooks, behind what all requests pass."""

    def __init__(self, test: StepwellTest) -> None:
        self._server = Server(test.app, ServerOptions())
        self._routes = Routes(ENDPOINTS)

    async def send(
        self,
        url: str,
        body: bytes = b"",
        *,
        method: str = "POST",
        query: str = "",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """The answer, be it a problem."""
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
        scope = {"method": method, "headers": pairs, "query_string": query.encode("latin-1")}
        endpoint, path = self._routes.find(method, "/hooks/" + url.partition("/hooks/")[2])
        call = Call(self._server, endpoint, scope, path)
        call.raw_body = body
        try:
            answer = await endpoint.handler(call)
        except Problem as problem:
            return self._problem(problem)
        except StepwellError as error:
            return self._problem(problem_of(error))
        assert isinstance(answer, Answer)
        return answer

    async def json(self, url: str, value: Any, **headers: str) -> Answer:
        """Send a value as JSON."""
        return await self.send(url, msgspec.json.encode(value), headers={"content-type": "application/json", **headers})

    def _problem(self, problem: Problem) -> Answer:
        return Answer(status=problem.status, body=problem.body(is_compat=False), headers=problem.headers)


@pytest.fixture
def door(stepwell: StepwellTest) -> Door:
    """The door to the hooks of the app under test."""
    return Door(stepwell)
