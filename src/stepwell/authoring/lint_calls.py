"""The calls that a workflow body cannot repeat, by their full names, each with its cure."""

from __future__ import annotations

import ast
from typing import NamedTuple


class Fault(NamedTuple):
    """A rule's code, and what to say after the name of what was called."""

    code: str
    text: str


CLOCK = Fault("SW101", "gives another time when the run is replayed: use ctx.now()")
CHANCE = Fault("SW102", "gives something else when the run is replayed: use ctx.random")
FRESH = Fault("SW103", "gives something else when the run is replayed: use ctx.uuid4(), or call it in a step")
FILES = Fault("SW104", "reads or changes what the journal does not hold: do it in a step")
WORLD = Fault("SW105", "reaches out of the run, again on each replay: do it in a step")
THREADS = Fault(
    "SW106", "starts what does not survive a crash: use a step, which runs in a thread if it is a plain def"
)
BLOCKS = Fault("SW107", "blocks every run of its worker: use `await ctx.sleep(...)`")
ENVIRONMENT = Fault("SW110", "may differ where the run is replayed: read it in a step, or pass it in the input")
PRINTS = Fault("SW301", "prints again on each replay: use ctx.log")

_CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time")
_FILE_FUNCTIONS = (
    "open listdir scandir walk remove unlink rename replace mkdir makedirs rmdir removedirs stat getcwd chdir "
    "path.exists path.isfile path.isdir path.getsize path.getmtime"
)
_PATH_METHODS = (
    "open read_text read_bytes write_text write_bytes exists is_file is_dir iterdir glob rglob stat mkdir rmdir unlink "
    "touch rename replace"
)
_HTTP_FUNCTIONS = "get post put patch delete head options request"

_EXACT: dict[str, Fault] = {
    **{f"time.{clock}{unit}": CLOCK for clock in _CLOCKS for unit in ("", "_ns")},
    **{f"datetime.datetime.{name}": CLOCK for name in ("now", "utcnow", "today")},
    "datetime.date.today": CLOCK,
    **{f"uuid.uuid{version}": FRESH for version in (1, 4, 6, 7)},
    "os.urandom": FRESH,
    "os.getrandom": FRESH,
    **{f"os.{name}": FILES for name in _FILE_FUNCTIONS.split()},
    **{f"pathlib.Path().{name}": FILES for name in _PATH_METHODS.split()},
    "builtins.open": FILES,
    "builtins.input": FILES,
    "io.open": FILES,
    "anyio.open_file": FILES,
    **{f"httpx.{name}": WORLD for name in (*_HTTP_FUNCTIONS.split(), "stream", "Client", "AsyncClient")},
    **{f"requests.{name}": WORLD for name in (*_HTTP_FUNCTIONS.split(), "Session", "session")},
    **{f"aiohttp.{name}": WORLD for name in ("request", "ClientSession")},
    **{f"urllib3.{name}": WORLD for name in ("request", "PoolManager")},
    **{f"{name}.connect": WORLD for name in ("sqlite3", "psycopg", "psycopg2", "asyncpg", "psycopg.AsyncConnection")},
    **{f"asyncio.create_subprocess_{name}": WORLD for name in ("exec", "shell")},
    **{f"asyncio.{name}": WORLD for name in ("open_connection", "open_unix_connection", "start_server")},
    **{f"os.{name}": WORLD for name in ("system", "popen", "fork", "kill", "posix_spawn")},
    "asyncpg.create_pool": WORLD,
    "anyio.run_process": WORLD,
    "anyio.connect_tcp": WORLD,
    "asyncio.to_thread": THREADS,
    "asyncio.run_coroutine_threadsafe": THREADS,
    "anyio.to_thread.run_sync": THREADS,
    "time.sleep": BLOCKS,
    "os.getenv": ENVIRONMENT,
    "builtins.print": PRINTS,
}

_MODULES: dict[str, Fault] = {
    "random.": CHANCE,
    "numpy.random.": CHANCE,
    "secrets.": FRESH,
    "shutil.": FILES,
    "tempfile.": FILES,
    "glob.": FILES,
    "urllib.request.": WORLD,
    "http.client.": WORLD,
    "smtplib.": WORLD,
    "socket.": WORLD,
    "subprocess.": WORLD,
    "boto3.": WORLD,
    "redis.": WORLD,
    "threading.": THREADS,
    "multiprocessing.": THREADS,
    "concurrent.futures.": THREADS,
}
"""All calls into these modules; but exceptions are only made."""

_HARMLESS = frozenset({"secrets.compare_digest", "urllib.request.Request"})
_NOW_WITHOUT = {"time.localtime": 1, "time.gmtime": 1, "time.ctime": 1, "time.asctime": 1, "time.strftime": 2}
"""What reads the clock if it gets fewer arguments than these."""


def fault_of(name: str, call: ast.Call) -> Fault | None:
    """What is wrong with calling this in a body; `name` is the full name of what is called."""
    fault = _EXACT.get(name)
    if fault is not None:
        return fault
    if len(call.args) < _NOW_WITHOUT.get(name, 0):
        return CLOCK
    if "()" in name or name in _HARMLESS or name.endswith(("Error", "Exception", "Expired")) or ".exceptions." in name:
        return None
    if name in ("random.Random", "numpy.random.default_rng") and (call.args or call.keywords):
        return None  # it has a seed
    return next((fault for module, fault in _MODULES.items() if name.startswith(module)), None)
