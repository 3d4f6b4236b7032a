"""What can be typed, and what it means."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from stepwell.cli.commands import COMMANDS, GROUPS, Command


class _OneParagraph(argparse.ArgumentParser):
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
    for command in COMMANDS:
        group, _, name = command.name.rpartition(" ")
        if group and group not in groups:
            parser = commands.add_parser(group, help=GROUPS[group], description=_sentence(GROUPS[group]))
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
