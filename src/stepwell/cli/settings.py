"""Every setting that a file or the environment may give: one row each. `docs/configuration.md` shows this table."""

from __future__ import annotations

from typing import Any, Literal, get_origin

from msgspec import Struct

from stepwell.runtime.app import DEFAULT_URL
from stepwell.runtime.options import WorkerOptions

LogFormat = Literal["text", "json"]
_Names = tuple[str, ...]
_Time = float | str


class Setting(Struct, frozen=True):
    """One setting. `key` is its name, after a dot if it is in a table; `flag` what says the same on a command line."""

    key: str
    type: Any
    default: Any
    text: str
    flag: str = ""

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"STEPWELL_{self.key.replace('.', '_').upper()}"

    @property
    def is_list(self) -> bool:
        """Whether it takes several values: an array in a file, with commas between in a variable."""
        return get_origin(self.type) is tuple

    @property
    def is_duration(self) -> bool:
        """Whether it is a time in seconds, or text such as "1m30s"."""
        return bool(self.type == _Time)


_TOP = (
    Setting("backend", str, DEFAULT_URL, "where the runs are; without one, the app's own URL", "--backend"),
    Setting(
        "app", str, "", "`MODULE:app` or `FILE.py`: what is served and worked on, and whose codec is used", "--app"
    ),
    Setting("namespace", str, "", "the namespace that commands look into", "--namespace"),
    Setting("log_format", LogFormat, "text", "`text` or `json`: how `serve` and `worker` log", "--log-format"),
)

# `dev` is not among them: that a server asks nobody for a key is only ever said on its command line.
_SERVER = (
    Setting("server.host", str, "127.0.0.1", "the address to listen on; `0.0.0.0` for all", "--host"),
    Setting("server.port", int, 7788, "the port; 0 takes a free one", "--port"),
    Setting("server.public_url", str, "", "what hook URLs begin with; without one, what the app says", "--public-url"),
    Setting("server.behind_proxy", _Names, (), "proxies whose `X-Forwarded-*` headers are believed", "--behind-proxy"),
    Setting("server.access_log", bool, False, "log each request", "--access-log"),
    Setting("server.backlog", int, 2048, "connections that may wait to be taken"),
    Setting("server.keep_alive", float, 5.0, "seconds that an idle connection is kept"),
    Setting("server.header_timeout", float, 10.0, "seconds in which the head of a request must arrive"),
    Setting("server.cors_origins", _Names, (), "origins of web pages that may ask; `*` for any", "--cors-origin"),
    Setting("server.namespaces", _Names, (), "namespaces to serve before a key names them", "--namespace"),
    Setting("server.max_body", int, 1_048_576, "bytes of a request's body"),
    Setting("server.max_headers", int, 32_768, "bytes of a request's headers together"),
    Setting("server.max_header_count", int, 100, "headers of a request"),
    Setting("server.max_streams", int, 10_000, "event streams that are open at a time"),
    Setting("server.body_timeout", float, 10.0, "seconds in which a body must arrive"),
    Setting("server.request_timeout", float, 60.0, "seconds in which a request must be answered"),
    Setting(
        "server.wait", float, 30.0, "seconds that a start waits for its run to pause or end, before it answers 202"
    ),
    Setting("server.hook_wait", float, 30.0, "seconds that a hook waits for what its workflow answers"),
    Setting("server.ping", float, 15.0, "seconds between two signs of life on a silent event stream"),
    Setting("server.drain", float, 10.0, "seconds that requests get to end when the server stops"),
    Setting(
        "server.metrics_scope", str, "read", "the scope that /metrics needs: `read`, `admin`, or `open` for everybody"
    ),
    Setting("server.strict_routing", bool, False, "unknown suffixes and verbs on a run are 400, not 404 and 405"),
    Setting("server.audit_keep_days", int, 400, "days that the audit log is kept"),
)

_WORKER = (
    Setting("worker.queues", _Names, ("default",), "the queues to serve", "--queues"),
    Setting("worker.concurrency", int, 200, "runs held at a time", "--concurrency"),
    Setting("worker.threads", int, WorkerOptions().threads, "threads for sync steps; the default is 4 a core, and 8"),
    Setting("worker.lease", _Time, "30s", "how long a run stays with a worker that is not heard of"),
    Setting("worker.grace", _Time, "10s", "how long steps may go on when the worker stops"),
    Setting("worker.cached_runs", int, 1_000, "parked runs kept in memory"),
    Setting("worker.max_takes", int, 10, "claims without progress before a run is dead"),
    Setting("worker.impure_check", bool, False, "warn of clocks, chance and the like in bodies; slow"),
)

SETTINGS = (*_TOP, *_SERVER, *_WORKER)
