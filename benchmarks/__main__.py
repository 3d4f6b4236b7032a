"""`python -m benchmarks [names...]`: measure, compare, print."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.catalogue import WORKLOADS, Workload
from benchmarks.machine import describe, version
from benchmarks.rounds import BenchmarkError, Figures, measure
from benchmarks.tables import table


def arguments() -> argparse.Namespace:
    names = ", ".join(workload.name for workload in WORKLOADS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=f"Workloads: {names}.")
    parser.add_argument("names", nargs="*", metavar="workload", help="default: all")
    parser.add_argument("--rounds", type=int, default=3, help="medians are taken over so many (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--full", action="store_true", help="the sizes of the targets: 5 M steps, 1 M parked runs")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures there")
    parser.add_argument(
        "--dir", metavar="DIRECTORY", type=Path, help="where databases are made (default: the system's)"
    )
    given = parser.parse_args()
    unknown = set(given.names) - {workload.name for workload in WORKLOADS}
    if unknown:
        parser.error(f"there is no workload {min(unknown)!r}; there are: {names}")
    return given


def chosen(names: list[str]) -> list[Workload]:
    return [workload for workload in WORKLOADS if not names or workload.name in names]


def main() -> int:
    given = arguments()
    directory = given.dir or Path(tempfile.gettempdir())
    rounds = 1 if given.quick else given.rounds
    machine = f"{version()}; {describe(directory)}"
    print(f"{machine}; medians of {rounds} round{'s' if rounds > 1 else ''}")
    told: set[str] = set()

    def tell(line: str) -> None:
        if line not in told:
            told.add(line)
            print(line)

    found: dict[str, Figures] = {}
    failures = 0
    for workload in chosen(given.names):
        try:
            figures = measure(workload, rounds=rounds, full=given.full, directory=directory, tell=tell)
        except BenchmarkError as error:
            failures += 1
            print(f"\n{error}")
            continue
        found[workload.name] = figures
        print("\n".join(table(workload, figures, full=given.full)), flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps({"machine": machine, "rounds": rounds, "workloads": found}, indent=2) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
