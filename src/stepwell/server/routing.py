"""Which endpoint a request is for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from starlette.routing import compile_path

from stepwell.server.endpoints import Endpoint
from stepwell.server.problems import Problem


class Routes:
    """Endpoints by path and verb. Paths without parameters are looked up; the others are tried in order."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        self._exact: dict[str, dict[str, Endpoint]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Endpoint]]] = []
        by_path: dict[str, dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            verbs = by_path.setdefault(endpoint.path, {})
            assert endpoint.method not in verbs, f"{endpoint.method} {endpoint.path} is there twice"
            verbs[endpoint.method] = endpoint
        for path, verbs in by_path.items():
            if "{" in path:
                self._patterns.append((compile_path(path)[0], verbs))
            else:
                self._exact[path] = verbs

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]]:
        """The endpoint, and the parameters in the path. `Problem` 404 `route_not_found`, 405 `method_not_allowed`."""
        verbs = self._exact.get(path)
        if verbs is not None:
            return self._verb(verbs, method), {}
        refused: dict[str, Endpoint] | None = None
        for pattern, verbs in self._patterns:
            match = pattern.match(path)
            if match is None:
                continue
            if method in verbs or (method == "HEAD" and "GET" in verbs):
                return self._verb(verbs, method), match.groupdict()
            refused = {**(refused or {}), **verbs}
        if refused is not None:
            return self._verb(refused, method), {}
        problem = Problem(404, "route_not_found", path=path)
        problem.is_compat = True
        raise problem

    def _verb(self, verbs: dict[str, Endpoint], method: str) -> Endpoint:
        endpoint = verbs.get(method) or (verbs.get("GET") if method == "HEAD" else None)
        if endpoint is None:
            allowed = ", ".join(sorted({*verbs, *(["HEAD"] if "GET" in verbs else []), "OPTIONS"}))
            problem = Problem(405, "method_not_allowed", f"{method} is not for this path", headers={"allow": allowed})
            problem.is_compat = all(endpoint.is_compat for endpoint in verbs.values())
            raise problem
        return endpoint
