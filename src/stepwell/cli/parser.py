"""What can be typed: every command with its options, one sentence and an example. The code is imported when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

Parser = argparse.ArgumentParser


class Command(NamedTuple):
    """One command; two words in `name` are group and command. `code` is `module:function`."""

    name: str
    code: str
    help: str
    example: str
    options: tuple[Callable[[Parser], object], ...] = ()


# --- options that commands share


def _backend(parser: Parser) -> None:
    parser.add_argument("--backend", metavar="URL", help="where the runs are (default: as set, else ./.stepwell)")


def _runs(parser: Parser) -> None:
    _backend(parser)
    parser.add_argument(
        "--app", metavar="MODULE:app | FILE.py", help="the app whose codec payloads are read and written with"
    )


def _config(parser: Parser) -> None:
    parser.add_argument("--config", metavar="FILE", help="read settings from this file (default: stepwell.toml)")


def _logging(parser: Parser) -> None:
    parser.add_argument("--log-format", choices=("text", "json"), help="how to log (default text)")


def _target(parser: Parser) -> None:
    parser.add_argument(
        "target", nargs="?", metavar="MODULE:app | FILE.py", help="the app, or a file with workflows (default: `app`)"
    )


def _worker(parser: Parser) -> None:
    parser.add_argument("--queues", metavar="A,B", help="the queues to serve (default: default)")
    parser.add_argument("--concurrency", type=int, metavar="N", help="how many runs to hold at a time")


def _json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run_id(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="the run's id")


def _filters(parser: Parser) -> None:
    parser.add_argument("--status", action="append", metavar="S", help="only of this status; repeat it, or write a,b")
    parser.add_argument("--workflow", metavar="NAME", help="only of this workflow")
    parser.add_argument(
        "--tag", action="append", default=[], metavar="K=V", help="only with this tag; repeat it for more"
    )
    parser.add_argument("--since", metavar="AGE", help="only started within this time: 1h, 2d")


def _many(parser: Parser) -> None:
    parser.add_argument("runs", nargs="*", metavar="RUN", help="ids of runs; or choose by the options below")
    _filters(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask before many runs are changed")


def _reason(parser: Parser) -> None:
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; it is kept with the run")


def _include(parser: Parser) -> None:
    parser.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="PLACE",
        help="Python files or modules with what nodes use, or JSON files with subflows; repeat it for more",
    )


def _option(*names: str, **keywords: object) -> Callable[[Parser], object]:
    return lambda parser: parser.add_argument(*names, **keywords)  # type: ignore[arg-type]


_COMMANDS = (
    Command(
        "demo",
        "stepwell.cli.demo.story:demo",
        "watch a workflow that is killed half way and goes on",
        "stepwell demo",
        (
            _option("--seconds", type=float, default=8.0, metavar="N", help="how slow the steps are made (default 8)"),
            _option("--dir", metavar="DIR", help="where its files go (default ./.stepwell/demo)"),
        ),
    ),
    Command(
        "run",
        "stepwell.cli.run:run",
        "run a workflow here; the same --id again attaches and goes on",
        "stepwell run orders.py:checkout --input '{\"id\": 7}' --id order-7",
        (
            _option("target", metavar="FILE:WORKFLOW", help="where the workflow is"),
            _option("--input", metavar="JSON", help="its input; @FILE reads a file, - reads stdin"),
            _option("--id", metavar="ID", help="the run's id (default: a new one)"),
            _backend,
        ),
    ),
    Command(
        "worker",
        "stepwell.cli.work:worker",
        "work on due runs until SIGTERM or Ctrl-C, then drain",
        "stepwell worker orders:app --queues default,slow --concurrency 100",
        (
            _target,
            _worker,
            _logging,
            _config,
            _backend,
        ),
    ),
    Command(
        "runs list",
        "stepwell.cli.runs:list_runs",
        "list runs, newest first",
        "stepwell runs list --status failed --since 1d",
        (
            _filters,
            _option("--limit", type=int, default=50, metavar="N", help="at most so many (default 50)"),
            _option("--cursor", metavar="C", help="go on after the page that gave this cursor"),
            _json,
            _runs,
        ),
    ),
    Command(
        "runs show",
        "stepwell.cli.show:show",
        "draw what happened to a run",
        "stepwell runs show order-7",
        (
            _run_id,
            _option(
                "--all", action="store_true", help="every step and node on a line of its own, also those of a fan-out"
            ),
            _option(
                "--at", type=int, metavar="SEQ", help="the nodes of a blueprint as of this frame (see runs events)"
            ),
            _option("--mermaid", action="store_true", help="the nodes of a blueprint as a diagram, in their colours"),
            _json,
            _runs,
        ),
    ),
    Command(
        "runs events",
        "stepwell.cli.show:events",
        "print a run's journal, entry by entry",
        "stepwell runs events order-7 --follow",
        (_run_id, _option("--follow", action="store_true", help="until the run ends"), _json, _runs),
    ),
    Command(
        "runs explain",
        "stepwell.cli.show:explain",
        "say why a run is not moving, and what to do",
        "stepwell runs explain order-7",
        (_run_id, _json, _runs),
    ),
    Command(
        "runs export",
        "stepwell.cli.show:export",
        "write a run with its whole history as JSON",
        "stepwell runs export order-7 > order-7.json",
        (_run_id, _runs),
    ),
    Command(
        "runs cancel",
        "stepwell.cli.steer:cancel",
        "ask runs to stop; they may clean up",
        "stepwell runs cancel order-7 --reason 'wrong address' --grace 30s",
        (
            _many,
            _reason,
            _option("--grace", metavar="TIME", help="terminate if it has not stopped by then"),
            _json,
            _runs,
        ),
    ),
    Command(
        "runs terminate",
        "stepwell.cli.steer:terminate",
        "end runs at once, without cleanup",
        "stepwell runs terminate order-7",
        (_many, _reason, _json, _runs),
    ),
    Command(
        "runs pause",
        "stepwell.cli.steer:pause",
        "start nothing new in runs until they are resumed",
        "stepwell runs pause --workflow checkout --yes",
        (_many, _reason, _json, _runs),
    ),
    Command(
        "runs resume",
        "stepwell.cli.steer:resume",
        "let paused runs go on, or a node of a blueprint that waits",
        "stepwell runs resume watch-1 --node approve --action yes",
        (
            _many,
            _option("--node", metavar="NODE", help="let this wait node of the run go on"),
            _option("--action", metavar="NAME", help="along the edges with this action"),
            _option("--output", metavar="JSON", help="the node's output; @FILE reads a file, - stdin"),
            _json,
            _runs,
        ),
    ),
    Command(
        "runs retry",
        "stepwell.cli.steer:retry",
        "try failed runs again from their first failed step, as new runs",
        "stepwell runs retry --status failed --workflow checkout --yes",
        (_many, _json, _runs),
    ),
    Command(
        "runs fork",
        "stepwell.cli.steer:fork",
        "start a new run that shares the beginning of another",
        "stepwell runs fork order-7 --from-step charge --edit reserve='{\"ok\": true}'",
        (
            _run_id,
            _option("--from-step", required=True, metavar="STEP", help="the first step that is done again"),
            _option(
                "--edit", action="append", default=[], metavar="STEP=JSON", help="another result for an earlier step"
            ),
            _option("--id", metavar="ID", help="the new run's id"),
            _json,
            _runs,
        ),
    ),
    Command(
        "send",
        "stepwell.cli.messages:send",
        "send a signal to a run",
        'stepwell send order-7 approval \'{"by": "ada"}\'',
        (
            _run_id,
            _option("signal", metavar="SIGNAL", help="the signal's name"),
            _option("value", metavar="JSON", nargs="?", default="null", help="its value; @FILE reads a file, - stdin"),
            _option("--message-id", metavar="ID", help="sending the same id again counts once"),
            _json,
            _runs,
        ),
    ),
    Command(
        "publish",
        "stepwell.cli.messages:publish",
        "publish an event to every run that waits for it",
        "stepwell publish paid '{\"order\": 7}'",
        (
            _option("event", metavar="EVENT", help="the event's name"),
            _option("value", metavar="JSON", nargs="?", default="null", help="its value; @FILE reads a file, - stdin"),
            _json,
            _runs,
        ),
    ),
    Command(
        "complete",
        "stepwell.cli.messages:complete",
        "complete a hook by its token",
        "stepwell complete hk_... '{\"ok\": true}'",
        (
            _option("token", metavar="TOKEN", help="the hook's token"),
            _option("value", metavar="JSON", nargs="?", default="null", help="its value; @FILE reads a file, - stdin"),
            _json,
            _runs,
        ),
    ),
    Command(
        "blueprint lint",
        "stepwell.cli.blueprint:lint",
        "say what is wrong with blueprints, or probably not meant so",
        "stepwell blueprint lint price_watch.json --include nodes.py",
        (
            _option("files", nargs="+", metavar="FILE", help="JSON files, or FILE.py:BLUEPRINT"),
            _include,
            _option("--input", metavar="JSON", help="an input as runs will have it: its fields are known names"),
            _option("--strict", action="store_true", help="fail on warnings too"),
            _json,
        ),
    ),
    Command(
        "blueprint show",
        "stepwell.cli.blueprint:show",
        "show the nodes of a blueprint, and its shape",
        "stepwell blueprint show price_watch.json --mermaid",
        (
            _option("file", nargs="?", metavar="FILE", help="a JSON file, or FILE.py:BLUEPRINT"),
            _include,
            _option("--mermaid", action="store_true", help="print a diagram in Mermaid's language"),
            _option("--schema", action="store_true", help="print the JSON Schema of blueprint files, for editors"),
            _option("--json", action="store_true", help="print what of the file means something, as JSON"),
        ),
    ),
    Command(
        "blueprint run",
        "stepwell.cli.blueprint:run",
        "run a blueprint here; the same --id again attaches and goes on",
        'stepwell blueprint run price_watch.json --include nodes.py --input \'{"item": "desk"}\' --id watch-1',
        (
            _option("file", metavar="FILE", help="a JSON file, or FILE.py:BLUEPRINT"),
            _include,
            _option("--input", metavar="JSON", help="its input; @FILE reads a file, - reads stdin"),
            _option("--id", metavar="ID", help="the run's id (default: a new one)"),
            _backend,
        ),
    ),
    Command(
        "check",
        "stepwell.cli.check:check",
        "find what replay cannot repeat; with --live, replay the runs there against this code",
        "stepwell check orders.py --live sqlite:///orders.db",
        (
            _option("files", nargs="+", metavar="FILE", help="files with workflows, or folders of them"),
            _option("--live", metavar="URL", help="replay the runs of this backend, which is only read"),
            _option(
                "--sample",
                default="200",
                metavar="N",
                help="live runs to replay of each workflow, or all (default 200)",
            ),
            _option(
                "--finished", default="50", metavar="N", help="finished runs to replay of each workflow (default 50)"
            ),
            _option("--strict", action="store_true", help="fail on warnings too"),
            _option("-v", "--verbose", action="store_true", help="name every run, not only some for each reason"),
            _json,
        ),
    ),
    Command(
        "sim",
        "stepwell.cli.sim:sim",
        "try the engine itself: simulate workers, clients and faults from random seeds",
        "stepwell sim --seeds 10000",
        (
            _option("--seeds", type=int, metavar="N", help="how many seeds to try (default 200)"),
            _option("--from", dest="first", type=int, metavar="N", help="the first of them (default: a random one)"),
            _option("--jobs", type=int, metavar="N", help="how many processes (default: one for each core)"),
            _option("--failures", type=int, metavar="N", help="stop when so many seeds have failed (default 1)"),
            _option("--seed", type=int, metavar="N", help="replay this seed"),
            _option("--scenario", metavar="FILE", help="replay the scenario in this file"),
            _option("--no-shrink", action="store_true", help="report a failure as it is, not the smallest of its kind"),
            _option("-v", "--verbose", action="store_true", help="tell of a replay also if nothing went wrong"),
            _json,
        ),
    ),
    Command(
        "purge",
        "stepwell.cli.purge:purge",
        "delete runs that ended long ago",
        "stepwell purge --older-than 30d --status completed --dry-run",
        (
            _option("--older-than", required=True, metavar="AGE", help="ended at least so long ago: 30d"),
            _option("--status", action="append", metavar="S", help="only of this status; repeat it, or write a,b"),
            _option("--workflow", metavar="NAME", help="only of this workflow"),
            _option("--dry-run", action="store_true", help="only say how many"),
            _option("--yes", action="store_true", help="do not ask"),
            _json,
            _backend,
        ),
    ),
    Command(
        "config",
        "stepwell.cli.config:config",
        "show every setting, and where its value comes from",
        "stepwell config",
        (_config, _json),
    ),
    Command(
        "doctor",
        "stepwell.cli.doctor:doctor",
        "check this machine, the backend and a sample of the journals",
        "stepwell doctor --json",
        (
            _option("--sample", type=int, default=100, metavar="N", help="runs to look into (default 100)"),
            _json,
            _backend,
        ),
    ),
)
_GROUPS = {"runs": "list runs, look into them, steer them", "blueprint": "check, show and run blueprints"}


class _OneParagraph(Parser):
    """Says what is wrong with a command in one paragraph."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"stepwell: {message}\nSee: {self.prog} --help\n")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command as typed; `code` says what runs it. Prints help, and exits, by itself."""
    top = _OneParagraph(
        prog="stepwell",
        description="Durable workflows: as simple as a function, as safe as a database.",
        epilog="Begin with:  stepwell demo",
        allow_abbrev=False,
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True, parser_class=_OneParagraph)
    groups: dict[str, argparse._SubParsersAction[_OneParagraph]] = {}
    for command in _COMMANDS:
        group, _, name = command.name.rpartition(" ")
        if group and group not in groups:
            parser = commands.add_parser(group, help=_GROUPS[group], description=_sentence(_GROUPS[group]))
            groups[group] = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_OneParagraph)
        _add(groups[group] if group else commands, name, command)
    return top.parse_args(argv)


def _add(commands: argparse._SubParsersAction[_OneParagraph], name: str, command: Command) -> None:
    parser = commands.add_parser(
        name,
        help=command.help,
        description=_sentence(command.help),
        epilog=f"example:\n  {command.example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for option in command.options:
        option(parser)
    parser.set_defaults(code=command.code)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
