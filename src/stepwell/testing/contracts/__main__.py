"""`python -m stepwell.testing.contracts package.module:Kit`: examine a backend, and print its badge.

`Kit` is a class that inherits from `Contract` and has at least `open`. Exit codes: 0 all tests passed, 1 some failed,
2 wrong use.
"""

from __future__ import annotations

import importlib
import sys

from stepwell.testing.contracts.badge import badge, examined
from stepwell.testing.contracts.running import Contract, Needs

_OFFERS: dict[Needs, str] = {
    "is_shared": "several processes",
    "is_durable": "closing and opening again",
    "disconnect": "cut connections",
}


def main(arguments: list[str]) -> int:
    """Answers the exit code."""
    if len(arguments) != 1 or ":" not in arguments[0]:
        sys.stderr.write("usage: python -m stepwell.testing.contracts package.module:Kit\n")
        return 2
    try:
        kit = _kit(arguments[0])
    except (ImportError, AttributeError, TypeError) as error:
        sys.stderr.write(
            f"{arguments[0]} is no class that inherits from stepwell.testing.contracts.Contract: {error}\n"
        )
        return 2
    failed = 0
    print_line = sys.stdout.write
    print_line(f"{'port':<14} passed  failed\n")
    for verdict in examined(kit):
        failed += len(verdict.failures)
        print_line(f"{verdict.port:<14} {verdict.passed:>6}  {len(verdict.failures):>6}\n")
        for failure in verdict.failures:
            print_line(f"  {failure.test}\n    {failure.place}\n    {failure.reason}\n")
        sys.stdout.flush()
    lacking = [text for name, text in _OFFERS.items() if not kit.offers(name)]
    if lacking:
        print_line(f"not offered, so not tried: {', '.join(lacking)}\n")
    print_line(f"{failed} failed; run them with pytest to see values\n" if failed else f"\n{badge(kit)}\n")
    return 1 if failed else 0


def _kit(name: str) -> type[Contract]:
    module, _, attribute = name.partition(":")
    kit = getattr(importlib.import_module(module), attribute)
    if not issubclass(kit, Contract):
        raise TypeError("it inherits from something else")
    return kit  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
