"""Steps and helpers that a file imports from files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from stepwell.authoring.lint import lint_file, lint_files

STEPS = "from stepwell import step\nimport time\n\n@step\nasync def charge(n):\n    return time.time()\n"
HELPERS = "import time\n\ndef stamp():\n    return time.time()\n\nasync def later():\n    return 1\n"


def written(folder: Path, files: Mapping[str, str]) -> Path:
    """A folder with these files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def flow(imports: str, statements: str) -> str:
    """A file with a workflow."""
    head = f"from stepwell import workflow, Context\n{imports}\n"
    return f"{head}\n@workflow\nasync def main(ctx: Context):\n    {statements}\n"


@pytest.mark.parametrize(
    ("imports", "call"),
    [
        ("from steps import charge", "charge(1)"),
        ("from steps import charge as pay", "pay(1)"),
        ("import steps", "steps.charge(1)"),
        ("import steps as s", "s.charge.options(key='1')(1)"),
        ("from steps import charge\npay = charge.options(timeout='5s')", "pay(1)"),
    ],
)
def test_a_step_of_another_file_is_a_step(tmp_path: Path, imports: str, call: str) -> None:
    folder = written(tmp_path, {"steps.py": STEPS, "flow.py": flow(imports, call)})

    (finding,) = lint_file(folder / "flow.py")
    assert (finding.code, finding.line) == ("SW202", imports.count("\n") + 6)

    written(tmp_path, {"flow.py": flow(imports, f"await {call}")})
    assert lint_file(folder / "flow.py") == []


@pytest.mark.parametrize(
    ("imports", "call"),
    [
        ("from .helpers import stamp", "stamp()"),
        ("from . import helpers", "helpers.stamp()"),
        ("from shop import helpers", "helpers.stamp()"),
        ("from shop.helpers import stamp", "stamp()"),
        ("import shop.helpers", "shop.helpers.stamp()"),
        ("from shop import stamp", "stamp()"),
        ("from .deep.more import stamp", "stamp()"),
    ],
)
def test_a_helper_in_a_package_is_part_of_the_body(tmp_path: Path, imports: str, call: str) -> None:
    files = {
        "shop/__init__.py": "from .helpers import stamp\n",
        "shop/helpers.py": HELPERS,
        "shop/deep/__init__.py": "",
        "shop/deep/more.py": "from ..helpers import stamp\n",
        "shop/flow.py": flow(imports, call),
    }
    folder = written(tmp_path, files)

    (finding,) = lint_file(folder / "shop" / "flow.py")

    assert (Path(finding.path), finding.line, finding.code) == (folder / "shop" / "helpers.py", 4, "SW101")
    assert finding.message.endswith("(in stamp(), called by workflow main)")


def test_files_are_found_from_within_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "shop/__init__.py": "",
        "shop/helpers.py": HELPERS,
        "shop/flow.py": flow("from shop.helpers import stamp", "stamp()"),
    }
    monkeypatch.chdir(written(tmp_path, files) / "shop")

    (finding,) = lint_file("flow.py")

    assert str(finding).startswith("helpers.py:4:12: SW101")


def test_a_helper_that_many_bodies_call_is_told_once(tmp_path: Path) -> None:
    one = flow("from helpers import stamp", "stamp()")
    folder = written(tmp_path, {"helpers.py": HELPERS, "a.py": one, "b.py": one})

    findings = lint_files([folder / "a.py", folder / "b.py", folder / "helpers.py"])

    assert [(Path(finding.path).name, finding.code) for finding in findings] == [("helpers.py", "SW101")]


def test_a_comment_in_the_other_file_counts(tmp_path: Path) -> None:
    helpers = HELPERS.replace("time.time()", "time.time()  # stepwell: ignore[SW101]")
    folder = written(tmp_path, {"helpers.py": helpers, "flow.py": flow("from helpers import stamp", "stamp()")})

    assert lint_file(folder / "flow.py") == []


def test_a_function_of_another_file_that_is_made_a_step_there_is_left_alone(tmp_path: Path) -> None:
    helpers = f"from stepwell import step\n{HELPERS}\nstamped = step(stamp)\n"
    imports = "from helpers import stamp, stamped"
    folder = written(tmp_path, {"helpers.py": helpers, "flow.py": flow(imports, "await stamped()")})

    assert lint_file(folder / "flow.py") == []


@pytest.mark.parametrize(
    "helpers",
    [
        "def stamp(:\n",  # not Python
        "from flow import stamp\n",  # a circle
        "from nowhere import stamp\n",
        "stamp = None\n",
        "",
    ],
)
def test_what_cannot_be_found_is_left_alone(tmp_path: Path, helpers: str) -> None:
    folder = written(tmp_path, {"helpers.py": helpers, "flow.py": flow("from helpers import stamp", "stamp()")})

    assert lint_file(folder / "flow.py") == []


def test_installed_modules_are_not_read(tmp_path: Path) -> None:
    folder = written(
        tmp_path, {"flow.py": flow("import json\nfrom email import utils", "json.dumps(utils.quote('a'))")}
    )

    assert lint_file(folder / "flow.py") == []
