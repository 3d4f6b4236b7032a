"""`stepwell run`, as it is typed."""

from __future__ import annotations

import os
import signal

import pytest

from tests.cli.support import Shell, eventually

CHECKOUT = ("run", "orders.py:checkout", "--input", '{"id": 7}', "--id", "order-7")
SLOW = ("run", "orders.py:slow", "--input", '{"id": 7}', "--id", "slow-7")


def test_prints_the_result_as_json_and_nothing_else(shell: Shell) -> None:
    done = shell(*CHECKOUT)

    assert (done.returncode, done.stdout, done.stderr) == (0, '{"paid":7}\n', "")
    assert (shell.folder / ".stepwell" / ".gitignore").read_text() == "*\n"


def test_the_same_command_again_attaches(shell: Shell) -> None:
    shell(*CHECKOUT)
    done = shell(*CHECKOUT)

    assert (done.returncode, done.stdout) == (0, '{"paid":7}\n')
    assert shell.effects() == ["charge"]


def test_another_input_under_the_same_id_is_refused(shell: Shell) -> None:
    shell(*CHECKOUT)
    done = shell("run", "orders.py:checkout", "--input", '{"id": 8}', "--id", "order-7")

    assert done.returncode == 2
    assert "order-7" in done.stderr
    assert "another input" in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("run", "orders.py:chekout"), "it has: checkout, slow, ask, listen, hook, mails, fails"),
        (("run", "orders.py"), "which workflow"),
        (("run", "order.py:checkout"), "there is no file order.py"),
        (("run", "nothing.here:checkout"), "there is no module nothing.here"),
        (("run", "orders.py:checkout", "--input", '{"id": "x"}'), "`id`: expected int, got str"),
        (("run", "orders.py:checkout", "--input", "{id: 7}"), "--input is not JSON"),
        (("run", "orders.py:checkout"), "needs its input"),
        (("run", "orders.py:ask", "--input", "1"), "takes no input"),
        (("run", "orders.py:ask", "--backend", "nosql://x"), "nosql"),
        (("run",), "required: FILE:WORKFLOW"),
    ],
)
def test_wrong_use_is_told_in_one_paragraph(shell: Shell, words: tuple[str, ...], expected: str) -> None:
    done = shell(*words)

    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_file_that_cannot_be_imported_names_the_line(shell: Shell) -> None:
    (shell.folder / "broken.py").write_text("import stepwell\n\nstepwell.nothing\n")
    done = shell("run", "broken.py:x")

    assert done.returncode == 2
    assert "broken.py:3" in done.stderr
    assert "Traceback" not in done.stderr


def test_input_is_read_from_stdin_and_from_files(shell: Shell) -> None:
    (shell.folder / "input.json").write_text('{"id": 8}')

    assert shell("run", "orders.py:checkout", "--input", "-", stdin='{"id": 7}').stdout == '{"paid":7}\n'
    assert shell("run", "orders.py:checkout", "--input", "@input.json").stdout == '{"paid":8}\n'


def test_a_failed_run_is_told_with_what_to_do(shell: Shell) -> None:
    done = shell("run", "orders.py:fails", "--id", "f")

    assert done.returncode == 1
    assert "RuntimeError: no luck" in done.stderr
    assert "stepwell runs retry f" in done.stderr


def test_an_unreachable_backend_is_exit_3(shell: Shell) -> None:
    (shell.folder / "other.db").write_text("this is no database, but it is long enough to be looked at" * 100)
    done = shell("run", "orders.py:ask", "--backend", "sqlite:///other.db")

    assert done.returncode == 3
    assert "other.db" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="another process cannot send Ctrl-C there")
def test_ctrl_c_parks_the_run_and_the_same_command_goes_on(shell: Shell) -> None:
    process = shell.begin("run", "orders.py:ask", "--id", "a")
    eventually(lambda: shell.status("a") == "waiting")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "stepwell run orders.py:ask --id a" in stderr

    assert shell("send", "a", "approval", '"yes"').returncode == 0
    assert shell("run", "orders.py:ask", "--id", "a").stdout == '"yes"\n'
    assert shell.effects() == ["charge"]


@pytest.mark.skipif(os.name == "nt", reason="another process cannot send Ctrl-C there")
def test_the_second_ctrl_c_leaves_at_once(shell: Shell) -> None:
    process = shell.begin(*SLOW)
    eventually(lambda: "wait" in shell.effects())
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert "parking" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)

    assert process.returncode == 130


def test_what_was_killed_goes_on_with_the_same_command(shell: Shell) -> None:
    process = shell.begin(*SLOW)
    eventually(lambda: "wait" in shell.effects())
    process.kill()
    process.communicate()
    shell.go()
    done = shell(*SLOW)

    assert (done.returncode, done.stdout) == (0, '"go"\n')
    assert shell.effects() == ["charge", "wait", "wait"]


def test_the_environment_names_the_backend(shell: Shell) -> None:
    shell._env["STEPWELL_BACKEND"] = "sqlite:///mine.db"
    shell(*CHECKOUT)

    assert (shell.folder / "mine.db").exists()
    assert not (shell.folder / ".stepwell").exists()


def test_the_apps_own_backend_is_used(shell: Shell) -> None:
    program = shell.folder / "orders.py"
    program.write_text(program.read_text() + '\napp = Stepwell("sqlite:///own.db", include=[__name__])\n')
    done = shell(*CHECKOUT)

    assert done.stdout == '{"paid":7}\n'
    assert (shell.folder / "own.db").exists()


def test_impure_calls_of_a_body_are_told_once_with_their_cure(shell: Shell) -> None:
    (shell.folder / "clocked.py").write_text(
        "import time\nfrom stepwell import Context, workflow\n\n@workflow\nasync def clocked(ctx: Context) -> int:\n"
        "    for _ in range(2):\n        time.time()\n    return 1\n"
    )
    done = shell("run", "clocked.py:clocked", "--id", "c")

    assert (done.returncode, done.stdout) == (0, "1\n")
    assert done.stderr == (
        "workflow clocked calls time.time() at clocked.py:7, in clocked: replay would see something else. "
        "Use ctx.now() (seen in run c)\n"
    )
