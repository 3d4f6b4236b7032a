"""The core decides without the world, nothing lies about unused, and importing the package costs little."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib

from tests.house.conftest import ROOT, Source, assert_none

WORLD = re.compile(
    r"(concurrent|http|logging|multiprocessing|os|pathlib|random|secrets|select|selectors|signal|socket|sqlite3|ssl"
    r"|subprocess|threading|time|urllib|uuid)\b"
)
"""Modules that wait, log, read a clock, draw a number or touch the machine."""

VALUES = frozenset({"random.Random", "uuid.UUID"})
"""What those modules have that does nothing by itself: a generator with a seed, a type."""

NAMING = {"src/stepwell/engine/places.py": "os", "src/stepwell/engine/refusals.py": "threading"}
"""Uses that touch nothing: the parts of a path, and which thread is running."""

WAITING = frozenset({"asyncio.sleep", "asyncio.run", "asyncio.to_thread", "asyncio.Runner", "asyncio.open_connection"})

HEAVY = {
    "argparse",
    "concurrent.futures.process",
    "email",
    "http",
    "hypothesis",
    "multiprocessing",
    "pydantic",
    "pytest",
    "sqlite3",
    "ssl",
    "urllib.request",
}
"""What a plain `import stepwell` leaves to those who need it."""


def test_model_and_engine_do_not_import_the_world(shipped: list[Source]) -> None:
    found = {
        f"{source.name}:{line} imports {name}"
        for source in shipped
        if source.module.startswith(("stepwell.model", "stepwell.engine"))
        for name, line in source.imports()
        if (WORLD.match(name) and name not in VALUES and NAMING.get(source.name) != name) or name in WAITING
    }

    assert_none(found)


def test_model_does_not_import_asyncio(shipped: list[Source]) -> None:
    found = [
        f"{source.name}:{line}"
        for source in shipped
        if source.module.startswith("stepwell.model")
        for name, line in source.imports()
        if name.partition(".")[0] == "asyncio"
    ]

    assert_none(found)


def test_model_and_engine_do_not_call_what_waits(shipped: list[Source]) -> None:
    found = [
        f"{source.name}:{node.lineno} {ast.unparse(node)}"
        for source in shipped
        if source.module.startswith(("stepwell.model", "stepwell.engine"))
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in WAITING
    ]

    assert_none(found)


def test_imports_inside_functions_are_left_to_open_and_the_command_line(shipped: list[Source]) -> None:
    found = {
        f"{source.name}:{node.lineno} {ast.unparse(node)}"
        for source in shipped
        if not source.module.startswith("stepwell.cli") and source.module != "stepwell.backends"
        for function in ast.walk(source.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }

    assert_none(found)


def test_every_module_is_used(shipped: list[Source]) -> None:
    names = {name for source in shipped for name, _ in source.imports()}
    used = names | {name.rpartition(".")[0] for name in names} | _entry_points()
    used |= {text for source in shipped for text in _strings(source) if text.startswith("stepwell.")}
    used |= {"stepwell.__main__"}  # python -m stepwell
    doors = ("stepwell.testing.",)  # users import these; nothing of ours has to
    packages = {source.module for source in shipped if source.path.name == "__init__.py"}

    unused = [
        source.name
        for source in shipped
        if source.module not in used | packages and not source.module.startswith(doors)
    ]

    assert_none(unused)


def test_importing_the_package_loads_nothing_heavy() -> None:
    baseline = _loaded_by("import asyncio, msgspec")

    assert_none((_loaded_by("import stepwell") - baseline) & HEAVY)


def _strings(source: Source) -> set[str]:
    """Modules that are imported on demand stand as text in a table."""
    constants = (node.value for node in ast.walk(source.tree) if isinstance(node, ast.Constant))
    return {value.partition(":")[0] for value in constants if isinstance(value, str)}


def _entry_points() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project.get("scripts", {}), *project.get("entry-points", {}).values()]
    return {target.partition(":")[0] for group in groups for target in group.values()}


def _loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    return set(json.loads(done.stdout))
