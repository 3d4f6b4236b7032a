"""`python -m tests.mutations [names] --limit N`: which deliberate bugs are found, and after how many seeds."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.mutations.catalogue import MUTATIONS, hunt_named, measured, write_measured
from tests.mutations.hunting import Found
from tests.mutations.weather import WEATHERS

_TEXT_MAX = 90


def main(args: list[str]) -> int:
    """The table; 1 if a mutation was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", help="mutations, or parts of their names; all without any")
    parser.add_argument("--limit", type=int, default=400, help="seeds of each weather to try (400)")
    parser.add_argument("--weather", action="append", choices=[*WEATHERS], help="what to try; all without any")
    parser.add_argument("--jobs", type=int, default=2, help="processes that hunt at the same time (2)")
    parser.add_argument("--keep", action="store_true", help="write what was found to measured.json")
    given = parser.parse_args(args)
    names = [name for name in MUTATIONS if not given.names or any(part in name for part in given.names)]
    kept = measured()
    print("| deliberate bug | stands for | found by | seeds | weather | what was said |\n|---|---|---|---|---|---|")
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        weathers = given.weather or [*WEATHERS]
        hunts = [pool.submit(hunt_named, name, given.limit, weathers) for name in names]
        for name, future in zip(names, hunts, strict=True):
            found = future.result()
            print(row(name, found), flush=True)
            if found is not None:
                kept[name] = found
            if given.keep:
                write_measured(kept)
    survivors = [name for name, hunt in zip(names, hunts, strict=True) if hunt.result() is None]
    print(f"\n{len(names) - len(survivors)} of {len(names)} found", *survivors, sep="\n  not found: ")
    return 1 if survivors else 0


def row(name: str, found: Found | None) -> str:
    """A line of a Markdown table."""
    mutation = MUTATIONS[name]
    if found is None:
        return f"| {mutation.says} | {mutation.stands_for} | not found | | | |"
    text = found.text.partition("\n")[0].replace("|", "/")
    text = text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + "..."
    return f"| {mutation.says} | {mutation.stands_for} | {found.by} | {found.seeds} | {found.weather} | {text} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
