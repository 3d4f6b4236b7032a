"""Options that commands share, and a way to write those of one command."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Parser = argparse.ArgumentParser


def backend(parser: Parser) -> None:
    parser.add_argument("--backend", metavar="URL", help="where the runs are (default: as set, else ./.stepwell)")


def namespace(parser: Parser) -> None:
    parser.add_argument(
        "--namespace", metavar="NAME", help="the namespace of the runs (default: as set, else the default one)"
    )


def runs(parser: Parser) -> None:
    backend(parser)
    namespace(parser)
    parser.add_argument(
        "--app", metavar="MODULE:app | FILE.py", help="the app whose codec payloads are read and written with"
    )


def config(parser: Parser) -> None:
    parser.add_argument("--config", metavar="FILE", help="read settings from this file (default: stepwell.toml)")


def logging(parser: Parser) -> None:
    parser.add_argument("--log-format", choices=("text", "json"), help="how to log (default text)")


def target(parser: Parser) -> None:
    parser.add_argument(
        "target", nargs="?", metavar="MODULE:app | FILE.py", help="the app, or a file with workflows (default: `app`)"
    )


def worker(parser: Parser) -> None:
    parser.add_argument("--queues", metavar="A,B", help="the queues to serve (default: default)")
    parser.add_argument("--concurrency", type=int, metavar="N", help="how many runs to hold at a time")


def serving(parser: Parser) -> None:
    parser.add_argument("--host", metavar="H", help="the address to listen on (default 127.0.0.1; 0.0.0.0: all)")
    parser.add_argument("--port", type=int, metavar="N", help="the port (default 7788; 0: a free one)")
    parser.add_argument("--public-url", metavar="URL", help="where the world reaches it: hook URLs begin so")
    parser.add_argument("--dev", action="store_true", help="ask nobody for a key; only on this machine's own address")
    parser.add_argument("--worker", action=argparse.BooleanOptionalAction, help="whether to work on runs, too")
    parser.add_argument(
        "--namespace",
        dest="served",
        action="append",
        metavar="NAME",
        help="serve this namespace from the beginning, not only when a key names it; repeat it for more",
    )
    parser.add_argument(
        "--cors-origin", action="append", metavar="ORIGIN", help="let web pages from there ask; repeat it for more"
    )
    parser.add_argument(
        "--behind-proxy", action="append", metavar="ADDRESS", help="believe what this proxy says of its clients"
    )
    parser.add_argument("--access-log", action="store_true", default=None, help="log each request")
    parser.add_argument("--fd", type=int, metavar="N", help="take connections from this open socket")
    parser.add_argument("--ready-fd", type=int, metavar="N", help="write a line of JSON there when it answers")
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)


def json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run_id(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="the run's id")


def filters(parser: Parser) -> None:
    parser.add_argument("--status", action="append", metavar="S", help="only of this status; repeat it, or write a,b")
    parser.add_argument("--workflow", metavar="NAME", help="only of this workflow")
    parser.add_argument(
        "--tag", action="append", default=[], metavar="K=V", help="only with this tag; repeat it for more"
    )
    parser.add_argument("--since", metavar="AGE", help="only started within this time: 1h, 2d")


def many(parser: Parser) -> None:
    parser.add_argument("runs", nargs="*", metavar="RUN", help="ids of runs; or choose by the options below")
    filters(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask before many runs are changed")


def reason(parser: Parser) -> None:
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; it is kept with the run")


def include(parser: Parser) -> None:
    parser.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="PLACE",
        help="Python files or modules with what nodes use, or JSON files with subflows; repeat it for more",
    )


def option(*names: str, **keywords: object) -> Callable[[Parser], object]:
    return lambda parser: parser.add_argument(*names, **keywords)  # type: ignore[arg-type]
