"""What `stepwell check` finds in workflow bodies, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from stepwell.authoring.lint import Finding, lint_file, lint_source

HEAD = """
import asyncio, contextlib, datetime, os, random, secrets, socket, subprocess, threading, time, uuid
import concurrent.futures, multiprocessing, urllib.request
import httpx, requests
import stepwell
from pathlib import Path
from stepwell import Context, Event, Signal, WorkflowRef, step, workflow

cache = {}
events = list()

@step
async def charge(order: int) -> int:
    return int(time.time()) + order

@workflow
async def child(ctx: Context, order: int) -> int:
    return order
"""


def found(source: str) -> list[str]:
    """The codes of what is found, in order."""
    return [finding.code for finding in lint_source(dedent(source))]


def in_body(statements: str) -> list[str]:
    """The codes of what is found in a workflow of these statements."""
    body = indent(dedent(statements).strip(), "    ")
    return found(f"{HEAD}\n@workflow\nasync def main(ctx: Context, order: int) -> None:\n{body}\n")


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("time.time()", "SW101"),
        ("time.monotonic_ns()", "SW101"),
        ("print_at = time.perf_counter()", "SW101"),
        ("time.strftime('%H')", "SW101"),
        ("datetime.datetime.now(datetime.UTC)", "SW101"),
        ("datetime.datetime.utcnow()", "SW101"),
        ("datetime.date.today()", "SW101"),
        ("random.choice([1, 2])", "SW102"),
        ("random.Random().random()", "SW102"),
        ("uuid.uuid1()", "SW103"),
        ("key = str(uuid.uuid4())", "SW103"),
        ("secrets.token_hex()", "SW103"),
        ("os.urandom(8)", "SW103"),
        ("open('file')", "SW104"),
        ("input()", "SW104"),
        ("Path('file').read_text()", "SW104"),
        ("os.path.exists('file')", "SW104"),
        ("requests.get('https://x')", "SW105"),
        ("httpx.AsyncClient()", "SW105"),
        ("urllib.request.urlopen('https://x')", "SW105"),
        ("socket.create_connection(('x', 1))", "SW105"),
        ("subprocess.run(['x'])", "SW105"),
        ("await asyncio.create_subprocess_exec('x')", "SW105"),
        ("await asyncio.open_connection('x', 1)", "SW105"),
        ("threading.Thread()", "SW106"),
        ("multiprocessing.Process()", "SW106"),
        ("concurrent.futures.ThreadPoolExecutor()", "SW106"),
        ("await asyncio.to_thread(sorted, [])", "SW106"),
        ("await asyncio.get_running_loop().run_in_executor(None, sorted, [])", "SW106"),
        ("time.sleep(1)", "SW107"),
        ("os.getenv('HOME')", "SW110"),
        ("os.environ['HOME']", "SW110"),
        ("'HOME' in os.environ", "SW110"),
        ("print(order)", "SW301"),
    ],
)
def test_a_call_that_cannot_be_repeated_is_found(statement: str, code: str) -> None:
    assert in_body(statement) == [code]


@pytest.mark.parametrize(
    "statement",
    [
        "ctx.now(); ctx.random.choice([1]); ctx.uuid4(); ctx.log.info('x')",
        "random.Random(order).random()",
        "secrets.compare_digest('a', 'b')",
        "time.gmtime(0); time.strftime('%H', time.gmtime(0))",
        "datetime.datetime.fromtimestamp(0, datetime.UTC)",
        "await asyncio.sleep(1); await ctx.sleep('1h')",
        "raise subprocess.CalledProcessError(1, 'x')",
        "uuid.uuid5(uuid.NAMESPACE_URL, 'x')",
        "Path('a') / 'b'",
        "await charge(order); await charge.options(key='1')(order)",
        "await step(httpx.get, name='get')('https://x')",
        "await step(lambda: time.time())()",
    ],
)
def test_what_is_safe_is_left_alone(statement: str) -> None:
    assert in_body(statement) == []


@pytest.mark.parametrize(
    ("imports", "call"),
    [
        ("import time as t", "t.time()"),
        ("from time import time", "time()"),
        ("from time import time as clock", "clock()"),
        ("from datetime import datetime", "datetime.now()"),
        ("import datetime as dt", "dt.date.today()"),
        ("import time\nclock = time.time", "clock()"),
    ],
)
def test_a_clock_is_found_under_every_name(imports: str, call: str) -> None:
    source = f"{imports}\nfrom stepwell import workflow\n@workflow\nasync def main(ctx):\n    return {call}\n"

    assert found(source) == ["SW101"]


def test_an_import_inside_the_body_counts() -> None:
    assert in_body("from time import monotonic\nmonotonic()") == ["SW101"]


@pytest.mark.parametrize(
    "source",
    [
        "def main(ctx, time):\n    return time.time()",
        "def main(ctx):\n    time = ctx.metadata['time']\n    return time.time()",
        "def main(ctx, open):\n    return open()",
        "def main(ctx):\n    return (lambda time: time.time())(ctx)",
        "def main(ctx):\n    for random in ctx.metadata:\n        random.choice()",
        "def main(ctx):\n    match ctx.metadata:\n        case {'random': [random, *time], **uuid}:\n"
        "            return random.choice(), time.time(), uuid.uuid4()",
    ],
)
def test_a_name_that_means_something_else_here_is_left_alone(source: str) -> None:
    assert found(f"import random, time, uuid\nfrom stepwell import workflow\n@workflow\nasync {source}\n") == []


@pytest.mark.parametrize(
    ("imports", "decorator"),
    [
        ("import stepwell", "stepwell.workflow"),
        ("import stepwell as s", "s.workflow(version='1')"),
        ("from stepwell import workflow as flow", "flow(id='x')"),
        ("from stepwell import *", "workflow"),
        ("from stepwell.authoring.workflows import workflow", "workflow()"),
    ],
)
def test_a_workflow_is_known_by_its_decorator(imports: str, decorator: str) -> None:
    assert found(f"{imports}\n@{decorator}\nasync def main(ctx):\n    open('x')\n") == ["SW104"]


@pytest.mark.parametrize("made", ["workflow(main)", "workflow(id='x')(main)"])
def test_a_workflow_is_known_by_a_call(made: str) -> None:
    assert found(f"from stepwell import workflow\nasync def main(ctx):\n    open('x')\nit = {made}\n") == ["SW104"]


def test_what_is_no_workflow_is_left_alone() -> None:
    source = "import time\nfrom other import workflow\n@workflow\nasync def main(ctx):\n    time.time()\ntime.time()\n"

    assert found(source) == []


# --- what runs in a body


def test_a_helper_that_a_body_calls_is_part_of_it() -> None:
    source = HEAD + dedent("""
        def inner() -> float:
            return time.time()

        def helper() -> float:
            return inner()

        @workflow
        async def main(ctx: Context) -> float:
            return helper()
    """)

    (finding,) = lint_source(source)

    assert finding.code == "SW101"
    assert finding.message.endswith("(in inner(), called by helper(), called by workflow main)")


def test_a_helper_that_only_steps_call_is_left_alone() -> None:
    helper = "def helper():\n    return time.time()\n@step\ndef read():\n    return helper()\n"

    assert found(HEAD + helper + "@workflow\nasync def main(ctx):\n    await read()\n") == []


def test_a_function_that_the_body_maps_is_part_of_it() -> None:
    helper = "async def one(n):\n    return time.time()\n"

    assert found(HEAD + helper + "@workflow\nasync def main(ctx):\n    await ctx.map(one, [1])\n") == ["SW101"]


def test_functions_inside_the_body_are_part_of_it() -> None:
    nested = "async def one(n):\n    return [lambda: time.time()]\nawait ctx.map(one, [1])"

    assert in_body(nested) == ["SW101"]


@pytest.mark.parametrize(
    "nested",
    [
        "@step\nasync def one():\n    return time.time()\nawait one()",
        "@step(timeout='5s')\ndef one():\n    return time.time()\nawait one()",
        "def one():\n    return time.time()\nawait step(one, name='one')()",
        "@charge.compensate\nasync def refund(result, order):\n    return time.time()",
    ],
)
def test_steps_inside_the_body_are_left_alone(nested: str) -> None:
    assert in_body(nested) == []


# --- order


@pytest.mark.parametrize(
    "statement",
    [
        "for name in {'a', 'b'}: pass",
        "for name in set(ctx.metadata): pass",
        "for name in {x for x in ctx.metadata} | {'c'}: pass",
        "for name in {'a'}.union(ctx.metadata): pass",
        "names = set(ctx.metadata)\nnames |= {'b'}\nfor name in names: pass",
        "names: set[str] = order\nfor name in names: pass",
        "[name for name in {'a', 'b'}]",
        "{name: 1 for name in {'a', 'b'}}",
        "list({'a', 'b'})",
        "', '.join({'a', 'b'})",
        "await ctx.map(charge, {order, 'a'})",
        "await asyncio.gather(*(charge(n) for n in set(ctx.metadata)))",
        "await asyncio.gather(*{charge(1), charge(2)})",
        "sum([await charge(n) for n in {order, 'a'}])",
    ],
)
def test_the_order_of_a_set_is_found(statement: str) -> None:
    assert in_body(statement) == ["SW109"]


@pytest.mark.parametrize(
    "statement",
    [
        "for name in sorted({'a', 'b'}): pass",
        "for number in {1, 2}: pass",
        "for name in {'a': 1}: pass",
        "any(name == 'a' for name in {'a', 'b'})",
        "{name.upper() for name in {'a', 'b'}}",
        "'a' in {'a', 'b'}; len({'a', 'b'})",
        "tasks = {asyncio.ensure_future(charge(1))}\nfor task in tasks: task.cancel()",
        "tasks: set[asyncio.Task[None]] = set()\nfor task in tasks: task.cancel()",
        "numbers: set[int] = set()\nfor number in numbers: pass",
        "names: list[str] = order\nfor name in names: pass",
        "names: list = order\nfor name in names: pass",
        "for name in somewhere: pass",
        "names = {'a'}\nnames = sorted(names)\nfor name in names: pass",
    ],
)
def test_a_set_whose_order_does_not_matter_is_left_alone(statement: str) -> None:
    assert in_body(statement) == []


@pytest.mark.parametrize(
    ("argument", "codes"),
    [
        ("[charge(1), charge(2)]", ["SW108"]),
        ("(charge(n) for n in [1])", ["SW108"]),
        ("[asyncio.create_task(charge(n)) for n in [1]]", []),
        ("tasks", []),
    ],
)
def test_as_completed_wants_tasks(argument: str, codes: list[str]) -> None:
    assert in_body(f"for one in asyncio.as_completed({argument}): await one") == codes


# --- leaving memory


@pytest.mark.parametrize(
    "handler",
    [
        "try:\n    await charge(1)\nexcept:\n    pass",
        "try:\n    await charge(1)\nexcept BaseException as error:\n    ctx.log.error('%s', error)",
        "try:\n    await charge(1)\nexcept (ValueError, BaseException):\n    pass",
        "try:\n    await charge(1)\nexcept stepwell.Evicted:\n    pass",
        "try:\n    await charge(1)\nexcept* BaseException:\n    pass",
        "with contextlib.suppress(BaseException):\n    await charge(1)",
        "try:\n    await charge(1)\nfinally:\n    return None",
        "while order:\n    try:\n        await charge(1)\n    finally:\n        break",
    ],
)
def test_hiding_an_eviction_is_found(handler: str) -> None:
    assert in_body(handler) == ["SW201"]


@pytest.mark.parametrize(
    "handler",
    [
        "try:\n    await charge(1)\nexcept Exception:\n    pass",
        "try:\n    await charge(1)\nexcept BaseException:\n    ctx.log.info('x')\n    raise",
        "try:\n    await charge(1)\nexcept (stepwell.Evicted, stepwell.ActivationError):\n    raise\n"
        "except BaseException:\n    pass",
        "try:\n    await charge(1)\nfinally:\n    for n in [1]:\n        break",
        "try:\n    await charge(1)\nfinally:\n    def undo():\n        return 1",
    ],
)
def test_letting_an_eviction_pass_is_right(handler: str) -> None:
    assert in_body(handler) == []


# --- calls that do not happen, state that is shared


@pytest.mark.parametrize(
    "statement",
    [
        "charge(order)",
        "charge.options(key='1')(order)",
        "step(httpx.get, name='get')('https://x')",
        "child(order)",
        "ctx.sleep('1h')",
        "stepwell.current_run().sleep(1)",
        "asyncio.sleep(1)",
        "async def inner(): pass\ninner()",
    ],
)
def test_a_call_without_await_is_found(statement: str) -> None:
    assert in_body(statement) == ["SW202"]


@pytest.mark.parametrize("call", ["child(order, 2)", "child(order, extra=2)", "WorkflowRef('x')(order, 2)"])
def test_a_workflow_takes_one_input(call: str) -> None:
    assert in_body(f"await {call}") == ["SW203"]


@pytest.mark.parametrize(
    "statement",
    [
        "global cache\ncache = {}",
        "cache['a'] = 1",
        "cache['a'] += 1",
        "del cache['a']",
        "cache.update(a=1)",
        "events.append(order)",
    ],
)
def test_changing_what_runs_share_is_found(statement: str) -> None:
    assert in_body(statement) == ["SW204"]


@pytest.mark.parametrize(
    "statement",
    [
        "cache = {}\ncache['a'] = 1",
        "cache.get('a'); cache['a']",
        "total = 0\nasync def one():\n    nonlocal total\n    total += 1\nawait one()",
        "ctx.metadata['a'] = 1",
    ],
)
def test_changing_what_is_the_runs_own_is_left_alone(statement: str) -> None:
    assert in_body(statement) == []


def test_nonlocal_names_outside_of_the_workflow_are_shared() -> None:
    factory = """
        def make():
            total = 0
            @workflow
            async def main(ctx):
                nonlocal total
                total += 1
    """

    assert found(HEAD + dedent(factory)) == ["SW204"]


@pytest.mark.parametrize(
    ("loop", "codes"),
    [
        ("while True: order += 1", ["SW205"]),
        ("while 1:\n    async def one(): await charge(1)", ["SW205"]),
        ("while True: await charge(1)", []),
        ("while True:\n    if order: break", []),
        ("while True:\n    [n async for n in ctx.receive_all(Signal('x'))]", []),
        ("while order: order -= 1", []),
    ],
)
def test_an_endless_loop_has_to_wait(loop: str, codes: list[str]) -> None:
    assert in_body(loop) == codes


@pytest.mark.parametrize("decorator", ["step", "step(timeout='5s')", "workflow", "charge.compensate"])
def test_a_method_is_no_step_and_no_workflow(decorator: str) -> None:
    assert found(f"{HEAD}\nclass Shop:\n    @{decorator}\n    async def buy(self, order): pass\n") == ["SW206"]


def test_a_static_method_is_a_function() -> None:
    assert found(f"{HEAD}\nclass Shop:\n    @staticmethod\n    @step\n    async def buy(order): pass\n") == []


# --- findings


def test_a_finding_says_where_and_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text("import time\nfrom stepwell import workflow\n\n@workflow\nasync def f(ctx):\n    x = time.time()\n")

    (finding,) = lint_file(file)

    text = "time.time() gives another time when the run is replayed: use ctx.now()"
    assert finding == Finding(str(file), 6, 9, "SW101", text, "error")
    assert str(finding) == f"{file}:6:9: SW101 {text}"


def test_printing_is_a_warning() -> None:
    source = "from stepwell import workflow\n@workflow\nasync def f(ctx):\n    print()\n"

    assert [finding.severity for finding in lint_source(source)] == ["warning"]


def test_findings_come_in_the_order_of_lines() -> None:
    assert in_body("open('a')\ntime.time()\ninput()") == ["SW104", "SW101", "SW104"]


@pytest.mark.parametrize(
    "statement",
    [
        "time.time()  # stepwell: ignore[SW101]",
        "time.time()  # a reason  # stepwell: ignore",
        "time.time()  # stepwell: ignore[SW102, SW101]",
        "open(\n    'x',\n)  # stepwell: ignore[SW104]",
        "while True:  # stepwell: ignore[SW205]\n    order += 1",
    ],
)
def test_a_comment_leaves_a_finding_out(statement: str) -> None:
    assert in_body(statement) == []


@pytest.mark.parametrize(
    "statement",
    [
        "time.time()  # stepwell: ignore[SW102]",
        "time.time(), '# stepwell: ignore'",
        "time.time()\n# stepwell: ignore",
    ],
)
def test_other_comments_do_not(statement: str) -> None:
    assert in_body(statement) == ["SW101"]


def test_a_file_that_is_not_python_is_a_finding() -> None:
    (finding,) = lint_source("async def f(:\n", "flow.py")

    assert (finding.line, finding.code) == (1, "SW100")


def test_a_file_is_read_in_its_own_encoding(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_bytes("# -*- coding: latin-1 -*-\nname = 'é'  # é\n".encode("latin-1"))

    assert lint_file(file) == []
