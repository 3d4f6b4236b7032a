"""`python -m tests.mutations [names] --limit N`: which deliberate bugs are found, and after how many seeds."""

from __future__ import annotations

import argparse
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from msgspec import structs

from tests.mutations.catalogue import MUTATIONS, hunt_named, measured, write_measured
from tests.mutations.hunting import Found
from tests.mutations.loops import LOOPS
from tests.mutations.weather import WEATHERS

HEADING = (
    "| name | deliberate bug | stands for | found by | seeds | weather | what was said |\n|---|---|---|---|---|---|---|"
)
_TEXT_MAX = 90
_ADDRESS = re.compile(r" object at 0x[0-9a-f]+")


def main(args: list[str]) -> int:
    """The table; 1 if a mutation was not found that has been found before."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", help="mutations, or parts of their names; all without any")
    parser.add_argument("--limit", type=int, default=400, help="seeds of each weather to try (400)")
    parser.add_argument("--weather", action="append", choices=[*WEATHERS, "loop"], help="what to try; without any, all")
    parser.add_argument("--jobs", type=int, default=2, help="processes that hunt at the same time (2)")
    parser.add_argument("--keep", action="store_true", help="write what was found to measured.json")
    parser.add_argument("--table", action="store_true", help="only print measured.json as the table of the README")
    given = parser.parse_args(args)
    if given.table:
        print(HEADING, *(row(name, found) for name, found in measured().items()), sep="\n")
        return 0
    names = [name for name in MUTATIONS if not given.names or any(part in name for part in given.names)]
    before, kept = measured(), measured()
    print(HEADING, flush=True)
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        weathers = [weather for weather in given.weather or [*WEATHERS, "loop"] if weather != "loop"]
        if "loop" in (given.weather or ["loop"]):
            weathers += LOOPS
        hunts = [pool.submit(hunt_named, name, given.limit, weathers) for name in names]
        for name, future in zip(names, hunts, strict=True):
            found = future.result()
            print(row(name, found), flush=True)
            if found is not None:
                kept[name] = structs.replace(found, text=said(found))
            if given.keep:
                write_measured(kept)
    survivors = [name for name, hunt in zip(names, hunts, strict=True) if hunt.result() is None]
    print(f"\n{len(names) - len(survivors)} of {len(names)} found")
    for name in survivors:
        print(f"  not found{'' if name in before else ', nor before'}: {name}")
    return int(any(name in before for name in survivors))


def said(found: Found) -> str:
    """What was said, as short as a table can hold."""
    text = _ADDRESS.sub("", found.text.partition("\n")[0])
    return text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + "..."


def row(name: str, found: Found | None) -> str:
    """A line of a Markdown table."""
    mutation = MUTATIONS[name]
    if found is None:
        return f"| {name} | {mutation.says} | {mutation.stands_for} | not found | | | |"
    text = said(found).replace("|", "/")
    cells = (name, mutation.says, mutation.stands_for, found.by, found.seeds, found.weather, text)
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
