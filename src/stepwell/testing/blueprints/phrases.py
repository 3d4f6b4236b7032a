"""Random expressions and mappings over names that are known to be settled. Most cannot fail, whatever was skipped."""

from __future__ import annotations

import re
from random import Random

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_][A-Za-z0-9]+)*")
Names = dict[str, str]
"""What may be read: names with the shapes of their values."""


def spelled(name: str, rng: Random) -> str:
    """A name as an expression holds it."""
    if IDENTIFIER.fullmatch(name) is None or rng.random() < 0.15:
        return f'context["{name}"]'
    return name


def condition(rng: Random, names: Names, own: str | None) -> str:
    """Something true or false; `own` is the shape of the result of the edge's source, if there is one to look at."""
    if own is not None and (rng.random() < 0.5 or not names):
        return _test(rng, "result.output", own)
    if not names:
        return rng.choice(["true", "1 < 2", "false", "missing"])
    name = rng.choice(sorted(names))
    text = _test(rng, spelled(name, rng), names[name])
    if rng.random() < 0.2 and len(names) > 1:
        other = rng.choice(sorted(names))
        text = f"{text} {rng.choice(['&&', '||'])} {_test(rng, spelled(other, rng), names[other])}"
    return text


def _test(rng: Random, text: str, shape: str) -> str:
    number = rng.randrange(1000)
    tests = {
        "number": [f"({text} ?? 0) > {number}", f"({text} ?? 1) % 2 === 0", text],
        "object": [f"({text}?.n ?? 0) < {number}", f"{text}?.flag", f"{text}?.in?.text !== null"],
        "text": [f'{text} === "t{number}"', f'({text} ?? "").length > 3', f"!{text}"],
        "flag": [text, f"!{text}", f"{text} === true"],
        "list": [f"({text} ?? []).length > 1", f"{text}?.[0] === 3"],
    }
    return rng.choice(tests.get(shape, [f"!{text}", f"{text} === null", text]))


def value(rng: Random, names: Names, own: str | None = None) -> str:
    """Something that gives a value; `own` is a name with anything in it."""
    choices = ["1 + 2", '"a" + "b"', "[1, 2].length", "null", '{a: 1, b: [true, "x"]}', "missing"]
    if own is not None:
        choices += [own, f"{{was: {own}}}", f"[{own}]"] * 3
    for name in rng.sample(sorted(names), min(2, len(names))):
        text = spelled(name, rng)
        choices += [text, f"{{x: {text}}}", f"{text} ?? 0", f'{text} ? "yes" : "no"']
        choices += [f"({text} ?? 0) * 2 + 1"] if names[name] == "number" else []
    return rng.choice(choices)


def mapping(rng: Random, names: Names, outputs: Names) -> str | dict[str, str]:
    """A node's `inputs`. `outputs` are those of the names that are nodes."""
    if rng.random() < 0.5:
        return _mapped(rng, names, outputs)
    return {f"f{i}": _mapped(rng, names, outputs) for i in range(rng.randint(1, 3))}


def _mapped(rng: Random, names: Names, outputs: Names) -> str:
    if outputs and rng.random() < 0.25:
        return f"_outputs.{rng.choice(sorted(outputs))}"
    plain = sorted(name for name in names if "." not in name and not name.startswith("_"))
    if not plain:
        return "missing"
    name = rng.choice(plain)
    paths = {"object": [".n", ".in.text", ".list.0", ".none"], "list": [".0", ".9"], "text": [".none"]}
    if rng.random() < 0.4 and names[name] in paths:
        return name + rng.choice(paths[names[name]])
    return name if rng.random() < 0.95 else "missing"
