"""What good workflows look like is left alone; more that bad ones do is found."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from stepwell.authoring import lint
from stepwell.authoring.lint import lint_files, lint_source

ROOT = Path(__file__).parents[2]


def found(imports: str, statements: str) -> list[str]:
    """The codes of what is found in a workflow of these statements."""
    body = "\n    ".join(dedent(statements).strip().splitlines())
    head = f"from stepwell import Context, step, workflow\n{imports}\n"
    source = f"{head}\n@workflow\nasync def main(ctx: Context):\n    {body}\n"
    return [finding.code for finding in lint_source(source)]


@pytest.mark.parametrize(
    ("imports", "statement", "code"),
    [
        ("import asyncio", "asyncio.run(other())", "SW106"),
        ("import asyncio", "asyncio.new_event_loop()", "SW106"),
        ("import anyio", "anyio.run(other)", "SW106"),
        ("import os", "os.getpid()", "SW110"),
        ("import platform", "platform.node()", "SW110"),
        ("from pathlib import Path", "Path.cwd()", "SW104"),
        ("import anyio", "await anyio.Path('x').read_text()", "SW104"),
        ("import aiofiles", "aiofiles.open('x')", "SW104"),
        ("from openai import AsyncOpenAI", "AsyncOpenAI()", "SW105"),
        ("import sqlite3", "sqlite3.connect('x')", "SW105"),
        ("import httpx\nclient = httpx.AsyncClient()", "await client.get('x')", "SW105"),
        ("import requests\nsession = requests.Session()", "session.post('x')", "SW105"),
        ("from openai import OpenAI\nai = OpenAI()", "ai.chat.completions.create()", "SW105"),
        ("import random\nrng = random.Random(5)", "rng.choice([1, 2])", "SW102"),
        ("", "hash(ctx.run_id)", "SW303"),
        ("", "names = {'a', 'b'}\nfirst, second = names", "SW109"),
        ("", "names = {'a', 'b'}\nname = names.pop()", "SW109"),
        ("", "dict.fromkeys({'a', 'b'})", "SW109"),
        ("import itertools", "itertools.chain({'a', 'b'}, ['c'])", "SW109"),
        ("state = object()", "state.count = 1", "SW204"),
        ("state = object()", "state.inner.count += 1", "SW204"),
        ("import settings", "settings.DEBUG = True", "SW204"),
        ("import time\ndef key(x):\n    return time.time()", "sorted([1, 2], key=key)", "SW101"),
        ("import time\nasync def one(x):\n    return time.time()", "await ctx.map(one, [1])", "SW101"),
    ],
)
def test_more_of_what_cannot_be_repeated_is_found(imports: str, statement: str, code: str) -> None:
    assert found(imports, statement) == [code]


@pytest.mark.parametrize(
    ("imports", "statement"),
    [
        ("import random", "rng = random.Random(5)\nrng.choice([1, 2])"),
        ("import openai", "raise openai.RateLimitError('x')"),
        ("from openai.types import Completion", "Completion(id='x')"),
        ("import httpx", "httpx.URL('https://x').host"),
        ("import httpx", "try:\n    await ctx.sleep(1)\nexcept httpx.HTTPError:\n    pass"),
        ("import datetime as dt", "dt.timedelta(days=1) + ctx.now()"),
        ("from datetime import date", "date.fromisoformat('2026-01-01'); ctx.now().date()"),
        ("import json", "json.loads('{}')"),
        ("import hashlib", "hashlib.sha256(b'x').hexdigest()"),
        ("from dataclasses import replace", "replace(ctx, x=1)"),
        (
            "from collections import defaultdict, Counter, deque",
            "seen = defaultdict(list)\nseen['a'].append(1)\nCounter('a')",
        ),
        ("from functools import partial", "call = partial(print, 1)"),
        ("LIMITS = {'a': 1}", "LIMITS['a']; LIMITS.get('b'); dict(LIMITS)"),
        ("import logging\nlog = logging.getLogger(__name__)", "log.info('x')"),
        ("import os", "os.path.join('a', 'b'); os.path.basename('c'); os.sep"),
        ("from pathlib import PurePath, Path", "Path('a').with_suffix('.b').name; str(PurePath('x'))"),
        ("", "stack = [1]\nstack.pop()\nqueue = {}\nqueue.pop('a', None)"),
        ("", "seen = set()\nseen.add('a')\nif 'a' in seen: pass\nlen(seen); sorted(seen)"),
        ("", "numbers = {1, 2}\nfirst, second = numbers\nnumbers.pop()"),
        ("", "async with ctx.saga():\n    pass"),
        ("", "order = object()\norder.count = 1"),
        ("", "def inner(order):\n    order.count = 1\ninner(ctx)"),
        ("", "hash(5)"),
        ("import asyncio", "queue: asyncio.Queue[int] = asyncio.Queue()\nqueue.put_nowait(1)\nawait queue.get()"),
        ("import asyncio", "lock = asyncio.Lock()\nasync with lock:\n    await asyncio.sleep(1)"),
        ("import asyncio", "loop = asyncio.get_running_loop()\nloop.time()"),
        ("import uuid", "uuid.UUID(int=1); uuid.uuid5(uuid.NAMESPACE_DNS, 'x')"),
        ("def key(x):\n    return -x", "sorted([1, 2], key=key)"),
        ("from msgspec import Struct\nclass Order(Struct):\n    id: int", "order = Order(1)\norder.id"),
    ],
)
def test_what_good_workflows_do_is_left_alone(imports: str, statement: str) -> None:
    assert found(imports, statement) == []


ORDER = "class Order:\n    tags: set[str]\n    numbers: set[int]\n    names: list[str]"


@pytest.mark.parametrize(
    ("statement", "codes"),
    [
        ("order = Order()\nfor tag in order.tags: pass", ["SW109"]),
        ("def each(order: Order):\n    return list(order.tags)\neach(ctx)", ["SW109"]),
        ("order = Order()\nfor tag in sorted(order.tags): pass", []),
        ("order = Order()\nfor number in order.numbers: pass", []),
        ("order = Order()\nfor name in order.names: pass", []),
        ("order = Order()\nfor name in order.nothing: pass", []),
        ("for name in ctx.tags: pass", []),
        ("order = Order()\norder = ctx\nfor tag in order.tags: pass", []),
    ],
)
def test_the_order_of_a_field_that_is_a_set_is_found(statement: str, codes: list[str]) -> None:
    assert found(ORDER, statement) == codes


def test_the_examples_are_clean_where_they_do_not_show_a_mistake() -> None:
    findings = lint_files(sorted((ROOT / "examples").glob("*.py")))

    shown = {(Path(finding.path).name, finding.code) for finding in findings}
    assert shown == {("eviction.py", "SW204"), ("not_durable.py", "SW106")}


def test_every_rule_is_documented() -> None:
    documented = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
    codes = [line.split()[1] for line in (lint.__doc__ or "").splitlines() if line.startswith("| SW")]

    assert len(codes) == 21
    assert [code for code in codes if f"| {code} |" not in documented] == []
