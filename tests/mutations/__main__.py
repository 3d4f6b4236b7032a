"""`python -m tests.mutations [names] --limit N`: which deliberate bugs are found, and after how many seeds."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.mutations.catalogue import MUTATIONS, hunt_named
from tests.mutations.hunting import Found

_TEXT_MAX = 110


def main(args: list[str]) -> int:
    """The table; 1 if a mutation was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", help="mutations, or parts of their names; all without any")
    parser.add_argument("--limit", type=int, default=2000, help="seeds to try with each (2000)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that hunt at the same time (1)")
    given = parser.parse_args(args)
    names = [name for name in MUTATIONS if not given.names or any(part in name for part in given.names)]
    survivors = []
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        hunts = [pool.submit(hunt_named, name, given.limit, given.start) for name in names]
        for name, future in zip(names, hunts, strict=True):
            found = future.result()
            if found is None:
                survivors.append(name)
            print(row(name, found), flush=True)
    print(f"\n{len(names) - len(survivors)} of {len(names)} found", *survivors, sep="\n  not found: ")
    return 1 if survivors else 0


def row(name: str, found: Found | None) -> str:
    """A line of a Markdown table."""
    mutation = MUTATIONS[name]
    if found is None:
        return f"| {name} | {mutation.stands_for} | not found | | |"
    text = found.text.partition("\n")[0].replace("|", "/")
    text = text.partition(": ")[2] if found.by.startswith("invariant") else text
    return f"| {name} | {mutation.stands_for} | {found.by} | {found.seeds} | {text[:_TEXT_MAX]} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
