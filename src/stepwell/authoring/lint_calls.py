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
LOOPS = Fault("SW106", "starts an event loop of its own, which has no history: await it here, or do it in a step")
HASH = Fault("SW303", "differs between processes for texts and objects: use zlib.crc32(...) or hashlib")
SHARED_CHANCE = Fault("SW102", "draws from what all runs share, so replay gives something else: use ctx.random")
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
_CLIENTS = (
    *("requests.Session", "requests.session", "httpx.Client", "httpx.AsyncClient", "aiohttp.ClientSession"),
    *("urllib3.PoolManager", "http.client.HTTPConnection", "http.client.HTTPSConnection", "smtplib.SMTP"),
    *(f"openai.{kind}" for kind in ("OpenAI", "AsyncOpenAI", "AzureOpenAI", "AsyncAzureOpenAI")),
    *("anthropic.Anthropic", "anthropic.AsyncAnthropic", "boto3.client", "boto3.resource"),
    *("redis.Redis", "redis.asyncio.Redis", "pymongo.MongoClient", "sqlalchemy.create_engine"),
    *("sqlite3.connect", "psycopg.connect", "psycopg2.connect", "aiosqlite.connect", "asyncpg.create_pool"),
    *("psycopg_pool.ConnectionPool", "psycopg_pool.AsyncConnectionPool", "sqlalchemy.ext.asyncio.create_async_engine"),
)
"""What makes a client; to use one that was made outside of the body is as wrong as to make it there."""

_MACHINE = ("os.getpid", "os.getppid", "os.getlogin", "os.uname", "os.cpu_count", "getpass.getuser")
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
    **{f"anyio.Path().{name}": FILES for name in _PATH_METHODS.split()},
    **{f"pathlib.Path.{name}": FILES for name in ("cwd", "home")},
    "aiofiles.open": FILES,
    "builtins.open": FILES,
    "builtins.input": FILES,
    "io.open": FILES,
    "anyio.open_file": FILES,
    **{f"httpx.{name}": WORLD for name in (*_HTTP_FUNCTIONS.split(), "stream")},
    **{f"requests.{name}": WORLD for name in _HTTP_FUNCTIONS.split()},
    **{f"{name}.request": WORLD for name in ("aiohttp", "urllib3")},
    **{f"{name}.connect": WORLD for name in ("asyncpg", "psycopg.AsyncConnection")},
    **{f"asyncio.create_subprocess_{name}": WORLD for name in ("exec", "shell")},
    **{f"asyncio.{name}": WORLD for name in ("open_connection", "open_unix_connection", "start_server")},
    **{f"os.{name}": WORLD for name in ("system", "popen", "fork", "kill", "posix_spawn")},
    "anyio.run_process": WORLD,
    "anyio.connect_tcp": WORLD,
    **dict.fromkeys(_CLIENTS, WORLD),
    **dict.fromkeys(_MACHINE, ENVIRONMENT),
    **dict.fromkeys(("asyncio.run", "asyncio.Runner", "asyncio.new_event_loop", "anyio.run"), LOOPS),
    "websockets.connect": WORLD,
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
    "ftplib.": WORLD,
    "imaplib.": WORLD,
    "paramiko.": WORLD,
    "platform.": ENVIRONMENT,
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


def fault_of_shared(name: str) -> Fault | None:
    """What is wrong with using in a body what was made outside of it: `requests.Session().get`, for instance."""
    if name.startswith(("random.Random().", "numpy.random.default_rng().")):
        return SHARED_CHANCE
    return WORLD if any(name.startswith(f"{client}().") for client in _CLIENTS) else None
