"""What can be typed."""

from __future__ import annotations

import importlib
import inspect

import pytest

from stepwell.cli import main
from stepwell.cli.commands import COMMANDS as ALL
from stepwell.cli.places import split_target
from stepwell.cli.problems import problem_of
from stepwell.errors import BackendError, DefinitionError, NonDeterminismError, RunError

COMMANDS = {command.name: command for command in ALL}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_code_and_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = COMMANDS[name]
    module, _, function = command.code.partition(":")
    assert inspect.iscoroutinefunction(getattr(importlib.import_module(module), function))

    with pytest.raises(SystemExit) as end:
        main([*name.split(), "--help"])
    assert end.value.code == 0
    assert f"example:\n  stepwell {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["runs"], ["dance"], ["run", "--inp", "1"]])
def test_wrong_words_are_exit_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)

    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("stepwell: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("orders.py:checkout", ("orders.py", "checkout")),
        ("orders:app", ("orders", "app")),
        ("orders.py", ("orders.py", "")),
        (r"C:\work\orders.py", (r"C:\work\orders.py", "")),
        (r"C:\work\orders.py:checkout", (r"C:\work\orders.py", "checkout")),
    ],
)
def test_file_and_name_are_told_apart(text: str, expected: tuple[str, str]) -> None:
    assert split_target(text) == expected


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DefinitionError("x"), 2),
        (FileNotFoundError(2, "No such file", "x.json"), 2),
        (BackendError("x"), 3),
        (RunError("x", run_id="r", error=None), 1),
        (NonDeterminismError("x"), 1),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_errors_have_their_exit_codes(error: BaseException, code: int) -> None:
    problem = problem_of(error)

    assert problem is not None
    assert problem.code == code


def test_exits_are_no_problems() -> None:
    assert problem_of(SystemExit(0)) is None
