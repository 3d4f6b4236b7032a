"""How a server behaves: limits, who may come in, what it shows."""

from __future__ import annotations

from msgspec import Struct

from stepwell.errors import DefinitionError


class ServerOptions(Struct, frozen=True, kw_only=True):
    """The options of a server; sizes in bytes, times in seconds.

    `dev`: no key is needed; only for a server that nobody else can reach. `cors_origins`: web pages from there may ask
    (`*`: from anywhere); none by default. `wait`: how long a start or an injection waits for the run to pause before
    it answers 202. `metrics_scope`: who may read /metrics, which tells names of workflows; `open`: everybody who
    reaches it. `strict_routing`: an unknown suffix or verb on a run is 400, as that other system answers, and not 404
    or 405. `namespaces`: those to serve from the beginning; others are served when a key names them. `max_streams`:
    event streams open at a time.
    """

    dev: bool = False
    cors_origins: tuple[str, ...] = ()
    max_body: int = 1_048_576
    max_headers: int = 32_768
    max_header_count: int = 100
    body_timeout: float = 10.0
    request_timeout: float = 60.0
    wait: float = 30.0
    hook_wait: float = 30.0
    ping: float = 15.0
    drain: float = 10.0
    max_streams: int = 10_000
    metrics_scope: str = "read"
    strict_routing: bool = False
    namespaces: tuple[str, ...] = ()
    audit_keep_days: int = 400

    def __post_init__(self) -> None:
        for name in ("max_body", "max_headers", "max_header_count", "max_streams"):
            if getattr(self, name) < 1:
                raise DefinitionError(f"ServerOptions({name}={getattr(self, name)}): give 1 or more")
        for name in ("body_timeout", "request_timeout", "ping", "drain"):
            if getattr(self, name) <= 0:
                raise DefinitionError(f"ServerOptions({name}={getattr(self, name)}): give more than 0 seconds")
        if not 0 <= self.wait < self.request_timeout or not 0 <= self.hook_wait < self.request_timeout:
            raise DefinitionError("ServerOptions: wait and hook_wait must be below request_timeout")
        if self.metrics_scope not in ("open", "read", "admin"):
            raise DefinitionError(f"ServerOptions(metrics_scope={self.metrics_scope!r}): give open, read or admin")
